"""Who is removed in whose favour, and which documents belong together.

Documents are taken in the order of rank. One is compared with its candidates among the better-ranked; where
such a candidate was itself removed, its survivor stands for it. If the most similar of these survivors is
at the threshold or over it, the document is removed in its favour. So a document is never removed for being
like something that itself is gone: of a chain A ~ B ~ C with A and C unlike, C is kept. A cluster is what
is connected by copies, by removals or by candidate pairs at the threshold: C is in the cluster of A.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.dedupe.candidates import Pairs
from pipeline.dedupe.ranking import Ranks
from pipeline.dedupe.signatures import Signature

_PAIRS_AT_ONCE = 100_000


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What became of every document, by rank.

    Attributes:
        survivor: uint32 [documents], the rank of the document that stays for it; its own where it is kept.
        similarity: float32 [documents], to that survivor; 1 where it is itself or a copy.
        exact: bool [documents], whether it was removed and has the very text of its survivor.
        root: int64 [documents], the best rank in its cluster.
    """

    survivor: Ranks
    similarity: npt.NDArray[np.float32]
    exact: npt.NDArray[np.bool_]
    root: npt.NDArray[np.int64]

    @property
    def clustered(self) -> npt.NDArray[np.bool_]:
        """Whether a document's cluster holds another one: bool [documents]."""
        sizes = np.bincount(self.root, minlength=len(self.root))
        shared: npt.NDArray[np.bool_] = sizes[self.root] > 1
        return shared

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Whether a document stays: bool [documents]."""
        stays: npt.NDArray[np.bool_] = self.survivor == np.arange(len(self.survivor))
        return stays


def decide(
    originals: Ranks, pairs: Pairs, compared: Ranks, signatures: Signature, threshold: float
) -> Verdicts:
    """The verdicts on all documents.

    Args:
        originals: [documents], by rank: the best rank with the same text.
        pairs: [pairs, 2], candidates, in the order of the second rank.
        compared: the ranks that stand in pairs, ascending.
        signatures: uint32 [compared, num_perm], theirs.
        threshold: the similarity from which two documents are near-duplicates.
    """
    local = np.searchsorted(compared, pairs)
    survivor = originals.copy()
    similarity = np.ones(len(originals), dtype=np.float32)
    chosen, similarities = remove_similar(local, signatures, threshold)
    survivor[compared] = compared[chosen]
    similarity[compared] = similarities
    linked = local[pair_similarities(local, signatures) >= threshold]
    # A copy shares the fate of its original, whose signature is its own.
    similarity = similarity[originals]
    survivor = survivor[originals]
    everyone = np.arange(len(originals))
    edges = [
        np.stack([originals, everyone], axis=1)[originals != everyone],
        np.stack([survivor, everyone], axis=1)[survivor != everyone],
        compared[linked],
    ]
    return Verdicts(
        survivor=survivor,
        similarity=similarity,
        exact=(survivor == originals) & (originals != everyone),
        root=connect(len(originals), np.concatenate(edges).tolist()),
    )


def remove_similar(
    pairs: npt.NDArray[np.int64], signatures: Signature, threshold: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The survivor of each document and the similarity to it; documents are numbered in the order of rank.

    Args:
        pairs: [pairs, 2], the better one first, in the order of the second.
        signatures: uint32 [documents, num_perm].
        threshold: as in :func:`decide`.
    """
    survivor = np.arange(len(signatures))
    similarity = np.ones(len(signatures), dtype=np.float32)
    documents, starts = np.unique(pairs[:, 1], return_index=True)
    for document, candidates in zip(documents, np.split(pairs[:, 0], starts[1:]), strict=False):
        rivals = np.unique(survivor[candidates])
        similarities = (signatures[rivals] == signatures[document]).mean(axis=1)
        best = int(similarities.argmax())  # of equals the first, who is ranked best
        if similarities[best] >= threshold:
            survivor[document] = rivals[best]
            similarity[document] = similarities[best]
    return survivor, similarity


def pair_similarities(pairs: npt.NDArray[np.int64], signatures: Signature) -> npt.NDArray[np.float64]:
    """The estimated Jaccard similarity of each pair: float64 [pairs]."""
    found: list[npt.NDArray[Any]] = [
        (signatures[block[:, 0]] == signatures[block[:, 1]]).mean(axis=1)
        for block in (pairs[i : i + _PAIRS_AT_ONCE] for i in range(0, len(pairs), _PAIRS_AT_ONCE))
    ]
    return np.concatenate([np.empty(0), *found])


def connect(num_nodes: int, edges: Iterable[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """The smallest node that each one is connected with: int64 [nodes]."""
    parents: dict[int, int] = {}

    def find(node: int) -> int:
        while (parent := parents.get(node, node)) != node:
            parents[node] = parents.get(parent, parent)
            node = parent
        return node

    for one, other in edges:
        low, high = sorted((find(one), find(other)))
        parents[high] = low
    roots = np.arange(num_nodes)
    for node in parents:
        roots[node] = find(node)
    return roots
