"""The names of a report's files: a removal takes them away though a store does not list them yet."""

from pipeline.report.queries import QUERIES

PAGES = frozenset(["index.html", "extract-audit.html", "tokenizer.html"])
"""What is there once a report, an audit or a vocabulary's figures have been written."""

FILES = PAGES | {
    "stats.json",
    "card.md",
    "tokenizer.json",
    "waterfall.svg",
    *(f"{query.name}.svg" for query in QUERIES),
}
"""All that may quote texts; a training's picture, which is named after the model, does not."""
