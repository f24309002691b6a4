"""The pages of near-duplicates: all clusters, and one with its survivor beside what was removed for it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.errors import InputError
from pipeline.inspector.catalogue.catalogue import Catalogue
from pipeline.inspector.document.clusters import (
    CLUSTERS_A_PAGE,
    ORDERS,
    Member,
    Order,
    count_clusters,
    list_clusters,
    read_members,
)
from pipeline.inspector.document.differences import MOST_CHARACTERS, Row, compare
from pipeline.inspector.document.stored import find_page, part_of, read_document
from pipeline.inspector.web.asking import number_of, pager
from pipeline.inspector.web.rendering import inspection_of, render

MEMBERS_A_PAGE = 100

_LINES_AROUND = 2  # of lines that are the same, beside those that differ
_LEAST_FOLDED = 3

_ORDER_NAMES: dict[Order, str] = {
    "documents": "most documents",
    "removed": "most removed",
    "least": "least similar",
    "most": "most similar",
}


def clusters(request: Request) -> Response:
    """All clusters."""
    catalogue = inspection_of(request).catalogue
    total = count_clusters(catalogue)
    order = next((one for one in ORDERS if one == request.query_params.get("order")), ORDERS[0])
    last = max(1, -(-(total or 0) // CLUSTERS_A_PAGE))
    page = number_of(request, "page", 1, 1, last)

    def address(order: Order = order, page: int = 1) -> str:
        return f"/clusters?{urlencode({'order': order, 'page': page})}"

    return render(
        request,
        "clusters.html.jinja",
        total=total,
        rows=list_clusters(catalogue, order, page - 1) if total else [],
        orders=[(_ORDER_NAMES[one], address(one), one == order) for one in ORDERS],
        **pager(lambda other: address(page=other), page, last),
    )


def cluster(request: Request) -> Response:
    """A cluster's documents, and one of them beside the document that was kept in its place."""
    catalogue = inspection_of(request).catalogue
    name = request.path_params["id"]
    members = read_members(catalogue, name)
    if not members:
        raise HTTPException(404, f"The run has no cluster {name}.")
    chosen = _chosen(members, request.query_params.get("with"))
    last = -(-len(members) // MEMBERS_A_PAGE)
    here = 1 if chosen is None else members.index(chosen) // MEMBERS_A_PAGE + 1
    page = number_of(request, "page", here, 1, last)
    first = (page - 1) * MEMBERS_A_PAGE

    def address(page: int) -> str:
        return f"/clusters/{name}?{urlencode({'page': page})}"

    return render(
        request,
        "cluster.html.jinja",
        name=name,
        num_members=len(members),
        num_removed=sum(not one.kept for one in members),
        members=members[first : first + MEMBERS_A_PAGE],
        chosen=chosen,
        neighbours=_neighbours(name, members, chosen),
        **pager(address, page, last),
        most=MOST_CHARACTERS,
        **_compared(catalogue, members, chosen),
    )


def _chosen(members: list[Member], asked: str | None) -> Member | None:
    """The member asked for, else the first that was removed."""
    found = next((one for one in members if one.id == asked and one.id != one.survivor), None)
    return found or next((one for one in members if not one.kept), None)


def _neighbours(name: str, members: list[Member], chosen: Member | None) -> tuple[str | None, str | None]:
    """The addresses of the removed documents before and behind the chosen one."""
    removed = [one.id for one in members if not one.kept]
    if chosen is None or chosen.id not in removed:
        return None, None
    at = removed.index(chosen.id)
    around = (removed[at - 1] if at else None, removed[at + 1] if at + 1 < len(removed) else None)
    before, after = (one and f"/clusters/{name}?with={one}#compared" for one in around)
    return before, after


def _compared(catalogue: Catalogue, members: list[Member], chosen: Member | None) -> dict[str, Any]:
    """The chosen document beside its survivor, or why not."""
    nothing = {"compared": None, "shown": (), "survivor": None, "problem": None}
    if chosen is None:
        return nothing
    survivor = next((one for one in members if one.id == chosen.survivor), None)
    if chosen.run is not None:
        problem = f"The document that was kept in its place is in the run {chosen.run}, not in this one."
        return {**nothing, "problem": problem}
    try:
        left = _text(catalogue, "dedupe", chosen.survivor)
        right = _text(catalogue, "filter", chosen.id)
    except InputError as error:
        return {**nothing, "problem": str(error)}
    compared = compare(left, right)
    return {
        "compared": compared,
        "shown": list(_folded(compared.rows)),
        "survivor": survivor,
        "problem": None,
    }


@dataclass(frozen=True, slots=True)
class Shown:
    """A row that differs; or a text that both have, of which so many lines are folded away."""

    row: Row | None = None
    text: str = ""
    num_folded: int = 0


def _folded(rows: Sequence[Row]) -> Iterator[Shown]:
    """Rows with all that is the same folded away but for a few lines around what differs."""
    for at, row in enumerate(rows):
        if not row.is_same:
            yield Shown(row)
            continue
        lines = "".join(piece.text for piece in row.left).splitlines(keepends=True)
        head = _LINES_AROUND if at else 0
        tail = len(lines) - (_LINES_AROUND if at + 1 < len(rows) else 0)
        if tail - head < _LEAST_FOLDED or len(rows) == 1:
            head = tail = len(lines)
        for piece, num_folded in ((lines[:head], 0), (lines[head:tail], tail - head), (lines[tail:], 0)):
            if piece:
                yield Shown(text="".join(piece), num_folded=num_folded)


def _text(catalogue: Catalogue, stage: str, document_id: str) -> str:
    """A document's text as a stage left it: the one before dedupe, where that removed it.

    Raises:
        InputError: It cannot be read.
    """
    page = find_page(catalogue, document_id)
    document = page and read_document(catalogue, stage, part_of(page), document_id)
    if not document:
        raise InputError(f"The text of {document_id} is not in the run: `webtext verify` tells what to do.")
    text: str = document["text"]
    return text


ROUTES = (Route("/clusters", clusters), Route("/clusters/{id}", cluster))
