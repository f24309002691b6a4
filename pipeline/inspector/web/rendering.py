"""The inspector's templates, and how values stand in them."""

from datetime import date, datetime
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from pipeline.inspector.inspection import Inspection
from pipeline.plain_table import byte_size, duration, percentage
from pipeline.report.rendering import show_value

NAVIGATION = (
    ("/", "Documents"),
    ("/samples", "Samples"),
    ("/clusters", "Duplicates"),
    ("/rejected", "Rejected"),
    ("/what-if", "What if"),
    ("/labels", "Labels"),
    ("/sql", "SQL"),
    ("/progress", "Progress"),
)


def inspection_of(request: Request) -> Inspection:
    """What the application of this request looks into."""
    inspection: Inspection = request.app.state.inspection
    return inspection


def render(request: Request, name: str, status_code: int = 200, /, **values: Any) -> HTMLResponse:
    """A page from a template, which sees the values beside ``run``, ``navigation`` and ``path``."""
    inspection = inspection_of(request)
    html = (
        _environment()
        .get_template(name)
        .render(
            run=inspection.run.name,
            navigation=NAVIGATION,
            path=request.url.path,
            building=inspection.catalogue.state(),
            **values,
        )
    )
    return HTMLResponse(html, status_code)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipeline.inspector.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"value": show, "bytes": byte_size, "share": percentage, "duration": duration}
    return environment


def show(value: object) -> str:
    """A value as people read it: numbers grouped, times in UTC, nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}" + (" UTC" if value.tzinfo else "")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return ", ".join(show(one) for one in value)
    return show_value(value)
