"""A plan for people, as tables, and for programs, as JSON."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.fetch.schedule import SHARES
from pipeline.forecast.crawl import Crawl
from pipeline.forecast.forecast import Figure
from pipeline.forecast.ranges import Range, total
from pipeline.forecast.rot import Rot, dead_of_all
from pipeline.plain_table import byte_size, duration, percentage, plain_table

if TYPE_CHECKING:
    from webtext.planning import Plan, Training

_DIGITS = 3  # of numbers that are not known exactly
_NUM_DOMAINS = 10


class _Notes:
    """Sources by their numbers, in the order in which they are named first."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def mark(self, basis: str, sources: Iterable[str]) -> Text:
        """What a number rests on, with the numbers of its sources."""
        marks = [f"[{self._numbers.setdefault(one, len(self._numbers) + 1)}]" for one in sources]
        return Text(" ".join([basis, *dict.fromkeys(marks)]), style="dim")

    def lines(self) -> Iterator[str]:
        """A line a source."""
        for source, number in self._numbers.items():
            yield f"[{number}] {source}"


def tables(plan: "Plan") -> Iterator[RenderableType]:
    """The plan, a table after another, and last where its numbers are from."""
    forecast, notes = plan.forecast, _Notes()
    yield from _titled("what was read", _sources(plan))
    yield from _titled("records", _figures([*forecast.records, *forecast.tokens], _number, notes))
    yield from _titled("links by karma", _karma(plan))
    yield from _titled("links that are dead by now", _rot(forecast.rot))
    if forecast.crawl is not None:
        yield from _crawl(forecast.crawl)
    yield from _titled("on the disk", _figures(_with_sum(forecast.num_bytes), byte_size, notes))
    yield from _titled("time of a core", _figures(_with_sum(forecast.core_hours), _core_time, notes))
    yield Text(_on_cores(plan))
    yield from _titled(_training_title(plan), _training(plan, notes))
    yield from _titled("where this is from", Text("\n".join(notes.lines()), style="dim"))
    yield Text("\n".join(_closing(plan)))


def _titled(title: str, what: RenderableType) -> Iterator[RenderableType]:
    yield Text(f"\n{title}", style="bold")
    yield what


def _sources(plan: "Plan") -> Table:
    table = plain_table("sample of", "bytes", "places", "rows read", "rows in all")
    for one in plan.samples:
        rows = f"{one.num_rows:,}" if one.is_whole else _span(one.rows, _number)
        name, size = Text(Path(one.path).name), byte_size(one.num_bytes)
        table.add_row(name, size, f"{one.num_places:,}", f"{one.num_rows:,}", rows)
    return table


def _figures(figures: Iterable[Figure], show: Callable[[float], str], notes: _Notes) -> Table:
    table = plain_table("", "low", "likely", "high")
    table.add_column("rests on", overflow="fold")
    for one in figures:
        ends = [show(end) for end in (one.value.low, one.value.likely, one.value.high)]
        if one.value.is_exact:
            ends = ["", f"{one.value.likely:,.0f}" if show is _number else ends[1], ""]
        table.add_row(
            one.name, *ends, notes.mark(one.basis, one.sources), style="bold" if one.name == "in all" else ""
        )
    return table


def _with_sum(figures: Sequence[Figure]) -> list[Figure]:
    whole = Figure("in all", total(one.value for one in figures), figures[0].unit, "")
    return [*figures, whole]


def _karma(plan: "Plan") -> Table:
    karma = plan.forecast.karma
    leasts = [f"{least:,}" for least in karma["max"]]
    table = plain_table("karma of at least", *leasts)
    for name, what in (("max", "max: the best submission's"), ("sum", "sum: that of all together")):
        values = karma[name].values()
        table.add_row(what, *(_counted(value) for value in values))
        if not all(value.is_exact for value in values):
            table.add_row("  from", *(_number(value.low) for value in values), style="dim")
            table.add_row("  to", *(_number(value.high) for value in values), style="dim")
    return table


