"""What the documents that have candidates show of themselves, laid out by the batch that compares them."""

import time
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.dedupe.components import NOT_COMPARED
from pipeline.dedupe.groups import read_group, write_groups
from pipeline.dedupe.ranking import read_ranks
from pipeline.dedupe.shingles import Shingler
from pipeline.runs import PartWriter
from pipeline.stages import Job, Planned


def evidence_schema(num_perm: int) -> pa.Schema:
    """An ``evidence`` table; one row group a batch."""
    return pa.schema(
        [
            pa.field("rank", pa.uint32(), nullable=False),
            pa.field("signature", pa.binary(4 * num_perm), nullable=False),
            # Distinct hashes, ascending (little-endian uint64); null where only signatures count, and of
            # documents whose texts are in another run.
            pa.field("shingles", pa.large_binary()),
        ]
    )


def show(job: Job, part: Planned) -> None:
    """Writes the evidence of one table's documents."""
    started = time.monotonic()
    spec, settings = part.spec, job.settings
    batches = read_group(job, "matched.batches.parquet", spec["index"])["batch"].to_numpy()
    rows = np.flatnonzero(batches != NOT_COMPARED)
    rows = rows[np.argsort(batches[rows], kind="stable")]
    ranks, _ = read_ranks(job, spec["index"])
    signatures = job.folder.read_table(spec["table"], ["signature"])["signature"]
    shingles = pa.nulls(len(rows), pa.large_binary())
    if settings.verify == "exact" and spec["source"]:
        shingles = pa.array(_shingles(job, spec["source"], rows), pa.large_binary())
    schema = evidence_schema(settings.num_perm)
    table = pa.table([ranks[rows], signatures.take(pa.array(rows)), shingles], schema=schema)
    bounds = np.searchsorted(batches[rows], np.arange(spec["num_batches"] + 1))
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    groups = [table.slice(start, stop - start) for start, stop in pairwise(bounds.tolist())]
    write_groups(writer, "parquet", schema, groups)
    writer.commit(None, seconds=time.monotonic() - started)


def _shingles(job: Job, source: str, rows: npt.NDArray[np.int64]) -> list[bytes]:
    """The distinct shingles of the documents in these rows of a filtered part, in the order of ``rows``."""
    shingler = Shingler(job.settings.shingles, job.settings.ngram)
    order = np.argsort(rows)
    found: list[bytes] = [b""] * len(rows)
    start = at = 0
    with job.folder_of("filter").open(source) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(batch_size=1024, columns=["text"]):
            while at < len(rows) and rows[order[at]] < start + batch.num_rows:
                text = batch["text"][int(rows[order[at]]) - start].as_py()
                found[order[at]] = np.unique(shingler.shingle(text).shingles).tobytes()
                at += 1
            start += batch.num_rows
    return found
