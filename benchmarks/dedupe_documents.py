"""Made documents for benchmarks/dedupe.py, with the truth about which of them are alike.

A document is a function of its number: words drawn by Zipf's law from a made vocabulary (short ones are the
frequent ones), stock phrases that many documents share, sentences, paragraphs; 740 words or 4.5 kB in the
middle of a log-normal spread. So any number of processes make any stretch of them, and the first documents of
a corpus are those of a smaller one. The planted ones are made from an original with a smaller number.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from itertools import count, pairwise, repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.records import FILTERED
from pipeline.runs import MANIFEST, Counts, Folder, Manifest, Part, PartWriter, read_manifest
from pipeline.stages import part_name

NGRAM = 5
ROWS_A_PART = 10_000

_SEED = 7
_NUM_WORDS = 40_000  # in the vocabulary; the first ones are the frequent ones
_NUM_PHRASES, _PHRASE = 3_000, 6  # stock phrases, and words in each
_PHRASE_EVERY = 150  # words, about
_SYLLABLES = (
    *("a", "be", "ca", "de", "el", "er", "fo", "ga", "hi", "in", "ju", "ka", "lo", "me", "no", "or"),
    *("pa", "qui", "re", "sh", "si", "st", "ta", "th", "un", "ve", "wi", "xa", "yo", "ze"),
)
# How a word is written: in the midst, first in a sentence, before a comma, last in a sentence or a paragraph.
_PLAIN, _CAPITAL, _COMMA, _STOP, _LAST = range(5)
_FAMILIES_PER, _FAMILY_STRETCH = 4, 100_000  # boiler-plate families in each stretch of documents

Tokens = NDArray[np.int64]  # [words]: the word's number + its form · the vocabulary's size


class Kind(StrEnum):
    """What a document is."""

    ORIGINAL = "original"
    EDITED = "edited"
    COPY = "copy"
    BOILERPLATE = "boiler-plate"


@dataclass(frozen=True, slots=True)
class Mix:
    """Which documents a corpus has: shares of the planted kinds, the others being originals.

    Attributes:
        edited: share of originals' edited copies.
        copies: share of exact copies.
        boilerplate: share of pages of one of a few templates, a word in a hundred changed.
        least: the similarity from which, about evenly up to 1, edited copies are like their original.
        every: where not 0, each document of a number that this does not divide is an edited copy of the one
            before, whatever the shares.
        template_words: in a template.
    """

    edited: float = 0.0
    copies: float = 0.0
    boilerplate: float = 0.0
    least: float = 0.5
    every: int = 0
    template_words: int = 300


WEB = Mix(edited=0.10, copies=0.03, boilerplate=0.005)
PAGES = Mix(boilerplate=1.0)  # one giant bucket
PAIRS = Mix(every=2, least=0.15)


class Truth(NamedTuple):
    """What is known of a document: ``source`` is its original's number, its own where it has none."""

    id: str
    kind: Kind
    family: int  # documents of other families have nothing but phrases in common
    source: int
    similarity: float  # true Jaccard similarity of word 5-grams to the source; 1 where that is itself


