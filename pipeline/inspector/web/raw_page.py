"""The page that a document was made from: as it was seen, in a sandbox of its own, and as it was written.

Three things keep a page from doing anything, and each is enough: it is written anew without what could
(document/harmless.py), its frame is a sandbox, and so is the answer itself by its policy, which lets nothing
be loaded and holds wherever the answer is opened.
"""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from pipeline.errors import InputError
from pipeline.inspector.document.excerpts import excerpt
from pipeline.inspector.document.harmless import MOST_CHARACTERS, harmless
from pipeline.inspector.document.raw_page import RawPage, in_plain_sight, read_page
from pipeline.inspector.document.stored import Row, find_page
from pipeline.inspector.web.asking import number_of
from pipeline.inspector.web.rendering import inspection_of, render

SOURCE_SIZE = 50_000
"""Characters of a source that are shown together."""

HEADERS = {
    "content-security-policy": (
        "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; "
        "base-uri 'none'; frame-ancestors 'self'"
    ),
    "x-frame-options": "SAMEORIGIN",
    "x-dns-prefetch-control": "off",
}


def page(request: Request) -> Response:
    """The page made harmless, for a frame; why there is none, in words."""
    try:
        _, found = _read(request)
    except InputError as error:
        return PlainTextResponse(str(error), 500, HEADERS)
    if not found.is_html:
        text = "What the server sent is no HTML: it is shown as source only."
        return PlainTextResponse(text, headers=HEADERS)
    return HTMLResponse(harmless(found.html), headers=HEADERS)


def source(request: Request) -> Response:
    """What the server sent, as it was written, with the headers."""
    row, found = _read(request)
    shown = excerpt(found.html, number_of(request, "from", 0, 0, 1 << 40), SOURCE_SIZE)
    address = f"{request.url.path}?from="
    return render(
        request,
        "raw_page.html.jinja",
        row=row,
        page=found,
        text=in_plain_sight(shown.text),
        shown=shown,
        num_shown=MOST_CHARACTERS,
        before=None if shown.before is None else f"{address}{shown.before}#source",
        after=None if shown.after is None else f"{address}{shown.after}#source",
    )


def _read(request: Request) -> tuple[Row, RawPage]:
    catalogue = inspection_of(request).catalogue
    row = find_page(catalogue, request.path_params["id"])
    if row is None:
        raise HTTPException(404, "The run has no page of this link.")
    return row, read_page(catalogue, row)


ROUTES = (Route("/documents/{id}/page", page), Route("/documents/{id}/source", source))
