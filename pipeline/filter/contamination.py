"""What of a corpus stands in evaluation sets too: found by n-grams, cut out, and told as shares.

The rules are GPT-3's (Brown et al. 2020, appendix C): a gram of an evaluation set that stands in a document
is cut out with 200 characters on both sides; pieces of less than 200 characters are dropped; a document that
falls into more than 10 pieces is removed; grams that match more than 10 documents are no contamination but
common phrases, and are ignored. The table of overlaps is GPT-2's (Radford et al. 2019, table 6): the share of
a set's 8-grams that the corpus has.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.filter.evaluation_sets import Example
from pipeline.filter.grams import Hashes, Integers, Texts, as_hashes, find_words, hash_grams

HITS = pa.schema(
    [
        pa.field("row", pa.int32(), nullable=False),  # the text's number
        pa.field("n", pa.int8(), nullable=False),
        pa.field("hash", pa.uint64(), nullable=False),  # of a gram that an evaluation set has too
    ]
)

_BITS_A_GRAM = 32  # at least: at most one gram in 32 that is in no set needs the second look
_LEAST_BITS = 12  # of the logarithm of a table's size
_TEXT_CHARS = 1 << 22  # of examples that are hashed together
_NO_HASHES = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True, eq=False)
class GramTable:
    """The grams of all sets for one n."""

    n: int
    hashes: Hashes
    """Sorted, each once."""
    bits: npt.NDArray[np.uint8]
    """The first look: bit i is set where a hash begins with the binary digits of i."""
    shift: int
    """What a hash is shifted by, to the right, to give its i."""


@dataclass(frozen=True, slots=True, eq=False)
class SetGrams:
    """The grams of one set for one n."""

    places: npt.NDArray[np.uint32]
    """Of each gram of each example in turn, its place in the table's hashes."""
    ends: Integers
    """Of each example, the number of grams of it and of those before."""


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationSet:
    """What an index remembers of a set."""

    name: str
    num_examples: int
    grams: tuple[SetGrams, ...]
    """For each n, in the order of the index's tables."""


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """The grams of evaluation sets.

    To find hits, its tables are enough: ``dataclasses.replace(index, sets=())`` takes less than it by half.
    """

    tables: tuple[GramTable, ...]
    """For each n."""
    sets: tuple[EvaluationSet, ...]


