"""Near-duplicates: who is removed, who stays for it, and who shares its cluster."""

import gzip
import itertools
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.columns import fixed_width
from pipeline.config import DedupeSettings, Survivor
from pipeline.dedupe.beam import UnitePairs
from pipeline.dedupe.candidates import (
    ENTRY,
    MAX_ALL_PAIRS,
    NO_PAIRS,
    NUM_BEST,
    Pairs,
    band_hashes,
    bands_and_rows,
    candidate_pairs,
    pack_pairs,
    united,
    unpack_pairs,
)
from pipeline.dedupe.clusters import Evidence, decide, remove_similar
from pipeline.dedupe.components import connect, divide
from pipeline.dedupe.conclude import Verdicts, pass_verdicts
from pipeline.dedupe.ranking import find_originals, rank
from pipeline.dedupe.shingles import Shingler
from pipeline.dedupe.signatures import Signature, sign_table
from tests.dedupe_oracles import (
    DEFAULTS,
    ODD_TEXTS,
    THRESHOLD,
    edited,
    prose,
    shingles,
    sign,
    true_jaccard,
)
from tests.document_parts import EARLY, LATE, document, table


def judge(texts: list[str], settings: DedupeSettings = DEFAULTS) -> Verdicts:
    """All of dedupe on texts that are given in the order of their rank, in one batch."""
    signatures = sign(texts, settings)
    firsts: dict[str, int] = {}
    originals = np.array(
        [firsts.setdefault(" ".join(text.casefold().split()), i) for i, text in enumerate(texts)],
        dtype=np.uint32,
    )
    alone = np.flatnonzero(originals == np.arange(len(texts))).astype(np.uint32)
    pairs = find_pairs(signatures[alone], alone, settings)
    compared = np.unique(np.concatenate(unpack_pairs(pairs)))
    evidence = Evidence(
        compared, signatures[compared], [distinct_shingles(texts[i], settings) for i in compared.tolist()]
    )
    return pass_verdicts(originals, 0, [decide(evidence, pairs, 0, settings)])


def distinct_shingles(text: str, settings: DedupeSettings) -> np.ndarray | None:
    if settings.verify == "estimate":
        return None
    return np.unique(Shingler(settings.shingles, settings.ngram).shingle(text).shingles)


def find_pairs(signatures: Signature, ranks: np.ndarray, settings: DedupeSettings) -> Pairs:
    num_bands, num_rows = bands_and_rows(settings)
    found = []
    for band in range(num_bands):
        hashes = band_hashes(signatures, num_rows, band) & np.uint64(0xFFFFFFFF)
        found.append(candidate_pairs([entries_of(hashes, ranks)]))
    return united(found)


def entries_of(hashes: np.ndarray, ranks: np.ndarray) -> bytes:
    entries = np.empty(len(ranks), dtype=ENTRY)
    entries["hash"], entries["rank"] = hashes, ranks
    return entries.tobytes()


def pairs_of(pairs: Pairs) -> set[tuple[int, int]]:
    better, worse = unpack_pairs(pairs)
    return set(zip(better.tolist(), worse.tolist(), strict=True))


def test_odd_texts_each_find_their_copies_and_nothing_else() -> None:
    texts = [*ODD_TEXTS, *(f" {text.upper().lower()}\n" for text in ODD_TEXTS)]
    verdicts = judge(texts)
    normalised = [" ".join(text.casefold().split()) for text in texts]
    assert [normalised[i] for i in verdicts.survivor.tolist()] == normalised
    assert len(set(verdicts.survivor.tolist())) == len(set(normalised))


def test_rank_is_karma_then_length_then_age_then_id() -> None:
    rows = [
        document("e", "long text here", karma=5, created=LATE),
        document("d", "long text here", karma=5, created=EARLY),
        document("c", "LONG text  here", karma=5, created=EARLY),
        document("b", "longer text than the others", karma=5, created=LATE),
        document("a", "short", karma=4),
        document("f", "x", karma=6),
    ]
    signed = sign_table(table(rows), DEFAULTS)
    ranks = rank(signed, DEFAULTS.survivor)
    assert ranks.tolist() == [4, 3, 2, 1, 5, 0]
    texts = fixed_width(signed["text_hash"], "<u8", 2)
    assert find_originals(ranks, texts).tolist() == [2, 2, 2, 1, 5, 0]


CRITERIA: tuple[Survivor, ...] = ("karma", "longest", "earliest", "id")


