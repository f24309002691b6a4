"""Statistics as pictures: SVG that stands in the page itself and takes its colours."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import altair as alt
import vl_convert

from pipeline.report.statistics import Row, Training

_WIDTH = 380
_HEIGHT = 220
_BAR_STEP = 19
_MAX_BAR = 48
_MAX_CLASSES = 300  # a wrong date far off would leave a gap of thousands
_SECOND = "var(--second)"

_CONFIG: Mapping[str, Any] = {
    "background": None,
    "padding": {"left": 14, "right": 14, "top": 5, "bottom": 5},  # readers' fonts may be wider
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "bar": {"color": "var(--accent)"},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "domainColor": "currentColor",
        "tickColor": "currentColor",
        "gridColor": "currentColor",
        "gridOpacity": 0.15,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelLimit": 150,
        "labelPadding": 4,
    },
    "axisY": {"titlePadding": 14},
    "legend": {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 12},
}


def to_svg(chart: alt.Chart | alt.LayerChart | alt.FacetChart, height: int = _HEIGHT) -> str:
    """A chart in the report's looks; ``height`` in pixels."""
    specification = chart.properties(width=_WIDTH, height=height).to_dict()
    specification["config"] = dict(_CONFIG)
    svg: str = vl_convert.vegalite_to_svg(specification)
    return svg


def inline(rows: Sequence[Row]) -> alt.InlineData:
    """Rows as a chart holds them."""
    return alt.InlineData(values=[dict(row) for row in rows])


def _number_axis(rows: Sequence[Row], value: str) -> alt.Axis:
    """An axis for numbers of things: grouped digits, no halves."""
    return alt.Axis(format=",~f", tickCount=min(4, max(row[value] for row in rows)))


def ranking(rows: Sequence[Row], name: str, value: str) -> str:
    """Horizontal bars in the order of the rows."""
    chart = (
        alt.Chart(inline(rows))
        .mark_bar()
        .encode(
            x=alt.X(f"{value}:Q", title=value, axis=_number_axis(rows, value)),
            y=alt.Y(f"{name}:N", sort=None, title=None),
        )
    )
    return to_svg(chart, height=_BAR_STEP * len(rows))


def columns(
    rows: Sequence[Row], name: str, value: str, title: str, following: Callable[[Any], Any] | None = None
) -> str:
    """Vertical bars, one a class, in the order of the rows.

    With ``following``, which gives the next class, the classes that no row is of stand as gaps.
    """
    every = rows if following is None else _with_gaps(rows, name, value, following)
    labelled = [{name: _label(row[name]), value: row[value]} for row in every]
    axis = _class_axis(len(every))
    chart = (
        alt.Chart(inline(labelled))
        .mark_bar(size=min(_MAX_BAR, 0.85 * _WIDTH / len(every)))
        .encode(
            x=alt.X(f"{name}:N", sort=None, title=title, axis=axis),
            y=alt.Y(f"{value}:Q", title=value, axis=_number_axis(rows, value)),
        )
    )
    return to_svg(chart)


def _with_gaps(rows: Sequence[Row], name: str, value: str, following: Callable[[Any], Any]) -> Sequence[Row]:
    filled: list[Row] = []
    for row in rows:
        while filled and following(filled[-1][name]) < row[name]:
            filled.append({name: following(filled[-1][name]), value: 0})
            if len(filled) > _MAX_CLASSES:
                return rows
        filled.append(row)
    return filled


def _next_month(month: str) -> str:
    """The month after ``2019-12``."""
    year, number = (int(one) for one in month.split("-"))
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}"


def _double(number: int) -> int:
    return 2 * number


def _next_twentieth(number: float) -> float:
    return round(number + 0.05, 2)


def _label(value: object) -> str:
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def month_shares(rows: Sequence[Row]) -> str:
    """A column a month for the share of its posts with a score of 3 or more; those out of line stand out."""
    names = {False: "as around it", True: "out of line"}
    every = _with_gaps(rows, "month", "share_3", _next_month)
    labelled = [
        {"month": row["month"], "share_3": row["share_3"], "of": names[row.get("out_of_line", False)]}
        for row in every
    ]
    chart = (
        alt.Chart(inline(labelled))
        .mark_bar(size=min(_MAX_BAR, 0.85 * _WIDTH / len(every)))
        .encode(
            x=alt.X("month:N", sort=None, title="month of the post", axis=_class_axis(len(every))),
            y=alt.Y("share_3:Q", title="share with score ≥ 3", axis=alt.Axis(format=".0%", tickCount=4)),
            color=alt.Color(
                "of:N",
                title=None,
                scale=alt.Scale(domain=list(names.values()), range=["var(--accent)", _SECOND]),
                legend=alt.Legend(orient="top") if any(row["out_of_line"] for row in rows) else None,
            ),
        )
    )
    return to_svg(chart)


def _class_axis(num_classes: int) -> alt.Axis:
    return alt.Axis(labelAngle=-45 if num_classes > 8 else 0, labelOverlap=True, ticks=num_classes <= 60)


def losses(training: Training) -> str:
    """A model's training and validation loss over the steps."""
    names = {"loss": "training", "val_loss": "validation"}
    points = [
        {"step": step["step"], "loss": step[key], "of": name}
        for key, name in names.items()
        for step in training.steps
        if key in step
    ]
    base = alt.Chart(inline(points)).encode(
        x=alt.X("step:Q", title="step", axis=alt.Axis(format=",~f", tickCount=4)),
        y=alt.Y("loss:Q", title="loss (nats)", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4)),
        color=alt.Color(
            "of:N",
            title=None,
            scale=alt.Scale(domain=list(names.values()), range=["var(--accent)", _SECOND]),
            legend=alt.Legend(orient="top"),
        ),
    )
    dots = base.transform_filter("datum.of == 'validation'").mark_point(filled=True, size=30)
    return to_svg(alt.layer(base.mark_line(strokeWidth=1.5), dots))


CHARTS: Mapping[str, Callable[[Sequence[Row]], str]] = {
    "month_shares": month_shares,
    "fetch_outcomes": lambda rows: ranking(rows, "outcome", "links"),
    "document_lengths": lambda rows: columns(rows, "words_from", "documents", "words, from", _double),
    "karma": lambda rows: columns(rows, "karma_from", "documents", "karma, from", _double),
    "months": lambda rows: columns(rows, "month", "documents", "month of the first submission", _next_month),
    "languages": lambda rows: ranking(rows, "language", "documents"),
    "domains": lambda rows: ranking(rows, "domain", "documents"),
    "subreddits": lambda rows: ranking(rows, "subreddit", "documents"),
    "cluster_sizes": lambda rows: columns(rows, "documents", "clusters", "documents in a cluster"),
    "similarities": lambda rows: columns(
        rows, "similarity_from", "documents", "Jaccard similarity, from", _next_twentieth
    ),
}
