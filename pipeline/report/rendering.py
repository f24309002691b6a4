"""The report's templates, loaded alike, and values as people read them."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape

UNKNOWN = "—"
_SIGNIFICANT = 3  # digits


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


def show_value(value: object, column: str = "") -> str:
    """A value of a column for people: ``1,234``, ``3.14``, of a share ``12.3 %``, ``yes``; None is a dash."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)) and "share" in column:
        return show_share(value)
    if isinstance(value, float):
        return _show_float(value)
    return f"{value:,}" if isinstance(value, int) and column != "year" else str(value)


def show_share(share: float) -> str:
    """A share from 0 to 1 as per cent: to a tenth, and where that says nothing to two digits."""
    return f"{100 * share:.2g} %" if 0 < share < 0.001 else f"{100 * share:.1f} %"


def _show_float(number: float) -> str:
    if not math.isfinite(number):
        return UNKNOWN
    if number == 0:
        return "0"
    decimals = max(0, _SIGNIFICANT - 1 - math.floor(math.log10(abs(number))))
    shown = f"{number:,.{decimals}f}"
    return shown.rstrip("0").rstrip(".") if decimals else shown
