"""The page of labels and notes, their export, and the form by which they are given."""

from collections import Counter
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from pipeline.errors import InputError
from pipeline.inspector.inspection import Inspection
from pipeline.inspector.judging.labels import (
    EXPORTS,
    FOLDER,
    MAX_NOTE,
    REMOVE,
    Conflict,
    Labelled,
    parse_names,
)
from pipeline.inspector.web.asking import asking, number_of, pager
from pipeline.inspector.web.rendering import inspection_of, render

_ROWS_A_PAGE = 50


def labels(request: Request) -> Response:
    """All documents of which anything is said, or those with one label."""
    every, damaged = inspection_of(request).labels.look()
    chosen_label = request.query_params.get("label")
    chosen = [one for one in every if chosen_label is None or chosen_label in one.labels]
    last = max(1, -(-len(chosen) // _ROWS_A_PAGE))
    page = number_of(request, "page", 1, 1, last)
    query = {} if chosen_label is None else {"label": chosen_label}

    def address(page: int) -> str:
        return f"/labels?{urlencode({**query, 'page': page})}"

    return render(
        request,
        "labels.html.jinja",
        damaged=damaged,
        folder=FOLDER,
        num_all=len(every),
        counts=sorted(Counter(name for one in every for name in one.labels).items(), key=_most_frequent),
        label=chosen_label,
        num_chosen=len(chosen),
        rows=chosen[(page - 1) * _ROWS_A_PAGE : page * _ROWS_A_PAGE],
        exports=[(name, f"/labels/export?{urlencode({**query, 'as': name})}") for name in EXPORTS],
        removal=f"/labels/export?{urlencode({'as': 'documents', 'label': REMOVE})}",
        num_to_remove=sum(REMOVE in one.labels for one in every),
        back=address(page),
        **pager(address, page, last),
    )


def _most_frequent(count: tuple[str, int]) -> tuple[int, str]:
    return -count[1], count[0]


def export(request: Request) -> Response:
    """What is said as a file, of all documents or of those with one label."""
    if request.query_params.get("as") not in EXPORTS:
        raise HTTPException(404, f"Exports are: {', '.join(EXPORTS)}.")
    name, media_type, write = EXPORTS[request.query_params["as"]]
    label = request.query_params.get("label")
    chosen = [one for one in inspection_of(request).labels.every() if label is None or label in one.labels]
    return Response(
        write(chosen),
        media_type=media_type,
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


async def say(request: Request) -> Response:
    """Says something of a document: what its form holds is all that is said from now on."""
    form = parse_qs((await request.body()).decode(errors="replace"), keep_blank_values=True)
    return await run_in_threadpool(_say, request, form)


def _say(request: Request, form: dict[str, list[str]]) -> Response:
    inspection = inspection_of(request)
    document = request.path_params["id"]
    labelled = Labelled(
        document,
        _url(inspection, document),
        parse_names([*form.get("label", ()), *form.get("more", [""])[0].split(",")]),
        form.get("note", [""])[0].replace("\r\n", "\n").strip()[:MAX_NOTE],
        datetime.now(UTC),
    )
    problem = None
    try:
        inspection.labels.put(labelled, form.get("seen", [None])[0])
    except Conflict:
        problem = _changed(inspection.labels.of(document))
    except InputError as error:
        problem = str(error)
    if "application/json" in request.headers.get("accept", ""):
        now = inspection.labels.of(document)
        return JSONResponse({"version": now.version, "choices": now.choices, "problem": problem})
    if problem is not None:
        text = f"{problem} Go back and reload the page."
        return render(request, "message.html.jinja", 409, title="The labels were not saved", text=text)
    back = form.get("back", [""])[0]
    is_ours = back.startswith("/") and not back.startswith(("//", "/\\"))
    return RedirectResponse(f"{back if is_ours else '/labels'}#labels-{document}", 303)


def _changed(now: Labelled) -> str:
    labels = f"the labels are {', '.join(now.labels)}" if now.labels else "there are no labels"
    note = f"the note is “{now.note}”" if now.note else "there is no note"
    return f"Not saved: somebody else was quicker, and now {labels}, and {note}."


def _url(inspection: Inspection, document: str) -> str:
    """The URL of a document, or of a link that came to none; who asks for neither has made the id up."""
    known = inspection.labels.of(document).url
    if known:
        return known
    tables = inspection.catalogue.contents.tables
    with asking(inspection.catalogue) as cursor:
        for table in ("documents", "links"):
            if table in tables:
                sql = f"SELECT url FROM {table} WHERE id = $id"  # noqa: S608 - our own names
                row = cursor.execute(sql, {"id": document}).fetchone()
                if row is not None:
                    return str(row[0])
    raise HTTPException(404, "This run has no such document.")


ROUTES = (
    Route("/labels", labels),
    Route("/labels/export", export),
    Route("/labels/{id}", say, methods=["POST"]),
)
