"""A page of documents: those that a search and filters leave, in an order, some at a time."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.inspector.catalogue.catalogue import Opened, reading
from pipeline.inspector.search.filters import Condition, Filter, condition, quoted
from pipeline.inspector.search.query import Query, parse_query
from pipeline.inspector.search.snippets import Piece, snippet
from pipeline.inspector.search.text_index import Found, Index, words

PAGE_SIZES = (20, 50, 100)

MAX_MATCHES = 1_000_000  # that filters and orders other than the best first are applied to

# What a page says of a document; its text's bytes too where no text has to be read for them.
SHOWN = ("id", "title", "url", "domain", "num_words", "karma", "language", "created", "part")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a page of documents is asked for.

    Attributes:
        typed: What stands in the search box.
        filters: Conditions that all hold.
        sort: The column to sort by; empty: the best first where something is searched for, else as they lie.
        descending: From the greatest down; nulls come last either way.
        page: The first is 1; one behind the last is the last.
        size: Documents a page.
    """

    typed: str = ""
    filters: tuple[Filter, ...] = ()
    sort: str = ""
    descending: bool = False
    page: int = 1
    size: int = PAGE_SIZES[0]


@dataclass(frozen=True, slots=True)
class Document:
    """A document in a page: its columns and, where it was searched for, its score and where it matches."""

    row: Mapping[str, Any]
    score: float | None = None
    snippet: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """A page of documents.

    Attributes:
        documents: Those of the page.
        page: Its number.
        total: The documents of all pages.
        notes: What is to be said beside: what is slow, left out, or damaged.
    """

    documents: tuple[Document, ...]
    page: int
    total: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Order:
    """The rows that are left and how they stand: SQL for behind WHERE and behind ORDER BY."""

    where: Condition
    keys: str


def browse(opened: Opened, asked: Asked) -> Shown:
    """A page of a run's documents.

    Raises:
        InputError: What was asked for cannot be understood, or a file that it takes cannot be read.
    """
    columns = opened.contents.columns
    if opened.contents.stage is None:
        return Shown((), 1, 0)
    where = condition(asked.filters, columns)
    direction = "DESC" if asked.descending else "ASC"
    keys = f"{quoted(asked.sort, columns)} {direction} NULLS LAST, " if asked.sort else ""
    if asked.typed.strip():
        query = parse_query(asked.typed)
        if opened.index is None:
            return Shown((), 1, 0, ("Texts can be searched once all of them are indexed.",))
        if asked.filters or asked.sort:
            return _search_and_sift(opened, opened.index, asked, query, _Order(where, keys))
        return _search(opened, opened.index, asked, query)
    if opened.is_built:
        return _from_catalogue(opened, asked, _Order(where, f"{keys}rowid"))
    if asked.filters or asked.sort:
        return _from_files(opened, asked, _Order(where, f"{keys}part, id"))
    return _as_they_lie(opened, asked)


