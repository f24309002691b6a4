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
        job = self._job
        measured = pbegin | "Measure" >> DoParts(job, self._step(MEASURED), measure_part)
        indexed = pbegin | "Index" >> DoParts(job, self._step(EVALUATION), index_sets, after=measured)
        searched = pbegin | "Search" >> DoParts(job, self._step(SHARED), search_part, after=indexed)
        compared = pbegin | "Compare" >> DoParts(
            job, self._step(CONTAMINATION), find_contamination, after=searched
        )
        return pbegin | "Finish" >> DoParts(job, self._step(FINISH), finish_part, after=compared)


def transform(job: Job, todo: Sequence[Planned]) -> beam.PTransform:
    """Documents to those worth keeping."""
    return KeepGoodDocuments(job, todo)
