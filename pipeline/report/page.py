"""The report's files: stats.json, card.md, and index.html, one page that needs nothing but itself."""

import json
from typing import Any

from markupsafe import Markup

from pipeline.report.card import render_card
from pipeline.report.charts import CHARTS, losses
from pipeline.report.rendering import load_template
from pipeline.report.statistics import TABLES, Measured, Statistics, measure
from pipeline.runs import Folder
from pipeline.status import UNITS, byte_size, percentage


def write_report(run: Folder) -> Folder:
    """Measures a run and writes its report; the folder that it is in.

    The same run gives the same bytes.

    Raises:
        InputError: There is no run, or files of it are missing or damaged.
    """
    report = run / "report"
    statistics = measure(run)
    text = json.dumps(statistics.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
    report.write("stats.json", f"{text}\n".encode())
    report.write("index.html", render_page(statistics).encode())
    report.write("card.md", render_card(statistics).encode())
    return report


def render_page(statistics: Statistics) -> str:
    """The page: totals, the waterfall, a card a statistic, and the models' training."""
    template = load_template("page.html.jinja", {"value": show_value, "bytes": byte_size})
    return template.render(
        run=statistics.status.name,
        totals=_totals(statistics),
        stages=list(_stages(statistics)),
        warnings=statistics.status.warnings,
        tokenizer=statistics.status.tokenizer,
        tables=[table for table in TABLES if table.stage in statistics.settings],
        figures=[_figure(one) for one in statistics.measured.values()],
        missing=sorted({stage for stages in statistics.missing.values() for stage in stages}),
        training=[(one.name, one.steps[-1], Markup(losses(one))) for one in statistics.training if one.steps],  # noqa: S704 - our own SVG
    )


def show_value(value: object) -> str:
    """A number with its digits grouped (a fraction to two places), yes or no, anything else as it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _totals(statistics: Statistics) -> list[tuple[str, str]]:
    """The numbers that open the page, as far as the run has them."""
    totals = statistics.totals()
    names: list[str] = ["documents", "words"]
    shown = [(show_value(totals[name]), name) for name in names if name in totals]
    if "bytes" in totals:
        shown.append((byte_size(totals["bytes"]), "of text"))
    if "tokens" in totals:
        shown.append((show_value(totals["tokens"]), "tokens"))
    if totals.get("tokens") and totals.get("bytes"):
        shown.append((show_value(totals["bytes"] / totals["tokens"]), "bytes a token"))
    return shown


def _stages(statistics: Statistics) -> list[dict[str, Any]]:
    """The waterfall's rows."""
    rows = []
    for name, stage in statistics.status.stages.items():
        counts = stage.counts
        reasons = sorted(counts.rejected.items(), key=lambda item: (-item[1], item[0]))
        rows.append(
            {
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
        )
    return rows


def _figure(one: Measured) -> dict[str, Any]:
    chart = CHARTS.get(one.query.name)
    return {
        "query": one.query,
        "rows": one.rows,
        "svg": Markup(chart(one.rows)) if chart and one.rows else "",  # noqa: S704 - Vega escapes texts
    }
