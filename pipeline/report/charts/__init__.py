"""Statistics as pictures: which of them has which, by its name and from its rows alone."""

from collections.abc import Callable, Mapping, Sequence

from pipeline.report.charts.bars import (
    columns,
    contamination,
    double,
    link_rot,
    month_shares,
    next_month,
    ranking,
    step_of,
)
from pipeline.report.charts.curves import (
    domain_concentration,
    karma_threshold,
    losses,
    milliseconds,
    quality_shapes,
    token_frequencies,
)
from pipeline.report.charts.drawing import inline, standalone, to_svg
from pipeline.report.charts.waterfall import waterfall
from pipeline.report.tables import Row

__all__ = ["CHARTS", "inline", "losses", "standalone", "to_svg", "waterfall"]

Draw = Callable[[Sequence[Row]], str]


def _ranking(name: str, value: str = "documents", label_limit: int = 165) -> Draw:
    return lambda rows: ranking(rows, name, value, label_limit)


def _doubling(name: str, value: str, title: str) -> Draw:
    return lambda rows: columns(rows, name, value, title, double)


def _evenly(name: str, value: str, title: str) -> Draw:
    return lambda rows: columns(rows, name, value, title, step_of(rows, name))


CHARTS: Mapping[str, Draw] = {
    "document_lengths": _doubling("words_from", "documents", "words, from"),
    "languages": _ranking("language"),
    "quality_shapes": quality_shapes,
    "frequent_lines": _ranking("line", label_limit=230),
    "frequent_ngrams": _ranking("words", label_limit=230),
    "years": lambda rows: columns(
        rows, "year", "documents", "year of the first submission", step_of(rows, "year"), str
    ),
    "months": lambda rows: columns(rows, "month", "documents", "month of the first submission", next_month),
    "domains": _ranking("domain"),
    "domain_concentration": domain_concentration,
    "top_level_domains": _ranking("tld"),
    "subreddits": _ranking("subreddit"),
    "month_shares": month_shares,
    "karma_threshold": karma_threshold,
    "karma": _doubling("karma_from", "documents", "karma, from"),
    "fetch_outcomes": _ranking("outcome", "links"),
    "fetch_failures": _ranking("failure", "links"),
    "fetch_seconds": lambda rows: milliseconds(
        rows, "step", {"half": "half of them", "90 %": "90 %", "99 %": "99 %"}, "milliseconds"
    ),
    "latencies": _doubling("first_byte_ms_from", "tries", "milliseconds to the first byte, from"),
    "host_latency": lambda rows: milliseconds(
        rows, "domain", {"half_ms": "half of the tries", "p90_ms": "90 %"}, "milliseconds to the first byte"
    ),
    "link_rot": link_rot,
    "cluster_sizes": lambda rows: columns(rows, "documents", "clusters", "documents in a cluster"),
    "similarities": _evenly("similarity_from", "documents", "Jaccard similarity, from"),
    "bytes_a_token": _evenly("bytes_a_token_from", "documents", "bytes a token, from"),
    "document_tokens": _doubling("tokens_from", "documents", "tokens, from"),
    "token_frequencies": token_frequencies,
    "contamination": contamination,
}
