"""Which of two copies is the better one: by default more karma, then longer, then earlier posted, then id.

All that follows speaks of documents by their rank, 0 being the best; those of other corpora come first. So
what is decided depends neither on the order of the parts nor on that of the workers.
"""

import time
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.columns import fixed_width
from pipeline.dedupe.groups import read_group, write_groups
from pipeline.errors import InputError
from pipeline.runs import Folder, PartWriter
from pipeline.stages import Job, Planned

Ranks = npt.NDArray[np.uint32]
TextHashes = npt.NDArray[np.uint64]  # [documents, 2]

# One row group a table of documents, in the order of its rows.
RANKED = pa.schema(
    [
        pa.field("rank", pa.uint32(), nullable=False),
        pa.field("original", pa.uint32(), nullable=False),  # the best rank among those with the same text
    ]
)

_ORDERS = {
    "karma": ("karma", "descending"),
    "longest": ("num_chars", "descending"),
    "earliest": ("created", "ascending"),
    "id": ("id", "ascending"),
}


def rank(signed: pa.Table, survivor: Sequence[str]) -> Ranks:
    """Each document's rank among these, by the criteria of ``survivor`` and at last by id: uint32."""
    orders = [_ORDERS[one] for one in dict.fromkeys((*survivor, "id"))]
    order = pc.sort_indices(signed.select([name for name, _ in orders]), sort_keys=orders).to_numpy()
    ranks = np.empty(len(order), dtype=np.uint32)
    ranks[order] = np.arange(len(order), dtype=np.uint32)
    return ranks


def find_originals(ranks: Ranks, texts: TextHashes) -> Ranks:
    """For each document the best rank among those with the same normalised text: uint32 [documents]."""
    if len(ranks) == 0:
        return ranks
    by_text = np.lexsort((ranks, texts[:, 0], texts[:, 1]))
    heads = np.ones(len(by_text), dtype=np.bool_)
    heads[1:] = (texts[by_text[1:]] != texts[by_text[:-1]]).any(axis=1)
    originals = np.empty_like(ranks)
    originals[by_text] = ranks[by_text[heads]][np.cumsum(heads) - 1]
    return originals


def rank_all(job: Job, part: Planned) -> None:
    """Ranks the documents of all parts, behind those of other corpora."""
    started = time.monotonic()
    tables = [*part.spec["signed"], *part.spec["known"]]
    sizes = [num_rows(job.folder, name) for name in tables]
    if sum(sizes) > np.iinfo(np.uint32).max:
        raise InputError(
            f"dedupe takes up to 4,294,967,295 documents, but {sum(sizes):,} were given. "
            "Divide the dumps over two runs, and set dedupe.against in the second."
        )
    num_known = sum(sizes[len(part.spec["signed"]) :])
    own = pa.concat_tables(job.folder.read_table(name, _COLUMNS) for name in part.spec["signed"])
    own_ranks = rank(own, job.settings.survivor) + np.uint32(num_known)
    del own  # ids as text are most of what is in memory here
    ranks = np.concatenate([own_ranks, np.arange(num_known, dtype=np.uint32)])
    hashes = pa.chunked_array(
        [
            chunk
            for name in tables
            for chunk in job.folder.read_table(name, ["text_hash"])["text_hash"].chunks
        ],
        pa.binary(16),
    )
    originals = find_originals(ranks, fixed_width(hashes, "<u8", 2))
    ranked = pa.table([pa.array(ranks), pa.array(originals)], schema=RANKED)
    bounds = pairwise(accumulate(sizes, initial=0))
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    write_groups(writer, "parquet", RANKED, (ranked.slice(start, stop - start) for start, stop in bounds))
    writer.commit(None, seconds=time.monotonic() - started)


_COLUMNS = ["id", "karma", "num_chars", "created"]


def num_rows(folder: Folder, name: str) -> int:
    """How many rows a Parquet file has."""
    with folder.open(name) as stream:
        return int(pq.ParquetFile(stream).metadata.num_rows)


def read_ranks(job: Job, index: int) -> tuple[Ranks, Ranks]:
    """Ranks and originals of the documents of one table, by its place: own parts, then known ones."""
    table = read_group(job, "ranked.parquet", index)
    return table["rank"].to_numpy(), table["original"].to_numpy()


def read_all_ranks(job: Job, part: Planned) -> list[tuple[Ranks, Ranks]]:
    """Ranks and originals of all tables, in their order."""
    return [read_ranks(job, index) for index in range(len(part.spec["signed"]) + len(part.spec["known"]))]
