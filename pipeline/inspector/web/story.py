"""The page of a document's story."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipeline.errors import InputError
from pipeline.inspector.document.excerpts import excerpt
from pipeline.inspector.document.story import Story, tell
from pipeline.inspector.document.tokens import read_tokens
from pipeline.inspector.inspection import Inspection
from pipeline.inspector.web.asking import number_of
from pipeline.inspector.web.rendering import inspection_of, render

TEXT_SIZE = 50_000
"""Characters of a text that are shown together."""

TOKENS_SHOWN = 2_000
MEMBERS_SHOWN = 20

_MOST = 1 << 40  # characters, tokens
_REDDIT_ID = re.compile(r"[0-9a-z]{1,10}")


def story(request: Request) -> Response:
    """Everything that the run knows of a link or document."""
    inspection = inspection_of(request)
    document_id = request.path_params["id"]
    told = tell(inspection.catalogue, document_id)
    if told is None:
        raise HTTPException(404, f"The run knows no link or document {document_id}.")
    return render(
        request,
        "story.html.jinja",
        story=told,
        labels=inspection.labels.of(told.id),
        submissions=[_submission(one) for one in (told.link or {}).get("submissions", ())],
        members=told.members[:MEMBERS_SHOWN],
        **_text(request, told),
        **_tokens(request, inspection, told),
    )


def _address(request: Request, place: str, **changed: object) -> str:
    """This page with another part of its text or tokens in view."""
    query = {
        name: request.query_params[name] for name in ("left", "text", "token") if name in request.query_params
    }
    return f"{request.url.path}?{urlencode({**query, **changed})}#{place}"


def _text(request: Request, told: Story) -> dict[str, Any]:
    """The piece of the text that is asked for, of the last stage's unless another is chosen."""
    if told.document is None:
        return {"shown": None, "choices": []}
    left = request.query_params.get("left", "")
    stage = left if left in told.texts else next(reversed(told.texts))
    shown = excerpt(told.texts[stage]["text"], number_of(request, "text", 0, 0, _MOST), TEXT_SIZE)
    return {
        "shown": shown,
        "choices": [(one, _address(request, "text", left=one, text=0), one == stage) for one in told.texts],
        "text_before": None if shown.before is None else _address(request, "text", text=shown.before),
        "text_after": None if shown.after is None else _address(request, "text", text=shown.after),
    }


def _tokens(request: Request, inspection: Inspection, told: Story) -> dict[str, Any]:
    """The tokens that are asked for, or why they cannot be shown."""
    if told.place is None:
        return {"tokens": None, "tokens_problem": None}
    start = number_of(request, "token", 0, 0, _MOST)
    try:
        tokens = read_tokens(inspection.catalogue, told.place, start, TOKENS_SHOWN)
    except InputError as error:
        return {"tokens": None, "tokens_problem": str(error)}
    before = max(0, tokens.start - TOKENS_SHOWN) if tokens.start else None
    after = tokens.end if tokens.end < tokens.total else None
    return {
        "tokens": tokens,
        "tokens_problem": None,
        "tokens_before": None if before is None else _address(request, "tokens", token=before),
        "tokens_after": None if after is None else _address(request, "tokens", token=after),
    }


def _submission(row: Mapping[str, Any]) -> dict[str, Any]:
    """A submission with its address on Reddit: lists of URLs have ids of their own."""
    ident = str(row["id"])
    known = _REDDIT_ID.fullmatch(ident)
    return {**row, "address": f"https://www.reddit.com/comments/{ident}" if known else None}


ROUTES = (Route("/documents/{id}", story),)
