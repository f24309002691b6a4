"""Candidate pairs: documents whose signatures agree in a whole band of rows.

A bucket (the documents that agree in one band) of up to 32 gives all its pairs. In a larger one each document
is paired with the four best-ranked of the bucket and with its neighbour in rank, so that the work grows with
the bucket and not with its square.

A pair is packed into one number, the worse rank in its upper half and the better one in its lower: a set of
pairs is an ascending array of such, and two sets are united by merging them.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.columns import fixed_width
from pipeline.config import DedupeSettings
from pipeline.dedupe.ranking import Ranks, read_ranks
from pipeline.dedupe.signatures import Signature
from pipeline.stages import Job

# What is shuffled of a document for each band: 32 bits of the band's hash (others are in the key), its rank.
ENTRY = np.dtype([("hash", "<u4"), ("rank", "<u4")])
MAX_ALL_PAIRS = 32
NUM_BEST = 4

_ENTRIES_PER_GROUP = 2_000_000  # of one band that are sorted together: about 50 MB
# Of all bands that are shuffled at once: 16 MB, of which a local runner makes nine times as much.
_ENTRIES_PER_ROUND = 2_000_000
_MULTIPLIER = 0xD6E8FEB86659FD93  # odd

Pairs = npt.NDArray[np.uint64]  # packed


def bands_and_rows(settings: DedupeSettings) -> tuple[int, int]:
    """How a signature is divided: as the settings say, else by datasketch's optimum for the threshold."""
    if settings.bands and settings.rows:
        return settings.bands, settings.rows
    return _optimal(settings.threshold, settings.num_perm)


@lru_cache(maxsize=8)
def _optimal(threshold: float, num_perm: int) -> tuple[int, int]:
    # A pair that is missed stays in the corpus, while a candidate too many only costs a comparison.
    from datasketch import MinHashLSH

    try:
        lsh = MinHashLSH(threshold=threshold, num_perm=num_perm, weights=(0.1, 0.9))
    except ValueError:  # so near 1 that its optimum is one band, which it refuses
        return 2, num_perm // 2
    return lsh.b, lsh.r


def band_hashes(signatures: Signature, num_rows: int, band: int) -> npt.NDArray[np.uint64]:
    """What stands in one band of each signature, hashed to uint64 [documents]."""
    total = np.zeros(len(signatures), dtype=np.uint64)
    for i in range(num_rows):
        multiplier = np.uint64(pow(_MULTIPLIER, i + 1, 1 << 64))
        total += signatures[:, band * num_rows + i].astype(np.uint64) * multiplier
    return total ^ (total >> np.uint64(32))


def rounds(settings: DedupeSettings, num_documents: int) -> list[range]:
    """The bands in the rounds in which they are shuffled, so that memory does not grow with their number."""
    num_bands, _ = bands_and_rows(settings)
    at_once = max(1, _ENTRIES_PER_ROUND // max(1, num_documents))
    return [range(start, min(start + at_once, num_bands)) for start in range(0, num_bands, at_once)]


def ranges(num_documents: int) -> int:
    """Into how many ranges of its hash a band is divided, so that none has too many entries to be sorted."""
    return 1 + num_documents // _ENTRIES_PER_GROUP


class Share(NamedTuple):
    """The work of dividing one table's documents by some of the bands."""

    number: int  # of the table, own ones first
    table: str
    bands: range
    num_ranges: int  # into which each band is divided


def band_blocks(job: Job, share: Share) -> Iterator[tuple[int, bytes]]:
    """A table's documents by band and range of the band's hash: the key, and packed entries.

    Of documents with the same text only the best takes part.
    """
    number, name, bands, num_ranges = share
    column = job.folder.read_table(name, ["signature"])["signature"]
    ranks, originals = read_ranks(job, number)
    signatures = fixed_width(column, "<u4", job.settings.num_perm)[ranks == originals]
    ranks = ranks[ranks == originals]
    _, num_rows = bands_and_rows(job.settings)
    for band in bands:
        hashes = band_hashes(signatures, num_rows, band)
        entries = np.empty(len(ranks), dtype=ENTRY)
        entries["hash"] = hashes & np.uint64(0xFFFFFFFF)
        entries["rank"] = ranks
        own_range = (hashes >> np.uint64(32)) * np.uint64(num_ranges) >> np.uint64(32)
        for i in np.unique(own_range).tolist():
            yield band * num_ranges + i, entries[own_range == i].tobytes()


def candidate_pairs(blocks: Iterable[bytes]) -> Pairs:
    """The set of candidate pairs among the entries of one band."""
    entries = np.frombuffer(b"".join(blocks), dtype=ENTRY)
    packed = entries["hash"].astype(np.uint64) << np.uint64(32) | entries["rank"]
    packed.sort()
    hashes = packed >> np.uint64(32)
    if len(packed) < 2:
        return NO_PAIRS
    starts = np.flatnonzero(_differs(hashes))
    sizes = np.diff(np.append(starts, len(hashes)))
    shared = np.repeat(sizes > 1, sizes)
    ranks = (packed[shared] & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    return united(_pairs(ranks, sizes[sizes > 1]))


def _pairs(ranks: Ranks, sizes: npt.NDArray[np.int64]) -> Iterator[Pairs]:
    """Pairs within buckets that lie one behind another, each in the order of rank."""
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)  # of each entry's bucket
    own = np.repeat(sizes, sizes)  # size of each entry's bucket
    places = np.arange(len(ranks)) - starts
    small = own <= MAX_ALL_PAIRS
    for distance in range(1, min(MAX_ALL_PAIRS, int(sizes.max(initial=1)))):
        later = np.flatnonzero((places >= distance) & (small | (distance == 1)))
        yield pack_pairs(ranks[later - distance], ranks[later])
    for best in range(NUM_BEST):
        later = np.flatnonzero(~small & (places > best))
        yield pack_pairs(ranks[starts[later] + best], ranks[later])


NO_PAIRS: Pairs = np.empty(0, dtype=np.uint64)


def pack_pairs(better: Ranks, worse: Ranks) -> Pairs:
    """Pairs, packed."""
    packed: Pairs = worse.astype(np.uint64) << np.uint64(32) | better
    return packed


def unpack_pairs(pairs: Pairs) -> tuple[Ranks, Ranks]:
    """The better and the worse rank of each pair."""
    return (pairs & np.uint64(0xFFFFFFFF)).astype(np.uint32), (pairs >> np.uint64(32)).astype(np.uint32)


def united(sets: Iterable[Pairs]) -> Pairs:
    """The union of sets of pairs: each pair once, ascending by the worse rank, then by the better."""
    every = np.concatenate([NO_PAIRS, *sets])
    every.sort()
    return every[_differs(every)]


def _differs(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Whether each value is another than the one before it; the first one is."""
    differs = np.ones(len(values), dtype=np.bool_)
    differs[1:] = values[1:] != values[:-1]
    return differs