@pytest.mark.parametrize(
    "survivor", [order for num in range(1, 5) for order in itertools.permutations(CRITERIA, num)]
)
def test_any_order_of_what_makes_a_survivor(survivor: tuple[Survivor, ...]) -> None:
    generator = random.Random(5)
    rows = [
        document(
            f"{generator.getrandbits(40):x}",
            "word " * generator.randrange(3),
            karma=generator.randrange(3),
            created=generator.choice([EARLY, LATE, None]),
        )
        for _ in range(60)
    ]
    keys: dict[str, Callable[[dict[str, Any]], Any]] = {
        "karma": lambda row: -row["karma"],
        "longest": lambda row: -len(row["text"]),
        "earliest": lambda row: (row["created"] is None, row["created"] or EARLY),
        "id": lambda row: row["id"],
    }
    best_first = sorted(rows, key=lambda row: [keys[one](row) for one in (*survivor, "id")])
    ranks = rank(sign_table(table(rows), DEFAULTS), survivor)
    assert [rows[i]["id"] for i in np.argsort(ranks).tolist()] == [row["id"] for row in best_first]


def test_rank_of_nothing() -> None:
    ranks = rank(sign_table(table([]), DEFAULTS), CRITERIA)
    assert len(ranks) == len(find_originals(ranks, np.empty((0, 2), np.uint64))) == 0


