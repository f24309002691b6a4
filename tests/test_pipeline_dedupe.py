"""Near-duplicates: who is removed, who stays for it, and who shares its cluster."""

import random
import time
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dedupe.candidates import (
    ENTRY,
    MAX_ALL_PAIRS,
    NUM_BEST,
    Pairs,
    band_hashes,
    bands_and_rows,
    candidate_pairs,
    distinct,
)
from pipeline.dedupe.clusters import Verdicts, connect, decide, remove_similar
from pipeline.dedupe.ranking import rank
from pipeline.dedupe.signatures import EMPTY, SEED, Signature, Signer, normalise, sign_table
from tests.document_parts import EARLY, LATE, document, table

NGRAM, NUM_PERM, THRESHOLD = 5, 128, 0.7


def shingles(text: str, ngram: int = NGRAM) -> set[tuple[str, ...]]:
    """The oracle's shingles, by the plainest of means."""
    words = text.casefold().split()
    length = min(ngram, len(words))
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)} if words else set()


def jaccard(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b) if a | b else 1.0


def plain_hash(shingle: tuple[str, ...]) -> int:
    """A shingle's hash in Python's own integers."""
    total: int = sum(
        xxhash.xxh3_64_intdigest(word.encode()) * pow(0x9E3779B97F4A7C15, i + 1)
        for i, word in enumerate(shingle)
    )
    return total % 2**64 >> 32


def sign(texts: list[str]) -> Signature:
    signer = Signer(NGRAM, NUM_PERM)
    return np.array([signer.sign(normalise(text)) for text in texts], dtype=np.uint32).reshape(-1, NUM_PERM)


def judge(texts: list[str], threshold: float = THRESHOLD) -> Verdicts:
    """All of dedupe on texts that are given in the order of their rank."""
    signatures = sign(texts)
    firsts: dict[str, int] = {}
    originals = np.array(
        [firsts.setdefault(normalise(text), i) for i, text in enumerate(texts)], dtype=np.uint32
    )
    alone = np.flatnonzero(originals == np.arange(len(texts)))
    pairs = find_pairs(signatures[alone], alone, threshold)
    compared = np.unique(pairs)
    return decide(originals, pairs, compared, signatures[compared], threshold)


def find_pairs(signatures: Signature, ranks: np.ndarray, threshold: float) -> Pairs:
    num_bands, num_rows = bands_and_rows(threshold, NUM_PERM)
    found = [np.empty((0, 2), np.uint32)]
    for band in range(num_bands):
        entries = np.empty(len(ranks), dtype=ENTRY)
        entries["hash"], entries["rank"] = band_hashes(signatures, num_rows, band), ranks
        found.append(candidate_pairs(entries))
    return distinct(np.concatenate(found))


def prose(generator: random.Random, num_words: int) -> list[str]:
    return [f"w{generator.randrange(3000)}" for _ in range(num_words)]


def edited(words: list[str], generator: random.Random, num_changes: int) -> list[str]:
    """The words with some of them changed, apart from one another."""
    changed = list(words)
    for i in generator.sample(range(len(words)), num_changes):
        changed[i] = f"x{generator.randrange(3000)}"
    return changed


ODD_TEXTS = [
    "",
    " \n\t ",
    "one",
    "One",
    "one two three",
    "again " * 5000,
    "これは空白のない日本語の文章です。" * 40,
    "nul \0 and \u2028 and \ufeff and 😀 " * 7,
    "ß SS ſ İ i\u0307",
]


@pytest.mark.parametrize("text", [*ODD_TEXTS, " ".join(prose(random.Random(1), 3000))])
def test_signatures_are_those_of_datasketch(text: str) -> None:
    from datasketch import MinHash

    oracle = MinHash(num_perm=NUM_PERM, seed=SEED, scheme="affine32", hashfunc=plain_hash)
    for shingle in shingles(text):
        oracle.update(shingle)
    assert sign([text])[0].tolist() == oracle.hashvalues.tolist()


