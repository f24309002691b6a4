"""The tables of a run for the inspector: at once from its files, and soon from a catalogue of its own.

The catalogue is a DuckDB file of everything but texts; beside it is an index of the texts' words. Another
process makes both (build.py), and what it has finished is used from then on. Until then the same tables, with
the same columns, are read from the run's files, which is slower.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.inspector.catalogue.builder import Builder, Building
from pipeline.inspector.catalogue.place import catalogue_path, index_path, place
from pipeline.inspector.catalogue.tables import Contents, TableFile, damage, read_contents
from pipeline.inspector.search.text_index import Index, open_index
from pipeline.runs import MANIFEST, Folder
from pipeline.stages import STAGES

Row = Mapping[str, Any]

_FILES_AT_ONCE = 8
_STREAM_FAILED = "reading the stream"  # as DuckDB says it
_LOOKS_S = 2.0  # the least time between two looks at whether the run is another
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "1GB",  # that all queries together may take
    "max_temp_directory_size": "0KiB",  # a query that takes more ends: it writes no file
    "TimeZone": "UTC",
    "autoinstall_known_extensions": False,
    "python_enable_replacements": False,  # SQL cannot name this program's variables
    "enable_external_access": False,  # nor any file
    "lock_configuration": True,
}

# Columns that the catalogue adds to those of files, where there is none; links go while they are made anew.
_DOCUMENTS = """
CREATE TEMP VIEW documents AS
SELECT files.* EXCLUDE (text, part), links.domain, files.part, strlen(text)::BIGINT AS num_bytes
FROM documents_files AS files LEFT JOIN links USING (id)"""
_DOCUMENTS_ALONE = """
CREATE TEMP VIEW documents AS
SELECT * EXCLUDE (text, part), NULL::VARCHAR AS domain, part, strlen(text)::BIGINT AS num_bytes
FROM documents_files"""


class Damaged(NamedTuple):
    """A file that was damaged as the catalogue was made, which may have its rows all the same."""

    file: str
    message: str
    is_lost: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """A run as it was at one moment, with what has been made of it.

    Attributes:
        contents: What the run has to look at.
        written: When its manifests were, and their sizes.
        connection: To the catalogue or, before that is built, to nothing.
        datasets: The tables as they lie, by name, which are read where there is no catalogue.
        is_built: Whether there is a catalogue, and so tables are fast.
        damaged: What was damaged as the catalogue was made.
        index: What texts are searched by, once it is whole.
    """

    contents: Contents
    written: tuple[Any, ...]
    connection: duckdb.DuckDBPyConnection
    datasets: Mapping[str, pa.dataset.Dataset]
    is_built: bool = False
    damaged: tuple[Damaged, ...] = ()
    index: Index | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing is to be made any more."""
        return self.is_built and (self.index is not None or self.contents.stage is None)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """See :meth:`Catalogue.cursor`."""
        cursor = self.connection.cursor()
        if not self.is_built:
            for name, dataset in self.datasets.items():
                cursor.register("documents_files" if name == "documents" else name, dataset)
            if self.contents.stage is not None:
                has_links = "links" in self.contents.tables
                cursor.execute(_DOCUMENTS if has_links else _DOCUMENTS_ALONE)
        return cursor

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        """See :meth:`Catalogue.rows`."""
        with reading(), self.cursor() as cursor:
            cursor.execute(sql, parameters)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]

    def texts_of_parts(self, ids: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], tuple[str, ...]]:
        """The texts of documents, by part, and what is wrong with the files that cannot be read."""
        files = {file.part: file for file in self.contents.tables["documents"].files}
        texts: dict[str, str] = {}
        damaged = []
        with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
            for found in pool.map(_read_texts, [files[part] for part in ids], ids.values()):
                if isinstance(found, str):
                    damaged.append(found)
                else:
                    texts |= found
        return texts, tuple(damaged)


