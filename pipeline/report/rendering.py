"""The report's templates, loaded alike."""

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape


def load_template(name: str, filters: Mapping[str, Callable[..., Any]]) -> Template:
    """A template of this package, with filters of its own.

    In HTML all values are escaped; in Markdown none is: there what comes from outside goes through a filter.
    """
    environment = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=select_autoescape(("html.jinja",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not name.endswith(".html.jinja"),
    )
    environment.filters |= filters
    return environment.get_template(name)
