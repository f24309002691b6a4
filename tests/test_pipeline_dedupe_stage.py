"""The stage dedupe as a whole, through Beam's local runner."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipeline.config import DedupeSettings
from pipeline.records import CLUSTERS, CORPUS, REJECTED
from pipeline.runs import Folder, Manifest
from tests.conftest import RunStage
from tests.document_parts import EARLY, LATE, document, table, write_parts

Rows = list[dict[str, Any]]


def near_duplicates(num: int, seed: int = 1) -> Rows:
    """Documents, of which a third are near-duplicates and some are copies."""
    generator = random.Random(seed)
    rows: Rows = []
    for i in range(num):
        words = [f"w{generator.randrange(2000)}" for _ in range(120)]
        if rows and i % 3 == 0:
            words = generator.choice(rows)["text"].split()
            if i % 2:
                words[generator.randrange(len(words))] = "changed"
        rows.append(
            document(
                f"{generator.getrandbits(128):032x}",
                " ".join(words),
                karma=generator.randrange(3, 9),
                created=generator.choice([EARLY, LATE]),
                subreddits=[generator.choice(["news", "science"])],
            )
        )
    return rows


def divided(rows: Rows, sizes: Sequence[int]) -> list[Rows]:
    parts, start = [], 0
    for size in sizes:
        parts.append(rows[start : start + size])
        start += size
    return [*parts, rows[start:]]


def dedupe(run: Folder, run_stage: RunStage, parts: list[Rows]) -> Manifest:
    filtered = write_parts(run, "filter", [table(part) for part in parts])
    return run_stage("dedupe", DedupeSettings(), filter=filtered)


def contents(folder: Folder) -> dict[str, bytes]:
    """All files but the sidecars, which tell how long the work took."""
    path = Path(folder.path())
    return {
        file.name: file.read_bytes()
        for file in path.iterdir()
        if file.suffix != ".json" or file.name == "manifest.json"
    }


def corpus(run: Folder, manifest: Manifest) -> Rows:
    rows: Rows = []
    for part in manifest.counted():
        found = (run / "corpus").read_table(part.file(".parquet").name)
        assert found.schema.equals(CORPUS)
        rows += found.to_pylist()
    return rows


def test_parts_keep_the_best_and_name_it(run: Folder, run_stage: RunStage) -> None:
    text = " ".join(f"word{i}" for i in range(100))
    other = " ".join(f"other{i}" for i in range(100))
    parts = [
        [
            document("b", text, karma=5, created=LATE, submissions=["p1"], subreddits=["science"]),
            document("c", other),
        ],
        [],
        [
            document("a", text.upper(), karma=4, submissions=["p2", "p1"], subreddits=["news"]),
            document("d", f"{text} more", karma=4, submissions=["p3"]),
            document("e", ""),
        ],
    ]
    manifest = dedupe(run, run_stage, parts)
    assert manifest.counts.to_json() == {
        "in": 5,
        "kept": 3,
        "rejected": {"exact_duplicate": 1, "near_duplicate": 1},
    }
    assert manifest.facts == {"documents": 3, "text_bytes": len(text) + len(other), "words": 200}
    kept = {row["id"]: row for row in corpus(run, manifest)}
    assert sorted(kept) == ["b", "c", "e"]
    assert kept["b"] == {
        **document("b", text, karma=5, created=EARLY, subreddits=["news", "science"]),
        "submissions": ["p1", "p3", "p2"],  # its own, then by the rank of the removed
        "cluster": "a",
    }
    assert [kept[name]["cluster"] for name in "ce"] == ["c", "e"]
    rejected = (run / "corpus").read_table("part-00002.rejected.parquet")
    assert rejected.schema.equals(REJECTED)
    found = [(row["id"], row["reason"], row["value"].split()[0]) for row in rejected.to_pylist()]
    assert found == [("a", "exact_duplicate", "b"), ("d", "near_duplicate", "b")]
    assert rejected["value"][0].as_py() == "b 1.000"
    clusters = (run / "corpus").read_table("clusters.parquet")
    assert clusters.schema.equals(CLUSTERS)
    assert [(row["cluster"], row["id"], row["survivor"], row["kept"]) for row in clusters.to_pylist()] == [
        ("a", "a", "b", False),
        ("a", "b", "b", True),
        ("a", "d", "b", False),
    ]


def test_order_of_parts_and_rows_does_not_matter(run: Folder, run_stage: RunStage) -> None:
    rows = near_duplicates(90)
    first = dedupe(run, run_stage, divided(rows, [40, 20]))
    kept = {row["id"]: row for row in corpus(run, first)}
    clusters = (run / "corpus").read_table("clusters.parquet")
    assert 0 < len(kept) < 90
    random.Random(2).shuffle(rows)
    second = dedupe(run, run_stage, divided(rows, [0, 10, 50]))
    assert {row["id"]: row for row in corpus(run, second)} == kept
    assert (run / "corpus").read_table("clusters.parquet").equals(clusters)


def test_redone_and_resumed_work_gives_the_same_bytes(run: Folder, run_stage: RunStage) -> None:
    parts = divided(near_duplicates(60), [25, 20])
    manifest = dedupe(run, run_stage, parts)
    before = contents(run / "corpus")
    for lost in (
        ["manifest.json", "part-00001.json"],
        ["manifest.json", "clusters.json", "part-00000.json"],
        ["manifest.json", "ranked.json", "clusters.json"],
        ["manifest.json", "signatures-00001.parquet"],
        [*before],
    ):
        (run / "corpus").remove(lost)
        assert dedupe(run, run_stage, parts).encode() == manifest.encode()
        assert contents(run / "corpus") == before


def test_a_changed_part_leaves_other_signatures_alone(run: Folder, run_stage: RunStage) -> None:
    rows = near_duplicates(60)
    dedupe(run, run_stage, divided(rows, [30]))
    signed = Path((run / "corpus").path("signatures-00000.json"))
    written = signed.stat().st_mtime_ns
    rows[-1]["text"] = "all new"
    dedupe(run, run_stage, divided(rows, [30]))
    assert signed.stat().st_mtime_ns == written


def test_twenty_thousand_copies_of_one_page(run: Folder, run_stage: RunStage) -> None:
    text = " ".join(f"word{i}" for i in range(30))
    rows = [document(f"{i:032x}", text) for i in range(20_000)]
    manifest = dedupe(run, run_stage, divided(rows, [12_000]))
    assert manifest.counts.rejected == {"exact_duplicate": 19_999}
    (survivor,) = corpus(run, manifest)
    assert survivor["id"] == f"{0:032x}"
    assert len(survivor["submissions"]) == 20_000


@pytest.mark.parametrize("parts", [[], [[]], [[], [document("a", "one document")]]])
def test_next_to_nothing(run: Folder, run_stage: RunStage, parts: list[Rows]) -> None:
    manifest = dedupe(run, run_stage, parts)
    assert manifest.counts.kept == sum(map(len, parts))


def test_duckdb_reads_the_tables(run: Folder, run_stage: RunStage) -> None:
    manifest = dedupe(run, run_stage, divided(near_duplicates(60), [30]))
    folder = Path((run / "corpus").path())
    with duckdb.connect() as connection:
        connection.from_parquet(str(folder / "clusters.parquet")).create_view("clusters")
        connection.from_parquet(str(folder / "part-*.rejected.parquet")).create_view("rejected")
        found = connection.sql(
            """
            select count(*) from clusters join rejected using (id)
            where not kept and split_part(value, ' ', 1) = survivor
            """
        ).fetchall()
    assert found == [(sum(manifest.counts.rejected.values()),)]


def test_ranges_of_bands_give_what_whole_bands_give(
    run: Folder, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = divided(near_duplicates(60), [25])
    whole = dedupe(run, run_stage, parts)
    monkeypatch.setattr("pipeline.dedupe.candidates._ENTRIES_PER_GROUP", 9)
    (run / "corpus").remove(["manifest.json", "clusters.json"])
    assert dedupe(run, run_stage, parts).encode() == whole.encode()


def test_copies_that_tell_no_time_leave_it_to_those_that_do(run: Folder, run_stage: RunStage) -> None:
    text = " ".join(f"word{i}" for i in range(100))
    other = " ".join(f"other{i}" for i in range(100))
    parts = [
        [document("b", text, karma=5, created=None), document("c", other, karma=5, created=None)],
        [document("a", text, karma=4, created=EARLY), document("d", other, karma=4, created=None)],
    ]
    kept = {row["id"]: row["created"] for row in corpus(run, dedupe(run, run_stage, parts))}
    assert kept == {"b": EARLY, "c": None}
