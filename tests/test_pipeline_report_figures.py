"""Each statistic's SQL over made tables, against recounts in Python."""

import hashlib
import math
import random
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from pipeline.fetch.figures import CLASSES
from pipeline.records import CORPUS, LEDGER, LINKS, MEASURES, SHARD_DOCUMENTS
from pipeline.report.manifest_tables import EXTRACTION
from pipeline.report.queries import QUERIES

Rows = list[dict[str, Any]]

BY_NAME = {query.name: query for query in QUERIES}
SCHEMAS = {
    "corpus": CORPUS,
    "links": LINKS,
    "ledger": LEDGER,
    "shard_documents": SHARD_DOCUMENTS,
    "extraction": EXTRACTION,
}


def answer(name: str, **tables: Rows) -> list[tuple[Any, ...]]:
    """What a statistic gives over tables of these rows, which have the columns that matter to it."""
    with duckdb.connect() as connection:
        for table, rows in tables.items():
            schema = pa.schema([SCHEMAS[table].field(column) for column in rows[0]])
            connection.register(table, pa.Table.from_pylist(rows, schema))
        return connection.execute(BY_NAME[name].sql).fetchall()


def name_of(number: int) -> str:
    """An id, as documents have them: a hash."""
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


@pytest.fixture(scope="module")
def chance() -> random.Random:
    return random.Random(11)


def ranked(counts: Mapping[str, int], most: int) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]


def doubled(number: float) -> int:
    """The power of two at or below a number; 1 for all below 2."""
    return 1 << (max(int(number), 1).bit_length() - 1)


def test_years_are_those_of_utc_and_what_has_no_time_is_left_out(chance: random.Random) -> None:
    newyear = datetime(2020, 1, 1, tzinfo=UTC)
    times = [newyear, newyear - timedelta(milliseconds=1), None]
    times += [newyear + timedelta(hours=chance.randrange(-70_000, 20_000)) for _ in range(300)]
    corpus: Rows = [{"created": time, "num_words": number} for number, time in enumerate(times)]
    documents: Counter[int] = Counter()
    words: Counter[int] = Counter()
    for row in corpus:
        if row["created"] is not None:
            documents[row["created"].year] += 1
            words[row["created"].year] += row["num_words"]
    found = answer("years", corpus=corpus)
    assert found == [(year, documents[year], words[year]) for year in sorted(documents)]
    assert sum(num for _, num, _ in found) == len(corpus) - 1


def test_domains_share_out_the_documents(chance: random.Random) -> None:
    domains = [f"site{int(chance.paretovariate(0.4)) % 500}.example" for _ in range(3000)]
    corpus: Rows = [{"id": name_of(number), "num_words": number % 50} for number in range(len(domains))]
    links: Rows = [{"id": name_of(number), "domain": domain} for number, domain in enumerate(domains)]
    links += [{"id": name_of(number), "domain": "lost.example"} for number in range(5000, 6000)]
    every = ranked(Counter(domains), len(domains))
    words: Counter[str] = Counter()
    for row, domain in zip(corpus, domains, strict=True):
        words[domain] += row["num_words"]
    found = answer("domains", corpus=corpus, links=links)
    assert found == [(domain, num, words[domain]) for domain, num in every[:50]]

    curve = answer("domain_concentration", corpus=corpus, links=links)
    assert curve[0][0] == 1
    assert curve[-1] == (len(every), 1.0)
    for num_domains, share in curve:
        assert share == pytest.approx(sum(num for _, num in every[:num_domains]) / len(corpus), abs=1e-6)
    steps = [b / a for (a, _), (b, _) in pairwise(curve)]
    assert max(steps) <= 2
    assert len(curve) < 40