def _page(asked: Asked, total: int) -> tuple[int, int]:
    """The number of the page that is shown, and how many documents are before it."""
    page = max(1, min(asked.page, -(-total // asked.size)))
    return page, (page - 1) * asked.size


def _columns(opened: Opened, asked: Asked) -> list[str]:
    """What is read of each document: what is always shown, and what was asked about."""
    names = dict.fromkeys([*SHOWN, *filter(None, [asked.sort]), *(one.column for one in asked.filters)])
    if opened.is_built:
        names["num_bytes"] = None
    return [name for name in names if name in opened.contents.columns.names]


def _names(opened: Opened, asked: Asked) -> str:
    """Those columns as SQL lists them."""
    return ", ".join(quoted(name, opened.contents.columns) for name in _columns(opened, asked))


def _as_they_lie(opened: Opened, asked: Asked) -> Shown:
    """The parts that the page's documents are in, and no others; the manifest counts those before."""
    table = opened.contents.tables["documents"]
    page, skipped = _page(asked, table.num_rows)
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for file in table.files:
        if skipped >= file.rows:
            skipped -= file.rows
            continue
        try:
            found, _ = opened.contents.documents(file, _columns(opened, asked))
            rows += found.slice(skipped, asked.size - len(rows)).to_pylist()
        except InputError as error:
            notes.append(str(error))
        skipped = 0
        if len(rows) == asked.size:
            break
    return Shown(tuple(map(Document, rows)), page, table.num_rows, tuple(notes))


def _from_files(opened: Opened, asked: Asked, order: _Order) -> Shown:
    total = _count(opened, order.where)
    page, skipped = _page(asked, total)
    sql = _select(_names(opened, asked), "documents", order.where.sql, order.keys)
    rows = opened.rows(sql, [*order.where.values, asked.size, skipped])
    return Shown(tuple(map(Document, rows)), page, total)


def _from_catalogue(opened: Opened, asked: Asked, order: _Order) -> Shown:
    total = _count(opened, order.where)
    page, skipped = _page(asked, total)
    sql = _select("rowid", "documents", order.where.sql, order.keys)
    found = opened.rows(sql, [*order.where.values, asked.size, skipped])
    rows = _rows(opened, asked, [row["rowid"] for row in found])
    return Shown(tuple(map(Document, rows)), page, total)


def _count(opened: Opened, where: Condition) -> int:
    num: int = opened.rows(_select("count(*) AS num", "documents", where.sql), where.values)[0]["num"]
    return num


def _select(columns: str, tables: str, where: str, keys: str = "") -> str:
    """SQL of our own words and quoted names; values, and with keys the limits of a page, are bound to it."""
    page = f"ORDER BY {keys} LIMIT ? OFFSET ?" if keys else ""
    return f"SELECT {columns} FROM {tables} WHERE {where} {page}"  # noqa: S608


def _search(opened: Opened, index: Index, asked: Asked, query: Query) -> Shown:
    page, skipped = 1, 0
    if asked.page > 1:
        page, skipped = _page(asked, index.best(query, 1).total)
    found = index.best(query, asked.size, skipped)
    return _with_snippets(opened, asked, query, found, Shown((), page, found.total))


def _search_and_sift(opened: Opened, index: Index, asked: Asked, query: Query, order: _Order) -> Shown:
    """As the best matches are known by their rows, the catalogue applies filters and order to them."""
    found = index.all(query, MAX_MATCHES)
    places = pa.table({"_row": found.numbers, "_place": np.arange(len(found.numbers))})
    both = "documents JOIN places ON documents.rowid = _row"
    with reading(), opened.cursor() as cursor:
        cursor.register("places", places)
        counted = cursor.execute(_select("count(*)", both, order.where.sql), order.where.values)
        total = counted.fetchall()[0][0]
        page, skipped = _page(asked, total)
        sql = _select("_place", both, order.where.sql, f"{order.keys}_place")
        chosen = cursor.execute(sql, [*order.where.values, asked.size, skipped]).fetchall()
    taken = np.array([place for (place,) in chosen], np.int64)
    notes = []
    if found.total > MAX_MATCHES:
        notes = [f"{found.total:,} match; filters and orders see the {MAX_MATCHES:,} best of them."]
    best = Found(found.numbers[taken], found.scores[taken], found.total)
    return _with_snippets(opened, asked, query, best, Shown((), page, total, tuple(notes)))


def _with_snippets(opened: Opened, asked: Asked, query: Query, found: Found, shown: Shown) -> Shown:
    rows = _rows(opened, asked, found.numbers.tolist())
    by_part: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_part[row["part"]].append(row["id"])
    texts, damage = opened.texts_of_parts(by_part)
    terms = [term for group in query.groups for term in group if "text" in term.fields]
    phrases = [[word for _, word in words(term.text)] for term in terms]
    documents = tuple(
        Document(row, score, snippet(texts[row["id"]], phrases) if row["id"] in texts else ())
        for row, score in zip(rows, found.scores.tolist(), strict=True)
    )
    return replace(shown, documents=documents, notes=(*shown.notes, *damage))


def _rows(opened: Opened, asked: Asked, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """The documents in these rows of the catalogue, in this order."""
    if not numbers:
        return []
    listed = ", ".join(map(str, numbers))
    names = _names(opened, asked)
    found = opened.rows(_select(f"rowid AS _row, {names}", "documents", f"rowid IN ({listed})"))
    by_number = {row.pop("_row"): row for row in found}
    return [by_number[number] for number in numbers]