class GramCounts(NamedTuple):
    """In how many documents grams stand."""

    hashes: Hashes
    """Sorted, each once."""
    num_documents: Integers


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of a set the corpus has, for one n."""

    name: str
    n: int
    num_examples: int
    num_too_short: int
    """Examples without a single gram: whether the corpus has them cannot be told."""
    num_grams: int
    """Distinct ones."""
    num_found: int
    """Distinct grams that the corpus has, frequent ones too."""
    num_frequent: int
    """Those of them that are in too many documents to tell anything."""
    num_examples_hit: int
    """Examples of which the corpus has a gram at least."""
    num_examples_hit_by_rare: int
    """Examples of which it has a gram at least that is not frequent."""

    @property
    def share(self) -> float:
        """Of the distinct grams, those that the corpus has: from 0 to 1."""
        return self.num_found / self.num_grams if self.num_grams else 0.0


def build_index(sets: Mapping[str, Iterable[Example]], ns: Sequence[int]) -> Index:
    """The index of named sets for each n; the same examples give the same index.

    Raises:
        ValueError: There is no n, or one is not between 1 and 127, or is there twice.
    """
    if not ns or len(set(ns)) != len(ns) or not all(1 <= n <= 127 for n in ns):
        raise ValueError(f"ns must be some different numbers from 1 to 127, and not {list(ns)}")
    raw = {name: _hash_examples(examples, ns) for name, examples in sets.items()}
    tables: list[GramTable] = []
    grams: dict[str, list[SetGrams]] = {name: [] for name in raw}
    for i, n in enumerate(ns):
        together = np.concatenate([_NO_HASHES, *(of_set[i].hashes for of_set in raw.values())])
        hashes, places = np.unique(together, return_inverse=True)
        tables.append(_table(n, hashes))
        start = 0
        for name, of_set in raw.items():
            end = start + len(of_set[i].hashes)
            own = places[start:end].astype(np.uint32)
            grams[name].append(SetGrams(own, np.cumsum(of_set[i].num_grams)))
            start = end
    return Index(
        tuple(tables),
        tuple(EvaluationSet(name, len(of_set[0].ends), tuple(of_set)) for name, of_set in grams.items()),
    )


def find(texts: Texts, index: Index) -> pa.Table:
    """The grams of texts that evaluation sets have too: HITS, each once a row, by row, n and hash."""
    found: list[tuple[Integers, int, Hashes]] = []
    for piece in hash_grams(texts, [table.n for table in index.tables]):
        for table, grams in zip(index.tables, piece, strict=True):
            maybe = np.flatnonzero(_first_look(table, grams.hashes))
            hashes = grams.hashes[maybe]
            known = _is_in(hashes, table.hashes)
            if known.any():
                found.append((grams.rows[maybe[known]], table.n, hashes[known]))
    if not found:
        return HITS.empty_table()
    rows = np.concatenate([rows for rows, _, _ in found]).astype(np.int32)
    ns = np.concatenate([np.full(len(hashes), n, np.int8) for _, n, hashes in found])
    hashes = np.concatenate([hashes for _, _, hashes in found])
    order = np.lexsort((hashes, ns, rows))
    rows, ns, hashes = rows[order], ns[order], hashes[order]
    is_new = np.ones(len(rows), np.bool_)
    is_new[1:] = (rows[1:] != rows[:-1]) | (ns[1:] != ns[:-1]) | (hashes[1:] != hashes[:-1])
    return pa.table([rows[is_new], ns[is_new], hashes[is_new]], schema=HITS)


def count_documents(hits: pa.Table, n: int) -> GramCounts:
    """In how many texts of a table of hits each of its n-grams stands."""
    of_n = hits["n"].to_numpy() == n
    hashes, counts = np.unique(hits["hash"].to_numpy()[of_n], return_counts=True)
    return GramCounts(hashes, counts)


def add_counts(parts: Iterable[GramCounts]) -> GramCounts:
    """The counts of parts that have no document in common, together."""
    total = GramCounts(_NO_HASHES, np.empty(0, np.int64))
    for part in parts:
        hashes, places = np.unique(np.concatenate([total.hashes, part.hashes]), return_inverse=True)
        counts = np.zeros(len(hashes), np.int64)
        np.add.at(counts, places, np.concatenate([total.num_documents, part.num_documents]))
        total = GramCounts(hashes, counts)
    return total


def find_frequent(parts: Iterable[GramCounts], max_documents: int = 10) -> Hashes:
    """The grams that stand in more than so many documents of all parts, sorted: GPT-3 ignores them."""
    total = add_counts(parts)
    return total.hashes[total.num_documents > max_documents]


def cut(
    text: str,
    hashes: Collection[int] | Hashes,
    n: int,
    *,
    window: int = 200,
    min_piece: int = 200,
    max_pieces: int = 10,
) -> tuple[str, ...] | None:
    """What stays of a text once the n-grams with these hashes are cut out, in order; None: all of it goes.

    With each gram goes a window of so many characters on both sides, to the character. At the cuts, pieces
    lose their whitespace. A piece of fewer than ``min_piece`` characters is dropped, but counts: where there
    are more than ``max_pieces``, empty ones left out, all of the text is to go. A text with none of the grams
    stays as it is, however short.
    """
    words = find_words(text)
    (grams,) = next(hash_grams([text], [n]))
    at = np.flatnonzero(np.isin(grams.hashes, as_hashes(hashes)))
    if len(at) == 0:
        return (text,)
    starts, ends = words.starts[at] - window, words.ends[at + n - 1] + window
    pieces = list(_pieces_between(text, starts, ends))
    if len(pieces) > max_pieces:
        return None
    return tuple(piece for piece in pieces if len(piece) >= min_piece)


def overlap(
    index: Index, found: Mapping[int, Hashes], frequent: Mapping[int, Hashes] | None = None
) -> list[Overlap]:
    """How much of each set the corpus has, set by set and n by n.

    Args:
        index: Of the sets.
        found: For each n, the hashes that were found in the corpus; in any order, and those of no set too.
        frequent: For each n, those of them that are in too many documents.
    """
    overlaps: list[Overlap] = []
    is_found = [_flags(table, found) for table in index.tables]
    is_frequent = [_flags(table, frequent or {}) for table in index.tables]
    for one in index.sets:
        for i, (table, grams) in enumerate(zip(index.tables, one.grams, strict=True)):
            own = np.zeros(len(table.hashes), np.bool_)
            own[grams.places] = True
            overlaps.append(
                Overlap(
                    name=one.name,
                    n=table.n,
                    num_examples=one.num_examples,
                    num_too_short=int((np.diff(grams.ends, prepend=0) == 0).sum()),
                    num_grams=int(own.sum()),
                    num_found=int((own & is_found[i]).sum()),
                    num_frequent=int((own & is_found[i] & is_frequent[i]).sum()),
                    num_examples_hit=_num_hit(grams, is_found[i]),
                    num_examples_hit_by_rare=_num_hit(grams, is_found[i] & ~is_frequent[i]),
                )
            )
    return overlaps


def count_flagged(grams: SetGrams, flags: npt.NDArray[np.bool_]) -> Integers:
    """Of each example of a set, how many of its grams are flagged in the table: repeated ones each time."""
    before = np.concatenate([[0], np.cumsum(flags[grams.places])])
    return np.diff(before[grams.ends], prepend=0)


class _Hashed(NamedTuple):
    """A set's grams for one n, as they come."""

    hashes: Hashes
    num_grams: Integers
    """Of each example."""