class Corpus:
    """The documents of a mix, by their numbers."""

    def __init__(self, mix: Mix) -> None:
        self._mix = mix

    def kind(self, number: int) -> Kind:
        """What the document is."""
        mix = self._mix
        if mix.every:
            return Kind.EDITED if number % mix.every else Kind.ORIGINAL
        drawn = _mixed(number, 1) / 2**64
        if number and drawn < mix.edited:
            return Kind.EDITED
        if number and drawn < mix.edited + mix.copies:
            return Kind.COPY
        return Kind.BOILERPLATE if 1 - drawn <= mix.boilerplate else Kind.ORIGINAL

    def source(self, number: int) -> int:
        """The number of the original that an edited or a copied document is made from, else its own."""
        if self.kind(number) not in (Kind.EDITED, Kind.COPY):
            return number
        if self._mix.every:
            return number - number % self._mix.every
        found = _mixed(number, 2) % number
        while found and self.kind(found) is not Kind.ORIGINAL:
            found -= 1
        return found

    def family(self, number: int) -> int:
        """The same number for documents that come from one original or one template."""
        if self.kind(number) is not Kind.BOILERPLATE:
            return self.source(number)
        if self._mix.boilerplate == 1:
            return -1
        return -1 - number // _FAMILY_STRETCH * _FAMILIES_PER - _mixed(number, 3) % _FAMILIES_PER

    def tokens(self, number: int) -> Tokens:
        """The document's words as they are written."""
        kind, source = self.kind(number), self.source(number)
        random = _random(number)
        if kind is Kind.BOILERPLATE:
            template = _draw(_random(2**40 - self.family(number)), self._mix.template_words)
            return _substitute(template, random, 1 + int(random.integers(len(template) // 100)))
        if source == number:
            return _draw(random, _length(random))
        original = self.tokens(source)
        if kind is Kind.COPY:
            return original
        return _edit(original, random, float(random.uniform(self._mix.least, 1)))

    def text(self, number: int) -> str:
        """The document's text."""
        return text_of(self.tokens(number))

    def id(self, number: int) -> str:
        """The document's id, which tells nothing of its number."""
        return f"{_mixed(number, 4):016x}{_mixed(number, 5):016x}"

    def truth(self, number: int, tokens: Tokens) -> Truth:
        """What is known of the document of these words."""
        kind, source = self.kind(number), self.source(number)
        same = source == number or kind is Kind.COPY
        similarity = 1.0 if same else jaccard(ngrams(tokens), ngrams(self.tokens(source)))
        return Truth(self.id(number), kind, self.family(number), source, similarity)


# --- words --------------------------------------------------------------------------------------------------


@cache
def _forms() -> list[str]:
    """Every word in every form, with the space or the line break behind it."""
    random = np.random.default_rng(_SEED)
    found: dict[str, None] = {}
    while len(found) < _NUM_WORDS:
        num = 1 + int(random.binomial(4, 0.45))
        found["".join(random.choice(_SYLLABLES, num))] = None
    words = sorted(found, key=lambda word: len(word) + 5 * random.random())
    capital = [word.capitalize() for word in words]
    ends = ["{} ", "{} ", "{}, ", "{}. ", "{}.\n\n"]
    return [
        end.format(word)
        for end, form in zip(ends, (words, capital, words, words, words), strict=True)
        for word in form
    ]


@cache
def _zipf() -> Tokens:
    """Words as often as they are drawn."""
    shares = np.cumsum(1 / (np.arange(_NUM_WORDS) + 2.7))
    places = (np.arange(1 << 20) + 0.5) / (1 << 20)
    return np.searchsorted(shares / shares[-1], places).astype(np.int64)


@cache
def _phrases() -> Tokens:
    random = np.random.default_rng(_SEED + 1)
    return _zipf()[random.integers(1 << 20, size=(_NUM_PHRASES, _PHRASE))]


def _random(number: int) -> np.random.Generator:
    return np.random.default_rng([_SEED, number])


def _mixed(number: int, salt: int) -> int:
    """64 bits that look random, the same for the same number and salt (SplitMix64)."""
    mixed = (number * 2 + 1 + salt * 0x9E3779B97F4A7C15) % 2**64
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
    return mixed ^ (mixed >> 31)


def _length(random: np.random.Generator) -> int:
    """Words of an original."""
    return int(np.clip(random.lognormal(6.44, 0.7), 40, 12_000))


def _words(random: np.random.Generator, num: int) -> Tokens:
    return _zipf()[random.integers(1 << 20, size=num)]


def _draw(random: np.random.Generator, num: int) -> Tokens:
    """A text of so many words, in sentences."""
    words = _words(random, num)
    for start in random.integers(num, size=num // _PHRASE_EVERY).tolist():
        words[start : start + _PHRASE] = _phrases()[random.integers(_NUM_PHRASES)][: num - start]
    ends = np.cumsum(random.integers(5, 30, size=num // 5))
    ends = ends[ends < num - 6]
    forms = np.zeros(num, dtype=np.int64)
    forms[random.random(num) < 0.05] = _COMMA
    forms[ends] = np.where(random.random(len(ends)) < 0.2, _LAST, _STOP)
    forms[ends + 1] = forms[0] = _CAPITAL
    forms[-1] = _STOP
    return words + forms * _NUM_WORDS


def text_of(tokens: Tokens) -> str:
    """The words as a text."""
    return "".join(map(_forms().__getitem__, tokens.tolist())).rstrip()


# --- edits --------------------------------------------------------------------------------------------------


def _substitute(tokens: Tokens, random: np.random.Generator, num: int) -> Tokens:
    """Other words in so many places; full stops and commas stay."""
    changed = tokens.copy()
    places = random.choice(len(tokens), size=num, replace=False)
    changed[places] += _words(random, num) - changed[places] % _NUM_WORDS
    return changed


def _edit(tokens: Tokens, random: np.random.Generator, similarity: float) -> Tokens:
    """The text with words changed, put in, left out, and blocks moved, or with another end.

    Of n 5-grams each side may have n (1 − s) / (1 + s) to itself; a changed word takes up to five.
    """
    own = len(tokens) * (1 - similarity) / (1 + similarity)
    if random.random() < 0.25:
        end = _draw(random, max(10, int(own)))
        return np.concatenate([tokens[: len(tokens) - len(end)], end])
    edits = max(1, round(own / NGRAM))
    moved = min(int(random.integers(4)), edits // 3)
    changed, added, left_out = random.multinomial(edits - moved, [0.6, 0.2, 0.2]).tolist()
    result = _substitute(tokens, random, changed)
    copies = np.ones(len(tokens), dtype=np.int64)
    places = random.choice(len(tokens), size=added + left_out, replace=False)
    copies[places[:added]], copies[places[added:]] = 2, 0
    result = np.repeat(result, copies)
    behind = np.cumsum(copies)[places[:added]] - 1
    result[behind] = _words(random, added)
    for _ in range(moved):
        start, stop, to = np.sort(random.integers(len(result), size=3)).tolist()
        result = np.concatenate([result[:start], result[stop:to], result[start:stop], result[to:]])
    return result


# --- the truth ----------------------------------------------------------------------------------------------


def ngrams(tokens: Tokens) -> NDArray[np.uint64]:
    """Hashes of the distinct word n-grams, case folded, ascending: what stands between spaces is a word."""
    forms = np.array([_PLAIN, _PLAIN, _COMMA, _STOP, _STOP])[tokens // _NUM_WORDS]
    words = (tokens % _NUM_WORDS + forms * _NUM_WORDS + 1).astype(np.uint64) * np.uint64(0xD6E8FEB86659FD93)
    words ^= words >> np.uint64(29)
    length = min(NGRAM, len(words))
    total = np.zeros(len(words) - length + 1, dtype=np.uint64)
    for place in range(length):
        total = total * np.uint64(0x9E3779B97F4A7C15) + words[place : place + len(total)]
    return np.unique(total)


def jaccard(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> float:
    """The Jaccard similarity of two sets of distinct hashes."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


# --- files --------------------------------------------------------------------------------------------------


def write_documents(run: Path, mix: Mix, num: int, rows_a_part: int = ROWS_A_PART) -> Manifest:
    """Makes documents as a finished filter stage in the folder of a run, unless they are there.

    Beside it comes ``truth.parquet``, a row a document.
    """
    folder = Folder(str(run)) / "filtered"
    present = read_manifest(folder)
    if present is not None:
        return present
    bounds = [*range(0, num, rows_a_part), num]
    _forms(), _zipf(), _phrases()  # made once, and inherited
    parts: list[Part] = []
    truths: list[pa.Table] = []
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        made = workers.map(_write_part, repeat(run), repeat(mix), count(), pairwise(bounds))
        for part, truth in made:
            parts.append(part)
            truths.append(truth)
            print(f"{bounds[len(parts)]:,} of {num:,} documents made", file=sys.stderr)
    pq.write_table(pa.concat_tables(truths), run / "truth.parquet", compression="zstd")
    return _finish(folder, parts)


def write_slim(run: Path) -> Path:
    """The folder ``slim`` of a run: its parts with only ids and texts, for other readers."""
    slim = run / "slim"
    slim.mkdir(exist_ok=True)
    manifest = read_manifest(Folder(str(run)) / "filtered")
    assert manifest is not None
    for part in manifest.counted():
        name = part.file(".parquet").name
        table = pq.read_table(run / "filtered" / name, columns=["id", "text"])
        pq.write_table(table, slim / name, compression="zstd")
    return slim


def write_texts(run: Path, texts: Mapping[str, str]) -> Manifest:
    """Texts by their ids as a finished filter stage of two parts in the folder of a run."""
    ids = list(texts)
    halves = ids[: len(ids) // 2], ids[len(ids) // 2 :]
    parts = [
        _commit(run, index, filtered(half, [texts[one] for one in half], index))
        for index, half in enumerate(halves)
    ]
    return _finish(Folder(str(run)) / "filtered", parts)


def write_first(run: Path, of: Path, num: int) -> Manifest:
    """The first documents of another run, as a run of its own: whole parts, whose files are linked."""
    manifest = read_manifest(Folder(str(of)) / "filtered")
    assert manifest is not None
    parts: list[Part] = []
    (run / "filtered").mkdir(parents=True, exist_ok=True)
    for part in manifest.counted():
        if sum(one.facts["documents"] for one in parts) < num:
            parts.append(part)
            for file in part.files:
                target = run / "filtered" / file.name
                target.unlink(missing_ok=True)
                os.link(of / "filtered" / file.name, target)
    assert sum(one.facts["documents"] for one in parts) == num
    return _finish(Folder(str(run)) / "filtered", parts)


def read_truth(run: Path) -> list[Truth]:
    """What is known of each document, by number."""
    table = pq.read_table(run / "truth.parquet")
    columns = [table[name].to_pylist() for name in Truth._fields]
    return [
        Truth(id_, Kind(kind), family, source, similarity)
        for id_, kind, family, source, similarity in zip(*columns, strict=True)
    ]


def _finish(folder: Folder, parts: Sequence[Part]) -> Manifest:
    counts = Counts.total(part.counts for part in parts if part.counts is not None)
    facts = {name: sum(part.facts[name] for part in parts) for name in ("documents", "text_bytes", "words")}
    manifest = Manifest("filter", "0", "made", {}, {}, counts, tuple(parts), facts)
    folder.write(MANIFEST, manifest.encode())
    return manifest


def _write_part(run: Path, mix: Mix, index: int, bounds: tuple[int, int]) -> tuple[Part, pa.Table]:
    corpus, numbers = Corpus(mix), range(*bounds)
    tokens = [corpus.tokens(number) for number in numbers]
    truth = [corpus.truth(number, one) for number, one in zip(numbers, tokens, strict=True)]
    table = filtered([one.id for one in truth], [text_of(one) for one in tokens], index)
    columns = zip(Truth._fields, zip(*truth, strict=True), strict=True)
    return _commit(run, index, table), pa.table({name: list(column) for name, column in columns})


def _commit(run: Path, index: int, table: pa.Table) -> Part:
    writer = PartWriter(Folder(str(run)) / "filtered", part_name(index), "made")
    writer.table("parquet", table)
    facts = {
        "documents": table.num_rows,
        "text_bytes": pc.sum(pc.binary_length(table["text"])).as_py(),
        "words": pc.sum(table["num_words"]).as_py(),
    }
    return writer.commit(Counts(table.num_rows, table.num_rows), seconds=0, facts=facts)


def filtered(ids: Sequence[str], texts: Sequence[str], seed: int) -> pa.Table:
    """Documents as the filter stage writes them; what is not given is plausible, or nothing."""
    random = _random(2**50 + seed)
    num = len(ids)
    urls = [f"https://{one[:4]}.example.com/{one}" for one in ids]
    minutes = random.integers(525_600, size=num).tolist()
    given = {
        "id": ids,
        "url": urls,
        "final_url": urls,
        "text": texts,
        "karma": np.exp(random.normal(2.2, 1.2, num)).astype(np.int64) + 3,
        "submissions": [[one[:7]] for one in ids],
        "subreddits": [[f"made{one[:2]}"] for one in ids],
        "created": [datetime(2019, 1, 1, tzinfo=UTC) + timedelta(minutes=minute) for minute in minutes],
        "fetched": [datetime(2020, 1, 1, tzinfo=UTC)] * num,
        "source": ["web"] * num,
        "language": ["en"] * num,
        "num_words": [1 + text.count(" ") for text in texts],
    }
    columns = [
        pa.array(given[field.name], field.type) if field.name in given else _nothing(field, num)
        for field in FILTERED
    ]
    return pa.table(columns, schema=FILTERED)


def _nothing(field: pa.Field, num: int) -> pa.Array:
    if field.nullable:
        return pa.nulls(num, field.type)
    return pa.repeat(pa.scalar("" if pa.types.is_string(field.type) else 0, field.type), num)
