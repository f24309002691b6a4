"""The parts of dedupe: signatures, ``ranked`` and ``clusters``, then the corpus part by part."""

from pipeline.stages import Job, Plan, Planned, part_name

_DOCUMENTS_PER_CPU_SECOND = 2_000  # measured

SIGN, RANK, DECIDE, FINISH = "sign", "rank", "decide", "finish"


def plan(job: Job) -> Plan:
    """One part of signatures and one of the corpus for each filtered part, and two for all together.

    A part of the corpus depends on all documents, as any other may be the better copy of one in it.
    """
    sources = [(part.name, part.file(f"{part.name}.parquet")) for part in job.inputs["filter"].counted()]
    everything = job.fingerprint(*(file.sha256 for _, file in sources))
    signatures = [part_name(index, "signatures") for index in range(len(sources))]
    together = {"signatures": signatures}
    parts = [
        *(
            Planned(name, job.fingerprint(SIGN, file.sha256), {"step": SIGN, "source": file.name})
            for name, (_, file) in zip(signatures, sources, strict=True)
        ),
        Planned("ranked", job.fingerprint(RANK, everything), {"step": RANK, **together}),
        Planned("clusters", job.fingerprint(DECIDE, everything), {"step": DECIDE, **together}),
        *(
            Planned(
                name,
                job.fingerprint(FINISH, name, everything),
                {"step": FINISH, "source": file.name, "index": index},
            )
            for index, (name, file) in enumerate(sources)
        ),
    ]
    return Plan(
        parts=tuple(parts) if sources else (),
        work_s=job.inputs["filter"].counts.kept / _DOCUMENTS_PER_CPU_SECOND,
    )
