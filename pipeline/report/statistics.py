"""The queries run over the tables that a run's manifests list, wherever the run is kept."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs

from pipeline.collect.months import months, out_of_line
from pipeline.errors import InputError
from pipeline.records import CLUSTERS, CORPUS, LEDGER, LINKS, SHARD_DOCUMENTS
from pipeline.report.queries import QUERIES, Query
from pipeline.runs import Folder, Manifest, read_manifest
from pipeline.stages import BY_NAME
from pipeline.status import Status, read_status

Row = Mapping[str, Any]

# A curve is read by its course: more points than a chart has pixels only make the page heavy.
_MAX_POINTS = 400


@dataclass(frozen=True, slots=True)
class Table:
    """A table that queries name: the stage that writes it, and the files of it.

    With ``rows`` it is made from the facts in the stage's manifest instead.
    """

    name: str
    stage: str
    files: str  # as people would name them, relative to the run
    suffix: str  # of a file's name, behind its part's name and, after a retry, a number
    schema: pa.Schema
    rows: Callable[[Mapping[str, Any]], list[Row]] | None = None


def _posts_by_month(facts: Mapping[str, Any]) -> list[Row]:
    table = months(facts)
    strange = {one.month for one in out_of_line(table)}
    return [
        {"month": one.name, "posts": one.num_posts, "posts_3": one.num_at_3, "out_of_line": one in strange}
        for one in table
    ]


def _links_by_karma(facts: Mapping[str, Any]) -> list[Row]:
    by_max, by_sum = facts.get("links_by_max", {}), facts.get("links_by_sum", {})
    return [
        {"least_karma": int(least), "links_by_max": num, "links_by_sum": by_sum[least]}
        for least, num in by_max.items()
    ]


_POSTS_BY_MONTH = pa.schema(
    {"month": pa.string(), "posts": pa.int64(), "posts_3": pa.int64(), "out_of_line": pa.bool_()}
)
_LINKS_BY_KARMA = pa.schema(dict.fromkeys(("least_karma", "links_by_max", "links_by_sum"), pa.int64()))

TABLES = (
    Table("posts_by_month", "collect", "submissions/manifest.json", "json", _POSTS_BY_MONTH, _posts_by_month),
    Table("links_by_karma", "link", "links/manifest.json", "json", _LINKS_BY_KARMA, _links_by_karma),
    Table("links", "link", "links/part-*.parquet", "parquet", LINKS),
    Table("ledger", "fetch", "pages/part-*.ledger.parquet", "ledger.parquet", LEDGER),
    Table("corpus", "dedupe", "corpus/part-*.parquet", "parquet", CORPUS),
    Table("clusters", "dedupe", "corpus/clusters.parquet", "parquet", CLUSTERS),
    Table(
        "shard_documents", "shard", "shards/part-*.documents.parquet", "documents.parquet", SHARD_DOCUMENTS
    ),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """A query with the rows that it gave."""

    query: Query
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Training:
    """A model's training: its name and some of its log's steps, each with its losses in nats."""

    name: str
    steps: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Statistics:
    """All that a report says."""

    status: Status
    measured: Mapping[str, Measured]
    missing: Mapping[str, tuple[str, ...]]  # statistics left out → stages that are not finished
    settings: Mapping[str, Mapping[str, Any]]  # of finished stages
    training: tuple[Training, ...]

    def totals(self) -> dict[str, int]:
        """Documents, words and bytes of the corpus and tokens of the shards, as far as they are there."""
        totals: dict[str, int] = {}
        if "corpus" in self.measured:
            totals |= self.measured["corpus"].rows[0]
        if "tokens" in self.measured:
            totals["tokens"] = sum(row["tokens"] for row in self.measured["tokens"].rows)
        return totals

    def to_json(self) -> dict[str, Any]:
        """The content of stats.json."""
        return {
            **replace(self.status, crawl=None).to_json(),  # that of this moment is none of a report's
            "run": self.status.name,
            "totals": self.totals(),
            "statistics": {
                name: {
                    "title": one.query.title,
                    "definition": one.query.definition,
                    "sql": one.query.sql,
                    "rows": list(one.rows),
                }
                for name, one in self.measured.items()
            },
            "missing": {name: list(stages) for name, stages in self.missing.items()},
            "training": [asdict(one) for one in self.training],
        }


def measure(run: Folder) -> Statistics:
    """Takes every statistic whose tables are there.

    Raises:
        InputError: There is no run, or files of it are missing or damaged.
    """
    status = read_status(run)
    manifests = {name: read_manifest(run / stage.folder) for name, stage in BY_NAME.items()}
    finished = {name: manifest for name, manifest in manifests.items() if manifest is not None}
    absent = {table.name: table.stage for table in TABLES if table.stage not in finished}
    missing = {
        query.name: tuple(dict.fromkeys(absent[name] for name in query.tables if name in absent))
        for query in QUERIES
    }
    try:
        with duckdb.connect(config={"autoinstall_known_extensions": False, "TimeZone": "UTC"}) as connection:
            for table in TABLES:
                if table.stage in finished:
                    connection.register(table.name, _dataset(run, table, finished[table.stage]))
            measured = {
                query.name: Measured(query, tuple(_rows(connection, query.sql)))
                for query in QUERIES
                if not missing[query.name]
            }
    except (OSError, pa.ArrowException, duckdb.Error) as error:
        raise InputError(
            f"{run.uri}: a table cannot be read ({error}): `webtext verify` names the file and what to do."
        ) from error
    return Statistics(
        status=status,
        measured=measured,
        missing={name: stages for name, stages in missing.items() if stages},
        settings={name: manifest.settings for name, manifest in finished.items()},
        training=tuple(_training(run)),
    )


def _dataset(run: Folder, table: Table, manifest: Manifest) -> pa.dataset.Dataset | pa.Table:
    """The table's files, read as they are needed; of a stage with several kinds of parts only its own."""
    if table.rows is not None:
        return pa.Table.from_pylist(table.rows(manifest.facts), table.schema)
    folder = run / BY_NAME[table.stage].folder
    parts = manifest.counted()
    if table.name == "clusters":
        parts = [part for part in manifest.parts if part.name == "clusters"]
    files = [
        folder.path(file.name) for part in parts for file in part.files if part.kind(file) == table.suffix
    ]
    if not files:
        return table.schema.empty_table()
    return pa.dataset.dataset(files, schema=table.schema, filesystem=folder.filesystem, format="parquet")


