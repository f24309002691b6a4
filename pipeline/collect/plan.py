"""The parts of collect: one a source, whether dump, answers of the live API, or list of URLs."""

import os
from collections.abc import Sequence
from pathlib import Path

from pipeline.collect.dumps import PACKINGS
from pipeline.config import CollectSettings
from pipeline.errors import InputError
from pipeline.inputs import expand, file_digest
from pipeline.stages import Job, Plan, Planned, part_name

_PACKED_BYTES_PER_CPU_SECOND = 40_000_000  # of a packed dump, measured


def plan(job: Job) -> Plan:
    """One part a file: dumps in the order of the settings, the live API's, lists.

    Raises InputError where there is nothing to read, where a file is none of submissions, is empty, or is
    named twice.
    """
    settings: CollectSettings = job.settings
    dumps, lists = check_sources(settings)
    if settings.reddit.subreddits:
        from pipeline.collect.reddit import ask

        ask(settings.reddit, os.environ)
        if settings.reddit.dump not in dumps:  # a glob may name it too
            dumps.append(settings.reddit.dump)
    sources = sources_of(dumps, lists)
    digests = _digests([path for path, _ in sources])
    parts = []
    for index, (path, kind) in enumerate(sources):
        name = Path(path).name if kind == "list" else ""  # a list's name is in its rows' ids
        fingerprint = job.fingerprint(digests[path], kind, name)
        parts.append(Planned(part_name(index), fingerprint, {"path": path, "kind": kind}))
    num_bytes = sum(Path(path).stat().st_size for path in digests)
    inputs = {
        f"{part.name} from {Path(path).name}": digests[path]
        for part, (path, _) in zip(parts, sources, strict=True)
    }
    return Plan(tuple(parts), inputs=inputs, work_s=num_bytes / _PACKED_BYTES_PER_CPU_SECOND)


def check_sources(settings: CollectSettings) -> tuple[list[str], list[str]]:
    """The dumps and the lists that the settings name; nobody is asked for anything.

    Raises InputError where one is not there or holds comments by its name, and where nothing is named at all.
    """
    dumps = _named(settings.dumps, "collect.dumps")
    for path in dumps:
        if Path(path).name.startswith("RC_"):
            raise InputError(f"collect.dumps: {path} holds comments; submissions are in files named RS_*.")
    lists = _named(settings.lists, "collect.lists")
    if not (dumps or lists or settings.reddit.subreddits):
        raise InputError(
            'collect.dumps names no file, nor does lists: set dumps = ["RS_2019-*.zst"], monthly dumps.'
        )
    return dumps, lists


def _named(patterns: tuple[str, ...], setting: str) -> list[str]:
    return expand(patterns, setting) if patterns else []


def sources_of(dumps: Sequence[str], lists: Sequence[str]) -> list[tuple[str, str]]:
    """Each source with its kind, "dump", "table" or "list": the dumps' by their names.

    Raises InputError where one is an empty file.
    """
    for path in (*dumps, *lists):
        if not Path(path).stat().st_size:
            raise InputError(f"{path} is empty: fetch it again, or take it out of the settings.")
    return [*((path, _kind_of(path)) for path in dumps), *((path, "list") for path in lists)]


def _kind_of(path: str) -> str:
    suffixes = [suffix.lower() for suffix in Path(path).suffixes if suffix.lower() not in PACKINGS]
    return "table" if suffixes and suffixes[-1] in (".csv", ".parquet") else "dump"


def _digests(paths: list[str]) -> dict[str, str]:
    digests: dict[str, str] = {}
    by_digest: dict[str, str] = {}
    for path in paths:
        digest = file_digest(path)
        if digest in by_digest:
            same = by_digest[digest]
            raise InputError(f"{same} and {path} hold the same: take one out of the settings.")
        digests[path] = digest
        by_digest[digest] = path
    return digests
