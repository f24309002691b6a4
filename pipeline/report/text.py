"""The report's numbers for a terminal: a table a statistic, with small bars; in a pipe, plain text."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.plain_table import bar, byte_size, spark, visible
from pipeline.report.rendering import show_value
from pipeline.report.statistics import Measured, Statistics, Training
from pipeline.report.tables import Row
from pipeline.status import waterfall

_MAX_ROWS = 20
_BAR_WIDTH = 12
_LINE = 78  # characters that every terminal has room for
_LONGEST_TEXT = 160  # characters of a cell, on a terminal


def render(statistics: Statistics, *, plain: bool) -> Iterator[RenderableType]:
    """What ``webtext report --text`` prints, piece by piece.

    Args:
        statistics: What was measured.
        plain: Whether it goes to a file or another program: no bars, rules or styles, and long lines whole.
    """
    yield Text(f"{visible(statistics.status.name)}: {_totals(statistics)}", style="bold")
    for warning in statistics.status.warnings:
        yield Text(visible(f"! {warning}"), style="yellow")
    yield Text("\n# From submissions to tokens\n", style="bold blue")
    yield _waterfall(statistics, plain)
    for section, measured in groupby(statistics.measured.values(), lambda one: one.query.section):
        yield Text(f"\n# {section.capitalize()}", style="bold blue")
        for one in measured:
            yield Text(f"\n## {one.query.title}", style="bold")
            yield Text(
                _paragraph(f"{one.query.definition.partition('. ')[0].rstrip('.')}.", plain), style="dim"
            )
            yield from _rows(one, plain)
    for training in statistics.training:
        if training.steps:
            yield Text(f"\n## Training of {visible(training.name)}", style="bold")
            yield Text(_losses(training))
    stages = dict.fromkeys(stage for stages in statistics.missing.values() for stage in stages)
    if stages:
        yield Text(f"\nleft out, since it is not finished: what {', '.join(stages)} would tell")
    yield Text(
        "\n" + _paragraph("`webtext report` without --text draws all of it, with the SQL of each.", plain)
    )


def _waterfall(statistics: Statistics, plain: bool) -> RenderableType:
    table = waterfall(statistics.status)
    table.title = None
    if plain:
        table.box = None
    return table


def _totals(statistics: Statistics) -> str:
    """The corpus and the shards in a line."""
    totals = statistics.totals()
    shown = [f"{totals[name]:,} {name}" for name in ("documents", "words", "tokens") if name in totals]
    if "bytes" in totals:
        shown.append(byte_size(totals["bytes"]))
    return ", ".join(shown) or "no corpus yet"


def _paragraph(text: str, plain: bool) -> str:
    return text if plain else textwrap.fill(text, _LINE)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def _losses(training: Training) -> str:
    last = training.steps[-1]
    losses = ", ".join(f"{name} {last[name]:.3f}" for name in ("loss", "val_loss") if name in last)
    return f"after {last['step']:,} steps: {losses} nats"


def _rows(one: Measured, plain: bool) -> Iterator[RenderableType]:
    """The rows of a statistic: as a table, or if there is but one as a line."""
    rows, words = _choose(_fold(one.rows, plain))
    columns = [_column(name, [row[name] for row in rows]) for name in (rows[0] if rows else ())]
    if len(rows) > 1:
        yield _table(columns, plain)
    else:
        line = ", ".join(f"{column.title}: {column.cells[0]}" for column in columns)
        yield Text(_paragraph(line or "none", plain))
    if words:
        yield Text(f"{words} (--json has all)", style="dim")


def _fold(rows: Sequence[Row], plain: bool) -> Sequence[Row]:
    """Of histograms one below the other, a row each: from where to where, and its shape."""
    names = list(rows[0]) if rows else []
    if len(names) != 3 or not names[1].endswith("_from") or not isinstance(rows[0][names[0]], str):
        return rows
    what, begins, counted = names
    folded = []
    for name, group in groupby(rows, lambda row: row[what]):
        classes = list(group)
        first, last = (show_value(one[begins], begins) for one in (classes[0], classes[-1]))
        counts = [one[counted] for one in classes]
        shape = " ".join(map(str, counts)) if plain else spark(counts)
        folded.append({what: name, begins: f"{first} … {last}", counted: shape})
    return folded


def _choose(rows: Sequence[Row]) -> tuple[Sequence[Row], str]:
    """The rows that there is room for, and which these are: of a curve some, of a ranking the first."""
    keys = [next(iter(row.items())) for row in rows]
    if len(rows) > _MAX_ROWS and all(name == "month" or _is_number(key) for name, key in keys):
        stride = -(-len(rows) // _MAX_ROWS)
        return rows[::-1][::stride][::-1], f"one row in {stride}, of {len(rows):,}"
    if len(rows) > _MAX_ROWS and any(_is_count(name, value) for name, value in list(rows[0].items())[1:]):
        return rows[:_MAX_ROWS], f"the first {_MAX_ROWS} rows, of {len(rows):,}"
    return rows, ""


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: its cells as people read them, and where it counts something the numbers themselves."""

    title: str
    cells: Sequence[str]
    is_number: bool
    counts: Sequence[int]


def _column(name: str, values: Sequence[Any]) -> _Column:
    return _Column(
        title=name.replace("_", " "),
        cells=[visible(show_value(value, name)) for value in values],
        is_number=all(value is None or _is_number(value) for value in values),
        counts=values if all(_is_count(name, value) for value in values) else (),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(name: str, value: Any) -> bool:
    """Whether it is a number of things (``documents``, ``links_by_max``), and not a name."""
    return type(value) is int and value >= 0 and name.partition("_by_")[0].endswith("s")


def _table(columns: Sequence[_Column], plain: bool) -> Table:
    """The columns as a table, with bars for the first that counts, behind the one that names the row."""
    table = Table(box=None if plain else SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False, show_edge=False)
    cells: list[Sequence[Text]] = []
    drawn = next((column for column in columns[1:] if column.counts), None)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.is_number else "left"
        whole = plain or column.is_number
        table.add_column(column.title, justify=justify, no_wrap=whole, overflow="fold")
        cells.append([Text(cell if plain else _cut(cell)) for cell in column.cells])
        if column is drawn and not plain:
            most = max(column.counts)
            table.add_column("", no_wrap=True)
            cells.append([Text(bar(num, most, _BAR_WIDTH), style="blue") for num in column.counts])
    for row in zip(*cells, strict=True):
        table.add_row(*row)
    return table
