"""The data card: a page of Markdown that goes with the data wherever it goes.

It has what the Hugging Face Hub reads (YAML ahead of it) and its template's sections, and then the questions
of Datasheets for Datasets (Gebru et al. 2018). What only a person can know is marked as such.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.filter.settings import FilterSettings, line_rules, rules_in_force
from pipeline.plain_table import byte_size, percentage
from pipeline.report.rendering import load_template, show_value
from pipeline.report.statistics import Statistics
from pipeline.status import UNITS

TO_BE_FILLED_IN = "*To be filled in by whoever publishes it.*"

_GAP = re.compile("\n{3,}")  # what parts that are left out leave
_CODE = re.compile("[a-z]{2,3}")  # of ISO 639
_SIZES = ("K", "M", "B", "T")  # thousands and more, as the Hub writes them

# The settings that say most about what is in the data, by dotted name; what is not set is left out.
_SETTINGS = (
    "collect.since",
    "collect.before",
    "collect.subreddits",
    "collect.not_subreddits",
    "collect.over_18",
    "collect.list_karma",
    "link.min_karma",
    "link.karma",
    "fetch.source",
    "fetch.max_bytes",
    "fetch.robots_tags",
    "extract.extractor",
    "filter.preset",
    "filter.languages",
    "filter.min_language_score",
    "filter.min_words",
    "filter.wikipedia",
    "filter.pii.mask",
    "filter.pii.phone_region",
    "filter.decontaminate.n",
    "filter.decontaminate.action",
    "dedupe.threshold",
    "dedupe.verify",
    "dedupe.shingles",
    "dedupe.ngram",
    "dedupe.num_perm",
    "dedupe.survivor",
    "tokenizer.vocab_size",
    "tokenizer.sample_bytes",
    "shard.split_by",
    "shard.val_fraction",
    "shard.test_fraction",
    "shard.val_from",
    "shard.test_from",
)


def render_card(statistics: Statistics) -> str:
    """What the data are, how they were made, and what to mind when using them."""
    status = statistics.status
    rows = defaultdict(tuple, {name: one.rows for name, one in statistics.measured.items()})
    template = load_template("card.md.jinja", {"cell": cell, "of": percentage, "bytes": byte_size})
    card = template.render(
        front_matter=front_matter(statistics),
        todo=TO_BE_FILLED_IN,
        name=status.name,
        totals=statistics.totals(),
        tokenizer=status.tokenizer,
        stages=[(name, UNITS[name], one) for name, one in status.stages.items() if one.finished],
        settings=list(_chosen(statistics.settings)),
        of=statistics.settings,
        rules=_rules(statistics.settings.get("filter")),
        rows=rows,
        personal=[row for row in rows["quality"] if row["measure"].startswith("pii_")],
        months=[row["month"] for row in rows["months"]],
        ledger=status.ledger,
        evaluation_sets=status.evaluation_sets,
        warnings=status.warnings,
    )
    return _GAP.sub("\n\n", card)


def cell(value: object) -> str:
    """A value for a table's cell; text from outside is kept from being read as Markdown or HTML."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(cell, value)) or "none"
    if value is None or isinstance(value, (bool, int, float)):
        return show_value(value)
    text = "".join(char if char.isprintable() else " " for char in str(value))
    return re.sub(r"([\\`*_{}\[\]<>|&#~$!@])", r"\\\1", " ".join(text.split()))


def front_matter(statistics: Statistics) -> str:
    """What the Hub reads, as YAML: strings as JSON spells them, for ``no`` is a language and no boolean."""
    values: dict[str, str | list[str]] = {
        "pretty_name": "".join(char if char.isprintable() else " " for char in statistics.status.name),
        "license": "other",
        "license_name": "rights-of-the-pages-authors",
        "annotations_creators": ["no-annotation"],
        "language_creators": ["found"],
        "source_datasets": ["original"],
        "task_categories": ["text-generation", "fill-mask"],
        "task_ids": ["language-modeling", "masked-language-modeling"],
        "tags": ["webtext", "reddit"],
    }
    documents = statistics.totals().get("documents")
    if documents is not None:
        values["size_categories"] = [size_category(documents)]
    languages = _languages(statistics)
    if languages:
        values["language"] = languages
        values["multilinguality"] = ["monolingual" if len(languages) == 1 else "multilingual"]
    return "".join(_yaml(name, value) for name, value in values.items())


def _yaml(name: str, value: str | Sequence[str]) -> str:
    if isinstance(value, str):
        return f"{name}: {json.dumps(value, ensure_ascii=False)}\n"
    return f"{name}:\n" + "".join(f"- {json.dumps(one, ensure_ascii=False)}\n" for one in value)


def _languages(statistics: Statistics) -> list[str]:
    """The corpus' languages that the detector names by a code of ISO 639, the most frequent first."""
    found = statistics.measured.get("languages")
    rows = () if found is None else found.rows
    return [row["language"] for row in rows if _CODE.fullmatch(str(row["language"]))]


def size_category(num: int) -> str:
    """A number of documents as the Hub has it: ``n<1K``, ``1K<n<10K``, ``10K<n<100K``, …, ``n>1T``."""
    if num < 1000:
        return "n<1K"
    if num >= 10**12:
        return "n>1T"
    digits = len(str(num)) - 1
    return f"{_power(digits)}<n<{_power(digits + 1)}"


def _power(digits: int) -> str:
    return f"{10 ** (digits % 3)}{_SIZES[digits // 3 - 1]}"


def _chosen(settings: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name in _SETTINGS:
        value: Any = settings
        for key in name.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if name == "filter.languages" and value == []:
            yield name, "all"
        elif value is not None and not (name.startswith("collect.") and value == []):
            yield name, value


def _rules(settings: Mapping[str, Any] | None) -> list[str] | None:
    """The quality rules that were in force, each in a sentence; None where the settings do not tell."""
    try:
        chosen = FilterSettings.model_validate(settings)
    except ValueError:  # not finished, or of another version
        return None
    rules = [
        f"{rule.name}: {'at least' if rule.at_least else 'at most'} {rule.threshold:g} {rule.what}"
        for rule in rules_in_force(chosen)
    ]
    lines = line_rules(chosen)
    if lines is not None:
        rules += [
            f"lines, {name.replace('_', ' ')}: {show_value(value)}"
            for name, value in lines._asdict().items()
            if value
        ]
    return rules