def _hash_examples(examples: Iterable[Example], ns: Sequence[int]) -> list[_Hashed]:
    """A set's grams, for each n."""
    hashes: list[list[Hashes]] = [[_NO_HASHES] for _ in ns]
    counts: list[list[Integers]] = [[np.empty(0, np.int64)] for _ in ns]
    for some in _batches(examples):
        texts = [text for example in some for text in example.texts]
        example_of = np.repeat(np.arange(len(some)), [len(example.texts) for example in some])
        num_grams = np.zeros((len(ns), len(some)), np.int64)
        for piece in hash_grams(texts, ns):
            for i, grams in enumerate(piece):
                hashes[i].append(grams.hashes)
                num_grams[i] += np.bincount(example_of[grams.rows], minlength=len(some))
        for i in range(len(ns)):
            counts[i].append(num_grams[i])
    return [_Hashed(np.concatenate(hashes[i]), np.concatenate(counts[i])) for i in range(len(ns))]


def _batches(examples: Iterable[Example]) -> Iterator[list[Example]]:
    batch: list[Example] = []
    num_chars = 0
    for example in examples:
        batch.append(example)
        num_chars += sum(map(len, example.texts))
        if num_chars >= _TEXT_CHARS:
            yield batch
            batch, num_chars = [], 0
    if batch:
        yield batch


def _table(n: int, hashes: Hashes) -> GramTable:
    log_size = max(_LEAST_BITS, (len(hashes) * _BITS_A_GRAM - 1).bit_length())
    shift = 64 - log_size
    slots = (hashes >> np.uint64(shift)).astype(np.int64)
    bits = np.zeros(1 << log_size - 3, np.uint8)
    if len(slots):
        at = slots >> 3  # sorted, as the hashes are
        firsts = np.flatnonzero(np.diff(at, prepend=-1))
        bits[at[firsts]] = np.bitwise_or.reduceat(np.uint8(1) << (slots & 7).astype(np.uint8), firsts)
    return GramTable(n, hashes, bits, shift)


def _first_look(table: GramTable, hashes: Hashes) -> npt.NDArray[np.bool_]:
    """True for each hash that the table has, and for few others."""
    slots = (hashes >> np.uint64(table.shift)).view(np.int64)
    masks = np.uint8(1) << (slots.astype(np.uint8) & np.uint8(7))
    return np.asarray(table.bits.take(slots >> 3) & masks != 0)


def _is_in(hashes: Hashes, known: Hashes) -> npt.NDArray[np.bool_]:
    """Whether each hash is one of the known, which are sorted."""
    if len(known) == 0:
        return np.zeros(len(hashes), np.bool_)
    places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return np.asarray(known[places] == hashes)


def _pieces_between(text: str, starts: Integers, ends: Integers) -> Iterator[str]:
    """The pieces of a text that no cut covers, without whitespace at the cuts; empty ones left out."""
    kept_from = 0
    for start, end in zip([*starts.tolist(), len(text)], [*ends.tolist(), len(text)], strict=True):
        if start > kept_from:
            piece = text[kept_from:start]
            piece = piece.lstrip() if kept_from else piece
            piece = piece.rstrip() if start < len(text) else piece
            if piece:
                yield piece
        kept_from = max(kept_from, end)


def _flags(table: GramTable, hashes: Mapping[int, Hashes]) -> npt.NDArray[np.bool_]:
    return _is_in(table.hashes, as_hashes(hashes.get(table.n, _NO_HASHES)))


def _num_hit(grams: SetGrams, flags: npt.NDArray[np.bool_]) -> int:
    """How many examples have a gram that is flagged."""
    return int((count_flagged(grams, flags) > 0).sum())
