"""A run as it will be: new files stand apart until all are written, and only then take the old ones' places.

What is being made can be read beside what stays, as if it were one run, so that the stages' own code does the
work. Until the intent (``removed/pending.json``) is written nothing has happened; from then on everything
that is left to do is to move files that are there, and whoever comes next can do it.
"""

import contextlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.fetch.spool import discard
from pipeline.inspector import place
from pipeline.remove.tombstones import PENDING, REMOVED
from pipeline.runs import Folder
from pipeline.stages import BY_NAME, STAGES

_STAGING = "staging"


@dataclass(frozen=True, slots=True)
class StagedFolder(Folder):
    """A folder of a run that reads new files before old ones, and writes new ones.

    ``uri`` is where the new files are, ``behind`` the folder that they will go to.
    """

    behind: Folder

    def __truediv__(self, name: str) -> "StagedFolder":
        return StagedFolder(f"{self.uri.rstrip('/')}/{name}", self.behind / name)

    def new(self) -> dict[str, int]:
        """The new files alone, and their bytes."""
        return Folder(self.uri).sizes()

    def sizes(self) -> dict[str, int]:
        """The names of all files and their bytes."""
        return {**self.behind.sizes(), **self.new()}

    def read(self, name: str) -> bytes:
        """A whole file."""
        try:
            return Folder(self.uri).read(name)
        except FileNotFoundError:
            return self.behind.read(name)

    def open(self, name: str) -> pa.NativeFile:
        """A file opened for reading."""
        try:
            return Folder(self.uri).open(name)
        except FileNotFoundError:
            return self.behind.open(name)


def staging(run: Folder) -> StagedFolder:
    """The run as it will be, of which nothing is written yet."""
    unstage(run)
    removed = run / REMOVED
    removed.remove(removed.torn())
    return StagedFolder((run / REMOVED / _STAGING).uri, run)


def unstage(run: Folder) -> None:
    """Drops all new files."""
    folder = run / REMOVED / _STAGING
    if folder.is_local():
        shutil.rmtree(folder.path(), ignore_errors=True)
        with contextlib.suppress(OSError):  # other removals are told there
            Path((run / REMOVED).path()).rmdir()
    else:
        with contextlib.suppress(FileNotFoundError):
            folder.filesystem.delete_dir(folder.path())


def pending(run: Folder) -> dict[str, Any] | None:
    """The removal that was begun and is not finished."""
    try:
        intent: dict[str, Any] = json.loads((run / REMOVED).read(PENDING))
    except FileNotFoundError:
        return None
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
    (staged.behind / REMOVED).write(PENDING, (json.dumps(intent, indent=1, sort_keys=True) + "\n").encode())
    return intent


def carry_out(run: Folder, intent: Mapping[str, Any]) -> None:
    """Does what was intended, as far as it is not done."""
    for folder, names in intent["moves"].items():
        source, target = run / REMOVED / _STAGING / folder, run / folder
        there = source.sizes()
        for name in names:
            if name in there:  # else it was moved before
                _move(source, target, name)
    for folder, names in intent["gone"].items():
        (run / folder if folder else run).remove(names)
    discard(run / BY_NAME["fetch"].folder)  # what a kill may have left of parts that are finished
    place.discard(run)  # the inspector's catalogue and index quote texts
    (run / REMOVED).remove([PENDING])
    unstage(run)


def _move(source: Folder, target: Folder, name: str) -> None:
    target.filesystem.create_dir(target.path(), recursive=True)
    if target.is_local():
        Path(source.path(name)).replace(target.path(name))
    else:
        target.filesystem.move(source.path(name), target.path(name))
