"""The one part of the stage that trains the tokenizer."""

from pipeline.stages import Job, Plan, Planned


def plan(job: Job) -> Plan:
    """One part; its sidecar must not be called tokenizer.json."""
    corpus = job.inputs["dedupe"]
    files = [part.file(f"{part.name}.parquet") for part in corpus.counted()]
    part = Planned(
        "vocabulary",
        job.fingerprint(*(file.sha256 for file in files)),
        {"sources": [file.name for file in files], "text_bytes": corpus.facts.get("text_bytes", 0)},
    )
    return Plan((part,))
