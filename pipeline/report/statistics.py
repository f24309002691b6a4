"""The queries run over the tables that a run's manifests list, wherever the run is kept."""

import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.fs

from pipeline.errors import InputError
from pipeline.report.queries import QUERIES, Query
from pipeline.report.tables import TABLES, Row, add_table
from pipeline.runs import Folder, Manifest, read_manifest
from pipeline.stages import BY_NAME
from pipeline.status import Status, read_status

# A curve is read by its course: more points than a chart has pixels only make the page heavy.
_MAX_POINTS = 400

_DATABASE: Mapping[str, str | bool | int] = {
    "autoinstall_known_extensions": False,
    "TimeZone": "UTC",
    "memory_limit": "1GB",
    "threads": min(os.cpu_count() or 1, 8),  # each takes some of that
    "preserve_insertion_order": False,  # every query says its order, and none need keep another in memory
}


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
                    "section": one.query.section,
                    "title": one.query.title,
                    "definition": one.query.definition,
                    "sql": one.query.sql,
                    "rows": list(one.rows),
                }
                for name, one in self.measured.items()
            },
            "tables": {table.name: table.files for table in TABLES if table.stage in self.settings},
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
    return Statistics(
        status=status,
        measured=_answers(run, finished, [query for query in QUERIES if not missing[query.name]]),
        missing={name: stages for name, stages in missing.items() if stages},
        settings={name: manifest.settings for name, manifest in finished.items()},
        training=tuple(_training(run)),
    )


def _answers(run: Folder, manifests: Mapping[str, Manifest], queries: Iterable[Query]) -> dict[str, Measured]:
    """Each query, whose tables are all there, with its rows.

    Raises:
        InputError: Files of the run are missing or damaged.
    """
    try:
        with _database() as database:
            for table in TABLES:
                if table.stage in manifests:
                    add_table(database, run, table, manifests[table.stage])
            return {query.name: Measured(query, tuple(_rows(database, query))) for query in queries}
    except (OSError, pa.ArrowException, duckdb.Error) as error:
        raise InputError(
            f"{run.uri}: a table cannot be read ({error}): `webtext verify` names the file and what to do."
        ) from error


@contextmanager
def _database() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database in memory; what does not fit there lies in a folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix="webtext-report-") as folder:
        config: dict[str, Any] = {**_DATABASE, "temp_directory": folder}
        with duckdb.connect(config=config) as connection:
            yield connection


def _rows(database: duckdb.DuckDBPyConnection, query: Query) -> Iterator[Row]:
    for one in query.shared:
        database.execute(f"CREATE TABLE IF NOT EXISTS {one.name} AS {one.sql}")
    result = database.execute(query.body)
    names = [column[0] for column in result.description or ()]
    for values in result.fetchall():
        yield dict(zip(names, map(_finite, values), strict=True))


def _finite(value: Any) -> Any:
    """None for what JSON cannot say."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue
        yield {**step, **{key: loss for key, loss in losses.items() if math.isfinite(loss)}}


def _thin(steps: list[Row]) -> Iterable[Row]:
    """Evenly chosen steps, the last among them, with every one that has a validation loss."""
    stride = max(1, math.ceil(len(steps) / _MAX_POINTS))
    for index, step in enumerate(steps):
        if (len(steps) - 1 - index) % stride == 0 or "val_loss" in step:
            yield step
