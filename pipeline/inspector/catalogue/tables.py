"""The tables of a run as the inspector names them, and the files that hold them, by its manifests."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.run_tables import DOCUMENT_TABLES, REJECTED_TABLES, TABLES, StageTable
from pipeline.runs import Folder, Manifest, read_manifest
from pipeline.stages import BY_NAME

FORMAT = 1  # of what is made from the tables: raised where older catalogues no longer serve

_UNDER_THEIR_OWN_NAMES = ("links", "ledger", "measured", "clusters", "shard_documents")

_ADDED = pa.schema({"domain": pa.string(), "part": pa.string(), "num_bytes": pa.int64()})


@dataclass(frozen=True, slots=True)
class TableFile:
    """A file of a table: the part that it belongs to, its rows, and the columns that all of them share."""

    folder: Folder
    name: str
    part: str
    rows: int
    shared: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How people call it: ``corpus/part-00017.parquet``."""
        return f"{self.folder.name}/{self.name}"

    def read(self, columns: list[str] | None = None) -> pa.Table:
        """Its rows; those columns that a file lacks are left out.

        Raises:
            InputError: It is missing or damaged.
        """
        try:
            with self.folder.open(self.name) as stream:
                file = pq.ParquetFile(stream)
                chosen = (
                    None if columns is None else [one for one in columns if one in file.schema_arrow.names]
                )
                return file.read(columns=chosen)
        except (OSError, pa.ArrowException) as error:
            raise InputError(damage(self.label, error)) from error


@dataclass(frozen=True, slots=True)
class RunTable:
    """A table of a run, whose files may each have columns that are the same in all their rows."""

    name: str
    schema: pa.Schema
    files: tuple[TableFile, ...]

    @property
    def num_rows(self) -> int:
        """What the manifests count."""
        return sum(file.rows for file in self.files)

    def read(self, file: TableFile) -> pa.Table:
        """The rows of one of its files, in the table's columns; null in those that the file lacks.

        Raises:
            InputError: It is missing or damaged.
        """
        table = file.read(self.schema.names)
        shared = {name: pa.repeat(value, table.num_rows) for name, value in file.shared.items()}
        return _in_columns(table, shared, self.schema)

    def dataset(self) -> pa.dataset.Dataset:
        """The table where it lies, read as it is needed."""
        if not self.files:
            return pyarrow.dataset.dataset(self.schema.empty_table())
        kind = pyarrow.dataset.ParquetFileFormat()
        filesystem = self.files[0].folder.filesystem
        fragments = [
            kind.make_fragment(file.folder.path(file.name), filesystem, _partition(file.shared))
            for file in self.files
        ]
        return pyarrow.dataset.FileSystemDataset(fragments, self.schema, kind, filesystem)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a run has to look at, as its manifests say at one moment.

    Attributes:
        run: The run directory.
        manifests: Of its finished stages, by name.
        stage: Of "dedupe", "filter", "extract" the furthest that is finished; None: no documents yet.
        tables: Those that are there, by name; ``documents`` with ``text`` and ``part``, as they lie.
        digest: Of all that this follows from: the run after a build or a removal has another.
        documents_digest: Of what the documents follow from.
    """

    run: Folder
    manifests: Mapping[str, Manifest]
    stage: str | None
    tables: Mapping[str, RunTable]
    digest: str
    documents_digest: str

    @property
    def columns(self) -> pa.Schema:
        """The columns of ``documents`` as SQL sees them: no text, but domain, part and the text's bytes."""
        if self.stage is None:
            return pa.schema([])
        kept = [one for one in DOCUMENT_TABLES[self.stage].schema if one.name != "text"]
        return pa.schema([*kept, *_ADDED])

    def documents(self, file: TableFile, names: Collection[str]) -> tuple[pa.Table, str | None]:
        """One part's documents in some of these columns, and what is wrong where only texts are damaged.

        Raises:
            InputError: The file is missing or damaged, beyond its texts.
        """
        schema = pa.schema([one for one in self.columns if one.name in names])
        table = file.read(["id", *(name for name in schema.names if name not in ("id", *_ADDED.names))])
        added: dict[str, pa.Array] = {"part": pa.repeat(file.part, table.num_rows)}
        wrong = None
        if "domain" in names:
            added["domain"] = self.domains(file.part, table["id"])
        if "num_bytes" in names:
            try:
                added["num_bytes"] = pc.binary_length(file.read(["text"])["text"])
            except InputError as error:
                added["num_bytes"], wrong = pa.nulls(table.num_rows, pa.int64()), str(error)
        return _in_columns(table, added, schema), wrong

    def domains(self, part: str, ids: pa.ChunkedArray) -> pa.Array:
        """The domains of a part's documents: those of their links, which are in the part of the same name."""
        for file in self.tables["links"].files if "links" in self.tables else ():
            if file.part == part:
                try:
                    links = file.read(["id", "domain"])
                except InputError:
                    break
                return pc.take(links["domain"], pc.index_in(ids, links["id"]))
        return pa.nulls(len(ids), pa.string())