def _rot(years: Sequence[Rot]) -> Table:
    table = plain_table("first submitted", "links", "dead", "low", "likely", "high")
    for one in years:
        dead = one.dead
        table.add_row(
            "not told" if one.year is None else str(one.year),
            _number(one.links.likely),
            percentage(one.share.likely, 1),
            *(_number(end) for end in (dead.low, dead.likely, dead.high)),
        )
    if len(years) > 1:
        links, dead = total(one.links for one in years), total(one.dead for one in years)
        share = percentage(dead_of_all(years).likely, 1)
        ends = (_number(end) for end in (dead.low, dead.likely, dead.high))
        table.add_row("in all", _number(links.likely), share, *ends, style="bold")
    return table


def _crawl(crawl: Crawl) -> Iterator[RenderableType]:
    found = crawl.schedule
    machines = "one machine" if crawl.machines == 1 else f"{crawl.machines:,} machines"
    by_delays, by_rate = found.lower_bound_s, found.links / found.links_a_second
    hours = (_long(3600 * end) for end in (crawl.hours.low, crawl.hours.likely, crawl.hours.high))
    low, likely, high = hours
    limit = "the longest domains" if by_delays >= by_rate else "the connections"
    others = (
        f"{'1 machine' if count == 1 else f'{count:,} machines'} {_long(3600 * one)}"
        for count, one in crawl.by_machines.items()
    )
    lines = [
        f"with {machines}: {likely} ({low} to {high})",
        f"  by the delays alone {_long(by_delays)}, by the connections alone {_long(by_rate)}",
        f"  what limits it: {limit}",
        f"  {', '.join(others)}",
    ]
    if crawl.rescue_h is not None:
        ends = (crawl.rescue_h.low, crawl.rescue_h.likely, crawl.rescue_h.high)
        low, likely, high = (_long(3600 * end) for end in ends)
        lines.append(f"  archives, asked for dead links: {likely} ({low} to {high}) besides")
    yield Text.assemble(("\nfetching\n", "bold"), "\n".join(lines))
    longest = plain_table("domain", "links", "delay", "takes")
    for queue in found.longest[:_NUM_DOMAINS]:
        longest.add_row(
            Text(queue.domain), _number(queue.links), f"{queue.delay_s:g} s", _long(queue.seconds)
        )
    yield from _titled("what dominates the schedule", longest)
    courses = plain_table("", "links", *(percentage(share, 1, digits=0) for share in SHARES))
    for course in found.courses:
        times = (_long(course.seconds[share]) for share in SHARES)
        courses.add_row(course.what, _number(course.links), *times)
    yield from _titled("time until so many links are asked", courses)


def _on_cores(plan: "Plan") -> str:
    hours = total(one.value for one in plan.forecast.core_hours)
    cores = plan.wanted.cores
    machines = plan.wanted.machines
    what = f"{cores:,} cores" if machines == 1 else f"{machines:,} machines of {cores:,} cores"
    ends = (hours.low, hours.likely, hours.high)
    low, likely, high = (_long(3600 * end / cores / machines) for end in ends)
    return f"on {what} as these are: {likely} ({low} to {high}) of computing"


def _training(plan: "Plan", notes: _Notes) -> Table:
    table = plain_table("one GPU", "low", "likely", "high", "a pass of the corpus")
    table.add_column("rests on", overflow="fold")
    for one in plan.training:
        days = (_long(86_400 * end) for end in (one.days.low, one.days.likely, one.days.high))
        a_pass = _long(86_400 * one.days_a_pass.likely)
        table.add_row(one.gpu, *days, a_pass, notes.mark(one.basis, [one.source]))
    return table


def _training_title(plan: "Plan") -> str:
    return (
        f"pretraining {plan.model}: {plan.tokens:,} tokens of {plan.flops / 1e6:,.1f} MFLOP each, "
        f"{_passes(plan)} of the corpus"
    )


def _passes(plan: "Plan") -> str:
    tokens = plan.forecast.likely("tokens")
    passes = plan.tokens / tokens if tokens else 0.0
    if passes >= 100:
        return f"{_number(passes)} passes"
    return f"{passes:,.1f} passes" if passes >= 1.05 else percentage(passes, 1, digits=0)


