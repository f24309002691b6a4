"""Who dedupe removes, against the truth: real articles by brute force, made pairs over all similarities."""

import contextlib
import gzip
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.dedupe_documents import (
    NGRAM,
    PAIRS,
    Corpus,
    Kind,
    Truth,
    jaccard,
    ngrams,
    read_truth,
    write_documents,
    write_texts,
)
from benchmarks.results import record
from pipeline.config import DedupeSettings
from pipeline.runs import Folder, Manifest, read_manifest
from pipeline.stages import BY_NAME, Job, execute

LEVELS = (0.7, 0.8, 0.9)

_REAL = Path(__file__).parents[2] / "shared" / "realdata" / "neardup"
_NUM_PAIRS = 10_000
_THRESHOLDS = (0.5, 0.7, 0.8, 0.9)
_NEAR = 0.05  # to the threshold

Grams = NDArray[np.uint64]
Pair = frozenset[str]


def dedupe(run: Path, settings: DedupeSettings) -> Manifest:
    """Brings the dedupe stage of a run to its manifest, from nothing."""
    shutil.rmtree(run / "corpus", ignore_errors=True)
    folder = Folder(str(run))
    filtered = read_manifest(folder / "filtered")
    assert filtered is not None
    job = Job(BY_NAME["dedupe"], folder, settings, {"filter": filtered})
    return execute(job, beam_options=[], watch=lambda *_: contextlib.nullcontext())


def quality(folder: Path) -> None:
    """Both tables."""
    rows = [_articles(folder / f"articles-{num}", num) for num in (100, 1_000)]
    record(
        "dedupe, real articles with planted near-duplicates, against brute force",
        ["articles", "planted pairs", "found", "pairs ≥ 0.7", "missed", "removed", "of these unlike"],
        rows,
        "Defaults. Brute force compares all articles by the Jaccard similarity of their word 5-grams. A pair "
        "is missed where both stay; a removed article is unlike where it is under 0.7 to its survivor. "
        "Goals: all, none.",
    )
    write_documents(folder / "pairs", PAIRS, 2 * _NUM_PAIRS)
    truth = read_truth(folder / "pairs")
    measured: list[list[str]] = []
    for threshold in _THRESHOLDS:
        for verify in ("estimate", "exact"):
            print(f"threshold {threshold}, verify {verify}", file=sys.stderr)
            dedupe(folder / "pairs", DedupeSettings(threshold=threshold, verify=verify))
            measured.append([f"{threshold}", verify, *_against(folder / "pairs", truth, threshold)])
    columns = ["threshold", "verify", "pairs over it", "removed", "precision", "recall"]
    record(
        f"dedupe, precision and recall against true Jaccard, {_NUM_PAIRS:,} made pairs",
        [*columns, f"precision at {_NEAR} less", f"recall from {_NEAR} more"],
        measured,
        "Pairs of documents of 4.5 kB, an original and an edited copy, of similarities from 0.15 to 1. All "
        "else as by default. Precision: of the removed, those whose named survivor is as similar as the "
        f"threshold says, or {_NEAR} less. Recall: of the pairs over the threshold, or {_NEAR} over it, "
        "those of which one was removed.",
    )


# --- made documents -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Judged:
    """What a side's removals are worth.

    Attributes:
        removed: how many documents.
        precision: share of them to which a document that stays is similar, 0.7 by word 5-grams.
        recall: by similarity, the share of the edited copies as similar as that to their original, or more,
            of which one of the two was removed.
        copies: the same of the exact copies.
    """

    removed: int
    precision: float
    recall: Mapping[float, float]
    copies: float


def judge(corpus: Corpus, truth: Sequence[Truth], kept: Set[str]) -> Judged:
    """Compares what stays with the truth."""
    stays = np.array([one.id in kept for one in truth])
    separate = np.array([stays[number] and stays[one.source] for number, one in enumerate(truth)])
    kinds = np.array([one.kind for one in truth])
    similarities = np.array([one.similarity for one in truth])
    edited = kinds == Kind.EDITED
    num_removed = int((~stays).sum())
    num_right = sum(_right(corpus, truth, stays))
    return Judged(
        removed=num_removed,
        precision=num_right / num_removed if num_removed else 1.0,
        recall={level: _share(~separate[edited & (similarities >= level)]) for level in LEVELS},
        copies=_share(~separate[kinds == Kind.COPY]),
    )