def test_top_level_domains_are_last_labels() -> None:
    by_domain = {
        "bbc.co.uk": "uk",
        "user.github.io": "io",
        "example.com": "com",
        "xn--e1afmkfd.xn--p1ai": "xn--p1ai",
        "192.0.2.7": "IP address",
        "[2001:db8::1]": "IP address",
        "2001:db8::1": "IP address",
        "123.com": "com",
        "localhost": "localhost",
    }
    links: Rows = [{"id": name_of(number), "domain": domain} for number, domain in enumerate(by_domain)]
    corpus: Rows = [{"id": row["id"], "num_words": 10} for row in links]
    counts = Counter(by_domain.values())
    expected = [(name, num, 10 * num) for name, num in ranked(counts, 20)]
    assert answer("top_level_domains", corpus=corpus, links=links) == expected


QUALITY = [name for name in MEASURES.names if name not in ("wikipedia", "language", "num_words")]


def test_quantiles_of_measures_are_exact_to_three_places(chance: random.Random) -> None:
    values = {
        name: [
            chance.randrange(40) if pa.types.is_integer(MEASURES.field(name).type) else chance.random() ** 3
            for _ in range(501)
        ]
        for name in QUALITY
    }
    corpus: Rows = [
        {"language": "en", "num_words": 3, **{name: values[name][row] for name in QUALITY}}
        for row in range(501)
    ]
    found = answer("quality", corpus=corpus)
    assert [row[0] for row in found] == sorted(QUALITY)
    for name, *quantiles in found:
        exact = np.array(values[name], np.float32 if name == "language_score" else np.float64)
        rounded = np.round(exact.astype(np.float64), 3)
        wanted = np.quantile(rounded, [0.01, 0.1, 0.5, 0.9, 0.99], method="inverted_cdf")
        assert quantiles == pytest.approx(list(wanted), abs=1e-12)


def test_shapes_of_measures_have_twenty_classes(chance: random.Random) -> None:
    widths = {
        "language_score": "0.05",
        "gopher_word_length": "0.5",
        "gopher_alphabetic_words": "0.05",
        "gopher_duplicate_line_characters": "0.05",
        "gopher_duplicate_5_grams": "0.05",
        "fineweb_punctuated_lines": "0.05",
        "fineweb_short_lines": "0.05",
        "fineweb_lines_a_word": "0.01",
    }
    # Values on the very border of a class, where division of floats may fall on either side, and beyond all.
    corpus: Rows = [
        {name: float(chance.choice(range(30)) * Decimal(width)) for name, width in widths.items()}
        | dict.fromkeys(set(QUALITY) - set(widths), 0)
        for _ in range(400)
    ]
    for row in corpus:
        row["language_score"] = min(row["language_score"], 1.0)
    found = answer("quality_shapes", corpus=corpus)
    assert [row[0] for row in found] == [name for name in widths for _ in range(20)]
    for name, width in widths.items():
        classes = Counter(min(int(Decimal(str(round(row[name], 6))) / Decimal(width)), 19) for row in corpus)
        expected = [(name, float(place * Decimal(width)), classes[place]) for place in range(20)]
        assert [row for row in found if row[0] == name] == expected


def test_tokens_of_documents_are_counted_in_classes(chance: random.Random) -> None:
    texts = ["é" * chance.randrange(1, 400) for _ in range(300)]
    corpus: Rows = [
        {"id": name_of(number), "text": text, "num_words": 1} for number, text in enumerate(texts)
    ]
    shards: Rows = [{"id": name_of(number), "num_tokens": chance.randrange(1, 600)} for number in range(300)]
    classes = Counter(doubled(row["num_tokens"]) for row in shards)
    assert answer("document_tokens", shard_documents=shards) == sorted(classes.items())
    ratios = Counter(
        min(math.floor(4 * 2 * len(text) / (row["num_tokens"] - 1)) / 4, 10)
        for text, row in zip(texts, shards, strict=True)
        if row["num_tokens"] > 1
    )
    assert answer("bytes_a_token", corpus=corpus, shard_documents=shards) == sorted(ratios.items())


