"""The splits: whole clusters, in about the shares asked for, by hash, by domain and by day."""

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.config import DedupeSettings, ShardSettings
from pipeline.records import CORPUS, SHARD_DOCUMENTS
from pipeline.runs import Folder, Manifest
from pipeline.shard.split import SPLIT_COLUMNS, splits_of
from tests.conftest import RunStage
from tests.document_parts import document, table, write_parts
from tokenizer.config import TokenizerSettings

KEYS = pa.schema([CORPUS.field(name) for name in SPLIT_COLUMNS])
START = datetime(2019, 1, 1, tzinfo=UTC)


def keys(num: int, per_domain: int = 1) -> pa.Table:
    """Clusters of one document each, one an hour."""
    return pa.table(
        [
            [f"{i:032x}" for i in range(num)],
            [f"site{i // per_domain}.example" for i in range(num)],
            [START + timedelta(hours=i) for i in range(num)],
        ],
        schema=KEYS,
    )


def splits(table: pa.Table, **settings: Any) -> list[str]:
    return list(splits_of(table, ShardSettings.model_validate(settings)))


SETTINGS = st.one_of(
    st.builds(
        lambda by, val, test: ShardSettings(split_by=by, val_fraction=val, test_fraction=test),
        st.sampled_from(["cluster", "domain"]),
        st.floats(0, 0.5, exclude_max=True),
        st.floats(0, 0.5),
    ),
    st.builds(
        lambda val, days: ShardSettings(split_by="date", val_from=val, test_from=val + timedelta(days=days)),
        st.dates(date(2018, 12, 1), date(2019, 3, 1)),
        st.integers(1, 60),
    ),
)


@given(SETTINGS, st.randoms(use_true_random=False), st.integers(1, 40))
def test_a_cluster_is_never_on_two_sides(settings: ShardSettings, rng: random.Random, num: int) -> None:
    clusters = [
        {
            "cluster": f"{i:032x}",
            "cluster_domain": f"site{rng.randrange(5)}.example",
            "cluster_created": rng.choice([None, START + timedelta(hours=rng.randrange(2_000))]),
        }
        for i in range(num)
    ]
    rows = [rng.choice(clusters) for _ in range(3 * num)]
    sides = defaultdict(set)
    for row, split in zip(rows, splits_of(pa.Table.from_pylist(rows, KEYS), settings), strict=True):
        sides[row["cluster"]].add(split)
    assert all(len(found) == 1 for found in sides.values())


@pytest.mark.parametrize("by", ["cluster", "domain"])
def test_the_shares_come_out_about_right(by: str) -> None:
    num = Counter(splits(keys(20_000), split_by=by, val_fraction=0.05, test_fraction=0.1))
    assert 850 < num["val"] < 1150
    assert 1800 < num["test"] < 2200
    assert num.total() == 20_000
    assert set(splits(keys(1_000), split_by=by, val_fraction=0)) == {"train"}


def test_a_test_split_takes_from_train_only() -> None:
    without = splits(keys(5_000), val_fraction=0.1)
    with_test = splits(keys(5_000), val_fraction=0.1, test_fraction=0.2)
    moved = Counter(pair for pair in zip(without, with_test, strict=True) if pair[0] != pair[1])
    assert list(moved) == [("train", "test")]
    more = splits(keys(5_000), val_fraction=0.1, test_fraction=0.3)
    assert all(b == "test" for a, b in zip(with_test, more, strict=True) if a == "test")


def test_the_defaults_choose_by_the_hash_of_the_cluster() -> None:
    assert splits(keys(5_000)) == [
        "val" if xxhash.xxh3_64_intdigest(f"{i:032x}".encode()) < 0.005 * 2**64 else "train"
        for i in range(5_000)
    ]


def test_a_domain_is_on_one_side() -> None:
    table = keys(3_000, per_domain=10)
    found = splits(table, split_by="domain", val_fraction=0.2, test_fraction=0.2)
    sides = set(zip(table["cluster_domain"].to_pylist(), found, strict=True))
    assert len(sides) == 300
    assert {split for _, split in sides} == {"train", "val", "test"}


