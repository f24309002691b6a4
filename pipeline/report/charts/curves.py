"""Curves, spans and shapes: how one number follows from another, and how numbers are spread."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from textwrap import wrap
from typing import Any

import altair as alt

from pipeline.report.charts.drawing import (
    ACCENT,
    SECOND,
    css,
    inline,
    label,
    legend,
    log_axis,
    log_scale,
    name_axis,
    number_axis,
    share_axis,
    to_svg,
    to_svg_as_is,
)
from pipeline.report.rendering import show_share
from pipeline.report.statistics import Training
from pipeline.report.tables import Row

_LEAST_MS = 0.01  # what a logarithm makes of 0 is nowhere
_POINT = 36
_SHAPE_WIDTH, _SHAPE_HEIGHT = 132, 80


def losses(training: Training) -> str:
    """A model's training and validation loss over the steps."""
    names = {"loss": "training", "val_loss": "validation"}
    points = [
        {
            "step": step["step"],
            "loss": step[key],
            "of": name,
            "says": f"step {step['step']:,}, {name}: {step[key]:.4f} nats",
        }
        for key, name in names.items()
        for step in training.steps
        if key in step
    ]
    base = alt.Chart(inline(points)).encode(
        x=alt.X("step:Q", title="step", axis=alt.Axis(format=",~f", tickCount=4)),
        y=alt.Y(
            "loss:Q", title="loss (nats a token)", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4)
        ),
        color=legend(list(names.values()), (ACCENT, SECOND)),
    )
    dots = base.transform_filter("datum.of == 'validation'").mark_point(filled=True, size=30, opacity=1)
    return to_svg(alt.layer(base.mark_line(strokeWidth=1.5, aria=False), dots.encode(description="says:N")))


