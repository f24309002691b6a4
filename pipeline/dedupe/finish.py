"""A part of the corpus: the documents that are kept, each with what its removed copies leave to it."""

import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.dedupe.groups import read_group
from pipeline.dedupe.guard import check_limits
from pipeline.dedupe.signatures import SIGNATURES
from pipeline.records import CORPUS, REJECTED, Reason
from pipeline.remove.tombstones import REMOVED
from pipeline.runs import Counts, PartWriter
from pipeline.stages import Job, Planned, part_name

_DOCUMENTS_AT_ONCE = 2_000


def finish(job: Job, part: Planned) -> None:
    """Writes one part of the corpus, and the rows of those that were removed from it.

    Raises RunError where more would be removed than the settings let pass.
    """
    started = time.monotonic()
    check_limits(job)
    index = part.spec["index"]
    domains = job.folder.read_table(f"{part_name(index, SIGNATURES)}.parquet", ["domain"])["domain"]
    verdicts = read_group(job, "concluded.verdicts.parquet", index)
    gathered = read_group(job, "concluded.gathered.parquet", index)
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    facts = Counter(documents=0, text_bytes=0, words=0)
    removed = [REJECTED.empty_table()]
    with writer.open("parquet") as sink, pq.ParquetWriter(sink, CORPUS, compression="zstd") as file:
        for start, documents in _batches(job, part.spec["source"]):
            rows = range(start, start + documents.num_rows)
            own = domains.slice(start, documents.num_rows)
            kept, rejected = divide(documents, own, _within(verdicts, rows), _within(gathered, rows))
            facts.update(documents=kept.num_rows, words=pc.sum(kept["num_words"]).as_py() or 0)
            facts.update(text_bytes=pc.sum(pc.binary_length(kept["text"])).as_py() or 0)
            removed.append(rejected)
            file.write_table(kept)
    writer.rows(facts["documents"])
    rejections = pa.concat_tables(removed)
    writer.table("rejected.parquet", rejections)
    reasons = {one["values"]: one["counts"] for one in pc.value_counts(rejections["reason"]).to_pylist()}
    counts = Counts(facts["documents"] + rejections.num_rows, facts["documents"], reasons)
    writer.commit(counts, seconds=time.monotonic() - started, facts=facts)


def _batches(job: Job, source: str) -> Iterator[tuple[int, pa.Table]]:
    """A filtered part's documents, some at a time, each time with the number of those before."""
    start = 0
    with job.folder_of("filter").open(source) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(batch_size=_DOCUMENTS_AT_ONCE):
            yield start, pa.Table.from_batches([batch])
            start += batch.num_rows


def _within(table: pa.Table, rows: range) -> pa.Table:
    """What a table says of these rows (it ascends by its column ``row``), counted from the first of them."""
    own = table["row"].to_numpy()
    first, last = np.searchsorted(own, [rows.start, rows.stop]).tolist()
    place = table.schema.get_field_index("row")
    counted = pa.array(own[first:last] - rows.start, pa.int32())
    return table.slice(first, last - first).set_column(place, table.schema.field("row"), counted)


def divide(
    documents: pa.Table, domains: pa.ChunkedArray, verdicts: pa.Table, gathered: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Documents into those kept (CORPUS) and those removed (REJECTED).

    Args:
        documents: FILTERED.
        domains: Of each, its registrable domain.
        verdicts: On those whose cluster has company (conclude.FINISHING).
        gathered: What was removed in favour of some of them (conclude.GATHERED).
    """
    removed = np.zeros(documents.num_rows, dtype=np.bool_)
    removed[verdicts["row"].to_numpy()] = ~verdicts["kept"].to_numpy()
    place = np.full(documents.num_rows, -1)
    place[verdicts["row"].to_numpy()] = np.arange(verdicts.num_rows)
    in_company = pa.array(place, mask=place < 0)
    merged = merge(documents, gathered)
    for name, alone in (
        ("cluster", documents["id"]),
        ("cluster_domain", domains),
        ("cluster_created", documents["created"]),
    ):
        values = pc.if_else(pa.array(place < 0), alone, verdicts[name].take(in_company))
        merged = merged.append_column(CORPUS.field(name), values)
    kept = merged.cast(CORPUS).filter(pa.array(~removed))
    return kept, _rejections(documents, verdicts.filter(pc.invert(verdicts["kept"])))


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
    """REJECTED rows; the value is the survivor's id, the similarity to it, and its run if it is another."""
    own = documents.select(["id", "url"]).take(removed["row"])
    reasons, values = [], []
    for row in removed.select(["survivor", "run", "similarity", "exact"]).to_pylist():
        taken_out = row["run"] == REMOVED
        duplicate = Reason.EXACT_DUPLICATE if row["exact"] else Reason.NEAR_DUPLICATE
        reasons.append(str(Reason.OPT_OUT if taken_out else duplicate))
        run = "" if row["run"] is None else f" {row['run']}"
        values.append(f"{row['survivor']} {row['similarity']:.3f}{run}")
    columns = [own["id"], own["url"], pa.array(reasons, pa.string()), pa.array(values, pa.string())]
    return pa.table(columns, schema=REJECTED)
