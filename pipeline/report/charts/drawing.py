"""How the report's pictures are drawn: SVG that stands in a page and takes its colours, or in a file."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import altair as alt
import vl_convert

from pipeline.report.tables import Row

WIDTH = 400  # pixels, of a whole picture
HEIGHT = 240

# Colours by their names in CSS: on a light page, on a dark one.
COLOURS: Mapping[str, tuple[str, str]] = {
    "accent": ("#2f6fb5", "#6ba6e8"),
    "second": ("#c2571a", "#eb9a5c"),
    "third": ("#2e8555", "#6cc08b"),
    "fourth": ("#8250c4", "#b795ea"),
    "fifth": ("#a37c00", "#d9b84a"),
    "sixth": ("#c2407f", "#ea86b5"),
    "seventh": ("#148a94", "#5cc5cd"),
    "lost": ("#b9c3ca", "#566571"),
}
_INK = "#1d2327"  # of texts and axes in a file; in a page they have the page's own

Chart = alt.Chart | alt.LayerChart | alt.FacetChart | alt.VConcatChart | alt.HConcatChart | alt.ConcatChart


def css(name: str) -> str:
    """One of COLOURS as a page writes it."""
    return f"var(--{name})"


ACCENT = css("accent")
SECOND = css("second")

_FONTS = "system-ui, sans-serif"
# Readers' fonts may be a sixth wider than the one that texts are measured with: they are laid out larger than
# they are shown.
LAID_OUT_PX = 14
_SHOWN_PX = 12
_CONFIG: Mapping[str, Any] = {
    "background": None,
    "padding": {"left": 4, "right": 14, "top": 5, "bottom": 5},
    "font": _FONTS,
    "view": {"stroke": None},
    "bar": {"color": ACCENT},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "domainColor": "currentColor",
        "tickColor": "currentColor",
        "gridColor": "currentColor",
        "gridOpacity": 0.15,
        "labelFontSize": LAID_OUT_PX,
        "titleFontSize": LAID_OUT_PX,
        "titleFontWeight": "normal",
        "labelLimit": 165,
        "labelPadding": 4,
        "labelSeparation": 5,
    },
    "axisY": {"titlePadding": 10},
    "title": {"color": "currentColor", "fontSize": LAID_OUT_PX, "fontWeight": "normal", "anchor": "start"},
    "legend": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "labelFontSize": LAID_OUT_PX,
        "labelLimit": 165,
    },
}


def to_svg(chart: Chart, height: int = HEIGHT) -> str:
    """A chart in the report's looks, all of it ``height`` pixels high."""
    fit = alt.AutoSizeParams(type="fit", contains="padding")
    return to_svg_as_is(chart.properties(width=WIDTH, height=height, autosize=fit))


def to_svg_as_is(chart: Chart) -> str:
    """A chart in the report's looks whose parts have sizes of their own.

    What a mark says to screen readers it also says to a pointer that rests on it.
    """
    svg = vl_convert.vegalite_to_svg({**chart.to_dict(), "config": dict(_CONFIG)})
    svg = svg.replace(f'font-size="{LAID_OUT_PX}px"', f'font-size="{_SHOWN_PX}px"')
    return _MARK.sub(r"<\1 \2><title>\3</title></\1>", svg)


_MARK = re.compile(r'<(path|line) (aria-label="([^"]*)" role="graphics-symbol" [^>]*)/>')

_HEAD = re.compile(r'<svg ([^>]*?) width="(\d+)" height="(\d+)" viewBox="[^"]*">')
_COLOUR = re.compile(r'(fill|stroke)="(?:var\(--(\w+)\)|currentColor)"')
_TITLE_HEIGHT = 34


def standalone(svg: str, title: str) -> str:
    """A picture as a file: under its title, on white, in colours and fonts that need no page around it."""
    head = _HEAD.match(svg)
    if head is None:
        raise ValueError("this is no SVG of vl-convert's")
    width, height = int(head[2]), int(head[3]) + _TITLE_HEIGHT
    box = f'width="{width}" height="{height}"'
    title = escape(title)
    top = (
        f'<svg {head[1]} {box} viewBox="0 {-_TITLE_HEIGHT} {width} {height}"><title>{title}</title>'
        f'<rect y="{-_TITLE_HEIGHT}" {box} fill="white"/>'
        f'<text x="12" y="-12" font-family="sans-serif" font-size="15px" font-weight="bold" fill="{_INK}">'
        f"{title}</text>"
    )
    rest = _COLOUR.sub(lambda found: f'{found[1]}="{_on_white(found[2])}"', svg[head.end() :])
    return top + rest.replace(f'font-family="{_FONTS}"', 'font-family="sans-serif"') + "\n"


def _on_white(name: str | None) -> str:
    return COLOURS[name][0] if name else _INK


def inline(rows: Iterable[Row]) -> alt.InlineData:
    """Rows as a chart holds them."""
    return alt.InlineData(values=[dict(row) for row in rows])


def name_axis(limit: int = 165) -> alt.Axis:
    """An axis of names, each shown, cut where it is wider than ``limit``."""
    return alt.Axis(labelLimit=limit, labelOverlap=False)


def label(value: object) -> str:
    """A value as it stands at an axis: numbers with their digits grouped."""
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def number_axis(numbers: Iterable[float]) -> alt.Axis:
    """An axis for numbers of things: grouped digits, no halves."""
    return alt.Axis(format=",~f", tickCount=max(1, min(4, max(numbers))), labelOverlap=True)


def share_axis() -> alt.Axis:
    """An axis for shares from 0 to 1, shown as per cent."""
    return alt.Axis(labelExpr="format(100 * datum.value, ',.1~f') + ' %'", tickCount=4, labelOverlap=True)


def log_scale(numbers: Iterable[float], margin: float = 1) -> alt.Scale:
    """A logarithmic scale from the least of some positive numbers to the greatest, a factor beyond both."""
    least, greatest = _ends(numbers)
    return alt.Scale(type="log", nice=False, domain=[least / margin, greatest * margin])


def log_axis(numbers: Iterable[float]) -> alt.Axis:
    """Its axis: powers of ten, and where there are few of them what lies between."""
    least, greatest = _ends(numbers)
    powers = range(math.floor(math.log10(least)), math.ceil(math.log10(greatest)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5)):
        values = [step * 10.0**power for power in powers for step in steps]
        inside = [value for value in values if least <= value * 1.001 and value <= greatest * 1.001]
        if len(inside) >= 3:
            break
    return alt.Axis(format=",~f", values=inside, labelOverlap="greedy")


def _ends(numbers: Iterable[float]) -> tuple[float, float]:
    positive = [number for number in numbers if number > 0]
    least, greatest = min(positive, default=1), max(positive, default=1)
    return (least, greatest) if least < greatest else (least / 2, least * 2)


def legend(names: Sequence[str], colours: Sequence[str], columns: int = 3) -> alt.Color:
    """The colour of what a row is ``of``, told above the chart."""
    return alt.Color(
        "of:N",
        title=None,
        sort=None,
        scale=alt.Scale(domain=list(names), range=list(colours)),
        legend=alt.Legend(orient="top", columns=columns),
    )
