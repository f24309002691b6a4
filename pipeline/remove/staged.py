"""A run as it will be: new files stand apart until all are written, and only then take the old ones' places.

What is being made can be read beside what stays, as if it were one run, so that the stages' own code does the
work. Until the intent (``removed/pending.json``) is written nothing has happened; from then on everything
that is left to do is to move files that are there, and whoever comes next can do it.
"""

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.errors import RunError
from pipeline.fetch.spool import discard
from pipeline.hashing_sink import HashingSink
from pipeline.inspector.catalogue import place
from pipeline.object_store import in_words, upload
from pipeline.remove.tombstones import PENDING, REMEDY, REMOVED
from pipeline.runs import Folder
from pipeline.seal import seal, unseal
from pipeline.stages import BY_NAME, STAGES

_STAGING = "staging"
_INTENT = ("moves", "gone", "told")  # what stands in the file of a removal that was begun
_COPIED_BYTES = 5 << 30  # S3 copies no larger object within itself


@dataclass(frozen=True, slots=True)
class StagedFolder(Folder):
    """A folder of a run that reads new files before old ones, and writes new ones.

    ``uri`` is where the new files are, ``behind`` the folder that they will go to. ``written`` has the new
    files of all its folders with their bytes: a store need not list them at once.
    """

    behind: Folder = field(kw_only=True)
    written: dict[str, dict[str, int]] = field(kw_only=True, compare=False, repr=False)

    def __truediv__(self, name: str) -> "StagedFolder":
        uri = f"{self.uri.rstrip('/')}/{name}"
        return StagedFolder(uri, self.options, behind=self.behind / name, written=self.written)

    def new(self) -> dict[str, int]:
        """The new files alone, and their bytes."""
        return dict(self.written.get(self.uri, {}))

    def sizes(self) -> dict[str, int]:
        """The names of all files and their bytes."""
        return {**self.behind.sizes(), **self.new()}

    def size(self, name: str) -> int | None:
        """The bytes of a file."""
        own = self.written.get(self.uri, {}).get(name)
        return self.behind.size(name) if own is None else own

    @contextmanager
    def writing(self, name: str) -> Iterator[HashingSink]:
        """Opens a new file."""
        with Folder.writing(self, name) as sink:
            yield sink
        self.written.setdefault(self.uri, {})[name] = sink.num_bytes

    def remove(self, names: Iterable[str]) -> None:
        """Removes new files."""
        gone = list(names)
        Folder.remove(self, gone)
        for name in gone:
            self.written.get(self.uri, {}).pop(name, None)

    def read(self, name: str) -> bytes:
        """A whole file."""
        return Folder.read(self, name) if self._is_new(name) else self.behind.read(name)

    def open(self, name: str) -> AbstractContextManager[pa.NativeFile]:
        """A file opened for reading."""
        return Folder.open(self, name) if self._is_new(name) else self.behind.open(name)

    def _is_new(self, name: str) -> bool:
        """Whether it was written here: what an earlier removal left, unlisted, is none of this one's."""
        return name in self.written.get(self.uri, {})


def staging(run: Folder) -> StagedFolder:
    """The run as it will be, of which nothing is written yet."""
    unstage(run)
    removed = run / REMOVED
    removed.remove(removed.torn())
    new = run / REMOVED / _STAGING
    return StagedFolder(new.uri, new.options, behind=run, written={})


def unstage(run: Folder, written: Mapping[str, Iterable[str]] | None = None) -> None:
    """Drops all new files; by their names those that are ``written``, of which a store may list none yet."""
    folder = run / REMOVED / _STAGING
    if folder.is_local():
        shutil.rmtree(folder.path(), ignore_errors=True)
        with contextlib.suppress(OSError):  # other removals are told there
            Path((run / REMOVED).path()).rmdir()
    else:
        for uri, names in (written or {}).items():
            Folder(uri, folder.options).remove(names)
        with contextlib.suppress(FileNotFoundError):
            folder.filesystem.delete_dir(folder.path())


def pending(run: Folder) -> dict[str, Any] | None:
    """The removal that was begun and is not finished.

    Raises:
        RunError: What it was cannot be read.
    """
    try:
        intent = unseal((run / REMOVED).read(PENDING), _INTENT)
        if missing := [key for key in _INTENT if key not in intent]:
            raise ValueError(f"it has no {' and no '.join(missing)}")
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RunError(f"{run.uri}/{REMOVED}/{PENDING} cannot be read ({error}): {REMEDY}.") from error
    return intent


def begin(staged: StagedFolder, gone: Mapping[str, list[str]], told: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the intent down: from here on the removal happens.

    Args:
        staged: The run as it will be.
        gone: By folder of the run ("" is the run itself) the files that go.
        told: What is to be said of the removal once it is done.

    Returns:
        The intent.
    """
    folders = [REMOVED, *(stage.folder for stage in STAGES)]
    moves = {folder: sorted((staged / folder).new()) for folder in folders}
    intent = {"moves": moves, "gone": dict(gone), "told": dict(told)}
    (staged.behind / REMOVED).write(PENDING, seal(intent))
    return intent


def carry_out(run: Folder, intent: Mapping[str, Any]) -> None:
    """Does what was intended, as far as it is not done."""
    for folder, names in intent["moves"].items():
        source, target = run / REMOVED / _STAGING / folder, run / folder
        for name in names:
            size = source.size(name)
            if size is not None:  # else it was moved before
                _move(source, target, name, size)
    for folder, names in intent["gone"].items():
        (run / folder if folder else run).remove(names)
    discard(run / BY_NAME["fetch"].folder)  # what a kill may have left of parts that are finished
    place.discard(run)  # the inspector's catalogue and index quote texts
    (run / REMOVED).remove([PENDING])
    unstage(run)


def _move(source: Folder, target: Folder, name: str, size: int) -> None:
    if target.is_local():
        target.filesystem.create_dir(target.path(), recursive=True)
        Path(source.path(name)).replace(target.path(name))
        return
    with in_words(target.uri):  # a store knows no rename: the file is there twice, whole, for a moment
        if size <= _COPIED_BYTES:
            target.filesystem.copy_file(source.path(name), target.path(name))
        else:
            with source.open(name) as file:
                upload(file, target.filesystem, target.path(name))
    source.remove([name])
