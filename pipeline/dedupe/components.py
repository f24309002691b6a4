"""What must be decided together: documents that candidate pairs connect. Many such components are one batch.

A batch is decided by itself, on any worker, with what its documents have to show and nothing else in memory.
"""

import time

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.dedupe.candidates import Pairs, unpack_pairs
from pipeline.dedupe.groups import write_groups
from pipeline.dedupe.ranking import Ranks, read_all_ranks
from pipeline.runs import PartWriter
from pipeline.stages import Job, Planned

BATCH = pa.schema([pa.field("batch", pa.int32(), nullable=False)])  # NOT_COMPARED where in no pair
PAIRS = pa.schema([pa.field("pair", pa.uint64(), nullable=False)])  # as candidates.py packs them

NOT_COMPARED = -1


def connect(num_nodes: int, edges: tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]) -> Ranks:
    """The smallest node that each one is connected with: uint32 [nodes]."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(edges[0]), dtype=np.bool_)
    graph = coo_array((ones, edges), shape=(num_nodes, num_nodes))
    num_components, labels = connected_components(graph, directed=False)
    smallest = np.full(num_components, num_nodes, dtype=np.uint32)
    np.minimum.at(smallest, labels, np.arange(num_nodes, dtype=np.uint32))
    roots: Ranks = smallest[labels]
    return roots


def divide(pairs: Pairs, num_batches: int) -> tuple[Ranks, npt.NDArray[np.int32]]:
    """Documents into batches of about equal size, components whole.

    Returns:
        The ranks that stand in pairs, ascending, and the batch of each.
    """
    better, worse = unpack_pairs(pairs)
    compared = np.unique(np.concatenate([better, worse]))
    roots = connect(len(compared), (np.searchsorted(compared, better), np.searchsorted(compared, worse)))
    sizes = np.bincount(roots, minlength=len(compared))
    behind = np.cumsum(sizes)[roots]  # documents up to and with the component
    return compared, ((behind - 1) * num_batches // max(1, len(compared))).astype(np.int32)


def match(job: Job, part: Planned, packed: bytes) -> None:
    """Writes the batch of every document (a row group a table) and the pairs (a row group a batch)."""
    started = time.monotonic()
    pairs = np.frombuffer(packed, np.uint64)
    num_batches = part.spec["num_batches"]
    ranked = [ranks for ranks, _ in read_all_ranks(job, part)]
    compared, batches = divide(pairs, num_batches)
    by_rank = np.full(sum(map(len, ranked)), NOT_COMPARED, dtype=np.int32)
    by_rank[compared] = batches
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    batches_of_tables = (pa.table([by_rank[ranks]], schema=BATCH) for ranks in ranked)
    write_groups(writer, "batches.parquet", BATCH, batches_of_tables)
    batch_of_pair = by_rank[unpack_pairs(pairs)[1]]
    in_batches = pairs[np.argsort(batch_of_pair, kind="stable")]
    bounds = np.cumsum(np.bincount(batch_of_pair, minlength=num_batches))[:-1]
    pairs_of_batches = (pa.table([one], schema=PAIRS) for one in np.split(in_batches, bounds))
    write_groups(writer, "pairs.parquet", PAIRS, pairs_of_batches)
    writer.commit(None, seconds=time.monotonic() - started)