def _closing(plan: "Plan") -> Iterator[str]:
    yield ""
    for note in plan.notes:
        yield f"! {note}"
    if not plan.like:
        yield (
            "! what becomes of links is guessed from what others reported. Build a small part of it (one "
            "dump, or collect.subreddits), then plan with --like RUN: what that run has measured counts then"
        )
    yield f"low to high is meant to hold nine times in ten; told in {plan.seconds:.0f} s"


def _number(value: float) -> str:
    """A number with three digits that mean something, or as it is where it has no more."""
    whole = round(value)
    if abs(whole) < 10**_DIGITS:
        return f"{whole:,}"
    unit = 10 ** (len(str(abs(whole))) - _DIGITS)
    return f"{round(whole / unit) * unit:,}"


def _counted(value: Range) -> str:
    return f"{value.likely:,.0f}" if value.is_exact else _number(value.likely)


def _long(seconds: float) -> str:
    """A time as people say it; never none."""
    return duration(seconds) if seconds >= 0.5 else "under 1 s"


def _core_time(hours: float) -> str:
    """The time of a core: in hours where it is long, for cores are paid by the hour."""
    return f"{_number(hours)} h" if hours >= 48 else _long(3600 * hours)


def _span(value: Range, show: Callable[[float], str]) -> str:
    return f"{show(value.likely)} ({show(value.low)} to {show(value.high)})"


def to_json(plan: "Plan") -> dict[str, Any]:
    """The plan as ``webtext plan --json`` prints it: every range with its unit and what it rests on."""
    forecast = plan.forecast
    return {
        "sample": [
            {
                "path": one.path,
                "bytes": one.num_bytes,
                "places": one.num_places,
                "whole": one.is_whole,
                "rows": one.num_rows,
                "rows_in_all": one.rows.to_json(),
                "submissions": one.kept.num_rows,
                "rejected": dict(sorted(one.rejected.items())),
            }
            for one in plan.samples
        ],
        "records": _json(forecast.records),
        "tokens": _json(forecast.tokens),
        "links_by_karma": {
            name: {str(least): value.to_json() for least, value in of.items()}
            for name, of in forecast.karma.items()
        },
        "dead_links": [
            {
                "year": one.year,
                "links": one.links.to_json(),
                "share": one.share.to_json(),
                "dead": one.dead.to_json(),
            }
            for one in forecast.rot
        ],
        "fetching": None if forecast.crawl is None else _crawl_json(forecast.crawl),
        "bytes": _json(forecast.num_bytes),
        "core_hours": _json(forecast.core_hours),
        "training": {
            "model": plan.model,
            "tokens": plan.tokens,
            "flops_per_token": plan.flops,
            "gpus": {one.gpu: _training_json(one) for one in plan.training},
        },
        "constants": {
            name: {**one.value.to_json(), "unit": one.unit, "source": one.source}
            for name, one in sorted(plan.constants.items())
        },
        "machines": plan.wanted.machines,
        "cores": plan.wanted.cores,
        "like": plan.like or None,
        "notes": list(plan.notes),
        "seconds": round(plan.seconds, 1),
    }


def _json(figures: Iterable[Figure]) -> dict[str, Any]:
    return {
        one.name: {
            **one.value.to_json(),
            "unit": one.unit,
            "rests_on": one.basis,
            "sources": list(one.sources),
        }
        for one in figures
    }


def _crawl_json(crawl: Crawl) -> dict[str, Any]:
    return {
        "hours": crawl.hours.to_json(),
        "hours_by_machines": {str(count): hours for count, hours in crawl.by_machines.items()},
        "rescue_hours": None if crawl.rescue_h is None else crawl.rescue_h.to_json(),
        "schedule": asdict(crawl.schedule),
    }


def _training_json(one: "Training") -> dict[str, Any]:
    return {
        "days": one.days.to_json(),
        "days_a_pass": one.days_a_pass.to_json(),
        "rests_on": one.basis,
        "sources": [one.source],
    }
