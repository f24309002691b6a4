"""Results of evaluation as a picture: main measures by the size of the model, a line a number of shots."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import altair as alt
import vl_convert

from model.evaluate.results import Result, measure_title, printed, short_count
from model.evaluate.task import Task

_COLUMNS = 3
_WIDTH, _HEIGHT = 230, 170
_COLOURS = ("#8a8a8a", "#e69f00", "#0072b2", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#000000")
_NAMES = {0: "zero-shot", 1: "one-shot"}
_CONFIG: Mapping[str, Any] = {
    "background": "white",
    "padding": 14,
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {"gridOpacity": 0.5, "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal"},
    "axisY": {"titlePadding": 10, "titleLimit": _HEIGHT + 20, "labelFlush": True},
    "title": {"fontSize": 12, "subtitleFontSize": 11, "anchor": "start", "limit": _WIDTH + 50},
    "legend": {"labelFontSize": 11},
    "concat": {"spacing": 28},
}


def draw_shots(results: Iterable[Result], tasks: Mapping[str, Task]) -> str | None:
    """A panel a task, in the order of `tasks`, as SVG; None where no result has a main measure."""
    points = _points(results, tasks)
    if not points:
        return None
    names = {point["of"]: None for point in sorted(points, key=lambda point: point["shots"])}
    panels = [
        _panel(tasks[name], list(found), list(names))
        for name, found in groupby(points, key=lambda point: point["task"])
    ]
    chart = alt.concat(*panels, columns=_COLUMNS).resolve_scale(color="shared")
    svg: str = vl_convert.vegalite_to_svg({**chart.to_dict(), "config": dict(_CONFIG)})
    return svg


def _points(results: Iterable[Result], tasks: Mapping[str, Task]) -> list[dict[str, Any]]:
    order = list(tasks)
    known = (one for one in results if one.task in tasks)
    points = []
    for one in sorted(known, key=lambda one: (order.index(one.task), one.model.num_parameters, one.shots)):
        task = tasks[one.task]
        value = one.measures.get(task.measures[0])
        if value is not None:
            points.append(
                {
                    "task": task.name,
                    "parameters": one.model.num_parameters,
                    "shots": one.shots,
                    "of": _NAMES.get(one.shots, f"{one.shots}-shot"),
                    "value": printed(task, task.measures[0], value),
                }
            )
    return points


def _panel(
    task: Task, points: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> alt.LayerChart | alt.FacetChart:
    """Points for the models, and lines through the mean of those of one size."""
    measure = task.measures[0]
    better = "higher" if measure in task.is_better_high else "lower"
    colours = [_COLOURS[number % len(_COLOURS)] for number in range(len(names))]
    base = alt.Chart(alt.InlineData(values=[dict(point) for point in points])).encode(
        x=_size_axis([point["parameters"] for point in points]),
        color=alt.Color(
            "of:N",
            title=None,
            scale=alt.Scale(domain=list(names), range=colours),
            legend=alt.Legend(orient="top"),
        ),
    )

    def height(field: str) -> alt.Y:
        return alt.Y(
            field,
            title=measure_title(task, measure),
            scale=alt.Scale(zero=False, padding=6),
            axis=alt.Axis(tickCount=4, format=",~r"),
        )

    lines = base.mark_line(strokeWidth=1.5).encode(y=height("mean(value):Q"))
    dots = base.mark_point(filled=True, size=36, opacity=1).encode(y=height("value:Q"))
    title = alt.TitleParams(task.title, subtitle=f"{better} is better")
    return alt.layer(lines, dots, width=_WIDTH, height=_HEIGHT, title=title)


def _size_axis(sizes: Sequence[int]) -> alt.X:
    """A logarithmic axis, with a tick at each model's size as far as there is room for its label."""
    labels = {size: short_count(size) for size in sorted(set(sizes))}
    label = " : ".join([*(f"datum.value == {size} ? '{text}'" for size, text in labels.items()), "''"])
    return alt.X(
        "parameters:Q",
        title="parameters",
        scale=alt.Scale(type="log", domain=[min(sizes) / 1.5, max(sizes) * 1.5], nice=False),
        axis=alt.Axis(values=list(labels), labelExpr=label, labelOverlap="greedy", labelSeparation=6),
    )
