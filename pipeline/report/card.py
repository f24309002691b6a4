"""The data card: a page of Markdown that goes with the data wherever it goes."""

import re
from typing import Any

from pipeline.report.rendering import load_template
from pipeline.report.statistics import Statistics
from pipeline.status import UNITS, percentage


def render_card(statistics: Statistics) -> str:
    """What the data are, how they were made, and what to mind when using them."""
    template = load_template("card.md.jinja", {"cell": cell, "share": percentage})
    return template.render(
        name=statistics.status.name,
        totals=statistics.totals(),
        tokenizer=statistics.status.tokenizer,
        stages=[(name, UNITS[name], one) for name, one in statistics.status.stages.items() if one.finished],
        settings=_chosen(statistics),
        rows={name: one.rows for name, one in statistics.measured.items()},
    )


def cell(value: object) -> str:
    """A value for a table's cell; text from outside is kept from being read as Markdown or HTML."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return re.sub(r"([\\`*_{}\[\]<>|&#])", r"\\\1", " ".join(str(value).split()))


def _chosen(statistics: Statistics) -> list[tuple[str, Any]]:
    """The settings that say most about what is in the data, by dotted name."""
    names = {
        "collect": ("over_18",),
        "link": ("min_karma", "karma"),
        "fetch": ("source", "max_bytes"),
        "filter": ("preset", "languages", "min_language_score", "min_words", "wikipedia"),
        "dedupe": ("threshold", "ngram", "num_perm"),
        "shard": ("split_by", "val_fraction", "test_fraction", "val_from", "test_from"),
    }
    return [
        (f"{stage}.{name}", statistics.settings[stage][name])
        for stage, fields in names.items()
        for name in fields
        if statistics.settings.get(stage, {}).get(name) is not None
    ]
