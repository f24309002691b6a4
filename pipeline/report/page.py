"""The report's files: stats.json, card.md, the charts, and index.html, which needs nothing but itself."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pipeline.plain_table import byte_size, percentage
from pipeline.report.card import render_card
from pipeline.report.charts import CHARTS, losses, standalone, waterfall
from pipeline.report.charts.drawing import COLOURS
from pipeline.report.comparison import CORPORA, SOURCES, Entry, compare
from pipeline.report.queries import QUERIES, SECTIONS
from pipeline.report.rendering import UNKNOWN, load_template, show_share, show_value
from pipeline.report.statistics import Statistics, measure
from pipeline.report.tables import TABLES, Row
from pipeline.runs import Folder
from pipeline.stages import BY_NAME
from pipeline.status import UNITS

_LONG_TABLE = 20  # rows: what is longer scrolls
_WIDE_TABLE = 48  # characters: what is wider has a line of cards for itself
_LONGEST_TEXT = 200  # characters of a cell
_MODEL = "model-"  # a training's picture: its name behind this


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart, as SVG for a page, and its title."""

    title: str
    svg: str

    @property
    def markup(self) -> Markup:
        """For the template: vl-convert has escaped all texts."""
        return Markup(self.svg)  # noqa: S704


def write_report(run: Folder) -> Folder:
    """Measures a run and writes its report; the folder that it is in.

    The same run gives the same bytes. Pictures of an earlier report that this one has not are removed.

    Raises:
        InputError: There is no run, or files of it are missing or damaged.
    """
    report = run / "report"
    statistics = measure(run)
    pictures = draw(statistics)
    text = json.dumps(numbers(statistics), indent=1, ensure_ascii=False, allow_nan=False)
    report.write("stats.json", f"{text}\n".encode())
    report.write("index.html", render_page(statistics, pictures).encode())
    report.write("card.md", render_card(statistics).encode())
    files = {f"{name}.svg": standalone(one.svg, one.title) for name, one in pictures.items()}
    for name, svg in files.items():
        report.write(name, svg.encode())
    report.remove(name for name in report.sizes() if name.endswith(".svg") and name not in files)
    return report


def numbers(statistics: Statistics) -> dict[str, Any]:
    """The content of stats.json."""
    return {**statistics.to_json(), "comparison": compare(statistics).to_json()}


def draw(statistics: Statistics) -> dict[str, Picture]:
    """Every chart that there are rows for, by the name of its file."""
    pictures = {}
    flow = waterfall(statistics.status)
    if flow is not None:
        pictures["waterfall"] = Picture("From submissions to tokens", flow)
    for name, one in statistics.measured.items():
        if name in CHARTS and one.rows:
            pictures[name] = Picture(one.query.title, CHARTS[name](one.rows))
    for model in statistics.training:
        if model.steps:
            pictures[f"{_MODEL}{model.name}"] = Picture(f"Training of {model.name}", losses(model))
    return pictures


def render_page(statistics: Statistics, pictures: Mapping[str, Picture]) -> str:
    """The page: totals, the waterfall, a card a statistic, the comparison, and the models' training."""
    filters: dict[str, Callable[..., Any]]
    filters = {"value": show_value, "bytes": byte_size, "entry": _show_entry}
    return load_template("page.html.jinja", filters).render(
        run=statistics.status.name,
        colours=COLOURS,
        totals=_totals(statistics),
        is_empty=statistics.totals().get("documents") == 0,
        waterfall=pictures.get("waterfall"),
        stages=list(_stages(statistics)),
        warnings=statistics.status.warnings,
        tokenizer=statistics.status.tokenizer,
        tokens=statistics.totals().get("tokens"),
        tables=[table for table in TABLES if table.stage in statistics.settings],
        sections=list(_sections(statistics, pictures)),
        following=_following(statistics),
        corpora=CORPORA,
        sources=SOURCES,
        comparison=compare(statistics),
        training=[
            (one.name, one.steps[-1], pictures[f"{_MODEL}{one.name}"])
            for one in statistics.training
            if one.steps
        ],
    )


