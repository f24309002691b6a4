"""What benchmarks/inspector.py asks of an inspector: addresses, several of each kind, made from a run's rows.

Words are chosen by how many documents of a few parts have them; ids, domains and clusters are drawn.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import duckdb
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.inspector.search.browse import Asked
from pipeline.inspector.search.filters import Filter
from pipeline.inspector.web.documents import address

_NUM = 7  # of a kind: more than an inspector remembers
_PARTS = 2  # that words are chosen from
_KARMA = Filter("karma", "ge", "50")
_WORD = re.compile(r"[a-z]{3,12}")


class Question(NamedTuple):
    """A kind of question, and the addresses that ask it."""

    kind: str
    paths: list[str]


@dataclass(frozen=True, slots=True)
class _Known:
    """What a run has that can be asked for."""

    frequent: list[str]
    rare: list[str]
    phrases: list[str]  # of two frequent words
    runs: list[str]  # of six words in one document
    domains: list[str]
    subreddits: list[str]
    ids: list[str]
    longest: list[str]
    right_to_left: list[str]
    with_pages: list[str]
    copies: list[str]
    clusters: list[str]
    largest: list[str]


def questions(run: Path) -> Iterator[Question]:
    """Every kind of question, the first page first."""
    known = _read(run)
    yield Question("first page", ["/"])
    yield from _searches(known)
    yield from _filters(known)
    yield from _sorts()
    yield from _stories(known)
    yield from _judging()


def _searches(known: _Known) -> Iterator[Question]:
    pairs = list(zip(known.frequent, known.frequent[1:] + known.frequent[:1], strict=True))
    typed = {
        "a rare word": known.rare,
        "a frequent word": known.frequent,
        "a rare and a frequent word": [
            " ".join(pair) for pair in zip(known.rare, known.frequent, strict=True)
        ],
        "four frequent words": [f"{a} {b} {known.phrases[0]}" for a, b in pairs],
        "either of two frequent words": [f"{a} OR {b}" for a, b in pairs],
        "a phrase of frequent words": [f'"{phrase}"' for phrase in known.phrases],
        "a phrase of six words": [f'"{phrase}"' for phrase in known.runs],
        "a frequent word without another": [f"{a} -{b}" for a, b in pairs],
        "a word in titles": [f"title:{word}" for word in known.frequent],
        "a domain": [f"domain:{domain}" for domain in known.domains],
        "no document has it": [f"{word}{word}q" for word in known.rare],
    }
    for kind, values in typed.items():
        yield Question(f"search: {kind}", [address(Asked(typed=value)) for value in values])
    language, length, karma = Filter("language", "eq", "en"), Filter("num_words", "ge", "900"), _KARMA
    for kind, asked in {
        "by karma": Asked(sort="karma", descending=True),
        "by title": Asked(sort="title"),
        "filtered": Asked(filters=(language, length)),
        "filtered and by date": Asked(filters=(karma,), sort="created"),
        "page 500": Asked(page=500),
        "page 500 by karma": Asked(sort="karma", descending=True, page=500),
    }.items():
        paths = [address(replace(asked, typed=word)) for word in known.frequent]
        yield Question(f"search: a frequent word, {kind}", paths)


def _filters(known: _Known) -> Iterator[Question]:
    for kind, column, operator, values in (
        ("whole number", "num_words", "ge", [str(1_000 + 97 * i) for i in range(_NUM)]),
        ("fraction", "gopher_duplicate_lines", "gt", [f"0.{i + 1}" for i in range(_NUM)]),
        ("language", "language", "eq", ["de", "fr", "es", "ru", "ar", "he", "ko"]),
        ("domain", "domain", "eq", known.domains),
        ("text in the URL", "url", "has", known.rare),
        ("list of subreddits", "subreddits", "has", known.subreddits),
        ("year", "created", "eq", [str(2014 + i) for i in range(_NUM)]),
        ("nothing in it", "description", "none", [""]),
    ):
        paths = [address(Asked(filters=(Filter(column, operator, value),))) for value in values]
        yield Question(f"filter: {kind}", paths)
    several = [
        (_KARMA, Filter("language", "eq", "en"), Filter("created", "ge", str(2014 + i))) for i in range(_NUM)
    ]
    paths = [address(Asked(filters=filters, sort="num_words", descending=True)) for filters in several]
    yield Question("filter: three at once, sorted", paths)


def _sorts() -> Iterator[Question]:
    for kind, columns in {
        "number": ("karma", "num_words", "num_bytes"),
        "fraction": ("language_score", "gopher_top_2_grams", "gopher_word_length"),
        "text": ("title", "url", "domain"),
        "time": ("created", "fetched", "published"),
    }.items():
        asked = [Asked(sort=name, descending=descending) for name in columns for descending in (False, True)]
        yield Question(f"sort: {kind}", [address(one) for one in asked])
    deep = [Asked(page=20_000 + i) for i in range(_NUM)]
    yield Question("page 20,000 as they lie", [address(one) for one in deep])
    yield Question("page 20,000 by karma", [address(replace(one, sort="karma")) for one in deep])


def _stories(known: _Known) -> Iterator[Question]:
    for kind, ids in {
        "": known.ids,
        ", the longest texts": known.longest,
        ", right to left": known.right_to_left,
        ", in a cluster": known.copies,
    }.items():
        yield Question(f"document{kind}", [f"/documents/{one}" for one in ids])
    yield Question("document: its raw page", [f"/documents/{one}/page" for one in known.with_pages])
    yield Question("clusters", ["/clusters"])
    yield Question("cluster", [f"/clusters/{one}" for one in known.clusters])
    yield Question("cluster, the largest", [f"/clusters/{one}" for one in known.largest])


def _judging() -> Iterator[Question]:
    for way in ("documents", "words", "domains"):
        yield Question(
            f"samples by {way}", [f"/samples?seed={seed}&n=10&by={way}" for seed in range(1, _NUM + 1)]
        )
    yield Question("rejected: reasons", ["/rejected"])
    for stage, reasons in {
        "fetch": ("http_4xx", "dns", "timeout"),
        "filter": ("too_short", "language", "gopher_duplicate_lines"),
        "dedupe": ("near_duplicate", "exact_duplicate"),
    }.items():
        for order in ("value", "url"):
            paths = [f"/rejected?stage={stage}&reason={one}&order={order}" for one in reasons]
            yield Question(f"rejected: by {stage}, in order of {order}", paths)
    yield Question("what if: as it is", ["/what-if"])
    yield Question("what if: fewest words", [f"/what-if?min_words={100 + 10 * i}" for i in range(_NUM)])
    yield Question("what if: a rule", [f"/what-if?rules.gopher_top_2_grams=0.{i + 10}" for i in range(_NUM)])
    yield Question("what if: karma", [f"/what-if?karma={4 + i}" for i in range(_NUM)])
    yield Question("what if: similarity", [f"/what-if?similarity=0.{81 + i}" for i in range(_NUM)])
    yield Question("SQL: groups", [f"/sql?sql={quote(sql)}" for sql in _SQL])
    yield Question("progress", ["/progress"])
    yield Question("labels", ["/labels"])


_SQL = (
    "SELECT domain, count(*) AS documents FROM documents GROUP BY domain ORDER BY documents DESC LIMIT 20",
    "SELECT language, year(created::TIMESTAMP), avg(num_words) FROM documents GROUP BY ALL ORDER BY ALL",
    "SELECT outcome, avg(seconds) FROM ledger JOIN links USING (id) WHERE karma > 50 GROUP BY outcome",
)
_CORPUS, _LINKS, _CLUSTERS = "corpus/part-?????.parquet", "links/part-*.parquet", "corpus/clusters.parquet"
_FIRST = "corpus/part-00000.parquet"  # whose pages are there
_DRAWN: Mapping[str, tuple[str, str]] = {
    "domains": (_LINKS, "SELECT domain FROM files GROUP BY domain ORDER BY count(*) DESC, domain LIMIT 7"),
    "subreddits": (_FIRST, "SELECT DISTINCT unnest(subreddits) AS name FROM files ORDER BY name LIMIT 7"),
    "ids": (_CORPUS, "SELECT id FROM files ORDER BY hash(id) LIMIT 20"),
    "longest": (_CORPUS, "SELECT id FROM files ORDER BY num_words DESC LIMIT 7"),
    "right_to_left": (
        _CORPUS,
        "SELECT id FROM files WHERE language IN ('ar', 'he') ORDER BY hash(id) LIMIT 7",
    ),
    "with_pages": (_FIRST, "SELECT id FROM files LIMIT 7"),
    "copies": (_CLUSTERS, "SELECT id FROM files WHERE kept ORDER BY hash(id) LIMIT 7"),
    "clusters": (_CLUSTERS, "SELECT DISTINCT cluster FROM files ORDER BY hash(cluster) LIMIT 7"),
    "largest": (_CLUSTERS, "SELECT cluster FROM files GROUP BY cluster ORDER BY count(*) DESC LIMIT 3"),
}


def _read(run: Path) -> _Known:
    texts = []
    for index in range(_PARTS):
        table = pq.read_table(run / f"corpus/part-{index:05d}.parquet", columns=["text", "language"])
        texts += table.filter(pc.field("language") == "en")["text"].to_pylist()
    frequent, rare, phrases = _words(texts)
    runs = [" ".join(words[20:26]) for words in map(str.split, texts) if len(words) > 30]
    drawn = {}
    for name, (files, sql) in _DRAWN.items():
        with duckdb.connect() as connection:
            connection.read_parquet(str(run / files)).create_view("files")
            drawn[name] = [row[0] for row in connection.execute(sql).fetchall()]
    return _Known(frequent, rare, phrases, runs[:_NUM], **drawn)


def _words(texts: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """The words that most of the texts have, some that only one has, and the most frequent pairs of words."""
    having: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    for text in texts:
        words = text.split()
        having.update(word for word in set(words) if _WORD.fullmatch(word))
        pairs.update({f"{a} {b}" for a, b in pairwise(words)})
    frequent = [word for word, _ in having.most_common(_NUM)]
    rare = sorted(word for word, num in having.items() if num == 1)
    known = {word for word, _ in having.most_common(40)}
    phrases = [pair for pair, _ in pairs.most_common(1_000) if set(pair.split()) <= known]
    return frequent, rare[:: max(1, len(rare) // _NUM)][:_NUM], phrases[:_NUM]
