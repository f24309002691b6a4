"""The parts of link: ranges of the domains' hashes."""

from pipeline.stages import Job, Plan, Planned, part_name

_SUBMISSIONS_PER_CPU_SECOND = 300_000  # measured


def plan(job: Job) -> Plan:
    """As many parts as the number of submissions asks for."""
    submissions = job.inputs["collect"]
    num_parts = max(1, -(-submissions.counts.kept // job.settings.submissions_per_part))
    digest = submissions.digest()
    parts = tuple(
        Planned(
            part_name(index),
            job.fingerprint(digest, str(num_parts), str(index)),
            {"index": index, "num_parts": num_parts},
        )
        for index in range(num_parts)
    )
    return Plan(parts, work_s=submissions.counts.kept / _SUBMISSIONS_PER_CPU_SECOND)