def _totals(statistics: Statistics) -> list[tuple[str, str]]:
    """The numbers that open the page, as far as the run has them."""
    totals = statistics.totals()
    shown: list[tuple[str, str]] = []
    shown += [(show_value(totals[name]), name) for name in ("documents", "words") if name in totals]
    if "bytes" in totals:
        shown.append((byte_size(totals["bytes"]), "of text"))
    if "tokens" in totals:
        shown.append((show_value(totals["tokens"]), "tokens"))
    if totals.get("documents") and totals.get("bytes"):
        shown.append((byte_size(totals["bytes"] / totals["documents"]), "a document"))
    if totals.get("tokens") and totals.get("bytes"):
        shown.append((show_value(totals["bytes"] / totals["tokens"]), "bytes a token"))
    return shown


def _stages(statistics: Statistics) -> Iterator[dict[str, Any]]:
    """The waterfall's stages, with every reason."""
    for name, stage in statistics.status.stages.items():
        counts = stage.counts
        reasons = sorted(counts.rejected.items(), key=lambda item: (-item[1], item[0]))
        yield {
            "name": name,
            "units": UNITS[name],
            "stage": stage,
            "share": percentage(counts.kept, counts.num_in),
            "width": 100 * counts.kept / counts.num_in if counts.num_in else 0,
            "rejected": [
                (reason, num, percentage(num, counts.num_in), 100 * num / counts.num_in)
                for reason, num in reasons
                if num
            ],
        }


def _sections(statistics: Statistics, pictures: Mapping[str, Picture]) -> Iterator[dict[str, Any]]:
    """The statistics that are there, by section."""
    for section in SECTIONS:
        cards = [
            _card(one.query.name, statistics, pictures)
            for one in statistics.measured.values()
            if one.query.section == section
        ]
        if cards:
            yield {"name": section.capitalize(), "id": section.replace(" ", "-"), "cards": cards}


def _card(name: str, statistics: Statistics, pictures: Mapping[str, Picture]) -> dict[str, Any]:
    one = statistics.measured[name]
    table = _Table.of(one.rows)
    return {
        "query": one.query,
        "table": table,
        "picture": pictures.get(name),
        "is_wide": table is not None and name not in pictures and table.num_characters > _WIDE_TABLE,
    }


@dataclass(frozen=True, slots=True)
class _Table:
    """Rows as they are shown: heads, and cells with whether each is a number's."""

    heads: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[tuple[str, bool], ...], ...]

    @property
    def is_long(self) -> bool:
        return len(self.rows) > _LONG_TABLE

    @property
    def num_characters(self) -> int:
        """Of the longest texts of all columns together."""
        lines = zip(self.heads, *self.rows, strict=True)
        return sum(max(len(text) for text, _ in column) for column in lines)

    @classmethod
    def of(cls, rows: tuple[Row, ...]) -> "_Table | None":
        if not rows:
            return None
        are_numbers = {
            name: all(row[name] is None or isinstance(row[name], (int, float)) for row in rows)
            for name in rows[0]
        }
        return cls(
            tuple((name.replace("_", " "), is_number) for name, is_number in are_numbers.items()),
            tuple(
                tuple((_cut(show_value(row[name], name)), are_numbers[name]) for name in are_numbers)
                for row in rows
            ),
        )


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def _following(statistics: Statistics) -> list[tuple[str, list[str]]]:
    """Unfinished stages, and the titles of what follows with each; where several lack, with the last."""
    found: dict[str, list[str]] = {}
    for query in QUERIES:
        stages = [name for name in BY_NAME if name in statistics.missing.get(query.name, ())]
        if stages:
            found.setdefault(stages[-1], []).append(query.title)
    return [(name, found[name]) for name in BY_NAME if name in found]


def _show_entry(entry: Entry, kind: str) -> str:
    """A figure of the comparison."""
    value = entry.value
    if value is None or isinstance(value, str):
        return value or UNKNOWN
    if kind == "bytes":
        return byte_size(value)
    if kind == "share":
        return show_share(value)
    return f"{value:,.0f}" if kind == "count" else show_value(value)
