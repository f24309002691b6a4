"""The page of random documents, for reading one after another."""

import secrets
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pipeline.errors import InputError
from pipeline.inspector.catalogue.catalogue import Catalogue
from pipeline.inspector.inspection import Inspection
from pipeline.inspector.judging.samples import MAX_DOCUMENTS, WAYS, Draw, draw, languages
from pipeline.inspector.web.asking import asking, number_of
from pipeline.inspector.web.rendering import inspection_of, render

_MAX_SEED = 999_999
_MAX_CHARS = 100_000  # of a text; the story has the whole

# What stands above a text; of these some come with filter.
_COLUMNS = ("id", "url", "title", "karma", "created", "subreddits", "num_words", "language")

_WAYS = {
    "documents": "each document is as likely",
    "words": "each word is as likely: longer documents",
    "domains": "each domain is as likely, one document of each",
}


def samples(request: Request) -> Response:
    """Random documents with their texts; without a seed, those of a new one, whose address can be shared."""
    inspection = inspection_of(request)
    query = request.query_params
    asked = Draw(
        number_of(request, "seed", secrets.randbelow(_MAX_SEED) + 1, 0, _MAX_SEED),
        number_of(request, "n", 10, 1, MAX_DOCUMENTS),
        next((way for way in WAYS if way == query.get("by")), "documents"),
        query.get("language", "").strip(),
    )
    if query.get("seed") != str(asked.seed):
        return RedirectResponse(_address(asked, asked.seed), 303)
    stage = inspection.catalogue.stage
    known, rows = ([], []) if stage is None else _drawn(inspection, asked)
    return render(
        request,
        "samples.html.jinja",
        stage=stage,
        asked=asked,
        ways=_WAYS,
        languages=known,
        rows=rows,
        max_documents=MAX_DOCUMENTS,
        max_seed=_MAX_SEED,
        before=_address(asked, asked.seed - 1) if asked.seed > 0 else None,
        after=_address(asked, asked.seed + 1) if asked.seed < _MAX_SEED else None,
        back=_address(asked, asked.seed),
    )


def _drawn(inspection: Inspection, asked: Draw) -> tuple[list[tuple[str, int]], list[dict[str, Any]]]:
    """The languages that there are, and the documents with their texts and labels."""
    with asking(inspection.catalogue) as cursor:
        known = languages(cursor)
        ids = draw(cursor, asked)
    columns = [name for name in _COLUMNS if name in inspection.catalogue.contents.columns.names]
    found = inspection.catalogue.rows(
        f"SELECT {', '.join(columns)} FROM documents WHERE list_contains(?, id)",  # noqa: S608 - our own names
        [ids],
    )
    texts, problems = _texts(inspection.catalogue, ids)
    rows = []
    for row in sorted(found, key=lambda row: ids.index(row["id"])):
        text = texts.get(row["id"], "")
        size = len(text.encode(errors="replace"))
        told = {"size": size, "num_more": max(0, len(text) - _MAX_CHARS), "problem": problems.get(row["id"])}
        rows.append({**row, **told, "text": text[:_MAX_CHARS], "labels": inspection.labels.of(row["id"])})
    return known, rows


def _texts(catalogue: Catalogue, ids: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """The documents' texts; of those that cannot be read, why: a damaged file leaves the others to read."""
    try:
        return catalogue.texts(ids), {}
    except InputError:
        texts: dict[str, str] = {}
        problems: dict[str, str] = {}
        for one in ids:
            try:
                texts |= catalogue.texts([one])
            except InputError as error:
                problems[one] = str(error)
        return texts, problems


def _address(asked: Draw, seed: int) -> str:
    query: dict[str, object] = {"seed": seed, "n": asked.num_documents, "by": asked.by}
    if asked.language:
        query["language"] = asked.language
    return f"/samples?{urlencode(query)}"


ROUTES = (Route("/samples", samples),)
