"""Which of two copies is the better one: more karma, then longer, then earlier posted, then the smaller id.

All that follows speaks of documents by their rank, 0 being the best. So what is decided depends neither on
the order of the parts nor on that of the workers.
"""

import time

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.dedupe.signatures import fixed_width
from pipeline.errors import InputError
from pipeline.runs import PartWriter
from pipeline.stages import Job, Planned

Ranks = npt.NDArray[np.uint32]

# One row group a part, in the order of the part's rows.
RANKED = pa.schema(
    [
        pa.field("rank", pa.uint32(), nullable=False),
        pa.field("original", pa.uint32(), nullable=False),  # the best rank among those with the same text
    ]
)

_ORDER = [("karma", "descending"), ("num_chars", "descending"), ("created", "ascending"), ("id", "ascending")]
_COLUMNS = ["id", "text_hash", "karma", "num_chars", "created"]


def rank(signed: pa.Table) -> tuple[Ranks, Ranks]:
    """Each document's rank, and that of the best document with the same normalised text."""
    order = pc.sort_indices(signed, sort_keys=_ORDER).to_numpy()
    ranks = np.empty(len(order), dtype=np.uint32)
    ranks[order] = np.arange(len(order), dtype=np.uint32)
    if len(order) == 0:
        return ranks, ranks
    halves = fixed_width(signed["text_hash"], "<u8", 2)
    by_text = np.lexsort((ranks, halves[:, 0], halves[:, 1]))
    heads = np.ones(len(by_text), dtype=np.bool_)
    heads[1:] = (halves[by_text[1:]] != halves[by_text[:-1]]).any(axis=1)
    originals = np.empty_like(ranks)
    originals[by_text] = ranks[by_text[heads]][np.cumsum(heads) - 1]
    return ranks, originals


def rank_all(job: Job, part: Planned) -> None:
    """Ranks the documents of all parts."""
    started = time.monotonic()
    tables = [job.folder.read_table(f"{name}.parquet", _COLUMNS) for name in part.spec["signatures"]]
    signed = pa.concat_tables(tables)
    if signed.num_rows > np.iinfo(np.uint32).max:
        raise InputError(
            f"dedupe takes up to 4,294,967,295 documents, but {signed.num_rows:,} were given. "
            "Divide the dumps over two runs."
        )
    ranks, originals = rank(signed)
    ranked = pa.table([pa.array(ranks), pa.array(originals)], schema=RANKED)
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    with writer.open("parquet") as sink, pq.ParquetWriter(sink, RANKED, compression="zstd") as file:
        start = 0
        for table in tables:
            file.write_table(ranked.slice(start, table.num_rows), row_group_size=max(1, table.num_rows))
            start += table.num_rows
    writer.rows(ranked.num_rows)
    writer.commit(None, seconds=time.monotonic() - started)


def read_ranks(job: Job, index: int) -> tuple[Ranks, Ranks]:
    """Ranks and originals of the documents of one part, by its place among the parts."""
    with job.folder.open("ranked.parquet") as stream:
        table = pq.ParquetFile(stream).read_row_group(index)
    return table["rank"].to_numpy(), table["original"].to_numpy()