@pytest.mark.parametrize("verify", ["estimate", "exact"])
def test_verdicts_agree_with_brute_force(verify: str) -> None:
    settings = DedupeSettings.model_validate({"verify": verify})
    generator = random.Random(3)
    texts = []
    planted = []
    for _ in range(150):
        words = prose(generator, generator.randrange(40, 300))
        texts.append(" ".join(words))
        if generator.random() < 0.5:
            planted.append((len(texts) - 1, len(texts)))
            texts.append(" ".join(edited(words, generator, max(1, len(words) // generator.choice([15, 60])))))
    verdicts = judge(texts, settings)
    signatures = sign(texts)
    for removed in np.flatnonzero(~verdicts.kept).tolist():
        survivor = int(verdicts.survivor[removed])
        estimate = float((signatures[removed] == signatures[survivor]).mean())
        true = true_jaccard(texts[removed], texts[survivor])
        assert survivor < removed
        assert verdicts.kept[survivor]
        assert verdicts.estimate[removed] == pytest.approx(estimate)
        assert verdicts.similarity[removed] == pytest.approx(true if verify == "exact" else estimate)
        assert verdicts.similarity[removed] >= np.float32(THRESHOLD)
        assert abs(estimate - true) < 0.17  # four standard errors
    for one, other in planted:
        similarity = true_jaccard(texts[one], texts[other])
        if similarity > 0.8:
            assert not verdicts.kept[other], f"{similarity} and not found"
        if similarity < (THRESHOLD if verify == "exact" else 0.5):
            assert verdicts.kept[other]
    assert (~verdicts.kept).sum() >= 20


def test_characters_find_what_words_cannot() -> None:
    generator = random.Random(8)
    sentences = ["".join(chr(0x4E00 + generator.randrange(2000)) for _ in range(400)) for _ in range(20)]
    texts = [*sentences, *(text[:150] + "新" + text[151:] for text in sentences)]
    assert judge(texts).kept.all()
    verdicts = judge(texts, DedupeSettings(shingles="characters", ngram=9))
    assert verdicts.survivor.tolist() == [*range(20), *range(20)]


def articles(realdata: Path, num: int) -> dict[str, str]:
    data = gzip.decompress((realdata / f"neardup/articles_{num}.train.gz").read_bytes())
    return dict(line.split(" ", 1) for line in data.decode().splitlines())


@pytest.mark.parametrize("verify", ["estimate", "exact"])
@pytest.mark.parametrize("num", [100, 1000])
def test_real_articles_with_planted_copies(realdata: Path, num: int, verify: str) -> None:
    texts = articles(realdata, num)
    names = list(texts)
    lines = (realdata / f"neardup/articles_{num}.truth").read_text().splitlines()
    truth = {frozenset(line.split()) for line in lines}
    verdicts = judge(list(texts.values()), DedupeSettings.model_validate({"verify": verify}))
    found = {
        frozenset((names[i], names[verdicts.survivor[i]])) for i in np.flatnonzero(~verdicts.kept).tolist()
    }
    assert found == truth
    by_hand = brute_force(list(texts.values()))
    assert {frozenset((names[one], names[other])) for one, other in by_hand} == truth


def brute_force(texts: list[str]) -> set[tuple[int, int]]:
    """All pairs at the threshold, by counting the shingles that any two texts share."""
    sets = [shingles(text) for text in texts]
    holders: dict[tuple[str, ...], list[int]] = {}
    for i, one in enumerate(sets):
        for shingle in one:
            holders.setdefault(shingle, []).append(i)
    shared: Counter[tuple[int, int]] = Counter()
    for own in holders.values():
        shared.update(itertools.combinations(own, 2))
    return {
        (i, j) for (i, j), num in shared.items() if num / (len(sets[i]) + len(sets[j]) - num) >= THRESHOLD
    }


def chain() -> list[str]:
    """A ~ B ~ C with A and C unlike: B shares one half of its end with each."""
    words = prose(random.Random(4), 460)
    return [" ".join(words[:300]), " ".join(words[36:336]), " ".join(words[72:372])]


@pytest.mark.parametrize("verify", ["estimate", "exact"])
def test_a_chain_does_not_remove_what_is_unlike_the_survivor(verify: str) -> None:
    settings = DedupeSettings.model_validate({"verify": verify})
    first, middle, last = chain()
    assert true_jaccard(first, middle) > 0.7 < true_jaccard(middle, last)
    assert true_jaccard(first, last) < 0.62
    verdicts = judge([first, middle, last], settings)
    assert verdicts.survivor.tolist() == [0, 0, 2]
    assert verdicts.root.tolist() == [0, 0, 0]  # but it stays with them on one side of the split
    # Ranked best, the middle one takes the place of both.
    assert judge([middle, first, last], settings).survivor.tolist() == [0, 0, 0]


def test_a_long_chain_of_neighbours_is_not_eaten_up() -> None:
    # Each is like the next one, and the last is like none but its neighbours.
    words = prose(random.Random(6), 3000)
    texts = [" ".join(words[start : start + 300]) for start in range(0, 2700, 30)]
    verdicts = judge(texts)
    for removed in np.flatnonzero(~verdicts.kept).tolist():
        assert true_jaccard(texts[removed], texts[verdicts.survivor[removed]]) > 0.55
    assert verdicts.kept.sum() >= len(texts) / 4
    assert set(verdicts.root.tolist()) == {0}


def test_the_survivor_of_a_removed_candidate_stands_for_it() -> None:
    signatures = np.zeros((3, 10), np.uint32)
    signatures[1, :2] = 1
    signatures[2, :3] = 1
    evidence = Evidence(np.arange(3, dtype=np.uint32), signatures, [None] * 3)
    better, worse = np.array([0, 1]), np.array([1, 2])
    similarities = evidence.estimates(better, worse)
    survivor, similarity = remove_similar(better, worse, similarities, evidence, 0.7)
    assert survivor.tolist() == [0, 0, 0]
    assert similarity.tolist() == pytest.approx([1, 0.8, 0.7])


def test_of_equally_similar_survivors_the_best_ranked_counts() -> None:
    signatures = np.array([[0] * 8 + [1, 1], [0] * 8 + [2, 2], [0] * 10], np.uint32)
    evidence = Evidence(np.arange(3, dtype=np.uint32), signatures, [None] * 3)
    better, worse = np.array([0, 1]), np.array([2, 2])
    for order in ([0, 1], [1, 0]):
        similarities = evidence.estimates(better[order], worse)
        survivor, _ = remove_similar(better[order], worse, similarities, evidence, 0.7)
        assert survivor.tolist() == [0, 1, 0]


def test_what_is_known_is_never_removed() -> None:
    signatures = np.zeros((4, 16), np.uint32)
    signatures[3, :1] = 1
    settings = DedupeSettings(num_perm=16)
    evidence = Evidence(np.array([3, 5, 8, 9], np.uint32), signatures, [None] * 4)
    pairs = united([pack_pairs(np.array([3, 3, 5, 8], np.uint32), np.array([5, 8, 9, 9], np.uint32))])
    found = decide(evidence, pairs, 6, settings).to_pydict()
    assert found["survivor"] == [3, 5, 3, 3]  # of the best two, equally similar, the first


def test_a_copy_shares_the_fate_of_its_original() -> None:
    generator = random.Random(5)
    words = prose(generator, 300)
    near = " ".join(edited(words, generator, 2))
    verdicts = judge([" ".join(words), near, near.upper(), " ".join(prose(generator, 100))])
    assert verdicts.survivor.tolist() == [0, 0, 0, 3]
    assert verdicts.exact.tolist() == [False, False, False, False]
    assert verdicts.similarity[1] == verdicts.similarity[2] < 1
    assert verdicts.in_company.tolist() == [True, True, True, False]
    assert verdicts.most_texts() == 2


@given(st.lists(st.integers(0, 6), max_size=300), st.randoms(use_true_random=False))
def test_candidate_pairs_of_buckets(hashes: list[int], generator: random.Random) -> None:
    ranks = generator.sample(range(1000), len(hashes))
    expected = set()
    for value in set(hashes):
        bucket = sorted(own for own, one in zip(ranks, hashes, strict=True) if one == value)
        for i, later in enumerate(bucket):
            partners = (
                bucket[:i]
                if len(bucket) <= MAX_ALL_PAIRS
                else {*bucket[: min(i, NUM_BEST)], *bucket[:i][-1:]}
            )
            expected |= {(partner, later) for partner in partners}
    blocks = [entries_of(np.array(hashes[i::3]), np.array(ranks[i::3])) for i in range(3)]
    assert pairs_of(candidate_pairs(blocks)) == expected


def test_a_giant_bucket_gives_pairs_by_its_size_and_not_by_its_square() -> None:
    for num in (20_000, 200_000):
        pairs = candidate_pairs([entries_of(np.zeros(num), np.arange(num))])
        assert len(pairs) <= num * (NUM_BEST + 1)


def test_a_family_of_boilerplate_is_one_document() -> None:
    # Pages that differ in a word fall into giant buckets: all but one go, and each is like that one.
    generator = random.Random(7)
    words = prose(generator, 100)
    texts = [" ".join([*words, f"page{i}"]) for i in range(20_000)]
    verdicts = judge(texts)
    assert verdicts.survivor.tolist() == [0] * len(texts)
    assert verdicts.most_texts() == len(texts)


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30), max_size=40),
    st.randoms(use_true_random=False),
)
def test_pairs_unite_in_whatever_groups_they_come(
    lists: list[list[tuple[int, int]]], generator: random.Random
) -> None:
    combine = UnitePairs()
    sets = [
        united(
            [pack_pairs(np.array([a for a, _ in one], np.uint32), np.array([b for _, b in one], np.uint32))]
        )
        for one in lists
    ]
    accumulators = [combine.create_accumulator() for _ in range(3)]
    for one in sets:
        i = generator.randrange(3)
        accumulators[i] = combine.add_input(accumulators[i], one.tobytes())
    if generator.random() < 0.5:
        accumulators = [combine.compact(one) for one in accumulators]
    generator.shuffle(accumulators)
    halfway = combine.merge_accumulators(accumulators[:2])
    found = combine.extract_output(combine.merge_accumulators([halfway, accumulators[2]]))
    expected = united(sets) if sets else NO_PAIRS
    assert found == expected.tobytes()
    assert pairs_of(expected) == {pair for one in lists for pair in one}


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).filter(lambda pair: pair[0] < pair[1])),
    st.integers(1, 5),
)
def test_batches_hold_whole_components(edges: list[tuple[int, int]], num_batches: int) -> None:
    pairs = united(
        [pack_pairs(np.array([a for a, _ in edges], np.uint32), np.array([b for _, b in edges], np.uint32))]
    )
    compared, batches = divide(pairs, num_batches)
    assert compared.tolist() == sorted({node for edge in edges for node in edge})
    batch = dict(zip(compared.tolist(), batches.tolist(), strict=True))
    assert all(batch[one] == batch[other] for one, other in edges)
    assert all(0 <= one < num_batches for one in batch.values())


