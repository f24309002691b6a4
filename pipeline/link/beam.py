"""link in Beam: submissions dealt table by table, then grouped, some neighbouring parts at a time."""

from collections.abc import Sequence
from functools import partial

import apache_beam as beam

from pipeline.beam import DoParts
from pipeline.link.deal import DEALT, deal
from pipeline.link.plan import opt_outs_of
from pipeline.link.write import groups, write_group
from pipeline.stages import Job, Planned


class GroupByUrl(beam.PTransform):
    """Tables of submissions to tables of links."""

    def __init__(self, job: Job, todo: Sequence[Planned]) -> None:
        super().__init__()
        self._job = job
        self._todo = todo

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Deal what is not dealt; once all is, group."""
        work = partial(write_group, opt_outs=opt_outs_of(self._job))
        missing = [part for part in self._todo if part.name.startswith(DEALT)]
        dealt = pbegin | "Deal" >> DoParts(self._job, missing, deal)
        return pbegin | "Group" >> DoParts(self._job, groups(self._job, self._todo), work, after=[dealt])


def transform(job: Job, todo: Sequence[Planned]) -> beam.PTransform:
    """Submissions to links."""
    return GroupByUrl(job, todo)
