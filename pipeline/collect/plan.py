"""The parts of collect: a dump each."""

from pathlib import Path

from pipeline.errors import InputError
from pipeline.inputs import expand, file_digest
from pipeline.stages import Job, Plan, Planned, part_name

_BYTES_PER_CPU_SECOND = 10_000_000  # of a packed dump, measured


def plan(job: Job) -> Plan:
    """One part a dump file, in the order of the settings. Raises InputError where there is none."""
    paths = expand(job.settings.dumps, "collect.dumps")
    for path in paths:
        if Path(path).name.startswith("RC_"):
            raise InputError(f"collect.dumps: {path} holds comments; submissions are in files named RS_*.")
    digests = {path: file_digest(path) for path in paths}
    parts = tuple(
        Planned(part_name(index), job.fingerprint(digests[path]), {"path": path})
        for index, path in enumerate(paths)
    )
    num_bytes = sum(Path(path).stat().st_size for path in paths)
    inputs = {
        f"{part_name(index)} from {Path(path).name}": digest
        for index, (path, digest) in enumerate(digests.items())
    }
    return Plan(parts, inputs=inputs, work_s=num_bytes / _BYTES_PER_CPU_SECOND)
