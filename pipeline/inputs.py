"""Files that a run is given: found by name or glob, and known by their content."""

import glob
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from pipeline.errors import InputError
from pipeline.object_store import refuse_credentials

_EDGE_BYTES = 1 << 20


def expand(patterns: Iterable[str], setting: str) -> list[str]:
    """The files that the names and globs stand for, each once, in the order of the patterns, then names.

    Raises InputError, naming the setting, where there is no pattern, where one matches nothing, where what
    it names is no local file, or where two name the same file.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        require_local(pattern, setting)
        names = sorted(glob.glob(pattern, recursive=True)) or [pattern]  # noqa: PTH207 (patterns are absolute)
        for name in names:
            if not Path(name).exists():
                raise InputError(f"{setting}: nothing is at {pattern}. Give the path of a file, or a glob.")
            if not Path(name).is_file():
                raise InputError(f"{setting}: {name} is not a file. For a folder's files give {name}/*.")
            if name in found:
                by = f"by {found[name]} and by {pattern}" if found[name] != pattern else f"as {pattern}"
                raise InputError(f"{setting}: {name} is named twice, {by}. Leave one out.")
            found[name] = pattern
    if not found:
        raise InputError(f'{setting} names no file: give files or globs, as in ["/data/RS_2019-*.zst"].')
    return list(found)


def require_local(path: str, setting: str) -> None:
    """Raises InputError, naming the setting, for a URI: what a run is made from is read from local disks."""
    if "://" in path:
        refuse_credentials(path)
        raise InputError(
            f"{setting}: {path} is a URI, and is read from a local disk: copy it there (aws s3 cp), and "
            "name the copy. Only run.dir and dedupe.against may be URIs."
        )


def file_digest(path: str) -> str:
    """A digest of a file's size and of its first and last MiB: enough to tell one dump from another.

    Reading a whole year of dumps to learn that nothing has changed would take longer than many a stage.
    """
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(f"{size}\n".encode())
        digest.update(file.read(_EDGE_BYTES))
        file.seek(max(0, size - _EDGE_BYTES))
        digest.update(file.read(_EDGE_BYTES))
    return digest.hexdigest()
