"""shard in Beam: every shard on whichever worker is free."""

from collections.abc import Sequence

import apache_beam as beam

from pipeline.beam import DoParts
from pipeline.shard.write import write_shard
from pipeline.stages import Job, Planned


def transform(job: Job, todo: Sequence[Planned]) -> beam.PTransform:
    """Documents to token shards."""
    return DoParts(job, todo, write_shard)
