"""dedupe in Beam: signatures part by part, bands shuffled by their hashes, verdicts in one place, parts."""

from collections.abc import Iterable, Sequence

import apache_beam as beam
import numpy as np

from pipeline.beam import DoParts, PartsInSteps
from pipeline.dedupe.candidates import ENTRY, band_blocks, candidate_pairs
from pipeline.dedupe.decide import decide_all
from pipeline.dedupe.finish import finish
from pipeline.dedupe.plan import DECIDE, FINISH, RANK, SIGN
from pipeline.dedupe.ranking import rank_all
from pipeline.dedupe.signatures import sign
from pipeline.stages import Job, Planned


class DropDuplicates(PartsInSteps):
    """Filtered parts to the parts of the corpus, each step once the one before is done."""

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Sign, rank, find candidates, decide, finish."""
        job = self._job
        signed = pbegin | "Sign" >> DoParts(job, self._step(SIGN), sign)
        ranked = pbegin | "Rank" >> DoParts(job, self._step(RANK), rank_all, after=signed)
        decide = self._step(DECIDE)
        places = list(range(len(decide[0].spec["signatures"]))) if decide else []
        pairs = (
            pbegin
            | "Divide" >> DoParts(job, places, band_blocks, after=ranked)
            | "Gather" >> beam.GroupByKey()
            | "Pair" >> beam.Map(_pair)
        )
        decided = (
            pbegin
            | "Clusters" >> beam.Create(decide, reshuffle=False)
            | "Decide" >> beam.Map(_decide, beam.pvalue.AsIter(pairs), job)
        )
        return pbegin | "Finish" >> DoParts(job, self._step(FINISH), finish, after=decided)


def transform(job: Job, todo: Sequence[Planned]) -> beam.PTransform:
    """Filtered documents to the corpus."""
    return DropDuplicates(job, todo)


def _pair(gathered: tuple[int, Iterable[bytes]]) -> bytes:
    _, blocks = gathered
    return candidate_pairs(np.frombuffer(b"".join(blocks), dtype=ENTRY)).tobytes()


def _decide(part: Planned, pairs: Iterable[bytes], job: Job) -> None:
    decide_all(job, part, pairs)
