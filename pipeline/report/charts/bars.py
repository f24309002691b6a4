"""Numbers of things by class, as bars; what each bar is, and how many, shows where a pointer rests on it."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import altair as alt

from pipeline.report.charts.drawing import (
    ACCENT,
    SECOND,
    WIDTH,
    css,
    inline,
    label,
    legend,
    name_axis,
    number_axis,
    share_axis,
    to_svg,
)
from pipeline.report.rendering import show_share
from pipeline.report.tables import Row

_BAR_STEP = 19
_AXIS_HEIGHT = 48
_NUM_RANKED = 20  # the table has the others
_MAX_BAR = 48
_PLOT = 0.72 * WIDTH  # about what the axis leaves of a picture
_MANY_CLASSES = 60
_MAX_CLASSES = 300  # a wrong date far off would leave a gap of thousands


def ranking(rows: Sequence[Row], name: str, value: str, label_limit: int = 165) -> str:
    """Horizontal bars in the order of the rows, the first ones."""
    shown = [
        {"name": str(row[name]), "number": row[value], "says": f"{row[name]}: {row[value]:,} {value}"}
        for row in rows[:_NUM_RANKED]
    ]
    chart = (
        alt.Chart(inline(shown))
        .mark_bar()
        .encode(
            x=alt.X(
                "number:Q", title=value.replace("_", " "), axis=number_axis(row["number"] for row in shown)
            ),
            y=alt.Y("name:N", sort=None, title=None, axis=name_axis(label_limit)),
            description="says:N",
        )
    )
    return to_svg(chart, height=_AXIS_HEIGHT + _BAR_STEP * len(shown))


def columns(
    rows: Sequence[Row],
    name: str,
    value: str,
    title: str,
    following: Callable[[Any], Any] | None = None,
    show: Callable[[Any], str] = label,
) -> str:
    """Vertical bars, one a class, in the order of the rows.

    With ``following``, which gives the next class, the classes that no row is of stand as gaps.
    """
    every = rows if following is None else with_gaps(rows, name, value, following)
    shown = [
        {
            "class": show(row[name]),
            "number": row[value],
            "says": f"{title} {show(row[name])}: {row[value]:,} {value}",
        }
        for row in every
    ]
    chart = (
        alt.Chart(inline(shown))
        .mark_bar(size=_bar_size(len(shown)))
        .encode(
            x=alt.X("class:N", sort=None, title=title, axis=_class_axis(len(shown))),
            y=alt.Y("number:Q", title=value, axis=number_axis(row[value] for row in rows)),
            description="says:N",
        )
    )
    return to_svg(chart)


def with_gaps(rows: Sequence[Row], name: str, value: str, following: Callable[[Any], Any]) -> Sequence[Row]:
    """The rows, and between them those of no number for the classes that are missing."""
    filled: list[Row] = []
    for row in rows:
        while filled and following(filled[-1][name]) < row[name]:
            filled.append({name: following(filled[-1][name]), value: 0})
            if len(filled) > _MAX_CLASSES:
                return rows
        filled.append(row)
    return filled


def next_month(month: str) -> str:
    """The month after ``2019-12``."""
    year, number = (int(one) for one in month.split("-"))
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}"


def double(number: float) -> float:
    """Where the class after one ends that reaches to twice where it begins."""
    return 2 * number


def step_of(rows: Sequence[Row], name: str) -> Callable[[float], float]:
    """What gives the next of classes that are all as wide as the two nearest ones."""
    values = sorted(row[name] for row in rows)
    width = min((later - one for one, later in pairwise(values)), default=1)
    return lambda number: round(number + width, 6)


def month_shares(rows: Sequence[Row]) -> str:
    """A column a month for the share of its posts with a score of 3 or more; those out of line stand out."""
    names = {False: "as around it", True: "out of line"}
    every = with_gaps(rows, "month", "share_3", next_month)
    shown = [
        {
            "month": row["month"],
            "share": row["share_3"],
            "of": names[row.get("out_of_line", False)],
            "says": f"{row['month']}: {show_share(row['share_3'])} of {row.get('posts', 0):,} posts",
        }
        for row in every
    ]
    colour = legend(list(names.values()), (ACCENT, SECOND))
    if not any(row["out_of_line"] for row in rows):
        colour = colour.legend(None)
    chart = (
        alt.Chart(inline(shown))
        .mark_bar(size=_bar_size(len(shown)))
        .encode(
            x=alt.X("month:N", sort=None, title="month of the post", axis=_class_axis(len(shown))),
            y=alt.Y("share:Q", title="posts with score ≥ 3", axis=share_axis()),
            color=colour,
            description="says:N",
        )
    )
    return to_svg(chart)


_CLASSES = ("second", "third", "fourth", "fifth", "sixth", "seventh")  # colours


def link_rot(rows: Sequence[Row]) -> str:
    """What became of links, a column a year of their age: fetched at the bottom, then what went wrong."""
    names = _most_frequent(rows)
    every = [*names, "the rest"] if any(row["outcome"] not in names for row in rows) else names
    sums: dict[tuple[int, str], int] = {}
    totals: dict[int, int] = {}
    for row in rows:
        place = row["age_years"], row["outcome"] if row["outcome"] in names else "the rest"
        sums[place] = sums.get(place, 0) + row["links"]
        totals[row["age_years"]] = totals.get(row["age_years"], 0) + row["links"]
    shown = [
        {
            "age": age,
            "of": of,
            "share": num / totals[age],
            "order": every.index(of),
            "says": f"{age} years, {of}: {num:,} of {totals[age]:,} links ({show_share(num / totals[age])})",
        }
        for (age, of), num in sums.items()
    ]
    colours = [ACCENT, *map(css, _CLASSES[: len(names) - 1]), css("lost")][: len(every)]
    chart = (
        alt.Chart(inline(shown))
        .mark_bar(size=_bar_size(max(totals) - min(totals) + 1))
        .encode(
            x=alt.X(
                "age:O",
                title="years from the first submission to the fetch",
                scale=alt.Scale(domain=list(range(min(totals), max(totals) + 1))),
                axis=alt.Axis(labelAngle=0),
            ),
            y=alt.Y("share:Q", title="share of links", axis=share_axis(), scale=alt.Scale(domain=[0, 1])),
            color=legend(every, colours, columns=4),
            order="order:Q",
            description="says:N",
        )
    )
    return to_svg(chart, height=280)


def _most_frequent(rows: Sequence[Row]) -> list[str]:
    """What was fetched, and the failures that there are colours for, the most frequent first."""
    failures: dict[str, int] = {}
    for row in rows:
        if row["outcome"] != "fetched":
            failures[row["outcome"]] = failures.get(row["outcome"], 0) + row["links"]
    ordered = sorted(failures, key=lambda name: (-failures[name], name))
    return ["fetched", *ordered[: len(_CLASSES)]]


def contamination(rows: Sequence[Row]) -> str:
    """The share of each evaluation set's runs of words that documents have, a bar a length of runs."""
    sets = list(dict.fromkeys(row["evaluation_set"] for row in rows))[:_NUM_RANKED]
    lengths = sorted({row["n"] for row in rows}, reverse=True)
    shown = [
        {
            "set": row["evaluation_set"],
            "share": row["share"] or 0,
            "of": f"{row['n']} words",
            "says": f"{row['evaluation_set']}, {row['n']} words: {row['found']:,} of {row['grams']:,} runs",
        }
        for row in rows
        if row["evaluation_set"] in sets
    ]
    colours = (ACCENT, SECOND, css("third"), css("fourth"))
    greatest = max(row["share"] for row in shown)
    chart = (
        alt.Chart(inline(shown))
        .mark_bar()
        .encode(
            x=alt.X(
                "share:Q",
                title="share of its runs of words",
                axis=share_axis(),
                scale=alt.Scale(domain=[0, greatest or 0.01]),
            ),
            y=alt.Y("set:N", sort=None, title=None, axis=name_axis(), scale=alt.Scale(paddingInner=0.3)),
            yOffset=alt.YOffset("of:N", sort=None),
            color=legend([f"{n} words" for n in lengths], colours),
            description="says:N",
        )
    )
    return to_svg(chart, height=2 * _AXIS_HEIGHT + 14 * len(shown))


def _bar_size(num_classes: int) -> float:
    """Pixels; many bars stand without the gaps between them, which would only blur them."""
    share = 0.85 if num_classes <= _MANY_CLASSES else 1
    return min(_MAX_BAR, share * _PLOT / num_classes)


def _class_axis(num_classes: int) -> alt.Axis:
    return alt.Axis(
        labelAngle=-45 if num_classes > 6 else 0,
        labelOverlap=num_classes > 18,
        ticks=num_classes <= _MANY_CLASSES,
    )
