"""dedupe in Beam: signatures part by part, bands shuffled by their hashes, batches of candidates, parts."""

from collections.abc import Iterable, Sequence

import apache_beam as beam
import numpy as np

from pipeline.beam import DoParts, PartsInSteps, Work
from pipeline.dedupe.candidates import Share, band_blocks, candidate_pairs, ranges, rounds, united
from pipeline.dedupe.clusters import compare
from pipeline.dedupe.components import match
from pipeline.dedupe.conclude import conclude
from pipeline.dedupe.evidence import show
from pipeline.dedupe.finish import finish
from pipeline.dedupe.known import know
from pipeline.dedupe.plan import COMPARE, CONCLUDE, FINISH, KNOW, MATCH, RANK, SHOW, SIGN
from pipeline.dedupe.ranking import rank_all
from pipeline.dedupe.signatures import sign
from pipeline.stages import Job, Planned


class DropDuplicates(PartsInSteps):
    """Filtered parts to the parts of the corpus, each step once the one before is done."""

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Sign, rank, find candidates, divide them into batches, compare, conclude, finish."""
        before: list[beam.PCollection] = []

        def do(label: str, step: str, work: Work) -> None:
            before.append(pbegin | label >> DoParts(self._job, self._step(step), work, after=before))

        do("Sign", SIGN, sign)
        do("Know", KNOW, know)
        do("Rank", RANK, rank_all)
        matching = self._step(MATCH)
        pairs = pbegin | "Pairs" >> FindPairs(self._job, matching, after=before)
        before.append(
            pbegin
            | "Matching" >> beam.Create(matching, reshuffle=False)
            | "Match" >> beam.Map(_match, beam.pvalue.AsSingleton(pairs), self._job.for_workers())
        )
        do("Show", SHOW, show)
        do("Compare", COMPARE, compare)
        concluding = self._step(CONCLUDE)
        together = [concluding] if concluding else []
        before.append(pbegin | "Conclude" >> DoParts(self._job, together, conclude, after=before))
        do("Finish", FINISH, finish)
        return before[-1]


class FindPairs(beam.PTransform):
    """The set of all candidate pairs, packed, once ``after`` is complete: bands are shuffled in rounds."""

    def __init__(self, job: Job, matching: Sequence[Planned], *, after: Sequence[beam.PCollection]) -> None:
        super().__init__()
        self._job = job
        self._matching = matching
        self._after = tuple(after)

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Divide the documents by band, gather those that agree, pair them, unite the pairs of all rounds."""
        found: list[beam.PCollection] = []
        for number, shares in enumerate(self._rounds()):
            before = (*self._after, *found[-1:])
            found.append(
                pbegin
                | f"Divide{number}" >> DoParts(self._job, shares, band_blocks, after=before)
                | f"Gather{number}" >> beam.GroupByKey()
                | f"Pair{number}" >> beam.Map(_pair)
                | f"Unite{number}" >> beam.CombineGlobally(UnitePairs())
            )
        return found | "All" >> beam.Flatten() | "Unite" >> beam.CombineGlobally(UnitePairs())

    def _rounds(self) -> list[list[Share]]:
        if not self._matching:
            return [[]]
        spec = self._matching[0].spec
        tables = list(enumerate([*spec["signed"], *spec["known"]]))
        return [
            [Share(number, table, bands, ranges(spec["num_documents"])) for number, table in tables]
            for bands in rounds(self._job.settings, spec["num_documents"])
        ]


def transform(job: Job, todo: Sequence[Planned]) -> beam.PTransform:
    """Filtered documents to the corpus."""
    return DropDuplicates(job, todo)


class UnitePairs(beam.CombineFn):
    """Sets of pairs, packed, into one; the first of a list is united, and the others wait to be worth it."""

    _WAITING_BYTES = 16_000_000

    def create_accumulator(self) -> list[bytes]:
        """No pair."""
        return []

    def add_input(self, accumulator: list[bytes], element: bytes) -> list[bytes]:
        """One set more."""
        sets = [*accumulator, element]
        waiting = sum(map(len, sets[1:]))
        return self.compact(sets) if waiting > max(len(sets[0]), self._WAITING_BYTES) else sets

    def merge_accumulators(self, accumulators: Iterable[list[bytes]]) -> list[bytes]:
        """The sets of all."""
        return self.compact([one for accumulator in accumulators for one in accumulator])

    def compact(self, accumulator: list[bytes]) -> list[bytes]:
        """All sets as one; a single one is united as it is."""
        if len(accumulator) == 1:
            return accumulator
        return [united(np.frombuffer(one, np.uint64) for one in accumulator).tobytes()]

    def extract_output(self, accumulator: list[bytes]) -> bytes:
        """The set of all pairs."""
        return self.compact(accumulator)[0]


def _pair(gathered: tuple[int, Iterable[bytes]]) -> bytes:
    _, blocks = gathered
    return candidate_pairs(blocks).tobytes()


def _match(part: Planned, pairs: bytes, job: Job) -> None:
    match(job, part, pairs)
