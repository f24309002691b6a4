"""The pages of what was rejected: every reason, and the records of one."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.inspector.judging.reasons import meaning, split_other
from pipeline.inspector.judging.rejected import (
    ORDERS,
    ROWS_A_PAGE,
    WITH_ROWS,
    Histogram,
    Order,
    Rejected,
    read_page,
    read_reasons,
)
from pipeline.inspector.web.asking import asking, number_of, pager
from pipeline.inspector.web.rendering import inspection_of, render
from pipeline.records import Reason
from pipeline.runs import Manifest

_MAX_PAGE = 1_000_000

# A histogram's drawing, in its own units.
_WIDTH, _HEIGHT = 640, 120


def rejected(request: Request) -> Response:
    """Every reason of every stage; or one reason's records, where the query names it."""
    stage, reason = (request.query_params.get(name) for name in ("stage", "reason"))
    manifests = inspection_of(request).catalogue.contents.manifests
    if stage is None and reason is None:
        return render(request, "rejected.html.jinja", stages=read_reasons(manifests))
    if stage not in WITH_ROWS or reason not in set(Reason):
        raise HTTPException(404, "No records are kept of such a reason.")
    if stage not in manifests:
        raise HTTPException(404, f"{stage} is not finished: `webtext build` goes on with it.")
    return _records(request, manifests[stage], reason)


def _records(request: Request, manifest: Manifest, reason: str) -> Response:
    stage = manifest.stage
    value = request.query_params.get("value")
    order: Order = next((one for one in ORDERS if one == request.query_params.get("order")), "value")
    page = number_of(request, "page", 1, 1, _MAX_PAGE)
    with asking(inspection_of(request).catalogue) as cursor:
        found = read_page(cursor, manifest, reason, value=value, order=order, page=page - 1)
    query = {"stage": stage, "reason": reason, **({} if value is None else {"value": value})}

    def address(order: Order = order, page: int = 1) -> str:
        return f"/rejected?{urlencode({**query, 'order': order, 'page': page})}"

    rows = [_shown(row) for row in found.rows]
    last = max(1, -(-found.total // ROWS_A_PAGE))
    return render(
        request,
        "rejected_reason.html.jinja",
        stage=stage,
        reason=reason,
        meaning=meaning(reason),
        found=found,
        rows=rows,
        has_other=any(row["other"] for row in rows),
        drawing=found.histogram and draw(found.histogram),
        value=value,
        orders=[(name, address(one), one == order) for one, name in _ORDERS.items()],
        every=f"/rejected?{urlencode({'stage': stage, 'reason': reason})}",
        values=[(name, num, f"{address()}&{urlencode({'value': name})}") for name, num in found.values],
        **pager(lambda other: address(page=other), page, last),
    )


_ORDERS: dict[Order, str] = {"value": "by value", "-value": "by value, down", "url": "by address"}


def _shown(row: Rejected) -> dict[str, Any]:
    """A row with the document that it is a copy of, and what else its value says."""
    other, value = split_other(row.value)
    return {"id": row.id, "url": row.url, "other": other, "value": value}


@dataclass(frozen=True, slots=True)
class Drawing:
    """A histogram as shapes: bars (left, top, width, height, and what they say), the limit, both ends."""

    width: int
    height: int
    bars: tuple[tuple[float, float, float, float, str], ...]
    limit: float | None
    start: str
    end: str
    highest: int
    num_above: int


def draw(histogram: Histogram) -> Drawing:
    """A histogram as shapes of which a template makes SVG."""
    highest = max(histogram.nums, default=0)
    step = _WIDTH / len(histogram.nums)
    bars = []
    for place, num in enumerate(histogram.nums):
        if num:
            height = max(1.5, _HEIGHT * num / highest)
            start = histogram.start + place * histogram.width
            says = f"{start:.6g} to {start + histogram.width:.6g}: {num:,}"
            bars.append((place * step + 0.5, _HEIGHT - height, step - 1, height, says))

    span = histogram.end - histogram.start
    return Drawing(
        _WIDTH,
        _HEIGHT,
        tuple(bars),
        None if histogram.limit is None else _WIDTH * (histogram.limit - histogram.start) / span,
        f"{histogram.start:,.6g}",
        f"{histogram.end:,.6g}",
        highest,
        histogram.num_above,
    )


ROUTES = (Route("/rejected", rejected),)
