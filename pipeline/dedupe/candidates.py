"""Candidate pairs: documents whose signatures agree in a whole band of rows.

A bucket (the documents that agree in one band) of up to 32 gives all its pairs. In a larger one each document
is paired with the eight best-ranked of the bucket and with its neighbour in rank, so that the work grows with
the bucket and not with its square.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from pipeline.dedupe.ranking import Ranks, read_ranks
from pipeline.dedupe.signatures import fixed_width
from pipeline.stages import Job, part_name

ENTRY = np.dtype([("hash", "<u8"), ("rank", "<u4")])
MAX_ALL_PAIRS = 32
NUM_BEST = 8

_ENTRIES_PER_GROUP = 2_000_000  # of one band that are sorted together: about 50 MB
_MULTIPLIER = 0xD6E8FEB86659FD93  # odd

Pairs = npt.NDArray[np.uint32]  # [pairs, 2]: the better rank first


@lru_cache(maxsize=8)
def bands_and_rows(threshold: float, num_perm: int) -> tuple[int, int]:
    """How a signature is divided, by datasketch's optimum for a threshold.

    A pair that is missed stays in the corpus, while a candidate too many only costs a comparison: misses
    weigh nine times as much.
    """
    from datasketch import MinHashLSH

    try:
        lsh = MinHashLSH(threshold=threshold, num_perm=num_perm, weights=(0.1, 0.9))
    except ValueError:  # so near 1 that its optimum is one band, which it refuses
        return 2, num_perm // 2
    return lsh.b, lsh.r


def band_hashes(signatures: npt.NDArray[np.uint32], num_rows: int, band: int) -> npt.NDArray[np.uint64]:
    """What stands in one band of each signature, hashed to uint64 [documents]."""
    total = np.zeros(len(signatures), dtype=np.uint64)
    for i in range(num_rows):
        multiplier = np.uint64(pow(_MULTIPLIER, i + 1, 1 << 64))
        total += signatures[:, band * num_rows + i].astype(np.uint64) * multiplier
    return total ^ (total >> np.uint64(32))


def band_blocks(job: Job, index: int) -> Iterator[tuple[int, bytes]]:
    """A part's documents by band and range of the band's hash: the key, and packed entries.

    Of documents with the same text only the best takes part.
    """
    name = part_name(index, "signatures")
    signed = job.folder.read_table(f"{name}.parquet", ["signature"])
    ranks, originals = read_ranks(job, index)
    signatures = fixed_width(signed["signature"], "<u4", job.settings.num_perm)[ranks == originals]
    ranks = ranks[ranks == originals]
    num_bands, num_rows = bands_and_rows(job.settings.threshold, job.settings.num_perm)
    num_ranges = 1 + job.inputs["filter"].counts.kept // _ENTRIES_PER_GROUP
    for band in range(num_bands):
        entries = np.empty(len(ranks), dtype=ENTRY)
        entries["hash"] = band_hashes(signatures, num_rows, band)
        entries["rank"] = ranks
        ranges = (entries["hash"] >> np.uint64(32)) * np.uint64(num_ranges) >> np.uint64(32)
        for i in np.unique(ranges).tolist():
            yield band * num_ranges + i, entries[ranges == i].tobytes()


def candidate_pairs(entries: npt.NDArray[np.void]) -> Pairs:
    """The candidate pairs among the entries of one band."""
    order = np.lexsort((entries["rank"], entries["hash"]))
    hashes, ranks = entries["hash"][order], entries["rank"][order]
    if len(ranks) < 2:
        return np.empty((0, 2), dtype=np.uint32)
    heads = np.ones(len(hashes), dtype=np.bool_)
    heads[1:] = hashes[1:] != hashes[:-1]
    starts = np.flatnonzero(heads)
    sizes = np.diff(np.append(starts, len(hashes)))
    alone = np.repeat(sizes == 1, sizes)
    sizes = sizes[sizes > 1]
    return np.concatenate([*_pairs(ranks[~alone], sizes), np.empty((0, 2), dtype=np.uint32)])


def _pairs(ranks: Ranks, sizes: npt.NDArray[np.int64]) -> Iterator[Pairs]:
    """Pairs within buckets that lie one behind another, each in the order of rank."""
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)  # of each entry's bucket
    own = np.repeat(sizes, sizes)  # size of each entry's bucket
    places = np.arange(len(ranks)) - starts
    small = own <= MAX_ALL_PAIRS
    for distance in range(1, min(MAX_ALL_PAIRS, int(sizes.max(initial=1)))):
        later = np.flatnonzero((places >= distance) & (small | (distance == 1)))
        yield np.stack([ranks[later - distance], ranks[later]], axis=1)
    for best in range(NUM_BEST):
        later = np.flatnonzero(~small & (places > best))
        yield np.stack([ranks[starts[later] + best], ranks[later]], axis=1)


def distinct(pairs: Pairs) -> Pairs:
    """Each pair once, in the order of the second, then of the first."""
    packed = np.unique(pairs[:, 1].astype(np.uint64) << np.uint64(32) | pairs[:, 0])
    return np.stack([packed & np.uint64(0xFFFFFFFF), packed >> np.uint64(32)], axis=1).astype(np.uint32)
