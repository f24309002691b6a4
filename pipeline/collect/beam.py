"""collect in Beam: each source wherever a worker is free."""

from collections.abc import Sequence

import apache_beam as beam

from pipeline.beam import DoParts
from pipeline.collect.work import collect_part
from pipeline.stages import Job, Planned


def transform(job: Job, todo: Sequence[Planned]) -> beam.PTransform:
    """Sources to tables of submissions."""
    return DoParts(job, todo, collect_part)