class Catalogue:
    """A run's tables, texts and index, for several threads at once; it follows the run as that changes.

    Args:
        run: The run directory.

    Raises:
        InputError: A manifest of it is damaged.
    """

    def __init__(self, run: Folder) -> None:
        self.run = run
        self._folder = place(run)
        self._lock = threading.Lock()
        self._builds = False
        self._builder: Builder | None = None
        self._looked = time.monotonic()
        written = self._written()  # first: what is written while the rest is read is another run's
        self._opened = self._open(read_contents(run), written)

    def build(self) -> None:
        """Has what is missing made by another process, now and whenever the run changes."""
        with self._lock:
            self._builds = True
            self._start_builder()

    def close(self) -> None:
        """Ends what :meth:`build` began; what is whole stays."""
        with self._lock:
            self._builds = False
            self._end_builder()

    def wait(self) -> None:
        """Until what :meth:`build` began is ended, well or not, and in use."""
        if self._builder is not None:
            self._builder.wait()
        with self._lock:
            self._look()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def stage(self) -> str | None:
        """Of "dedupe", "filter" and "extract" the furthest that is finished; None: no documents yet."""
        return self.now().contents.stage

    @property
    def contents(self) -> Contents:
        """What the run has to look at."""
        return self.now().contents

    def state(self) -> Building:
        """How far the catalogue and the index are."""
        if self.now().is_whole:
            return Building(is_ready=True)
        builder = self._builder
        return Building(is_ready=False) if builder is None else builder.state

    def damage(self) -> tuple[str, ...]:
        """What was wrong with files as the catalogue was made, a sentence each."""
        return tuple(one.message for one in self.now().damaged)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of the caller's own to the run's tables, which can change nothing and open no file.

        The tables are those of :attr:`contents`; ``documents`` is without texts.
        """
        return self.now().cursor()

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        """What a query of the tables gives, each row by its columns' names.

        Raises:
            InputError: A file of the run cannot be read.
        """
        return self.now().rows(sql, parameters)

    def document(self, document_id: str) -> Row | None:
        """All columns of ``documents`` of one of them; None where there is no such document."""
        if self.stage is None:
            return None
        rows = self.rows("SELECT * FROM documents WHERE id = ?", [document_id])
        return rows[0] if rows else None

    def text(self, document_id: str) -> str | None:
        """A document's text; None where there is no such document.

        Raises:
            InputError: The file that it is in is damaged.
        """
        return self.texts([document_id]).get(document_id)

    def texts(self, ids: Iterable[str]) -> dict[str, str]:
        """The texts of some documents, by their ids; those that are not there are left out.

        Raises:
            InputError: A file that one of them is in is damaged.
        """
        opened = self.now()
        if opened.contents.stage is None:
            return {}
        by_part: dict[str, list[str]] = defaultdict(list)
        for row in opened.rows("SELECT id, part FROM documents WHERE list_contains(?, id)", [list(ids)]):
            by_part[row["part"]].append(row["id"])
        texts, damaged = opened.texts_of_parts(by_part)
        if damaged:
            raise InputError(damaged[0])
        return texts

    def now(self) -> Opened:
        """What is open, after a look, now and then, at whether there is more, or another run."""
        with self._lock:
            if time.monotonic() - self._looked >= _LOOKS_S:
                self._look()
            return self._opened

    def _look(self) -> None:
        self._looked = time.monotonic()
        written = self._written()
        if written == self._opened.written:
            self._opened = self._with_what_is_made(self._opened)
            return
        try:
            contents = read_contents(self.run)
        except (InputError, OSError):
            return  # it is being written: the next look finds it whole
        self._end_builder()
        self._opened = self._open(contents, written)
        if self._builds:
            self._start_builder()

    def _written(self) -> tuple[Any, ...]:
        """When the run's manifests were written, and their sizes."""
        paths = [(self.run / stage.folder).path(MANIFEST) for stage in STAGES]
        return tuple((info.mtime_ns, info.size) for info in self.run.filesystem.get_file_info(paths))

    def _open(self, contents: Contents, written: tuple[Any, ...]) -> Opened:
        datasets = {name: table.dataset() for name, table in contents.tables.items()}
        return self._with_what_is_made(Opened(contents, written, duckdb.connect(config=_CONFIG), datasets))

    def _with_what_is_made(self, opened: Opened) -> Opened:
        """With the catalogue and the index, where they are there by now."""
        contents = opened.contents
        path = catalogue_path(self._folder, contents.digest)
        if not opened.is_built and path.exists():
            with suppress(duckdb.Error):  # another version's, or damaged: it is made anew
                connection = open_catalogue(path)
                damaged = damaged_files(connection)
                opened = replace(opened, connection=connection, is_built=True, damaged=damaged)
        if opened.is_built and contents.stage is not None and opened.index is None:
            path = index_path(self._folder, contents.documents_digest, lost(opened.damaged))
            if path.exists():
                opened = replace(opened, index=open_index(path))
        return opened

    def _start_builder(self) -> None:
        if not self._opened.is_whole and self._builder is None:
            self._builder = Builder(self.run, self._folder)

    def _end_builder(self) -> None:
        if self._builder is not None:
            self._builder.close()
            self._builder = None


def open_catalogue(path: Path) -> duckdb.DuckDBPyConnection:
    """A connection that can change nothing and open no file; duckdb.Error where it is no catalogue."""
    return duckdb.connect(str(path), read_only=True, config=_CONFIG)


def damaged_files(catalogue: duckdb.DuckDBPyConnection) -> tuple[Damaged, ...]:
    """The files that were damaged as a catalogue was made."""
    rows = catalogue.execute("SELECT file, message, is_lost FROM made.damaged").fetchall()
    return tuple(Damaged(*row) for row in rows)


def lost(damaged: Iterable[Damaged]) -> frozenset[str]:
    """The files of which the catalogue has no row."""
    return frozenset(one.file for one in damaged if one.is_lost)


@contextmanager
def reading() -> Iterator[None]:
    """Tells in words what a damaged file raises, of pyarrow's or of DuckDB's that reads by it.

    Raises:
        InputError: A file of the run cannot be read.
    """
    try:
        yield
    except (OSError, pa.ArrowException, duckdb.IOException) as error:
        raise InputError(damage("A file of the run", error)) from error
    except duckdb.InvalidInputException as error:
        if _STREAM_FAILED not in str(error):
            raise
        raise InputError(damage("A file of the run", error)) from error


def _read_texts(file: TableFile, ids: Sequence[str]) -> dict[str, str] | str:
    """The texts of some of a part's documents, or what is wrong; a row group without them is not read."""
    texts: dict[str, str] = {}
    wanted = pa.array(ids, pa.string())
    try:
        with file.folder.open(file.name) as stream:
            parquet = pq.ParquetFile(stream)
            for group in range(parquet.num_row_groups):
                found = parquet.read_row_group(group, columns=["id"], use_threads=False)["id"]
                rows = pc.indices_nonzero(pc.is_in(found, wanted))
                if len(rows):
                    column = parquet.read_row_group(group, columns=["text"], use_threads=False)["text"]
                    texts |= zip(found.take(rows).to_pylist(), column.take(rows).to_pylist(), strict=True)
    except (OSError, pa.ArrowException) as error:
        return damage(file.label, error)
    return texts