def test_days_are_those_of_utc_and_begin_their_split() -> None:
    times = [
        None,
        datetime(2019, 5, 31, 23, 59, 59, 999_000, tzinfo=UTC),
        datetime(2019, 6, 1, tzinfo=UTC),
        datetime(2019, 6, 30, 23, 59, tzinfo=UTC),
        datetime(2019, 7, 1, tzinfo=UTC),
        datetime(2023, 1, 1, tzinfo=UTC),
    ]
    table = pa.table([["a"] * 6, ["b"] * 6, times], schema=KEYS)
    june, july = date(2019, 6, 1), date(2019, 7, 1)
    both = splits(table, split_by="date", val_from=june, test_from=july)
    assert both == ["train", "train", "val", "val", "test", "test"]
    assert splits(table, split_by="date", val_from=june) == ["train", "train", *["val"] * 4]
    assert splits(table, split_by="date", test_from=july) == [*["train"] * 4, "test", "test"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "together they must be under 1"),
        ({"test_fraction": 1}, "less than 1"),
        ({"split_by": "url"}, "'cluster', 'domain' or 'date'"),
        ({"val_from": "2019-06-01"}, 'val_from is for split_by = "date"'),
        ({"split_by": "domain", "test_from": "2019-06-01"}, 'test_from is for split_by = "date"'),
        ({"split_by": "date"}, "needs a day"),
        (
            {"split_by": "date", "val_from": "2019-06-01", "test_from": "2019-06-01"},
            "val_from = 2019-06-01 is not before test_from = 2019-06-01",
        ),
        ({"split_by": "date", "val_from": "2019-06-01", "test_fraction": 0.1}, "test_fraction is not used"),
        ({"split_by": "date", "val_from": "2019-06-01", "val_fraction": 0.1}, "val_fraction is not used"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ShardSettings.model_validate(settings)


# --- from documents to shards -----------------------------------------------------------------------------

NUM_WORDS = 150
THRESHOLD = 0.7


def _page(rng: random.Random) -> list[str]:
    return [f"w{rng.randrange(5_000)}" for _ in range(NUM_WORDS)]


def _changed(words: Sequence[str], at: int, num: int) -> list[str]:
    """The same with a run of words replaced: 5-grams are lost over num + 4 places."""
    return [*words[:at], *(f"new{at}{i}" for i in range(num)), *words[at + num :]]


def _chain(rng: random.Random) -> list[list[str]]:
    """A ~ B ~ C, with A and C unlike: each is a step of 18 words from the next."""
    first = _page(rng)
    second = _changed(first, 10, 18)
    return [first, second, _changed(second, 100, 18)]


def _alike(texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """All pairs whose true Jaccard similarity is at the threshold, by brute force."""
    shingles = {}
    for name, text in texts.items():
        words = text.split()
        shingles[name] = {tuple(words[i : i + 5]) for i in range(len(words) - 4)}
    found = []
    for a, b in itertools.combinations(shingles, 2):
        both = len(shingles[a] & shingles[b])
        if both >= THRESHOLD * (len(shingles[a]) + len(shingles[b]) - both):
            found.append((a, b))
    return found


def _connected(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """The smallest name that each one is connected with."""
    names = {name: name for pair in pairs for name in pair}
    for _ in names:
        before = dict(names)
        for a, b in pairs:
            names[a] = names[b] = min(names[a], names[b])
        if names == before:
            break
    return names


def _pages() -> list[str]:
    rng = random.Random(7)
    texts = [words for _ in range(40) for words in _chain(rng)]
    for _ in range(40):
        page = _page(rng)
        texts += [page, page, _changed(page, rng.randrange(100), rng.randrange(1, 12))]
    texts += [_page(rng) for _ in range(80)]
    rng.shuffle(texts)
    return [" ".join(words) for words in texts]


def _corpus(run: Folder, run_stage: RunStage) -> tuple[Manifest, dict[str, str]]:
    texts = {f"{i:032x}": text for i, text in enumerate(_pages())}
    rows = [
        document(
            name,
            text,
            final_url=f"https://site{i % 90}.example/{i}",
            karma=i % 50,
            created=None if i % 17 == 0 else START + timedelta(hours=(37 * i) % 2_000),
        )
        for i, (name, text) in enumerate(texts.items())
    ]
    filtered = write_parts(run, "filter", [table(rows[i : i + 80]) for i in range(0, len(rows), 80)])
    # Bands so narrow that no pair at the threshold is missed.
    settings = DedupeSettings(threshold=THRESHOLD, verify="exact", bands=32, rows=4)
    return run_stage("dedupe", settings, filter=filtered), texts


@pytest.mark.parametrize(
    "settings",
    [
        {"val_fraction": 0.3, "test_fraction": 0.3},
        {"split_by": "domain", "val_fraction": 0.3, "test_fraction": 0.3},
        {"split_by": "date", "val_from": "2019-02-01", "test_from": "2019-03-01"},
    ],
)
def test_no_near_duplicate_pair_straddles_the_splits(
    run: Folder, run_stage: RunStage, settings: Mapping[str, Any]
) -> None:
    corpus, texts = _corpus(run, run_stage)
    tokenizer = run_stage("tokenizer", TokenizerSettings(vocab_size=300), dedupe=corpus)
    shards = run_stage("shard", ShardSettings.model_validate(settings), dedupe=corpus, tokenizer=tokenizer)
    tables = [(run / "shards").read_table(part.file(".documents.parquet").name) for part in shards.counted()]
    rows = pa.concat_tables([SHARD_DOCUMENTS.empty_table(), *tables]).to_pylist()
    sides = {row["id"]: row["split"] for row in rows}
    assert set(sides.values()) == {"train", "val", "test"}
    pairs = _alike(texts)
    assert not any(a in sides and b in sides and sides[a] != sides[b] for a, b in pairs)
    # Nor do those that only a chain of others connects, such as both ends of A ~ B ~ C where B was removed.
    groups = defaultdict(list)
    for name, group in _connected(pairs).items():
        if name in sides:
            groups[group].append(name)
    ends = [names for names in groups.values() if len(names) > 1]
    assert len(ends) > 10
    assert all(len({sides[name] for name in names}) == 1 for names in ends)
    assert {sides[names[0]] for names in ends} == {"train", "val", "test"}
