"""A run as one picture: how many records each stage took in, and what each reason took away."""

from collections.abc import Iterator
from typing import NamedTuple

import altair as alt

from pipeline.plain_table import percentage
from pipeline.report.charts.drawing import ACCENT, LAID_OUT_PX, SECOND, inline, log_axis, to_svg
from pipeline.status import UNITS, StageStatus, Status

_STEP = 17
_AXIS_HEIGHT = 52
_DIGIT = 9  # pixels
_RARE = 0.0005  # of what came in: such reasons share a line, where they would be too thin to see

# What is left after these stages is documents all the same.
_LEFT = {"filter": "after filter", "dedupe": "after dedupe", "shard": "in shards"}


class _Bar(NamedTuple):
    """A line of the picture: all that is left, or what a reason takes away, from ``after`` to ``before``."""

    name: str
    is_left: bool
    after: int
    before: int
    says: str

    @property
    def number(self) -> str:
        return f"{self.before:,}" if self.is_left else f"−{self.before - self.after:,}"


def waterfall(status: Status) -> str | None:
    """Bars on a logarithmic axis: equal lengths are equal shares lost. None before any record came."""
    begun = {name: stage for name, stage in status.stages.items() if stage.counts.num_in}
    if not begun:
        return None
    bars = list(_bars(begun))
    is_emptied = any(bar.after == 0 for bar in bars if not bar.is_left)
    ends = [end for bar in bars for end in (bar.after, bar.before) if end]
    least = 0.5 if is_emptied else 0.7 * min(ends)
    scale = alt.Scale(type="log", nice=False, domain=[least, max(ends)])
    axis = log_axis([max(least, 1), *ends])
    shown = [
        {
            # In the axis' labels only what stands behind the number and the kind is shown.
            "line": f"{place:03d}{'!' if bar.is_left else ' '}{bar.name}",
            "from": max(bar.after, least),
            "to": max(bar.before, least),
            "kind": "left" if bar.is_left else "lost",
            "number": bar.number,
            "says": bar.says,
        }
        for place, bar in enumerate(bars)
    ]
    is_left = "datum.value[3] == '!'"
    names = alt.Axis(
        labelExpr="slice(datum.label, 4)",
        labelFontWeight=alt.condition(is_left, alt.value("bold"), alt.value("normal")),
        labelOverlap=False,
        ticks=False,
        domain=False,
    )
    base = alt.Chart(inline(shown)).encode(y=alt.Y("line:N", sort=None, title=None, axis=names))
    colour = alt.Color(
        "kind:N", legend=None, scale=alt.Scale(domain=["left", "lost"], range=[ACCENT, SECOND])
    )
    drawn = base.mark_bar(height=alt.RelativeBandSize(0.72)).encode(
        x=alt.X("from:Q", title="records, on a logarithmic axis", scale=scale, axis=axis),
        x2="to:Q",
        color=colour,
        stroke=colour.copy(),
        description="says:N",
    )
    width = _DIGIT * max(len(bar.number) for bar in bars) + 8
    numbers = base.mark_text(align="right", dx=width, aria=False, fontSize=LAID_OUT_PX, color="currentColor")
    written = numbers.encode(x=alt.value("width"), text="number:N")
    room = {"left": 4, "right": width + 4, "top": 5, "bottom": 5}
    return to_svg(alt.layer(drawn, written).properties(padding=room), _AXIS_HEIGHT + _STEP * len(bars))


def _bars(begun: dict[str, StageStatus]) -> Iterator[_Bar]:
    name, stage = next(iter(begun.items()))
    yield _left(UNITS[name][0], stage.counts.num_in, "that came in")
    for name, stage in begun.items():
        num_in = left = stage.counts.num_in
        for reason, num in _reasons(stage):
            says = f"{name}, {reason}: {num:,} of {num_in:,} ({percentage(num, num_in)})"
            yield _Bar(reason, is_left=False, after=left - num, before=left, says=says)
            left -= num
        says = f"after {name}, {percentage(left, num_in)} of what came in"
        yield _left(_LEFT.get(name, UNITS[name][1]), left, says)


def _left(name: str, num: int, says: str) -> _Bar:
    return _Bar(name, is_left=True, after=0, before=num, says=f"{num:,} {says}")


def _reasons(stage: StageStatus) -> list[tuple[str, int]]:
    """Reasons and their numbers, the most frequent first, the rare ones as one."""
    ordered = sorted(stage.counts.rejected.items(), key=lambda item: (-item[1], item[0]))
    found = [(reason, num) for reason, num in ordered if num]
    rare = [num for _, num in found if num < _RARE * stage.counts.num_in]
    if len(rare) > 1:
        found[-len(rare) :] = [(f"{len(rare)} other reasons", sum(rare))]
    return found