@pytest.fixture(scope="module")
def crawl(chance: random.Random) -> dict[str, Rows]:
    """Links of nine years, and a ledger with second tries, archives, and hosts that never answered."""
    fetched = datetime(2024, 3, 1, tzinfo=UTC)
    outcomes = [*CLASSES, "something_new", "fetched", "fetched", "fetched"]
    links: Rows = []
    ledger: Rows = []
    for number in range(700):
        created = fetched - timedelta(days=chance.randrange(-3, 3300))
        links.append(
            {
                "id": name_of(number),
                "domain": f"site{int(chance.paretovariate(0.7)) % 40}.example",
                "created": None if number % 50 == 0 else created,
            }
        )
        for attempt in range(1, 1 + chance.choice((1, 1, 2, 3))):
            outcome = chance.choice(outcomes)
            silent = outcome in ("robots", "dns")
            ledger.append(
                {
                    "id": name_of(number),
                    "attempt": attempt,
                    "outcome": outcome,
                    "source": "wayback" if attempt == 3 else "web",
                    "fetched": None if silent else fetched + timedelta(hours=attempt),
                    "first_byte_s": None if silent else chance.lognormvariate(-2, 1.5),
                    "bytes": 1000 if outcome == "fetched" else None,
                }
            )
    chance.shuffle(ledger)
    return {"links": links, "ledger": ledger}


def test_link_rot_is_by_whole_years_and_on_the_web_alone(crawl: dict[str, Rows]) -> None:
    last: dict[str, Mapping[str, Any]] = {}
    times: dict[str, Any] = {}
    for row in sorted(crawl["ledger"], key=lambda row: row["attempt"]):
        if row["source"] == "web":
            last[row["id"]] = row
            times[row["id"]] = row["fetched"] or times.get(row["id"])
    end = max(time for time in times.values() if time)
    counts: Counter[tuple[int, str]] = Counter()
    totals: Counter[int] = Counter()
    for link in crawl["links"]:
        if link["created"] is None:
            continue
        outcome = last[link["id"]]["outcome"]
        seconds = ((times[link["id"]] or end) - link["created"]).total_seconds()
        age = max(0, math.floor(seconds / (365.25 * 86400)))
        counts[age, "fetched" if outcome == "fetched" else CLASSES.get(outcome, "other")] += 1
        totals[age] += 1
    expected = sorted(
        ((age, outcome, num) for (age, outcome), num in counts.items()),
        key=lambda row: (row[0], -row[2], row[1]),
    )
    found = answer("link_rot", **crawl)
    assert [row[:3] for row in found] == expected
    assert [row[3] for row in found] == [round(num / totals[age], 6) for age, _, num in expected]
    assert {row[0] for row in found} == set(range(10))


def test_latencies_are_those_of_answers_on_the_web(crawl: dict[str, Rows]) -> None:
    domains = {link["id"]: link["domain"] for link in crawl["links"]}
    by_domain: dict[str, list[float]] = {}
    for row in crawl["ledger"]:
        if row["source"] == "web" and row["first_byte_s"] is not None:
            ms = 1000 * float(np.float32(row["first_byte_s"]))
            by_domain.setdefault(domains[row["id"]], []).append(ms)
    classes = Counter(doubled(ms) for every in by_domain.values() for ms in every)
    assert answer("latencies", ledger=crawl["ledger"]) == sorted(classes.items())
    expected = [
        (domain, num, *np.quantile(by_domain[domain], [0.5, 0.9], method="inverted_cdf").round(2))
        for domain, num in ranked({name: len(every) for name, every in by_domain.items()}, 20)
    ]
    found = answer("host_latency", **crawl)
    assert len(found) == 20
    for one, wanted in zip(found, expected, strict=True):
        assert one[:2] == wanted[:2]
        assert one[2:] == pytest.approx(wanted[2:], abs=0.011)


