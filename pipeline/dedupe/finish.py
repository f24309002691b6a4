"""A part of the corpus: the documents that are kept, each with what its removed copies leave to it."""

import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dedupe.decide import read_group
from pipeline.records import CORPUS, REJECTED, Reason
from pipeline.runs import Counts, PartWriter
from pipeline.stages import Job, Planned


def finish(job: Job, part: Planned) -> None:
    """Writes one part of the corpus, and the rows of those that were removed from it."""
    started = time.monotonic()
    index = part.spec["index"]
    documents = job.folder_of("filter").read_table(part.spec["source"])
    verdicts = read_group(job, "verdicts", index)
    kept, rejected = divide(documents, verdicts, read_group(job, "gathered", index))
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    writer.table("parquet", kept)
    writer.table("rejected.parquet", rejected)
    reasons = {one["values"]: one["counts"] for one in pc.value_counts(rejected["reason"]).to_pylist()}
    facts = {
        "documents": kept.num_rows,
        "text_bytes": pc.sum(pc.binary_length(kept["text"])).as_py() or 0,
        "words": pc.sum(kept["num_words"]).as_py() or 0,
    }
    counts = Counts(documents.num_rows, kept.num_rows, reasons)
    writer.commit(counts, seconds=time.monotonic() - started, facts=facts)


def divide(documents: pa.Table, verdicts: pa.Table, gathered: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Documents of one part into those kept (CORPUS) and those removed (REJECTED)."""
    rows = verdicts["row"].to_numpy()
    stays = verdicts["kept"].to_numpy()
    removed = np.zeros(documents.num_rows, dtype=np.bool_)
    removed[rows] = ~stays
    clusters = documents["id"].to_pylist()
    for row, cluster in zip(rows.tolist(), verdicts["cluster"].to_pylist(), strict=True):
        clusters[row] = cluster
    merged = merge(documents, gathered)
    kept = merged.append_column("cluster", pa.array(clusters, pa.string())).cast(CORPUS)
    return kept.filter(pa.array(~removed)), _rejections(documents, verdicts.filter(pa.array(~stays)))


def merge(documents: pa.Table, gathered: pa.Table) -> pa.Table:
    """The documents, with the submissions, subreddits and first posting of the copies removed for them."""
    if gathered.num_rows == 0:
        return documents
    submissions = documents["submissions"].to_pylist()
    subreddits = documents["subreddits"].to_pylist()
    created = documents["created"].to_pylist()
    copies = gathered.to_pylist()
    for copy in copies:
        row = copy["row"]
        submissions[row] += copy["submissions"]
        subreddits[row] += copy["subreddits"]
        told = [time for time in (created[row], copy["created"]) if time is not None]
        created[row] = min(told, default=None)
    for row in {copy["row"] for copy in copies}:
        submissions[row] = list(dict.fromkeys(submissions[row]))
        subreddits[row] = sorted(set(subreddits[row]))
    for name, values in (("submissions", submissions), ("subreddits", subreddits), ("created", created)):
        field = documents.schema.field(name)
        index = documents.schema.get_field_index(name)
        documents = documents.set_column(index, field, pa.array(values, field.type))
    return documents


def _rejections(documents: pa.Table, removed: pa.Table) -> pa.Table:
    """REJECTED rows; the value is the survivor's id and the similarity to it."""
    own = documents.select(["id", "url"]).take(removed["row"])
    reasons = [
        str(Reason.EXACT_DUPLICATE if exact else Reason.NEAR_DUPLICATE)
        for exact in removed["exact"].to_pylist()
    ]
    values = [
        f"{survivor} {similarity:.3f}"
        for survivor, similarity in zip(
            removed["survivor"].to_pylist(), removed["similarity"].to_pylist(), strict=True
        )
    ]
    columns = [own["id"], own["url"], pa.array(reasons, pa.string()), pa.array(values, pa.string())]
    table = pa.table(columns, schema=REJECTED)
    return table.take(pc.sort_indices(removed["row"]))
