"""filter in Beam: measure part by part, look at what all share with evaluation sets, finish part by part."""

from collections.abc import Sequence

import apache_beam as beam

from pipeline.beam import DoParts, PartsInSteps
from pipeline.filter.plan import CONTAMINATION, EVALUATION, FINISH, MEASURED, SHARED
from pipeline.filter.work import find_contamination, finish_part, index_sets, measure_part, search_part
from pipeline.stages import Job, Planned


class KeepGoodDocuments(PartsInSteps):
    """Parts of documents to parts of those worth keeping, each step once the one before is done."""

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Measure, look for what evaluation sets say, compare, finish."""
        before: list[beam.PCollection] = []
        for label, step, work in (
            ("Measure", MEASURED, measure_part),
            ("Index", EVALUATION, index_sets),
            ("Search", SHARED, search_part),
            ("Compare", CONTAMINATION, find_contamination),
            ("Finish", FINISH, finish_part),
        ):
            before.append(pbegin | label >> DoParts(self._job, self._step(step), work, after=before))
        return before[-1]


def transform(job: Job, todo: Sequence[Planned]) -> beam.PTransform:
    """Documents to those worth keeping."""
    return KeepGoodDocuments(job, todo)