def _share(found: NDArray[np.bool_]) -> float:
    return float(found.mean()) if len(found) else 1.0


def _right(corpus: Corpus, truth: Sequence[Truth], stays: NDArray[np.bool_]) -> Iterator[bool]:
    """Of each removed document whether one that stays is similar to it; only its family can be."""
    families: defaultdict[int, list[int]] = defaultdict(list)
    for number, one in enumerate(truth):
        families[one.family].append(number)
    for members in families.values():
        removed = [number for number in members if not stays[number]]
        if removed:
            kept = [ngrams(corpus.tokens(number)) for number in members if stays[number]]
            for number in removed:
                grams = ngrams(corpus.tokens(number))
                yield any(jaccard(grams, one) >= LEVELS[0] for one in kept)


def _against(run: Path, truth: Sequence[Truth], threshold: float) -> list[str]:
    """The made pairs against who was removed in whose favour."""
    corpus, number_of = Corpus(PAIRS), {one.id: number for number, one in enumerate(truth)}
    removals = _removals(run)
    similarities = np.array([_similarity(corpus, truth, number_of, pair) for pair in removals])
    planted = [
        (frozenset((one.id, truth[one.source].id)), one.similarity)
        for one in truth
        if one.kind is Kind.EDITED
    ]
    found = np.array([pair in removals for pair, _ in planted])
    true = np.array([similarity for _, similarity in planted])
    return [
        f"{int((true >= threshold).sum()):,}",
        f"{len(removals):,}",
        f"{_share(similarities >= threshold):.2%}",
        f"{_share(found[true >= threshold]):.2%}",
        f"{_share(similarities >= threshold - _NEAR):.2%}",
        f"{_share(found[true >= threshold + _NEAR]):.2%}",
    ]


def _similarity(corpus: Corpus, truth: Sequence[Truth], number_of: Mapping[str, int], pair: Pair) -> float:
    one, other = sorted(number_of[id_] for id_ in pair)
    if truth[other].source == one:
        return truth[other].similarity
    return jaccard(ngrams(corpus.tokens(one)), ngrams(corpus.tokens(other)))


def _removals(run: Path) -> set[Pair]:
    """Each removed document with its survivor."""
    table = pq.read_table(run / "corpus" / "clusters.parquet", columns=["id", "survivor", "kept"])
    rows = table.to_pylist()
    return {frozenset((row["id"], row["survivor"])) for row in rows if not row["kept"]}


# --- real articles ------------------------------------------------------------------------------------------


def _articles(run: Path, num: int) -> list[str]:
    packed = (_REAL / f"articles_{num}.train.gz").read_bytes()
    articles = dict(line.split(" ", 1) for line in gzip.decompress(packed).decode().splitlines())
    planted = {
        frozenset(line.split()) for line in (_REAL / f"articles_{num}.truth").read_text("utf-8").splitlines()
    }
    similar = brute_force(articles, DedupeSettings().threshold)
    write_texts(run, articles)
    dedupe(run, DedupeSettings())
    removals = _removals(run)
    removed = {id_ for pair in removals for id_ in pair} - _kept(run)
    return [
        f"{num:,}",
        f"{len(planted)}",
        f"{sum(pair in removals for pair in planted)}",
        f"{len(similar)}",
        f"{sum(not pair & removed for pair in similar)}",
        f"{len(removed)}",
        f"{len(removals - similar)}",
    ]


def _kept(run: Path) -> set[str]:
    table = pq.read_table(run / "corpus" / "clusters.parquet", columns=["id", "kept"])
    return {row["id"] for row in table.to_pylist() if row["kept"]}


def brute_force(texts: Mapping[str, str], threshold: float) -> set[Pair]:
    """All pairs of texts whose word n-grams, case folded, are that similar."""
    holders: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    sizes = {}
    for name, text in texts.items():
        words = text.casefold().split()
        length = min(NGRAM, len(words))
        grams = {tuple(words[at : at + length]) for at in range(len(words) - length + 1)}
        sizes[name] = len(grams)
        for gram in grams:
            holders[gram].append(name)
    shared = Counter(pair for names in holders.values() for pair in combinations(names, 2))
    return {
        frozenset((one, other))
        for (one, other), num in shared.items()
        if num / (sizes[one] + sizes[other] - num) >= threshold
    }