@pytest.mark.parametrize("ngram", [1, 2, 7])
def test_signatures_of_other_lengths_of_shingles(ngram: int) -> None:
    from datasketch import MinHash

    text = " ".join(prose(random.Random(2), 50))
    oracle = MinHash(num_perm=32, seed=SEED, scheme="affine32", hashfunc=plain_hash)
    oracle.update_batch(shingles(text, ngram))
    assert Signer(ngram, 32).sign(text).tolist() == oracle.hashvalues.tolist()


def test_a_text_without_words_has_the_empty_signature() -> None:
    assert (sign(["", " \n "]) == EMPTY).all()


def test_lone_surrogates_cannot_stand_in_a_table() -> None:
    # So no stage behind extract ever meets one: Arrow's strings are UTF-8.
    with pytest.raises(UnicodeEncodeError):
        table([document("a", "\ud800")])


def test_rank_is_karma_then_length_then_age_then_id() -> None:
    rows = [
        document("e", "long text here", karma=5, created=LATE),
        document("d", "long text here", karma=5, created=EARLY),
        document("c", "LONG text  here", karma=5, created=EARLY),
        document("b", "longer text than the others", karma=5, created=LATE),
        document("a", "short", karma=4),
        document("f", "x", karma=6),
    ]
    ranks, originals = rank(sign_table(table(rows), NGRAM, NUM_PERM))
    assert ranks.tolist() == [4, 3, 2, 1, 5, 0]
    assert originals.tolist() == [2, 2, 2, 1, 5, 0]


def test_rank_of_nothing() -> None:
    ranks, originals = rank(sign_table(table([]), NGRAM, NUM_PERM))
    assert len(ranks) == len(originals) == 0