def _in_columns(table: pa.Table, added: Mapping[str, pa.Array], schema: pa.Schema) -> pa.Table:
    """A table in the columns of a schema: its own, those added, and nulls."""
    present = {**{name: table[name] for name in table.column_names}, **added}
    columns = [
        present[one.name].cast(one.type) if one.name in present else pa.nulls(table.num_rows, one.type)
        for one in schema
    ]
    return pa.table(columns, names=schema.names)


def read_contents(run: Folder) -> Contents:
    """Reads what a run has to look at.

    Raises:
        InputError: A manifest is damaged.
    """
    read = {name: read_manifest(run / stage.folder) for name, stage in BY_NAME.items()}
    manifests = {name: manifest for name, manifest in read.items() if manifest is not None}
    furthest = next((name for name in DOCUMENT_TABLES if name in manifests), None)
    tables = {table.name: table for table in _tables(run, manifests, furthest)}
    digests = {name: manifest.digest() for name, manifest in manifests.items()}
    behind = {name: digest for name, digest in digests.items() if name in ("link", furthest)}
    return Contents(run, manifests, furthest, tables, _digest(digests), _digest(behind))


def _digest(digests: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps([FORMAT, digests]).encode()).hexdigest()


def damage(label: str, error: Exception) -> str:
    """What is said of a file that cannot be read."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"{label} cannot be read ({text[:200]}): `webtext verify` tells what to do."


def _tables(run: Folder, manifests: Mapping[str, Manifest], documents: str | None) -> Iterator[RunTable]:
    if documents is not None:
        table = DOCUMENT_TABLES[documents]
        schema = pa.schema([*table.schema, pa.field("part", pa.string())])
        found = _files(run, manifests, table)
        yield RunTable("documents", schema, tuple(replace(one, shared={"part": one.part}) for one in found))
    for name in _UNDER_THEIR_OWN_NAMES:
        table = TABLES[name]
        if table.stage in manifests:
            yield RunTable(name, table.schema, tuple(_files(run, manifests, table)))
    rejecting = [table for stage, table in REJECTED_TABLES.items() if stage in manifests]
    if rejecting:
        schema = pa.schema([pa.field("stage", pa.string()), *rejecting[0].schema])
        rejected = [
            replace(one, shared={"stage": table.stage})
            for table in rejecting
            for one in _files(run, manifests, table)
        ]
        yield RunTable("rejected", schema, tuple(rejected))


def _files(run: Folder, manifests: Mapping[str, Manifest], table: StageTable) -> Iterator[TableFile]:
    folder = run / BY_NAME[table.stage].folder
    for part, file in table.files(manifests[table.stage]):
        yield TableFile(folder, file.name, part.name, file.rows)


def _partition(shared: Mapping[str, str]) -> pc.Expression:
    """The columns that all rows of a file share, as pyarrow wants to be told of them."""
    expression = pc.scalar(True)
    for name, value in shared.items():
        expression = expression & (pc.field(name) == value)
    return expression