def karma_threshold(rows: Sequence[Row]) -> str:
    """How many links each least karma lets through, by the best submission's score and by the sum."""
    names = {"links_by_sum": "sum of its submissions", "links_by_max": "best submission"}
    points = [
        {
            "least": label(row["least_karma"]),
            "links": row[key],
            "of": name,
            "says": f"karma ≥ {row['least_karma']:,} ({name}): {row[key]:,} links",
        }
        for row in rows
        for key, name in names.items()
    ]
    base = alt.Chart(inline(points)).encode(
        x=alt.X("least:O", sort=None, title="least karma", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("links:Q", title="links", axis=number_axis(point["links"] for point in points)),
        color=legend(list(names.values()), (SECOND, ACCENT)),
    )
    dots = base.mark_point(filled=True, opacity=1, size=_POINT).encode(description="says:N")
    return to_svg(alt.layer(base.mark_line(strokeWidth=1.5, aria=False), dots))


def domain_concentration(rows: Sequence[Row]) -> str:
    """What share of the documents the largest domains have, however many these are."""
    points = [
        {**row, "says": f"the {row['domains']:,} largest: {show_share(row['share'])} of the documents"}
        for row in rows
    ]
    numbers = [row["domains"] for row in rows]
    base = alt.Chart(inline(points)).encode(
        x=alt.X(
            "domains:Q",
            title="number of domains, the largest first",
            scale=log_scale(numbers),
            axis=log_axis(numbers),
        ),
        y=alt.Y("share:Q", title="share of documents", scale=alt.Scale(domain=[0, 1]), axis=share_axis()),
    )
    dots = base.mark_point(filled=True, opacity=1, size=_POINT, color=ACCENT).encode(description="says:N")
    return to_svg(alt.layer(base.mark_line(color=ACCENT, strokeWidth=1.5, aria=False), dots))


def token_frequencies(rows: Sequence[Row]) -> str:
    """How often tokens are used, by their rank, and Zipf's line."""
    ranks = [row["rank"] for row in rows]
    times = [row["times"] for row in rows]
    names = ("tokens", "Zipf's line")
    points = [
        {
            "rank": row["rank"],
            "times": row["times"],
            "of": names[0],
            "says": f"rank {row['rank']:,}, {row['token']}: {row['times']:,} times",
        }
        for row in rows
        if row["times"] > 0
    ]
    bounds = log_scale(times)
    least, greatest = bounds["domain"]
    line = [
        {"rank": row["rank"], "times": row["zipf"], "of": names[1]}
        for row in rows
        if row["zipf"] is not None and least <= row["zipf"] <= 3 * greatest
    ]
    across = alt.X("rank:Q", title="rank of the token", scale=log_scale(ranks), axis=log_axis(ranks))
    highest = max([greatest, *(point["times"] for point in line)])
    up = alt.Y(
        "times:Q",
        title="times that it is used",
        scale=alt.Scale(type="log", nice=False, domain=[least, highest]),
        axis=log_axis(times),
    )
    colour = legend(names, (ACCENT, SECOND))
    dots = alt.Chart(inline(points)).mark_point(filled=True, opacity=1, size=18)
    fitted = alt.Chart(inline(line)).mark_line(strokeWidth=1.5, strokeDash=[5, 3], aria=False)
    layers = (
        fitted.encode(x=across, y=up, color=colour),
        dots.encode(across, up, colour, description="says:N"),
    )
    return to_svg(alt.layer(*layers), height=300)


def milliseconds(rows: Sequence[Row], name: str, marks: Mapping[str, str], title: str) -> str:
    """A line a row from its least quantile to its greatest, on a logarithmic axis of milliseconds.

    ``marks`` are the columns of the quantiles, in their order, and what the legend calls them.
    """
    whole = [row for row in rows if all(row[column] is not None for column in marks)]
    points = [
        {
            "name": str(row[name]).replace("_", " "),
            "ms": max(row[column], _LEAST_MS),
            "of": called,
            "says": f"{row[name]}: {called} took no longer than {row[column]:,} ms",
        }
        for row in whole
        for column, called in marks.items()
    ]
    first, *_, last = marks
    lines = [
        {
            "name": str(row[name]).replace("_", " "),
            "from": max(row[first], _LEAST_MS),
            "to": max(row[last], _LEAST_MS),
        }
        for row in whole
    ]
    numbers = [point["ms"] for point in points]
    scale = log_scale(numbers, margin=1.2)
    up: Any = alt.Y("name:N", sort=None, title=None, axis=name_axis())
    spans = (
        alt.Chart(inline(lines))
        .mark_rule(strokeWidth=2, color=css("lost"), aria=False)
        .encode(x=alt.X("from:Q", scale=scale), x2="to:Q", y=up)
    )
    dots = (
        alt.Chart(inline(points))
        .mark_point(filled=True, opacity=1, size=55)
        .encode(
            x=alt.X("ms:Q", title=title, scale=scale, axis=log_axis(numbers)),
            y=up,
            color=legend(list(marks.values()), (ACCENT, SECOND, css("fourth"))),
            description="says:N",
        )
    )
    return to_svg(alt.layer(spans, dots), height=86 + 20 * len(whole))


def quality_shapes(rows: Sequence[Row]) -> str:
    """How each measure is spread over the documents: a small histogram a measure, two beside each other."""
    panels = [
        _shape(measure, [row for row in rows if row["measure"] == measure])
        for measure in dict.fromkeys(row["measure"] for row in rows)
    ]
    return to_svg_as_is(alt.concat(*panels, columns=2, spacing={"row": 14, "column": 10}))


def _shape(measure: str, rows: Sequence[Row]) -> alt.Chart:
    starts = sorted(row["value_from"] for row in rows)
    width = min((later - one for one, later in pairwise(starts)), default=0.05)
    bins = [
        {
            "from": row["value_from"],
            "to": row["value_from"] + width,
            "documents": row["documents"],
            "says": f"{measure}, from {row['value_from']:g}: {row['documents']:,} documents",
        }
        for row in rows
    ]
    shape: alt.Chart = (
        alt.Chart(inline(bins))
        .mark_bar()
        .encode(
            x=alt.X(
                "from:Q",
                bin="binned",
                title=wrap(measure.replace("_", " "), 20),
                scale=alt.Scale(nice=False, zero=False),
                axis=alt.Axis(tickCount=4, format=",~f", grid=False),
            ),
            x2="to:Q",
            y=alt.Y(
                "documents:Q",
                title="documents",
                axis=alt.Axis(
                    tickCount=2,
                    format="~s",
                    labelExpr="datum.value ? datum.label : '0'",
                    titlePadding=4,
                    minExtent=36,
                    maxExtent=36,
                ),
            ),
            description="says:N",
        )
        .properties(width=_SHAPE_WIDTH, height=_SHAPE_HEIGHT)
    )
    return shape
