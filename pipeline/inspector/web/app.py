"""The inspector's pages put together: a module each, and the rules that all of them keep."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from pipeline.errors import InputError, RunError
from pipeline.inspector.inspection import Inspection
from pipeline.inspector.web import (
    clusters,
    documents,
    labels,
    progress,
    raw_page,
    rejected,
    samples,
    sql,
    story,
    what_if,
)
from pipeline.inspector.web.rendering import render
from pipeline.inspector.web.security import Access, Guard

ROUTES: tuple[BaseRoute, ...] = (
    *documents.ROUTES,
    *story.ROUTES,
    *raw_page.ROUTES,
    *clusters.ROUTES,
    *rejected.ROUTES,
    *what_if.ROUTES,
    *samples.ROUTES,
    *labels.ROUTES,
    *sql.ROUTES,
    *progress.ROUTES,
)

_STATIC = Path(__file__).with_name("static")


def create_app(inspection: Inspection, access: Access) -> ASGIApp:
    """The inspector of a run as an ASGI application.

    Args:
        inspection: What is looked into.
        access: Who may ask.
    """
    app = Starlette(
        routes=[*ROUTES, Mount("/static", StaticFiles(directory=_STATIC))],
        exception_handlers={
            404: _not_found,
            InputError: _unreadable,
            RunError: _unreadable,
            500: _failed,
        },
    )
    app.state.inspection = inspection
    return Guard(app, access)  # outside of all else, so that answers to failures pass it too


def _not_found(request: Request, error: Exception) -> Response:
    return render(request, "message.html.jinja", 404, title="Not found", text=getattr(error, "detail", ""))


def _unreadable(request: Request, error: Exception) -> Response:
    return render(request, "message.html.jinja", 500, title="The run cannot be read", text=str(error))


def _failed(request: Request, _: Exception) -> Response:
    text = "This is a defect: please report it, with what the terminal says."
    return render(request, "message.html.jinja", 500, title="This page failed", text=text)