def _rows(connection: duckdb.DuckDBPyConnection, sql: str) -> Iterator[Row]:
    result = connection.execute(sql)
    names = [column[0] for column in result.description or ()]
    for values in result.fetchall():
        yield dict(zip(names, values, strict=True))


def _training(run: Folder) -> Iterator[Training]:
    """The logs of models that were trained in the run: ``checkpoints/NAME/log.jsonl``."""
    checkpoints = run / "checkpoints"
    selector = pyarrow.fs.FileSelector(checkpoints.path(), allow_not_found=True)
    infos = checkpoints.filesystem.get_file_info(selector)
    folders = [info.base_name for info in infos if info.type == pyarrow.fs.FileType.Directory]
    for name in sorted(folders):
        try:
            data = (checkpoints / name).read("log.jsonl")
        except FileNotFoundError:
            continue
        yield Training(name, tuple(_thin(list(_steps(data)))))


def _steps(data: bytes) -> Iterator[Row]:
    """The steps of a log that say a loss; its last line may be torn."""
    for line in data.splitlines():
        try:
            value = json.loads(line)
            step = {"step": int(value["step"])}
            losses = {key: float(value[key]) for key in ("loss", "val_loss") if value.get(key) is not None}
        except (ValueError, KeyError, TypeError):
            continue
        yield {**step, **{key: loss for key, loss in losses.items() if math.isfinite(loss)}}


def _thin(steps: list[Row]) -> Iterable[Row]:
    """Evenly chosen steps, the last among them, with every one that has a validation loss."""
    stride = max(1, math.ceil(len(steps) / _MAX_POINTS))
    for index, step in enumerate(steps):
        if (len(steps) - 1 - index) % stride == 0 or "val_loss" in step:
            yield step
