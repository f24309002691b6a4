"""Questions in SQL to a run's tables: one that reads, within limits, and nothing else."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb

from pipeline.errors import InputError
from pipeline.inspector.catalogue.catalogue import Opened, reading
from pipeline.report.tables import TABLES

MAX_ROWS = 1_000
MAX_CSV_ROWS = 100_000
MAX_SECONDS = 20.0

_MAX_CHARS = 100_000
_EXPLAIN = re.compile(r"\s*EXPLAIN\s*(?:\([^)]*\)|ANALYZE\b)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gave: columns, rows, whether there are more of these, and how long it took."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    is_cut: bool
    seconds: float


def ask(opened: Opened, sql: str, max_rows: int = MAX_ROWS, max_seconds: float = MAX_SECONDS) -> Answer:
    """Answers one query.

    Args:
        opened: The run; besides its tables there are those that the report's queries name.
        sql: One SELECT, or what else only reads: WITH, FROM, VALUES, DESCRIBE, SUMMARIZE, SHOW, EXPLAIN.
        max_rows: More rows are left out.
        max_seconds: After these it is ended.

    Raises:
        InputError: It is no such query, it fails, or it takes too long; the message is for who wrote it.
    """
    check(sql)
    started = time.monotonic()
    with opened.cursor() as cursor:
        try:
            with reading():
                _add_named(opened, cursor, sql)
                with _ended_after(max_seconds, cursor):
                    cursor.execute(sql)
                    rows = cursor.fetchmany(max_rows + 1)
                    columns = tuple(column[0] for column in cursor.description or ())
        except duckdb.InterruptException:
            raise InputError(f"It was ended: a query may take {max_seconds:g} seconds.") from None
        except duckdb.PermissionException as error:
            raise InputError(
                f"SQL reads the run's tables here, no files and no settings ({_first_line(error)})."
            ) from error
        except duckdb.OutOfMemoryException as error:
            raise InputError("It takes more memory than a query has here: ask for less at once.") from error
        except duckdb.Error as error:
            raise InputError(str(error)) from error
    return Answer(columns, tuple(rows[:max_rows]), len(rows) > max_rows, time.monotonic() - started)


def check(sql: str) -> None:
    """Raises InputError unless it is one statement that only reads."""
    if not sql.strip():
        raise InputError("There is no query.")
    if len(sql) > _MAX_CHARS:
        raise InputError(f"A query has at most {_MAX_CHARS:,} characters.")
    kinds = _kinds(sql)
    if len(kinds) != 1:
        raise InputError(f"One query at a time: these are {len(kinds)}." if kinds else "There is no query.")
    if kinds[0] == duckdb.StatementType.EXPLAIN:
        kinds = _kinds(_EXPLAIN.sub("", sql, count=1))
    if kinds != [duckdb.StatementType.SELECT]:
        raise InputError(
            f"This is {kinds[0].name} and not a query: SQL only reads here (SELECT, WITH, FROM, VALUES, "
            "DESCRIBE, SUMMARIZE, SHOW, EXPLAIN)."
        )


def _kinds(sql: str) -> list[duckdb.StatementType]:
    try:
        return [statement.type for statement in duckdb.extract_statements(sql)]
    except duckdb.Error as error:
        raise InputError(str(error)) from error


def _add_named(opened: Opened, cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Adds what the query may name of the report's tables, some of which take seconds to make."""
    contents = opened.contents
    if contents.stage == "dedupe" and "corpus" in sql:
        cursor.register("corpus", opened.datasets["documents"])
    for table in TABLES:
        manifest = contents.manifests.get(table.stage)
        if table.make is not None and manifest is not None and table.name in sql:
            cursor.register(table.name, table.make(contents.run, manifest))


@contextmanager
def _ended_after(seconds: float, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    timer = threading.Timer(seconds, cursor.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].partition(": ")[2]
