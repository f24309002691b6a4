"""filter in Beam: part by part."""

import time
from collections import Counter
from collections.abc import Sequence

import apache_beam as beam
import pyarrow.compute as pc

from pipeline.beam import DoParts
from pipeline.filter.documents import filter_documents
from pipeline.filter.language import load_detector
from pipeline.runs import Counts, PartWriter
from pipeline.stages import Job, Planned


def transform(job: Job, todo: Sequence[Planned]) -> beam.PTransform:
    """Documents to those worth keeping."""
    return DoParts(job, todo, _filter)


def _filter(job: Job, part: Planned) -> None:
    started = time.monotonic()
    documents = job.folder_of("extract").read_table(part.spec["documents"])
    kept, rejected = filter_documents(documents, job.settings, load_detector())
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    writer.table("parquet", kept)
    writer.table("rejected.parquet", rejected)
    writer.commit(
        Counts(documents.num_rows, kept.num_rows, Counter(rejected["reason"].to_pylist())),
        seconds=time.monotonic() - started,
        facts={
            "words": pc.sum(kept["num_words"]).as_py() or 0,
            "text_bytes": pc.sum(pc.binary_length(kept["text"])).as_py() or 0,
        },
    )
