"""Stages of a finished run that another engine does again, and what must come out: the same bytes."""

import hashlib
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from pipeline.stages import BY_NAME

REDONE = ("link", "extract", "dedupe")


def undone(built: Path, folder: Path, stages: Iterable[str] = REDONE) -> Path:
    """A copy of a finished run's folder, settings and all, without the stages that are to be done again."""
    copy = folder / "copy"
    shutil.copytree(built, copy)
    for stage in stages:
        shutil.rmtree(copy / "run" / BY_NAME[stage].folder)
    return copy


def digests(folder: Path, stages: Iterable[str] = REDONE) -> dict[str, str]:
    """Every file of those stages but the sidecars, which tell times."""
    files = [path for stage in stages for path in (folder / "run" / BY_NAME[stage].folder).rglob("*")]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file() and not re.fullmatch(r"[a-z]+(-\d{5})?\.json", path.name)
    } | {stage: (folder / "run" / BY_NAME[stage].folder / "manifest.json").read_text() for stage in stages}
