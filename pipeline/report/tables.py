"""The tables of a run that SQL may name, read where they lie: only what manifests list."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset

from pipeline.report import manifest_tables, token_counts
from pipeline.run_tables import TABLES as STAGE_TABLES
from pipeline.run_tables import StageTable
from pipeline.runs import File, Folder, Manifest, Part
from pipeline.stages import BY_NAME

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """A table that queries name: the stage that writes it, and where its rows are.

    They are those of Parquet files (``stored``), or what ``make`` gives for the run and the stage's manifest.
    """

    name: str
    stage: str
    files: str  # as people would name them, relative to the run
    schema: pa.Schema
    stored: StageTable | None = None
    make: Callable[[Folder, Manifest], pa.Table] | None = None


def _stored(name: str, files: str) -> Table:
    table = STAGE_TABLES[name]
    return Table(name, table.stage, files, table.schema, stored=table)


_PATTERN = frozenset("*?[")  # what DuckDB takes for more than a name

TABLES = (
    Table(
        "posts_by_month",
        "collect",
        "submissions/manifest.json",
        manifest_tables.POSTS_BY_MONTH,
        make=manifest_tables.posts_by_month,
    ),
    Table(
        "links_by_karma",
        "link",
        "links/manifest.json",
        manifest_tables.LINKS_BY_KARMA,
        make=manifest_tables.links_by_karma,
    ),
    _stored("links", "links/part-?????.parquet"),
    _stored("ledger", "pages/part-*.ledger.parquet"),
    Table(
        "extraction",
        "extract",
        "documents/manifest.json and the parts' documents/*.json",
        manifest_tables.EXTRACTION,
        make=manifest_tables.extraction,
    ),
    Table(
        "evaluation_sets",
        "filter",
        "filtered/manifest.json",
        manifest_tables.EVALUATION_SETS,
        make=manifest_tables.evaluation_sets,
    ),
    _stored("corpus", "corpus/part-?????.parquet"),
    _stored("clusters", "corpus/clusters.parquet"),
    _stored("shard_documents", "shards/part-*.documents.parquet"),
    Table(
        "token_counts",
        "shard",
        "shards/*.bin and tokenizer/tokenizer.json",
        token_counts.TOKEN_COUNTS,
        make=token_counts.token_counts,
    ),
)


def add_table(connection: duckdb.DuckDBPyConnection, run: Folder, table: Table, manifest: Manifest) -> None:
    """Lets a connection name the table; its files, if it is made of some, are read as they are needed.

    DuckDB itself reads local files, a few pages at a time: Arrow's datasets hold whole row groups.

    Raises:
        InputError, OSError, pa.ArrowException, duckdb.Error: What it is made from is missing or damaged.
    """
    if table.make is not None:
        connection.register(table.name, table.make(run, manifest))
    elif table.stored is not None:
        _add_stored(connection, run, table, table.stored.files(manifest))


def _add_stored(
    connection: duckdb.DuckDBPyConnection, run: Folder, table: Table, files: list[tuple[Part, File]]
) -> None:
    folder = run / BY_NAME[table.stage].folder
    paths = [folder.path(file.name) for _, file in files]
    if not paths:
        connection.register(table.name, table.schema.empty_table())
    elif run.is_local() and not _PATTERN.intersection(paths[0]):
        connection.read_parquet(paths, hive_partitioning=False).create_view(table.name)
    else:
        dataset = pa.dataset.dataset(paths, schema=table.schema, filesystem=run.filesystem, format="parquet")
        connection.register(table.name, dataset)
