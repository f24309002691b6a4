"""Where an inspector keeps what it makes of a run: beside its stages or, where that cannot be, in a cache."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from pipeline.object_store import beside
from pipeline.runs import Folder

FOLDER = "inspect"  # in a run; labels lie there too

_MADE = ("catalogue-*", "index-*")  # the patterns of all that is made, and so can be made again


def place(run: Folder) -> Path:
    """The folder for what is made of a run; it is there afterwards.

    A remote run's is in the user's cache, and so is that of a run that cannot be written to.
    """
    if run.is_local():
        folder = Path((run / FOLDER).path())
        try:
            folder.mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            pass
    folder = _cache(run)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def catalogue_path(folder: Path, digest: str) -> Path:
    """The catalogue of tables of that digest."""
    return folder / f"catalogue-{digest[:16]}.duckdb"


def index_path(folder: Path, digest: str, left_out: Iterable[str]) -> Path:
    """The index of documents of that digest, numbered without those of some files."""
    name = hashlib.sha256("\n".join([digest, *sorted(left_out)]).encode()).hexdigest()
    return folder / f"index-{name[:16]}"


def discard(run: Folder) -> None:
    """Deletes all that was made of a run, which quotes its documents; labels stay."""
    sweep(_cache(run), ())
    if run.is_local():
        sweep(Path((run / FOLDER).path()), ())


def sweep(folder: Path, kept: Iterable[Path]) -> None:
    """Deletes what was made in a folder, halves that a kill left with it, but for what is kept."""
    for pattern in _MADE:
        for path in set(folder.glob(pattern)) - set(kept):
            delete(path)


def delete(path: Path) -> None:
    """Deletes a file or a folder; one that is not there is no error."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _cache(run: Folder) -> Path:
    """``$XDG_CACHE_HOME`` or ``~/.cache``, and below it a folder for each run."""
    return beside(run.path() if run.is_local() else Folder(run.uri.rstrip("/"), run.options).address, FOLDER)
