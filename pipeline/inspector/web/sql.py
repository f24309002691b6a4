"""The page that answers questions in SQL, and what it gives as CSV."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from pipeline.errors import InputError
from pipeline.inspector.catalogue.catalogue import Opened
from pipeline.inspector.catalogue.sql import MAX_CSV_ROWS, MAX_ROWS, MAX_SECONDS, Answer, ask
from pipeline.inspector.web.rendering import inspection_of, render, show
from pipeline.report.queries import QUERIES, SECTIONS, Query
from pipeline.report.tables import TABLES

_CELL_CHARS = 160  # shown of a value: a text may have millions
_ONE_ROW_CHARS = 5_000  # where there is no other row
_LINES_AT_ONCE = 500
_SHORT_CHARS = 50  # up to these a value is not broken into lines

_FIRST = """\
SELECT domain, count(*) AS documents
FROM documents
GROUP BY domain ORDER BY documents DESC LIMIT 20"""


def sql(request: Request) -> Response:
    """The query, its answer or what is wrong with it, the tables, and the report's queries to begin with."""
    opened = inspection_of(request).catalogue.now()
    asked = request.query_params.get("sql")
    answer = wrong = None
    if asked is not None:
        try:
            answer = ask(opened, asked)
        except InputError as error:
            wrong = str(error)
    return render(
        request,
        "sql.html.jinja",
        asked=_FIRST if asked is None else asked,
        answer=answer,
        wrong=wrong,
        cell=_cell,
        numeric=() if answer is None else _numeric(answer.rows, len(answer.columns)),
        tables=_tables(opened),
        examples=_examples(opened),
        is_long=lambda text: len(text) > _SHORT_CHARS,
        example_address=lambda query: "/sql?" + urlencode({"sql": query.sql}),
        csv_address="/sql.csv?" + urlencode({"sql": asked or ""}),
        max_rows=MAX_ROWS,
        max_csv_rows=MAX_CSV_ROWS,
        max_seconds=MAX_SECONDS,
    )


def sql_csv(request: Request) -> Response:
    """The answer as a file; what is wrong with the query, as plain text."""
    opened = inspection_of(request).catalogue.now()
    try:
        answer = ask(opened, request.query_params.get("sql", ""), MAX_CSV_ROWS)
    except InputError as error:
        return Response(f"{error}\n", 400, media_type="text/plain")
    name = {"content-disposition": 'attachment; filename="answer.csv"'}
    return StreamingResponse(_csv_lines(answer), headers=name, media_type="text/csv")


ROUTES = (Route("/sql", sql), Route("/sql.csv", sql_csv))


def _csv_lines(answer: Answer) -> Iterator[bytes]:
    """Some lines at a time, as texts can be large; lists and structures as JSON."""
    lines = [answer.columns, *answer.rows]
    for start in range(0, len(lines), _LINES_AT_ONCE):
        text = io.StringIO()
        rows = lines[start : start + _LINES_AT_ONCE]
        csv.writer(text).writerows([_csv_value(value) for value in row] for row in rows)
        yield text.getvalue().encode(errors="replace")


def _csv_value(value: object) -> object:
    return json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, (list, dict)) else value


def _cell(value: object, num_rows: int) -> str:
    text = "NULL" if value is None else show(value)
    most = _ONE_ROW_CHARS if num_rows == 1 else _CELL_CHARS
    return text if len(text) <= most else f"{text[:most]} …"


def _numeric(rows: tuple[tuple[Any, ...], ...], num_columns: int) -> tuple[bool, ...]:
    """Which columns have nothing but numbers."""
    return tuple(
        any(row[index] is not None for row in rows)
        and all(row[index] is None or _is_number(row[index]) for row in rows)
        for index in range(num_columns)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _tables(opened: Opened) -> dict[str, list[str]]:
    """What can be named → its columns; the inspector's own first, then what the report's queries add."""
    contents = opened.contents
    tables = {name: table.schema.names for name, table in contents.tables.items()}
    if "documents" in tables:
        tables["documents"] = contents.columns.names
    for table in TABLES:
        if table.stage in contents.manifests:
            tables.setdefault(table.name, table.schema.names)
    return tables


def _examples(opened: Opened) -> dict[str, list[Query]]:
    """The report's queries whose tables are there, by its sections."""
    tables = _tables(opened)
    there = [query for query in QUERIES if all(name in tables for name in query.tables)]
    return {name: [query for query in there if query.section == name] for name in SECTIONS}
