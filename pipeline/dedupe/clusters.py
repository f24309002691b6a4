"""Who is removed in whose favour, and which documents belong together, in one batch.

Documents are taken in the order of rank. One is compared with its candidates among the better-ranked; where
such a candidate was itself removed, its survivor stands for it. If the most similar of these survivors is
at the threshold or over it, the document is removed in its favour. So a document is never removed for being
like something that itself is gone: of a chain A ~ B ~ C with A and C unlike, C is kept. A cluster is what
is connected by removals or by candidate pairs at the threshold: C is in the cluster of A.
"""

import time
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.columns import fixed_width
from pipeline.config import DedupeSettings
from pipeline.dedupe.candidates import Pairs, unpack_pairs
from pipeline.dedupe.components import connect
from pipeline.dedupe.groups import read_group
from pipeline.dedupe.ranking import Ranks, num_rows
from pipeline.dedupe.shingles import Hashes, jaccard
from pipeline.dedupe.signatures import Signature
from pipeline.runs import PartWriter
from pipeline.stages import Job, Planned

_PAIRS_AT_ONCE = 10_000

Numbers = npt.NDArray[np.signedinteger]  # of documents, by their order of rank in a batch
Similarities = npt.NDArray[np.float64]


class Evidence(NamedTuple):
    """What the documents of a batch show, in the order of rank.

    Attributes:
        ranks: uint32 [documents], ascending.
        signatures: uint32 [documents, num_perm].
        shingles: Of each document its distinct shingles, ascending; None where only signatures count.
    """

    ranks: Ranks
    signatures: Signature
    shingles: list[Hashes | None]

    def estimates(self, ones: Numbers, others: Numbers) -> Similarities:
        """The estimated Jaccard similarity of each pair: float64 [pairs]."""
        found = np.empty(len(ones))
        for start in range(0, len(ones), _PAIRS_AT_ONCE):
            block = slice(start, start + _PAIRS_AT_ONCE)
            found[block] = (self.signatures[ones[block]] == self.signatures[others[block]]).mean(axis=1)
        return found

    def similarities(self, ones: Numbers, others: Numbers) -> Similarities:
        """The true similarity of each pair whose texts are at hand, else the estimated one."""
        found = self.estimates(ones, others)
        for i, (one, other) in enumerate(zip(ones.tolist(), others.tolist(), strict=True)):
            first, second = self.shingles[one], self.shingles[other]
            if first is not None and second is not None:
                found[i] = jaccard(first, second)
        return found


VERDICTS = pa.schema(
    [
        pa.field("rank", pa.uint32(), nullable=False),
        pa.field("survivor", pa.uint32(), nullable=False),  # its own rank where it is kept
        pa.field("similarity", pa.float32(), nullable=False),  # to the survivor, as decided
        pa.field("estimate", pa.float32(), nullable=False),  # of that, by the signatures
        pa.field("root", pa.uint32(), nullable=False),  # the best rank in its cluster
    ]
)


def decide(evidence: Evidence, pairs: Pairs, num_known: int, settings: DedupeSettings) -> pa.Table:
    """The VERDICTS on a batch's documents.

    Args:
        evidence: What they show.
        pairs: All candidate pairs among them, a set (ascending).
        num_known: Documents of lower ranks belong to other corpora, and are never removed.
        settings: The threshold, and what counts.
    """
    ours = pairs[np.searchsorted(pairs, np.uint64(num_known << 32)) :]
    better, worse = (np.searchsorted(evidence.ranks, ranks).astype(np.int32) for ranks in unpack_pairs(ours))
    threshold = settings.threshold
    similarities = evidence.estimates(better, worse)
    if settings.verify == "exact":
        hopeful = similarities >= threshold - _margin(threshold, settings.num_perm)
        better, worse = better[hopeful], worse[hopeful]
        similarities = evidence.similarities(better, worse)
    survivor, similarity = remove_similar(better, worse, similarities, evidence, threshold)
    removed = np.flatnonzero(survivor != np.arange(len(survivor)))
    estimate = np.ones(len(survivor))
    estimate[removed] = evidence.estimates(survivor[removed], removed)
    alike = similarities >= threshold
    edges = (
        np.concatenate([better[alike], survivor[removed]]),
        np.concatenate([worse[alike], removed]),
    )
    ranks = evidence.ranks
    roots = ranks[connect(len(ranks), edges)]
    columns = [ranks, ranks[survivor], similarity.astype(np.float32), estimate.astype(np.float32), roots]
    return pa.table(columns, schema=VERDICTS)


def _margin(threshold: float, num_perm: int) -> float:
    """How far the estimate of a pair at the threshold may stray: four standard errors."""
    return 4 * float(np.sqrt(threshold * (1 - threshold) / num_perm))


def remove_similar(
    better: Numbers, worse: Numbers, similarities: Similarities, evidence: Evidence, threshold: float
) -> tuple[Numbers, Similarities]:
    """The survivor of each document and the similarity to it.

    Args:
        better: [pairs], one document of each pair.
        worse: [pairs], the other, ascending.
        similarities: [pairs], theirs.
        evidence: Tells the similarity of others.
        threshold: As in the settings.
    """
    survivor = np.arange(len(evidence.ranks))
    similarity = np.ones(len(survivor))
    documents, starts = np.unique(worse, return_index=True)
    bounds = pairwise([*starts.tolist(), len(worse)])
    for document, (start, stop) in zip(documents.tolist(), bounds, strict=True):
        candidates, similar = better[start:stop], similarities[start:stop]
        standing = survivor[candidates]
        gone = standing != candidates
        if gone.any():
            others = np.setdiff1d(standing[gone], candidates[~gone])
            candidates = np.concatenate([candidates[~gone], others])
            theirs = evidence.similarities(others, np.full(len(others), document))
            similar = np.concatenate([similar[~gone], theirs])
        most = similar.max()
        if most >= threshold:
            survivor[document] = candidates[similar == most].min()  # of equals the one that is ranked best
            similarity[document] = most
    return survivor, similarity


def compare(job: Job, part: Planned) -> None:
    """Decides on one batch."""
    started = time.monotonic()
    batch = part.spec["index"]
    pairs = read_group(job, "matched.pairs.parquet", batch)["pair"].to_numpy()
    evidence = _read_evidence(job, part.spec["evidence"], batch)
    num_known = sum(num_rows(job.folder, name) for name in part.spec["known"])
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    writer.table("parquet", decide(evidence, pairs, num_known, job.settings))
    writer.commit(None, seconds=time.monotonic() - started)


def _read_evidence(job: Job, names: list[str], batch: int) -> Evidence:
    table = pa.concat_tables([read_group(job, name, batch) for name in names])
    table = table.sort_by("rank")
    shown = [None if one is None else np.frombuffer(one, np.uint64) for one in table["shingles"].to_pylist()]
    signatures = fixed_width(table["signature"], "<u4", job.settings.num_perm)
    return Evidence(table["rank"].to_numpy(), signatures, shown)
