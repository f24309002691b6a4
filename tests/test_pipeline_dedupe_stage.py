"""The stage dedupe as a whole, through Beam's local runner."""

import contextlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import duckdb
import pytest

from pipeline.config import DedupeSettings
from pipeline.dedupe.beam import transform
from pipeline.dedupe.plan import RANK, plan
from pipeline.errors import RunError
from pipeline.records import CLUSTERS, CORPUS, REJECTED
from pipeline.runs import MANIFEST, Folder, Manifest
from pipeline.stages import BY_NAME, Job, execute
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


def dedupe(run: Folder, parts: list[Rows], *, beam_options: Sequence[str] = (), **values: Any) -> Manifest:
    """Brings the stage to its manifest, with settings that differ from the defaults in these values."""
    filtered = write_parts(run, "filter", [table(part) for part in parts])
    job = Job(BY_NAME["dedupe"], run, DedupeSettings.model_validate(values), {"filter": filtered})
    return execute(job, beam_options=beam_options, watch=lambda *_: contextlib.nullcontext())


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


def test_parts_keep_the_best_and_name_it(run: Folder) -> None:
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
    manifest = dedupe(run, parts)
    assert manifest.counts.to_json() == {
        "in": 5,
        "kept": 3,
        "rejected": {"exact_duplicate": 1, "near_duplicate": 1},
    }
    assert {name: manifest.facts[name] for name in ("documents", "text_bytes", "words")} == {
        "documents": 3,
        "text_bytes": len(text) + len(other),
        "words": 200,
    }
    kept = {row["id"]: row for row in corpus(run, manifest)}
    assert sorted(kept) == ["b", "c", "e"]
    assert kept["b"] == {
        **document("b", text, karma=5, created=EARLY, subreddits=["news", "science"]),
        "submissions": ["p1", "p3", "p2"],  # its own, then by the rank of the removed
        "cluster": "a",
        "cluster_domain": "example.com",
        "cluster_created": EARLY,
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


def test_order_of_parts_and_rows_does_not_matter(run: Folder) -> None:
    rows = near_duplicates(90)
    first = dedupe(run, divided(rows, [40, 20]))
    kept = {row["id"]: row for row in corpus(run, first)}
    clusters = (run / "corpus").read_table("clusters.parquet")
    assert 0 < len(kept) < 90
    random.Random(2).shuffle(rows)
    second = dedupe(run, divided(rows, [0, 10, 50]))
    assert {row["id"]: row for row in corpus(run, second)} == kept
    assert (run / "corpus").read_table("clusters.parquet").equals(clusters)


def test_redone_and_resumed_work_gives_the_same_bytes(run: Folder) -> None:
    parts = divided(near_duplicates(60), [25, 20])
    manifest = dedupe(run, parts)
    before = contents(run / "corpus")
    for lost in (
        ["manifest.json", "part-00001.json"],
        ["manifest.json", "clusters.json", "part-00000.json"],
        ["manifest.json", "clusters.json", "signatures-00000.json"],
        ["manifest.json", "signatures-00001.parquet"],
        [*before],
    ):
        (run / "corpus").remove(lost)
        assert dedupe(run, parts).encode() == manifest.encode()
        assert contents(run / "corpus") == before


def test_a_changed_part_leaves_other_signatures_alone(run: Folder) -> None:
    rows = near_duplicates(60)
    dedupe(run, divided(rows, [30]))
    signed = Path((run / "corpus").path("signatures-00000.json"))
    written = signed.stat().st_mtime_ns
    rows[-1]["text"] = "all new"
    dedupe(run, divided(rows, [30]))
    assert signed.stat().st_mtime_ns == written


def test_thousands_of_copies_of_one_page(run: Folder) -> None:
    text = " ".join(f"word{i}" for i in range(30))
    rows = [document(f"{i:032x}", text) for i in range(4_000)]
    manifest = dedupe(run, divided(rows, [2_500]), max_removed=1)
    assert manifest.counts.rejected == {"exact_duplicate": 3_999}
    (survivor,) = corpus(run, manifest)
    assert survivor["id"] == f"{0:032x}"
    assert len(survivor["submissions"]) == 4_000


@pytest.mark.parametrize("parts", [[], [[]], [[], [document("a", "one document")]]])
def test_next_to_nothing(run: Folder, parts: list[Rows]) -> None:
    manifest = dedupe(run, parts)
    assert manifest.counts.kept == sum(map(len, parts))


def test_duckdb_reads_the_tables(run: Folder) -> None:
    manifest = dedupe(run, divided(near_duplicates(60), [30]))
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


def test_ranges_of_bands_give_what_whole_bands_give(run: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = divided(near_duplicates(60), [25])
    whole = dedupe(run, parts)
    monkeypatch.setattr("pipeline.dedupe.candidates._ENTRIES_PER_GROUP", 9)
    monkeypatch.setattr("pipeline.dedupe.candidates._ENTRIES_PER_ROUND", 200)
    (run / "corpus").remove(["manifest.json", "clusters.json", "part-00000.json"])
    assert dedupe(run, parts).encode() == whole.encode()


def test_copies_that_tell_no_time_leave_it_to_those_that_do(run: Folder) -> None:
    text = " ".join(f"word{i}" for i in range(100))
    other = " ".join(f"other{i}" for i in range(100))
    parts = [
        [document("b", text, karma=5, created=None), document("c", other, karma=5, created=None)],
        [document("a", text, karma=4, created=EARLY), document("d", other, karma=4, created=None)],
    ]
    kept = {row["id"]: row["created"] for row in corpus(run, dedupe(run, parts))}
    assert kept == {"b": EARLY, "c": None}


@pytest.mark.parametrize("verify", ["estimate", "exact"])
def test_batches_decide_what_one_batch_decides(
    run: Folder, monkeypatch: pytest.MonkeyPatch, verify: str
) -> None:
    parts = divided(near_duplicates(90), [25, 30])
    dedupe(run, parts, verify=verify)
    whole = {name: data for name, data in contents(run / "corpus").items() if name != "manifest.json"}
    monkeypatch.setattr("pipeline.dedupe.plan._DOCUMENTS_PER_BATCH", {"estimate": 9, "exact": 9})
    (run / "corpus").remove([*whole, "manifest.json", "clusters.json"])
    dedupe(run, parts, verify=verify)
    again = contents(run / "corpus")
    again.pop("manifest.json")
    assert again == whole


def test_processes_give_the_same_bytes(run: Folder) -> None:
    parts = divided(near_duplicates(90), [25, 30])
    dedupe(run, parts)
    one_process = contents(run / "corpus")
    (run / "corpus").remove([*one_process, "clusters.json"])
    options = ["--runner=FnApiRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    dedupe(run, parts, beam_options=options)
    assert contents(run / "corpus") == one_process


def test_true_similarity_decides_where_it_is_asked_for(run: Folder) -> None:
    generator = random.Random(4)
    rows = []
    for i in range(60):  # pairs whose similarity lies close to the threshold, on either side
        words = [f"w{generator.randrange(2000)}" for _ in range(200)]
        rows.append(document(f"{i:032x}", " ".join(words), karma=9))
        for place in range(5, 200, generator.choice([28, 30, 33, 36])):
            words[place] = "changed"
        rows.append(document(f"{i + 100:032x}", " ".join(words)))
    texts = {row["id"]: row["text"] for row in rows}
    found = {}
    for verify in ("estimate", "exact"):
        dedupe(run, divided(rows, [50]), verify=verify)
        clusters = (run / "corpus").read_table("clusters.parquet").to_pylist()
        found[verify] = {row["id"] for row in clusters if not row["kept"]}
        for row in clusters:
            true = similarity(texts[row["id"]], texts[row["survivor"]])
            assert row["similarity"] >= 0.7 - 1e-7
            assert row["similarity"] == pytest.approx(true if verify == "exact" else row["estimate"])
    true_pairs = {
        f"{i + 100:032x}"
        for i in range(60)
        if similarity(texts[f"{i:032x}"], texts[f"{i + 100:032x}"]) >= 0.7
    }
    assert found["exact"] <= true_pairs
    assert len(true_pairs - found["exact"]) <= 5  # those that share no band
    assert found["estimate"] != found["exact"]


def similarity(one: str, other: str) -> float:
    a, b = ({*zip(*(text.split()[i:] for i in range(5)), strict=False)} for text in (one, other))
    return len(a & b) / len(a | b)


def test_the_user_says_who_survives(run: Folder) -> None:
    text = " ".join(f"word{i}" for i in range(100))
    rows = [
        document("a", text, karma=5, created=LATE),
        document("b", f"{text} more", karma=4, created=LATE),
        document("c", text, karma=3, created=EARLY),
    ]
    for survivor, best in (
        (["karma", "longest", "earliest", "id"], "a"),
        (["longest", "karma"], "b"),
        (["earliest"], "c"),
    ):
        (kept,) = corpus(run, dedupe(run, [rows], survivor=survivor))
        assert (kept["id"], kept["cluster"], kept["cluster_created"]) == (best, "a", EARLY)
        assert sorted(kept["submissions"]) == ["post-a", "post-b", "post-c"]


def test_a_cluster_goes_by_the_domain_of_its_best(run: Folder) -> None:
    text = " ".join(f"word{i}" for i in range(100))
    other = " ".join(f"other{i}" for i in range(100))
    rows = [
        document("a", text, karma=5, final_url="https://news.example.co.uk/a", created=LATE),
        document("b", text, karma=6, final_url="https://www.example.org/b", created=None),
        document("c", other, karma=5, final_url="http://192.0.2.1/c", created=None),
    ]
    kept = {row["id"]: row for row in corpus(run, dedupe(run, [rows]))}
    assert kept["b"]["cluster_domain"] == "example.org"
    assert kept["b"]["cluster_created"] == LATE
    assert kept["c"]["cluster_domain"] == "192.0.2.1"
    assert kept["c"]["cluster_created"] is None


def test_figures_of_clusters_stand_in_the_manifest(run: Folder) -> None:
    rows: Rows = []
    for size in (1, 2, 2, 3, 12):
        text = " ".join(f"word{len(rows)}-{i}" for i in range(50))
        start = len(rows)
        rows += [document(f"{start + i:032x}", text, karma=9 - (i > 0)) for i in range(size)]
    manifest = dedupe(run, divided(rows, [3]))
    sizes = {name: num for name, num in manifest.facts["cluster_sizes"].items() if num}
    assert sizes == {"2": 2, "3": 1, "10-99": 1}
    largest = manifest.facts["largest_clusters"]
    assert [one["documents"] for one in largest] == [12, 3, 2, 2]
    assert largest[0]["survivor"] == f"{8:032x}"
    assert largest[0]["url"] == f"https://example.com/{8:032x}"
    assert largest[0]["removed"] == 11


def test_only_what_lasts_is_left(run: Folder) -> None:
    manifest = dedupe(run, divided(near_duplicates(60), [25]))
    listed = {file.name for part in manifest.parts for file in part.files}
    sidecars = {f"{part.name}.json" for part in manifest.parts}
    assert set((run / "corpus").sizes()) == listed | sidecars | {"manifest.json"}
    assert {part.name for part in manifest.parts} == {
        *(f"{kind}-{i:05d}" for kind in ("signatures", "part") for i in range(2)),
        "clusters",
    }


def test_a_kill_while_the_stage_is_committed_leaves_only_what_lasts(
    run: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove, write = Folder.remove, Folder.write

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    parts = divided(near_duplicates(20), [8])
    with monkeypatch.context() as patched:  # when the first of the scratch is to go
        patched.setattr(
            Folder,
            "remove",
            lambda self, names: stop() if f"{RANK}.json" in (some := list(names)) else remove(self, some),
        )
        with pytest.raises(KeyboardInterrupt):
            dedupe(run, parts)
    with monkeypatch.context() as patched:  # when all of it is gone
        patched.setattr(
            Folder,
            "write",
            lambda self, name, data: (
                stop() if (self.uri, name) == ((run / "corpus").uri, MANIFEST) else write(self, name, data)
            ),
        )
        with pytest.raises(KeyboardInterrupt):
            dedupe(run, parts)
    dedupe(run, parts)
    killed = contents(run / "corpus")
    (run / "corpus").remove(list((run / "corpus").sizes()))
    dedupe(run, parts)
    assert contents(run / "corpus") == killed


def test_other_thresholds_sign_nothing_again(run: Folder) -> None:
    parts = divided(near_duplicates(60), [30])
    dedupe(run, parts)
    signed = Path((run / "corpus").path("signatures-00000.parquet"))
    written = signed.stat().st_mtime_ns
    dedupe(run, parts, threshold=0.5, verify="exact", survivor=["id"], bands=8, rows=4)
    assert signed.stat().st_mtime_ns == written
    dedupe(run, parts, ngram=3)
    assert signed.stat().st_mtime_ns > written


def test_a_run_that_would_remove_too_much_stops_and_says_so(run: Folder) -> None:
    text = " ".join(f"word{i}" for i in range(100))
    rows = [document(f"{i:032x}", f"{text} page{i}", karma=9 - (i > 0)) for i in range(9)]
    parts = [rows[:5], [*rows[5:], document("f" * 32, "quite another text")]]
    with pytest.raises(RunError) as stop:
        dedupe(run, parts, max_removed=0.75)
    assert "dedupe would remove 8 of 10 documents (80.0%), more than dedupe.max_removed = 0.75" in str(
        stop.value
    )
    assert f"9 documents like https://example.com/{0:032x}" in str(stop.value)
    assert "clusters.parquet" in str(stop.value)
    assert str(stop.value).endswith("raise dedupe.threshold (now 0.7).")
    with pytest.raises(RunError, match="dedupe found 9 different texts in one cluster") as stop:
        dedupe(run, parts, max_cluster=8)
    assert "max_removed" not in str(stop.value)
    assert "part-00000.json" not in (run / "corpus").sizes()
    # Nothing that was done is done again once the user has raised the limit.
    done = {
        name: Path((run / "corpus").path(name)) for name in ("clusters.parquet", "signatures-00001.parquet")
    }
    written = {name: path.stat().st_mtime_ns for name, path in done.items()}
    assert dedupe(run, parts, max_cluster=9).counts.kept == 2
    assert {name: path.stat().st_mtime_ns for name, path in done.items()} == written


def test_odd_documents_each_have_an_outcome(run: Folder) -> None:
    rows = [
        document(f"{i:032x}", text, karma=20 - i)
        for i, text in enumerate(
            ["", " \n", "word", "Word", "again " * 5000, "again " * 4000, "x" * 1_000_000, "nul \0 \u2028 😀"]
        )
    ]
    manifest = dedupe(run, divided(rows, [3]))
    rejected = [
        row
        for part in manifest.counted()
        for row in (run / "corpus").read_table(f"{part.name}.rejected.parquet").to_pylist()
    ]
    # No word, the same word, and one shingle again and again: as sets of shingles they are equal.
    assert [(int(row["id"], 16), row["reason"]) for row in rejected] == [
        (1, "exact_duplicate"),
        (3, "exact_duplicate"),
        (5, "near_duplicate"),
    ]


def test_each_step_waits_for_all_before_it(run: Folder) -> None:
    # A step without parts is complete at once: to wait for the step before alone would not be enough.
    filtered = write_parts(run, "filter", [table(near_duplicates(3))])
    job = Job(BY_NAME["dedupe"], run, DedupeSettings(), {"filter": filtered})
    pipeline = beam.Pipeline(runner="FnApiRunner")
    _ = pipeline | "All" >> transform(job, plan(job).parts)
    waits_for = {}
    for one in pipeline.to_runner_api().components.transforms.values():
        steps, _, name = one.unique_name.rpartition("/")
        if name == "Work":
            waits_for[steps.rpartition("/")[2]] = len(one.inputs) - 1  # the first is what is done
    assert waits_for == {
        "Sign": 0,
        "Know": 1,
        "Rank": 2,
        "Divide0": 3,
        "Show": 4,
        "Compare": 5,
        "Conclude": 6,
        "Finish": 7,
    }
