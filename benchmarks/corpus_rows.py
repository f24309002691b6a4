"""Rows for benchmarks/corpus_run.py: what each stage's tables say of the links of a made run.

A link is a number, and all that is known of it is a hash of that number: any process makes any part. A part
has 2,000 links and 1,000 documents of the corpus. Domains are runs of numbers, as in a real run a domain is
in one part; only the largest go over several. What is measured of documents is drawn and not measured, but
by it the filter's own rules keep and reject just those documents that are said to be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.corpus_texts import LANGUAGES, SHARES, Asked, Integers, Words, chance, mixed, zipf
from pipeline.canonical import key_of
from pipeline.filter.rules import RULES
from pipeline.filter.settings import FilterSettings
from pipeline.records import CLUSTERS, LINKS, SUBMISSION, SUBMISSIONS, TIME
from pipeline.urls import domain_hash

_RULES = {
    "gopher_duplicate_lines": 0.3,
    "gopher_top_2_grams": 0.2,
    "gopher_alphabetic_words": 0.8,
    "fineweb_short_lines": 0.67,
    "fineweb_punctuated_lines": 0.12,
}
FILTER = FilterSettings(
    languages=LANGUAGES,
    rules=_RULES,
)

_DAY_MS = 86_400_000
_START_MS = 1_262_304_000_000  # 2010-01-01
_FETCHED_MS = 1_704_067_200_000  # 2024-01-01
_SHORT = 15  # words and, at the most, some lines that many pages have: fewer than the filter asks for
_LARGEST_CLUSTER = 5_000


class Fate(IntEnum):
    """How far a link comes."""

    LOW_KARMA = 0
    FAILED = 1
    NO_TEXT = 2
    FILTERED = 3
    DUPLICATE = 4
    KEPT = 5


# Of a part's links: the older a link, the likelier it is that its fate is one of the first.
_FATES = {
    Fate.FAILED: 250,
    Fate.LOW_KARMA: 500,
    Fate.NO_TEXT: 50,
    Fate.FILTERED: 90,
    Fate.DUPLICATE: 110,
    Fate.KEPT: 1_000,
}
LINKS_A_PART, DOCUMENTS_A_PART = sum(_FATES.values()), _FATES[Fate.KEPT]

FAILURES = {"http_4xx": 46, "dns": 18, "timeout": 10, "robots": 8, "connect": 5, "http_5xx": 4}
FAILURES |= {"certificate": 3, "wrong_type": 3, "dead_host": 2, "rate_limited": 1}
_TLDS = {"com": 60, "org": 12, "net": 6, "co.uk": 5, "de": 4, "edu": 3, "fr": 2, "io": 2, "ca": 2, "gov": 1}
_REASONS = ("too_short", "language", *_RULES)


def chosen(numbers: Integers, salt: int, shares: Mapping[str, float]) -> Integers:
    """For each number the place of one of the names, each as often as its share says."""
    ends = np.cumsum(list(shares.values()))
    found: Integers = np.searchsorted(ends / ends[-1], chance(numbers, salt) * (1 - 1e-9))
    return found


def names(of: Sequence[str], places: NDArray[np.integer]) -> pa.Array:
    """The names at these places."""
    return pa.array(of, pa.string()).take(pa.array(places))


class Named(NamedTuple):
    """What links are called: their canonical forms, the URLs as submitted, the ids."""

    canonicals: list[str]
    urls: list[str]
    ids: list[str]


@dataclass(frozen=True, slots=True)
class Part:
    """The links of a part that karma let through, by their ids, and how far each comes; the low ones."""

    index: int
    numbers: Integers
    fates: NDArray[np.int8]
    low: Integers
    links: pa.Table


class Corpus:
    """All links of a run."""

    def __init__(self, num_documents: int, words: Words) -> None:
        """Decides every link's fate, and which documents are alike."""
        self.num_documents = num_documents
        self.num_parts = num_documents // DOCUMENTS_A_PART
        self.words = words
        self.numbers = np.arange(self.num_parts * LINKS_A_PART, dtype=np.int64)
        self.fates = self._fates()
        self._domains = self._named_domains(max(20, num_documents // 10))
        self._domain = _runs(len(self._domains), len(self.numbers))
        self._subreddits = [f"{word.capitalize()}{rank}" for rank, word in enumerate(words.words[40:5_040])]
        self._subreddit = zipf(len(self._subreddits), 1 << 16)
        self._source = self.numbers.copy()
        self._changed = np.zeros(len(self.numbers))
        self._similarity = np.ones(len(self.numbers), np.float32)
        self._oldest = self.created(self.numbers)  # of its cluster, where a document stays
        self._make_alike()
        self.clusters = self._clusters()
        self._cluster = dict(
            zip(*(self.clusters[name].to_pylist() for name in ("id", "cluster")), strict=True)
        )

    def _fates(self) -> NDArray[np.int8]:
        age = (_FETCHED_MS - self.created(self.numbers)) / (365 * _DAY_MS)
        order = (chance(self.numbers, 10) - 0.03 * age).reshape(-1, LINKS_A_PART).argsort(axis=1)
        ranked = np.repeat(np.array(list(_FATES), np.int8), list(_FATES.values()))
        fates = np.zeros((self.num_parts, LINKS_A_PART), np.int8)
        np.put_along_axis(fates, order, np.tile(ranked, (self.num_parts, 1)), axis=1)
        return fates.ravel()

    def _named_domains(self, num: int) -> list[str]:
        ranks = np.arange(num, dtype=np.int64)
        tlds = [list(_TLDS)[place] for place in chosen(ranks, 11, _TLDS).tolist()]
        words = ["".join(pair) for pair in self.words.some(ranks, 2, 12)]
        return [f"{word}{rank}.{tld}" for rank, (word, tld) in enumerate(zip(words, tlds, strict=True))]

    def _make_alike(self) -> None:
        """Gives each duplicate a document of the corpus that it is a copy of: a few have very many copies."""
        random = np.random.default_rng(13)
        kept = self.numbers[self.fates == Fate.KEPT]
        copies = random.permutation(self.numbers[self.fates == Fate.DUPLICATE])
        sizes = np.minimum(random.zipf(1.9, size=len(copies)), min(_LARGEST_CLUSTER, len(copies) // 10))
        sources = np.repeat(random.permutation(kept)[: len(sizes)], sizes)[: len(copies)]
        is_exact = random.random(len(copies)) < 0.25
        changed = np.where(is_exact, 0, random.uniform(0.002, 0.03, len(copies)))
        same = (1 - changed) ** 5  # of the runs of five words
        self._source[copies], self._changed[copies] = sources, changed
        self._similarity[copies] = same / (2 - same)
        np.minimum.at(self._oldest, sources, self.created(copies))

    def _clusters(self) -> pa.Table:
        copies = self.numbers[self._source != self.numbers]
        members = np.concatenate([np.unique(self._source[copies]), copies])
        named, survivors = self.named(members), self.named(self._source[members]).ids
        similarity = self._similarity[members]
        found = {
            "id": named.ids,
            "url": named.urls,
            "survivor": survivors,
            "run": pa.nulls(len(members), pa.string()),
            "similarity": similarity,
            "estimate": np.round(similarity * 128).astype(np.float32) / 128,
            "kept": self._source[members] == members,
        }
        table = pa.table(found)
        least = table.group_by("survivor").aggregate([("id", "min")]).rename_columns(["survivor", "cluster"])
        table = table.join(least, "survivor").select(CLUSTERS.names).cast(CLUSTERS)
        return table.sort_by([("cluster", "ascending"), ("id", "ascending")])

    # --- links ----------------------------------------------------------------------------------------------

    def created(self, numbers: Integers) -> Integers:
        """When links were first submitted: milliseconds since 1970, more of them in later years."""
        span = _FETCHED_MS - 60 * _DAY_MS - _START_MS
        found: Integers = (_START_MS + span * np.sqrt(chance(numbers, 14))).astype(np.int64)
        return found

    def named(self, numbers: Integers) -> Named:
        """What links are called."""
        slugs = self.words.some(numbers, 3, 15)
        years = (2010 + (self.created(numbers) - _START_MS) // (365 * _DAY_MS)).tolist()
        domains = [self._domains[place] for place in self._domain[numbers].tolist()]
        begins = ("https://www.", "https://", "http://www.", "http://")
        which = [begins[one] for one in (mixed(numbers, 16) & np.uint64(3)).tolist()]
        canonicals = [
            f"{domain}/{year}/{'-'.join(slug)}-{number:x}"
            for domain, year, slug, number in zip(domains, years, slugs, numbers.tolist(), strict=True)
        ]
        urls = [begin + name for begin, name in zip(which, canonicals, strict=True)]
        return Named(canonicals, urls, [key_of(name).hex() for name in canonicals])

    def domain(self, numbers: Integers) -> NDArray[np.int32]:
        """The numbers of links' domains."""
        return self._domain[numbers]

    def karma(self, numbers: Integers) -> Integers:
        """The best submission's score."""
        drawn = chance(numbers, 17)
        high = (3 * (drawn + 1e-6) ** -0.9).clip(3, 150_000)
        return np.where(self.fates[numbers] == Fate.LOW_KARMA, 3 * drawn, high).astype(np.int64)

    def submissions(self, numbers: Integers) -> tuple[Integers, pa.StructArray]:
        """How many submissions each link has, and all of them: a link's together, the oldest first."""
        sizes = np.array([1] * 11 + [2] * 3 + [3, 6])[(mixed(numbers, 18) & np.uint64(15)).astype(np.int64)]
        ends = np.cumsum(sizes)
        place = np.arange(ends[-1]) - np.repeat(ends - sizes, sizes)
        own = np.repeat(numbers, sizes) * 8 + place
        best = np.repeat((mixed(numbers, 19) % sizes.astype(np.uint64)).astype(np.int64), sizes)
        karma = np.repeat(self.karma(numbers), sizes)
        score = np.where(place == best, karma, karma * chance(own, 20))
        created = np.repeat(self.created(numbers), sizes) + place * 6 * _DAY_MS
        subreddit = self._subreddit[(mixed(own, 21) & np.uint64(0xFFFF)).astype(np.int64)]
        columns = [
            pa.array([f"{one:x}" for one in own.tolist()]),
            pa.array(score.astype(np.int32)),
            names(self._subreddits, subreddit),
            pa.array(created, TIME),
        ]
        return sizes, pa.StructArray.from_arrays(columns, fields=list(SUBMISSION))

    def part(self, index: int) -> Part:
        """The links of a part."""
        every = self.numbers[index * LINKS_A_PART : (index + 1) * LINKS_A_PART]
        is_low = self.fates[every] == Fate.LOW_KARMA
        numbers = every[~is_low]
        numbers = numbers[np.argsort(self.named(numbers).ids)]
        canonicals, urls, ids = self.named(numbers)
        sizes, inner = self.submissions(numbers)
        starts = np.append(0, np.cumsum(sizes))
        scores = inner.field("score").to_numpy().astype(np.int64)
        karma = pa.array(self.karma(numbers))
        links = {
            "id": ids,
            "url": urls,
            "canonical": canonicals,
            "domain": names(self._domains, self._domain[numbers]),
            "karma": karma,
            "karma_max": karma,
            "karma_sum": np.add.reduceat(scores, starts[:-1]),
            "created": pa.array(self.created(numbers), TIME),
            "submissions": pa.ListArray.from_arrays(pa.array(starts, pa.int32()), inner),
        }
        return Part(index, numbers, self.fates[numbers], every[is_low], pa.table(links, LINKS))

    def posts(self, numbers: Integers) -> pa.Table:
        """Collect's table: the submissions of links, each by itself."""
        canonicals, urls, _ = self.named(numbers)
        sizes, inner = self.submissions(numbers)
        keys = pa.array([key_of(name) for name in canonicals], pa.binary(16))
        hashes = pa.array([domain_hash(name.partition("/")[0]) for name in canonicals], pa.uint64())
        rows = pa.array(np.repeat(np.arange(len(numbers)), sizes))
        links = pa.table({"key": keys, "domain_hash": hashes, "url": urls}).take(rows)
        columns = {name: links[name] for name in links.column_names}
        columns |= {field.name: inner.field(field.name) for field in SUBMISSION}
        retrieved = np.repeat(self.created(numbers) + 60 * _DAY_MS, sizes)
        return pa.table({**columns, "retrieved": pa.array(retrieved, TIME)}, SUBMISSIONS)

    # --- texts ----------------------------------------------------------------------------------------------

    def asked(self, numbers: Integers) -> Asked:
        """The texts of documents. One in 50,000 is as long as ten megabytes."""
        source = self._source[numbers]
        language = chosen(source, 22, SHARES)
        length = np.exp(6.25 + 0.75 * _normal(source, 23)).clip(60, 12_000).astype(np.int64)
        length[mixed(source, 24) % np.uint64(50_000) == 0] = 1_700_000
        is_short = (self.fates[numbers] == Fate.FILTERED) & (self._reason(numbers) == 0)
        return Asked(numbers, source, self._changed[numbers], language, np.where(is_short, _SHORT, length))

    def _reason(self, numbers: Integers) -> Integers:
        """The place in _REASONS of why the filter rejects what it rejects."""
        return (mixed(numbers, 25) % np.uint64(len(_REASONS))).astype(np.int64)

    def measures(self, asked: Asked, num_words: Integers, num_sentences: Integers) -> dict[str, pa.Array]:
        """What is measured of documents."""
        numbers = asked.number
        reason = np.where(self.fates[numbers] == Fate.FILTERED, self._reason(numbers), -1)
        found: dict[str, NDArray[np.float64]] = {}
        for salt, rule in enumerate(RULES):
            drawn = _normal(numbers, 100 + salt)
            if rule.at_least:
                found[rule.measure] = np.minimum(1, rule.threshold * (1.05 + 0.2 * np.abs(drawn)))
            else:
                found[rule.measure] = (rule.threshold * 0.08 * np.exp(drawn)).clip(0, 0.98 * rule.threshold)
            if rule.name in _REASONS:
                breaks = reason == _REASONS.index(rule.name)
                found[rule.measure][breaks] = rule.threshold * (0.8 if rule.at_least else 1.3)
        found |= {name: np.zeros(len(numbers)) for name in ("pii_emails", "pii_phones", "pii_ips")}
        found["pii_emails"] += np.floor(0.05 / (chance(numbers, 26) + 1e-3))
        counts = {"num_words": num_words, "gopher_words": num_words, "c4_sentences": num_sentences}
        found |= {name: values.astype(np.float64) for name, values in counts.items()}
        found["gopher_word_length"] = 5.3 + 0.4 * _normal(numbers, 27)
        found["gopher_stop_words"] = np.floor(2 + 6 * chance(numbers, 28))
        found["language_score"] = 1 - 0.45 * chance(numbers, 29) ** 3
        columns: dict[str, pa.Array] = {name: pa.array(values) for name, values in found.items()}
        of_other = reason == _REASONS.index("language")
        columns["language"] = names((*LANGUAGES, "nl"), np.where(of_other, len(LANGUAGES), asked.language))
        return columns

    def alike(self, numbers: Integers, ids: Sequence[str]) -> dict[str, pa.Array]:
        """What dedupe says of documents: the columns of the corpus, and why and by what one is rejected."""
        source, similarity = self._source[numbers], self._similarity[numbers]
        survivors = self.named(source).ids
        values = [f"{name} {value:.3f}" for name, value in zip(survivors, similarity.tolist(), strict=True)]
        return {
            "cluster": pa.array([self._cluster.get(name, name) for name in ids]),
            "cluster_domain": names(self._domains, self._domain[source]),
            "cluster_created": pa.array(self._oldest[source], TIME),
            "reason": names(("near_duplicate", "exact_duplicate"), (similarity == 1).astype(np.int64)),
            "value": pa.array(values),
        }


def _runs(num: int, places: int) -> NDArray[np.int32]:
    """Each rank in as many of the places as it is frequent, all of them together, the ranks in no order."""
    sizes = np.bincount(zipf(num, places, flat=9), minlength=num)
    order = np.random.default_rng(9).permutation(num)
    return np.repeat(order, sizes[order]).astype(np.int32)


def _normal(numbers: Integers, salt: int) -> NDArray[np.float64]:
    """Normally distributed numbers, by the sum of four even ones."""
    four: NDArray[np.float64] = np.sum([chance(numbers * 4 + i, salt) for i in range(4)], axis=0)
    return (four - 2) * 3**0.5
