"""The page of all documents: searched, filtered, sorted, some at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from pipeline.errors import InputError
from pipeline.inspector.catalogue.tables import Contents
from pipeline.inspector.search.browse import PAGE_SIZES, Asked, Shown, browse
from pipeline.inspector.search.filters import OPERATORS, Filter, kind_of
from pipeline.inspector.web.asking import number_of
from pipeline.inspector.web.rendering import inspection_of, render

_LAST_PAGE = 10**9

# The columns of the table beside the document itself, as people call them.
_NAMES: Mapping[str, str] = {
    "domain": "domain",
    "num_words": "words",
    "num_bytes": "bytes",
    "karma": "karma",
    "language": "language",
    "created": "first seen",
}
_ALWAYS = ("domain", "num_words", "karma", "language", "created")
_INSTEAD = {"num_words": "num_bytes"}  # of what a stage has not measured yet


@dataclass(frozen=True, slots=True)
class Heading:
    """A column of the table: its name, as people call it, whether numbers stand in it, and its order."""

    column: str
    name: str
    is_number: bool
    order: str  # as aria-sort has it; empty where nothing is sorted by it
    address: str  # that sorts by it, or the other way round


def documents(request: Request) -> Response:
    """A page of documents; what cannot be understood is told above an empty one."""
    inspection = inspection_of(request)
    asked = asked_of(request)
    opened = inspection.catalogue.now()
    contents = opened.contents
    if _is_id(asked.typed) and inspection.catalogue.document(asked.typed.strip()) is not None:
        return RedirectResponse(f"/documents/{asked.typed.strip()}", 303)
    try:
        shown, wrong = browse(opened, asked), None
    except InputError as error:
        shown, wrong = Shown((), 1, 0), str(error)
    here = replace(asked, page=shown.page)
    last = max(1, -(-shown.total // asked.size))
    return render(
        request,
        "documents.html.jinja",
        stage=contents.stage,
        asked=asked,
        shown=shown,
        wrong=wrong,
        damage=inspection.catalogue.damage(),
        first=(shown.page - 1) * asked.size + 1,
        last_page=last,
        headings=_headings(here, contents),
        columns=contents.columns.names,
        operators=OPERATORS,
        filters=[(one, _without(here, one)) for one in asked.filters],
        sizes=[(size, address(replace(here, size=size, page=1))) for size in PAGE_SIZES],
        best_first=address(replace(here, sort="", descending=False, page=1)),
        before=address(replace(here, page=shown.page - 1)) if shown.page > 1 else None,
        after=address(replace(here, page=shown.page + 1)) if shown.page < last else None,
        address_of_domain=lambda domain: address(Asked(filters=(Filter("domain", "eq", domain),))),
    )


def building(request: Request) -> Response:
    """How far the catalogue and the index are, for the line above every page."""
    state = inspection_of(request).catalogue.state()
    return JSONResponse({"is_ready": state.is_ready, "line": state.line(), "failed": state.error is not None})


ROUTES = (Route("/", documents), Route("/building.json", building))


def asked_of(request: Request) -> Asked:
    """What the address asks for; what it lacks, or has no sense, is as if it were not there."""
    query = request.query_params
    triples = zip(query.getlist("c"), query.getlist("o"), query.getlist("v"), strict=False)
    size = number_of(request, "size", PAGE_SIZES[0], 1, PAGE_SIZES[-1])
    return Asked(
        query.get("q", ""),
        tuple(Filter(column, operator, value) for column, operator, value in triples if column),
        query.get("sort", ""),
        query.get("desc") == "1",
        number_of(request, "page", 1, 1, _LAST_PAGE),
        size if size in PAGE_SIZES else PAGE_SIZES[0],
    )


def address(asked: Asked) -> str:
    """The address that asks for it, without what goes without saying."""
    pairs: list[tuple[str, Any]] = [("q", asked.typed)] if asked.typed else []
    for one in asked.filters:
        pairs += [("c", one.column), ("o", one.operator), ("v", one.value)]
    if asked.sort:
        pairs += [("sort", asked.sort), ("desc", int(asked.descending))]
    if asked.size != PAGE_SIZES[0]:
        pairs.append(("size", asked.size))
    if asked.page > 1:
        pairs.append(("page", asked.page))
    return "/?" + urlencode(pairs) if pairs else "/"


def _is_id(typed: str) -> bool:
    text = typed.strip()
    return len(text) == 32 and all(character in "0123456789abcdef" for character in text)


def _without(asked: Asked, one: Filter) -> str:
    return address(replace(asked, filters=tuple(other for other in asked.filters if other != one), page=1))


def _headings(asked: Asked, contents: Contents) -> list[Heading]:
    """What is always shown, and what is filtered or sorted by."""
    columns = contents.columns
    always = [name if name in columns.names else _INSTEAD.get(name, name) for name in _ALWAYS]
    also = [asked.sort, *(one.column for one in asked.filters)]
    names = dict.fromkeys([*always, *(name for name in also if name not in ("title", "url"))])
    headings = []
    for name in names:
        if name not in columns.names:
            continue
        is_number = kind_of(columns.field(name).type) == "a number"
        is_sorted = name == asked.sort
        # First from the greatest down where that is what one looks for; another click turns it round.
        descending = not asked.descending if is_sorted else is_number or name == "created"
        order = "" if not is_sorted else "descending" if asked.descending else "ascending"
        there = address(replace(asked, sort=name, descending=descending, page=1))
        headings.append(Heading(name, _NAMES.get(name, name), is_number, order, there))
    return headings
