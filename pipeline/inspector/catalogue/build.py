"""The process that makes a run's catalogue and its index; what it has finished, others may use.

It says how far it is in JSON lines on its standard output. Both are made under temporary names and put in
place whole. One process at a time works in a folder: others wait, and then find it done.
"""

import fcntl
import json
import os
import sys
import time
import uuid
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.inspector.catalogue.builder import TABLES, TEXTS, WAITING
from pipeline.inspector.catalogue.catalogue import Damaged, damaged_files, lost, open_catalogue
from pipeline.inspector.catalogue.place import catalogue_path, delete, index_path, sweep
from pipeline.inspector.catalogue.tables import Contents, RunTable, read_contents
from pipeline.inspector.search.text_index import Indexed, open_index, write_index
from pipeline.runs import Folder

_SAYS_S = 0.25  # between two lines of progress
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "1GB",
    "threads": 1,
    "TimeZone": "UTC",
    "autoinstall_known_extensions": False,
}


class _RunChangedError(Exception):
    """The run is another by now: what was made of it may quote what has been taken out."""


def make(run: Folder, folder: Path) -> None:
    """Makes what is not there yet of a run's catalogue and index, in ``folder``.

    Nothing is left of a run that changes meanwhile: who follows it has this done again.
    """
    with _alone(folder), suppress(_RunChangedError):
        contents = read_contents(run)
        catalogue = catalogue_path(folder, contents.digest)
        damaged = _damaged(catalogue)
        if damaged is None:
            with _temporary(catalogue, contents) as path:
                damaged = _write_catalogue(contents, path)
        index = index_path(folder, contents.documents_digest, lost(damaged))
        if contents.stage is not None and (not index.exists() or open_index(index) is None):
            with _temporary(index, contents) as path:
                _write_index(contents, lost(damaged), path)
        sweep(folder, [catalogue, index])


def _damaged(catalogue: Path) -> tuple[Damaged, ...] | None:
    """The files that were damaged as it was made; None where there is none, or one that is damaged itself."""
    try:
        with open_catalogue(catalogue) as connection:
            return damaged_files(connection)
    except duckdb.Error:
        return None


class _Progress:
    """Says how far a piece of the work is, now and then."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._said = -_SAYS_S
        self.add(0)

    def add(self, num: int) -> None:
        """So many more are done."""
        self._done += num
        if (now := time.monotonic()) - self._said >= _SAYS_S:
            self._said = now
            _say(what=self._what, done=self._done, total=self._total)


def _say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds the folder's lock, which the kernel gives back however this process ends."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(what=WAITING)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _temporary(target: Path, contents: Contents) -> Iterator[Path]:
    """A path beside the target, which becomes it when the block ends well, if the run is what it was."""
    path = target.with_name(f"{target.name}.{uuid.uuid4().hex}.tmp")
    yield path
    if read_contents(contents.run).digest != contents.digest:
        delete(path)
        raise _RunChangedError
    delete(target)
    path.rename(target)


def _write_catalogue(contents: Contents, path: Path) -> tuple[Damaged, ...]:
    """Writes all tables without texts; returns the files that are damaged."""
    progress = _Progress(TABLES, sum(table.num_rows for table in contents.tables.values()))
    damaged: list[Damaged] = []
    with duckdb.connect(str(path), config=_CONFIG) as connection:
        for table in contents.tables.values():
            schema = contents.columns if table.name == "documents" else table.schema
            batches = _batches(contents, table, progress, damaged)
            connection.register("batches", pa.RecordBatchReader.from_batches(schema, batches))
            connection.execute(f"CREATE TABLE {table.name} AS SELECT * FROM batches")  # noqa: S608 our name
            connection.unregister("batches")
        connection.execute("CREATE SCHEMA made")
        connection.execute("CREATE TABLE made.damaged (file VARCHAR, message VARCHAR, is_lost BOOLEAN)")
        for one in damaged:
            connection.execute("INSERT INTO made.damaged VALUES (?, ?, ?)", one)
    return tuple(damaged)


def _batches(
    contents: Contents, table: RunTable, progress: _Progress, damaged: list[Damaged]
) -> Iterator[pa.RecordBatch]:
    """A table's rows file by file; one that cannot be read is left out."""
    for file in table.files:
        try:
            if table.name == "documents":
                rows, wrong = contents.documents(file, contents.columns.names)
            else:
                rows, wrong = table.read(file), None
        except InputError as error:
            damaged.append(Damaged(file.label, str(error), is_lost=True))
        else:
            if wrong is not None:
                damaged.append(Damaged(file.label, wrong, is_lost=False))
            yield from rows.to_batches()
        progress.add(file.rows)


def _write_index(contents: Contents, left_out: frozenset[str], path: Path) -> None:
    progress = _Progress(TEXTS, contents.tables["documents"].num_rows)
    write_index(path, _indexed(contents, left_out, progress))


def _indexed(contents: Contents, left_out: Container[str], progress: _Progress) -> Iterator[Indexed]:
    """The documents, numbered as they are in the catalogue; a part whose texts are damaged is left out."""
    number = 0
    for file in contents.tables["documents"].files:
        if file.label in left_out:
            continue
        try:
            rows = file.read(["id", "title", "text", "url"])
        except InputError:
            number += file.rows
            continue
        columns = [rows[name].to_pylist() for name in ("title", "text", "url")]
        domains = contents.domains(file.part, rows["id"]).to_pylist()
        for title, text, url, domain in zip(*columns, domains, strict=True):
            yield Indexed(number, title or "", text, url, domain or "")
            number += 1
        progress.add(file.rows)


if __name__ == "__main__":
    os.nice(19)  # pages are served meanwhile
    make(Folder(sys.argv[1]), Path(sys.argv[2]))