def test_connections_are_those_of_a_plain_search() -> None:
    generator = random.Random(6)
    edges = [(generator.randrange(300), generator.randrange(300)) for _ in range(200)]
    neighbours: dict[int, set[int]] = {node: {node} for node in range(300)}
    for one, other in edges:
        neighbours[one].add(other)
        neighbours[other].add(one)
    ones, others = np.array(edges).T
    for node, root in enumerate(connect(300, (ones, others)).tolist()):
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
    num_bands, num_rows = bands_and_rows(DedupeSettings(threshold=threshold, num_perm=num_perm))
    assert num_bands >= 2
    assert num_bands * num_rows <= num_perm


def test_bands_as_the_settings_say() -> None:
    assert bands_and_rows(DedupeSettings(bands=14, rows=8)) == (14, 8)
    # The optimum is datasketch's own.
    from datasketch import MinHashLSH

    lsh = MinHashLSH(threshold=0.7, num_perm=128, weights=(0.1, 0.9))
    assert bands_and_rows(DEFAULTS) == (lsh.b, lsh.r)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"bands": 14}, "bands and rows go together"),
        ({"rows": 8}, "bands and rows go together"),
        ({"bands": 20, "rows": 7}, "need num_perm = 140 or more"),
        ({"survivor": []}, "survivor names each"),
        ({"survivor": ["karma", "karma"]}, "survivor names each"),
    ],
)
def test_settings_that_do_not_go_together(values: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        DedupeSettings.model_validate(values)
