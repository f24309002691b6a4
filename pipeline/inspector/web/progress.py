"""``/progress``: how a build goes, and what became of every record so far."""

import time
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pipeline.inspector.overview import Observer, Overview
from pipeline.inspector.web.rendering import inspection_of, render
from pipeline.runs import Folder
from pipeline.status import UNITS


def show_progress(request: Request) -> Response:
    """The page; its script fetches it again every other second, and shows what has changed."""
    overview = _look(request)
    live = overview.live
    return render(
        request,
        "progress.html.jinja",
        live=live,
        seen=live.seen(),
        stages=overview.stages,
        units=UNITS,
        tokenizer=overview.tokenizer,
        months=overview.months,
        most_posts=max((month.num_posts for month in overview.months), default=0),
        warnings=overview.warnings,
    )


def tell_progress(request: Request) -> Response:
    """The same facts for programs, by the names of ``webtext status --json``."""
    return JSONResponse(_look(request).to_json())


def _look(request: Request) -> Overview:
    return _observer(inspection_of(request).run).look(time.time())


@lru_cache(maxsize=1)
def _observer(run: Folder) -> Observer:
    """The one that has looked at the run before."""
    return Observer(run)


ROUTES = (Route("/progress", show_progress), Route("/progress.json", tell_progress))
