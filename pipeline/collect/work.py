"""One dump to one table of submissions."""

import time
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.collect.dumps import read_lines
from pipeline.collect.rules import Submission, judge
from pipeline.records import SUBMISSIONS
from pipeline.runs import Counts, PartWriter
from pipeline.stages import Job, Planned
from pipeline.urls import domain_hash

_ROWS_AT_ONCE = 50_000


def collect_dump(job: Job, part: Planned) -> None:
    """Reads a dump, judges each line, and writes the submissions that point outward, in the dump's order."""
    started = time.monotonic()
    rejected: Counter[str] = Counter()
    kept = 0
    batch: list[Submission] = []
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    with (
        writer.open("parquet") as sink,
        pq.ParquetWriter(sink, SUBMISSIONS, compression="zstd") as table,
    ):
        for line in read_lines(part.spec["path"]):
            judged = judge(line, job.settings)
            if not isinstance(judged, Submission):
                rejected[judged.value] += 1
                continue
            batch.append(judged)
            if len(batch) == _ROWS_AT_ONCE:
                table.write_table(_table(batch))
                kept += len(batch)
                batch.clear()
        table.write_table(_table(batch))
        kept += len(batch)
    writer.rows(kept)
    counts = Counts(kept + sum(rejected.values()), kept, dict(rejected))
    writer.commit(counts, seconds=time.monotonic() - started)


def _table(batch: list[Submission]) -> pa.Table:
    columns = {
        "key": [one.url.key for one in batch],
        "domain_hash": [domain_hash(one.url.domain) for one in batch],
        "url": [one.submitted_url for one in batch],
        "id": [one.id for one in batch],
        "score": [one.score for one in batch],
        "subreddit": [one.subreddit for one in batch],
        "created": [one.created * 1000 for one in batch],
    }
    return pa.table(columns, schema=SUBMISSIONS)