def test_speed_is_of_all_pages_over_all_seconds(crawl: dict[str, Rows]) -> None:
    parts: Rows = [
        {"part": f"part-{number}", "extractor": "trafilatura 2", "seconds": 2.5 * number} for number in (1, 3)
    ]
    pages = sum(row["outcome"] == "fetched" for row in crawl["ledger"])
    expected = ("trafilatura 2", pages, 10.0, round(pages / 10, 2), round(pages / 10_000, 3))
    assert answer("extractor_speed", extraction=parts, ledger=crawl["ledger"]) == [expected]
    assert answer("extractor_speed", extraction=parts, ledger=[crawl["ledger"][0] | {"outcome": "dns"}]) == []
    # With a sidecar gone, nothing is said rather than something wrong.
    parts[0]["seconds"] = None
    assert answer("extractor_speed", extraction=parts, ledger=crawl["ledger"]) == []
    parts[0]["seconds"] = parts[1]["seconds"] = 0.0
    [row] = answer("extractor_speed", extraction=parts, ledger=crawl["ledger"])
    assert row[3:] == (None, None)


ODD = (
    "\u00a0 שתף את המאמר הזה עם חברים ",
    "",
    "\t السلام\u3000عليكم يا أصدقاء الموقع",
    "Cookies 🍪 help us deliver our services",
)
SPACES = "".join(chr(code) for code in range(0x3001) if unicodedata.category(chr(code)) == "Zs")


def texts(num: int, chance: random.Random) -> Iterator[str]:
    """Short texts, many with lines of their pages' frames, in several scripts and with odd spaces."""
    frames = [*ODD, "Share this article", "All rights reserved", "x" * 300, "x" * 200 + "y"]
    for _ in range(num):
        lines = [f"w{chance.randrange(300)} w{chance.randrange(300)} w{chance.randrange(9)}"]
        lines += chance.sample(frames, chance.randrange(3)) * chance.choice((1, 1, 2))
        yield "\n".join(lines)


def most_frequent(per_document: Sequence[Counter[str]]) -> list[tuple[str, int, int]]:
    documents: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for one in per_document:
        documents.update(one.keys())
        times.update(one)
    found = [(text, documents[text], times[text]) for text in documents if documents[text] > 1]
    return sorted(found, key=lambda row: (-row[1], -row[2], row[0].encode()))[:30]


def lines_of(text: str) -> Counter[str]:
    stripped = [line.strip(SPACES)[:200] for line in text[:10_000].split("\n")]
    return Counter(line for line in stripped if line)


def runs_of(text: str) -> Counter[str]:
    words = text[:10_000].split()
    return Counter(" ".join(words[place : place + 5])[:200] for place in range(len(words) - 4))


def test_frequent_lines_and_runs_are_those_of_the_sample(chance: random.Random) -> None:
    corpus: Rows = [
        {"id": name_of(number), "text": text} for number, text in enumerate(texts(20_500, chance))
    ]
    by_id = [row["text"] for row in sorted(corpus, key=lambda row: row["id"])]
    found = answer("frequent_lines", corpus=corpus)
    assert found == most_frequent([lines_of(text) for text in by_id[:20_000]])
    assert "שתף את המאמר הזה עם חברים" in [line for line, _, _ in found]
    runs = answer("frequent_ngrams", corpus=corpus)
    assert runs == most_frequent([runs_of(text) for text in by_id[:5_000]])


def test_a_text_of_ten_megabytes_is_one_document_among_others() -> None:
    line = "The quick brown fox jumps over the lazy dog"
    huge = "\n".join([line, "y" * 10_000_000, *[line] * 20_000])
    corpus: Rows = [
        {"id": name_of(number), "text": text, "num_words": 9}
        for number, text in enumerate([huge, line, f"{line} again"])
    ]
    shards: Rows = [{"id": name_of(number), "num_tokens": 10} for number in range(3)]
    assert answer("frequent_lines", corpus=corpus) == [(line, 2, 2)]
    runs = answer("frequent_ngrams", corpus=corpus)
    assert runs == most_frequent([runs_of(row["text"]) for row in corpus])
    assert runs[0][:2] == ("The quick brown fox jumps", 3)
    assert answer("corpus", corpus=corpus) == [(3, 27, sum(len(row["text"]) for row in corpus))]
    assert answer("bytes_a_token", corpus=corpus, shard_documents=shards) == [(4.75, 1), (5.25, 1), (10, 1)]
