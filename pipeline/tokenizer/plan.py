"""The one part of the stage that trains the tokenizer."""

from pipeline.stages import Job, Plan, Planned
from pipeline.tokenizer.documents import corpus_files, text_bytes


def plan(job: Job) -> Plan:
    """One part; its sidecar must not be called tokenizer.json."""
    corpus = job.inputs["dedupe"]
    checksums = [part.file(f"{part.name}.parquet").sha256 for part in corpus.counted()]
    part = Planned(
        "vocabulary",
        job.fingerprint(*checksums),
        {"sources": corpus_files(corpus), "text_bytes": text_bytes(corpus)},
    )
    return Plan((part,))