def test_verdicts_agree_with_brute_force() -> None:
    generator = random.Random(3)
    texts = []
    planted = []
    for _ in range(150):
        words = prose(generator, generator.randrange(40, 300))
        texts.append(" ".join(words))
        if generator.random() < 0.5:
            planted.append((len(texts) - 1, len(texts)))
            texts.append(" ".join(edited(words, generator, max(1, len(words) // generator.choice([15, 60])))))
    verdicts = judge(texts)
    signatures = sign(texts)
    for removed in np.flatnonzero(~verdicts.kept).tolist():
        survivor = int(verdicts.survivor[removed])
        estimate = float((signatures[removed] == signatures[survivor]).mean())
        assert survivor < removed
        assert verdicts.kept[survivor]
        assert verdicts.similarity[removed] == pytest.approx(estimate)
        assert estimate >= THRESHOLD
        assert abs(estimate - jaccard(texts[removed], texts[survivor])) < 0.17  # four standard errors
    for one, other in planted:
        similarity = jaccard(texts[one], texts[other])
        if similarity > 0.8:
            assert not verdicts.kept[other], f"{similarity} and not found"
        if similarity < 0.5:
            assert verdicts.kept[other]
    assert (~verdicts.kept).sum() >= 20


@pytest.mark.parametrize("num", [100, 1000])
def test_real_articles_with_planted_copies(realdata: Path, num: int) -> None:
    import gzip

    lines = (
        gzip.decompress((realdata / f"neardup/articles_{num}.train.gz").read_bytes()).decode().splitlines()
    )
    articles = dict(line.split(" ", 1) for line in lines)
    names = list(articles)
    truth = {
        frozenset(line.split())
        for line in (realdata / f"neardup/articles_{num}.truth").read_text().splitlines()
    }
    verdicts = judge(list(articles.values()))
    found = {
        frozenset((names[i], names[verdicts.survivor[i]])) for i in np.flatnonzero(~verdicts.kept).tolist()
    }
    assert found == truth


def chain() -> list[str]:
    """A ~ B ~ C with A and C unlike: B shares one half of its end with each."""
    words = prose(random.Random(4), 460)
    return [" ".join(words[:300]), " ".join(words[36:336]), " ".join(words[72:372])]


def test_a_chain_does_not_remove_what_is_unlike_the_survivor() -> None:
    first, middle, last = chain()
    assert jaccard(first, middle) > 0.7 < jaccard(middle, last)
    assert jaccard(first, last) < 0.62
    verdicts = judge([first, middle, last])
    assert verdicts.survivor.tolist() == [0, 0, 2]
    assert verdicts.root.tolist() == [0, 0, 0]  # but it stays with them on one side of the split
    # Ranked best, the middle one takes the place of both.
    assert judge([middle, first, last]).survivor.tolist() == [0, 0, 0]


def test_the_survivor_of_a_removed_candidate_stands_for_it() -> None:
    signatures = np.zeros((3, 10), np.uint32)
    signatures[1, :2] = 1
    signatures[2, :3] = 1
    survivor, similarity = remove_similar(np.array([[0, 1], [1, 2]]), signatures, 0.7)
    assert survivor.tolist() == [0, 0, 0]
    assert similarity.tolist() == pytest.approx([1, 0.8, 0.7])


def test_a_copy_shares_the_fate_of_its_original() -> None:
    generator = random.Random(5)
    words = prose(generator, 300)
    near = " ".join(edited(words, generator, 2))
    verdicts = judge([" ".join(words), near, near.upper(), " ".join(prose(generator, 100))])
    assert verdicts.survivor.tolist() == [0, 0, 0, 3]
    assert verdicts.exact.tolist() == [False, False, False, False]
    assert verdicts.similarity[1] == verdicts.similarity[2] < 1
    assert verdicts.clustered.tolist() == [True, True, True, False]


@given(st.lists(st.integers(0, 6), max_size=300), st.randoms(use_true_random=False))
def test_candidate_pairs_of_buckets(hashes: list[int], generator: random.Random) -> None:
    entries = np.empty(len(hashes), dtype=ENTRY)
    entries["hash"], entries["rank"] = hashes, generator.sample(range(1000), len(hashes))
    expected = set()
    for value in set(hashes):
        bucket = sorted(int(one["rank"]) for one in entries if one["hash"] == value)
        for i, later in enumerate(bucket):
            partners = (
                bucket[:i]
                if len(bucket) <= MAX_ALL_PAIRS
                else {*bucket[: min(i, NUM_BEST)], *bucket[:i][-1:]}
            )
            expected |= {(partner, later) for partner in partners}
    assert {tuple(pair) for pair in distinct(candidate_pairs(entries)).tolist()} == expected


def test_a_giant_bucket_costs_what_its_size_is() -> None:
    num = 200_000
    entries = np.zeros(num, dtype=ENTRY)
    entries["rank"] = np.arange(num)
    started = time.monotonic()
    pairs = distinct(candidate_pairs(entries))
    assert len(pairs) <= num * (NUM_BEST + 1)
    assert time.monotonic() - started < 10


def test_connections_are_those_of_a_plain_search() -> None:
    generator = random.Random(6)
    edges = [(generator.randrange(300), generator.randrange(300)) for _ in range(200)]
    neighbours: dict[int, set[int]] = {node: {node} for node in range(300)}
    for one, other in edges:
        neighbours[one].add(other)
        neighbours[other].add(one)
    for node, root in enumerate(connect(300, edges)):
        reached: set[int] = set()
        open_ = [node]
        while open_:
            if (one := open_.pop()) not in reached:
                reached.add(one)
                open_ += neighbours[one]
        assert root == min(reached)


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.7, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("num_perm", [16, 128])
def test_bands_fit_into_every_signature(threshold: float, num_perm: int) -> None:
    num_bands, num_rows = bands_and_rows(threshold, num_perm)
    assert num_bands >= 2
    assert num_bands * num_rows <= num_perm
