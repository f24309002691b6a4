"""Clusters of near-duplicates: counted by size, and every contradiction between dedupe's tables found."""

import contextlib
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import DedupeSettings
from pipeline.dedupe.figures import NUM_LARGEST, SIZES, ClusterFigures, cluster_figures
from pipeline.records import CLUSTERS
from pipeline.recount_clusters import recount_clusters
from pipeline.runs import Counts, Folder, Manifest, read_manifest
from pipeline.stages import BY_NAME, Job, execute
from tests.document_parts import document, table, write_parts

Rows = list[dict[str, Any]]


def _row(cluster: str, name: str, survivor: str | None = None, run: str | None = None) -> dict[str, Any]:
    return {
        "cluster": cluster,
        "id": name,
        "url": f"https://example.com/{name}",
        "survivor": survivor or name,
        "run": run,
        "similarity": 1.0,
        "estimate": 1.0,
        "kept": survivor is None,
    }


def _figures(rows: Rows) -> ClusterFigures:
    return cluster_figures(pa.Table.from_pylist(rows, CLUSTERS))


@given(st.lists(st.sampled_from([2, 3, 4, 5, 9, 10, 99, 100, 150]), max_size=25), st.randoms())
def test_sizes_and_the_largest_are_those_of_a_plain_count(sizes: list[int], rng: random.Random) -> None:
    rows = []
    for number, size in enumerate(sizes):
        names = [f"{number:03d}-{i:03d}" for i in range(size)]
        rows += [_row(names[0], name, None if name == names[0] else names[0]) for name in names]
    rng.shuffle(rows)
    figures = _figures(rows)
    by_class = Counter([name for name, least in SIZES.items() if size >= least][-1] for size in sizes)
    assert list(figures.sizes.items()) == [(name, by_class[name]) for name in SIZES]
    expected = sorted(((-size, f"{number:03d}-000") for number, size in enumerate(sizes)))[:NUM_LARGEST]
    assert [(-one.num_documents, one.name) for one in figures.largest] == expected
    for one in figures.largest:
        assert (one.num_removed, one.survivor) == (one.num_documents - 1, one.name)
        assert one.url == f"https://example.com/{one.name}"
    assert ClusterFigures.from_facts(json.loads(json.dumps(figures.facts()))) == replace(
        figures, largest=tuple(figures.largest)
    )


def test_the_survivor_that_is_named_is_that_of_most() -> None:
    rows = [_row("a", "a"), _row("a", "b"), _row("a", "c", "b"), _row("a", "d", "b"), _row("a", "e", "a")]
    (one,) = _figures(rows).largest
    assert (one.num_documents, one.num_removed, one.survivor) == (5, 3, "b")


def test_what_another_run_has_counts_once() -> None:
    rows = [_row("a", "a", "x", "may"), _row("a", "b", "x", "may"), _row("c", "c", "x", "june")]
    figures = _figures(rows)
    assert figures.sizes == {**dict.fromkeys(SIZES, 0), "2": 1, "3": 1}
    assert [(one.name, one.num_documents, one.num_removed, one.url) for one in figures.largest] == [
        ("a", 3, 2, ""),
        ("c", 2, 1, ""),
    ]


def test_facts_that_say_nothing_of_clusters() -> None:
    assert ClusterFigures.from_facts({"documents": 3}) is None


# --- dedupe's tables against each other -------------------------------------------------------------------

NAMES = [f"{i:032x}" for i in range(60)]


def _texts() -> dict[str, str]:
    """Forty pages of their own, fifteen copies of the first, and chains of A ~ B ~ C with A unlike C."""
    rng = random.Random(3)
    pages = [[f"w{rng.randrange(3_000)}" for _ in range(150)] for _ in range(42)]
    for near in range(15):
        pages.append(
            [*pages[near][:140], *(f"new{near}x{i}" for i in range(10))] if near > 5 else pages[near]
        )
    step = [*pages[40][:10], *(f"a{i}" for i in range(18)), *pages[40][28:]]
    pages += [step, [*step[:100], *(f"b{i}" for i in range(18)), *step[118:]], pages[41]]
    return dict(zip(NAMES, map(" ".join, pages), strict=True))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A run that was deduplicated against another, and has copies, near-duplicates and a chain."""

    def dedupe(run: Folder, names: list[str], **settings: Any) -> None:
        rows = [
            document(name, texts[name], url=f"https://site{i % 9}.example/{i}", karma=i * 7 % 60)
            for i, name in enumerate(names)
        ]
        size = -(-len(rows) // 2)
        filtered = write_parts(run, "filter", [table(rows[i : i + size]) for i in range(0, len(rows), size)])
        chosen = DedupeSettings.model_validate({"verify": "exact", "bands": 32, "rows": 4, **settings})
        job = Job(BY_NAME["dedupe"], run, chosen, {"filter": filtered})
        execute(job, beam_options=[], watch=lambda *_: contextlib.nullcontext())

    texts = _texts()
    folder = tmp_path_factory.mktemp("runs")
    other, run = Folder(str(folder / "may first")), Folder(str(folder / "june"))
    dedupe(other, NAMES[:3] + NAMES[8:10])
    dedupe(run, NAMES, against=(other.uri,), max_removed=1.0)
    return run


@pytest.fixture
def run(whole: Folder, tmp_path: Path) -> Folder:
    """A copy, to be damaged."""
    shutil.copytree(Path(whole.path()), tmp_path / "run")
    return Folder(str(tmp_path / "run"))


def _manifest(run: Folder) -> Manifest:
    manifest = read_manifest(run / "corpus")
    assert manifest is not None
    return manifest


def _found(run: Folder, *gone: str) -> list[tuple[str, str]]:
    ids = pa.array(gone, pa.string())
    return list(recount_clusters(run / "corpus", _manifest(run), ids))


def _change(run: Folder, name: str, change: Callable[[Rows], Any]) -> None:
    """Other rows in place of a table's."""
    whole = (run / "corpus").read_table(name)
    rows = whole.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, whole.schema), run.path(f"corpus/{name}"))


def test_whole_tables_have_nothing_wrong_and_hold_every_kind(run: Folder) -> None:
    assert _found(run) == []
    clusters = (run / "corpus").read_table("clusters.parquet").to_pylist()
    removed = [row for row in clusters if not row["kept"]]
    assert {row["run"] for row in removed} == {None, "may first"}
    assert {row["similarity"] == 1 for row in removed} == {True, False}
    kept = Counter(row["cluster"] for row in clusters if row["kept"])
    assert 2 in kept.values()  # both ends of the chain
    rejected = (run / "corpus").read_table("part-00000.rejected.parquet").to_pylist()
    assert any(row["value"].endswith(" may first") for row in rejected)


CLUSTERS_TABLE = "clusters.parquet"


def _first(rows: Rows, **values: Any) -> dict[str, Any]:
    return next(row for row in rows if all(row[name] == value for name, value in values.items()))


def _unlike(rows: Rows) -> dict[str, Any]:
    return next(row for row in rows if row["reason"] == "near_duplicate")


def _pair(rows: Rows) -> dict[str, Any]:
    """One that is kept in a cluster with another one that is."""
    kept = Counter(row["cluster"] for row in rows)
    return next(row for row in rows if kept[row["cluster"]] > 1)


def _drop(row: dict[str, Any], rows: Rows) -> None:
    rows.remove(row)


def _value(row: dict[str, Any], place: int, word: str) -> None:
    words = row["value"].split(" ")
    words[place : place + 1] = [word]
    row["value"] = " ".join(words)


@pytest.mark.parametrize(
    ("name", "change", "where", "what"),
    [
        (
            CLUSTERS_TABLE,
            lambda rows: _drop(_first(rows, kept=False), rows),
            "rejected.parquet",
            "1 documents are not in clusters.parquet, as ",
        ),
        (
            CLUSTERS_TABLE,
            lambda rows: _first(rows, kept=False, run=None).update(survivor="e" * 32),
            "rejected.parquet",
            "have another survivor in clusters.parquet",
        ),
        (
            CLUSTERS_TABLE,
            lambda rows: _first(rows, run="may first").update(run="april"),
            "rejected.parquet",
            "have another survivor in clusters.parquet",
        ),
        (
            CLUSTERS_TABLE,
            lambda rows: _first(rows, run="may first").update(run=None),
            CLUSTERS_TABLE,
            "have a survivor that was not kept",
        ),
        (
            CLUSTERS_TABLE,
            lambda rows: _first(rows, kept=False).update(similarity=0.9),
            "rejected.parquet",
            "have another similarity in clusters.parquet",
        ),
        (
            CLUSTERS_TABLE,
            lambda rows: _first(rows, kept=False).update(kept=True),
            "rejected.parquet",
            "stand as kept in clusters.parquet",
        ),
        (
            CLUSTERS_TABLE,
            lambda rows: _first(rows, kept=False).update(kept=True),
            CLUSTERS_TABLE,
            "are kept, but not in the corpus",
        ),
        (
            CLUSTERS_TABLE,
            lambda rows: _first(rows, kept=True).update(kept=False),
            CLUSTERS_TABLE,
            "are removed, but not among the rejected",
        ),
        (
            CLUSTERS_TABLE,
            lambda rows: _first(rows, kept=True).update(kept=False),
            "part-0000",
            "stand as removed in clusters.parquet",
        ),
        (
            CLUSTERS_TABLE,
            lambda rows: _first(rows, kept=True).update(survivor="e" * 32),
            CLUSTERS_TABLE,
            "are kept for another, or removed for themselves",
        ),
        (
            CLUSTERS_TABLE,
            lambda rows: _first(rows, kept=False, run=None).update(cluster="0" * 31 + "f"),
            CLUSTERS_TABLE,
            "are in another cluster than their survivor",
        ),
        (
            CLUSTERS_TABLE,
            lambda rows: rows.append(dict(rows[0])),
            CLUSTERS_TABLE,
            "rows are of only",
        ),
        (
            CLUSTERS_TABLE,
            lambda rows: [row.update(cluster="f" * 32) for row in rows if row["cluster"] == NAMES[40]],
            CLUSTERS_TABLE,
            "3 documents are in a cluster that is not named after its smallest id",
        ),
        (
            CLUSTERS_TABLE,
            lambda rows: _first(rows, kept=True).update(url="https://elsewhere.example/"),
            "manifest.json",
            "its largest_clusters is not that of clusters.parquet",
        ),
        (
            CLUSTERS_TABLE,
            lambda rows: _drop(_first(rows, cluster=NAMES[40], kept=False), rows),
            "manifest.json",
            "its cluster_sizes is not that of clusters.parquet",
        ),
        (
            "part-00001.rejected.parquet",
            lambda rows: _value(rows[0], 0, "e" * 32),
            "part-00001.rejected.parquet",
            "have another survivor in clusters.parquet",
        ),
        (
            "part-00001.rejected.parquet",
            lambda rows: _value(rows[0], 1, "0.123"),
            "part-00001.rejected.parquet",
            "have another similarity in clusters.parquet",
        ),
        (
            "part-00001.rejected.parquet",
            lambda rows: rows[0].update(value="nonsense"),
            "part-00001.rejected.parquet",
            "1 documents have a value that is not SURVIVOR SIMILARITY [RUN], as ",
        ),
        (
            "part-00001.rejected.parquet",
            lambda rows: _unlike(rows).update(reason="exact_duplicate"),
            "part-00001.rejected.parquet",
            "are exact duplicates with a similarity that is not 1",
        ),
        (
            "part-00000.parquet",
            lambda rows: _drop(_first(rows, id=NAMES[5]), rows),
            CLUSTERS_TABLE,
            "have a survivor that was not kept",
        ),
        (
            "part-00000.parquet",
            lambda rows: rows.append(dict(rows[0])),
            "manifest.json",
            "documents in the corpus have only",
        ),
        (
            "part-00000.parquet",
            lambda rows: _first(rows, id=NAMES[20]).update(cluster="0" * 32),
            "part-00000.parquet",
            f"1 documents name another's cluster, and are not in clusters.parquet, as {NAMES[20]}",
        ),
        (
            "part-00001.parquet",
            lambda rows: _pair(rows).update(cluster="0" * 32),
            "part-00001.parquet",
            "are in another cluster in clusters.parquet",
        ),
        (
            "part-00001.parquet",
            lambda rows: _pair(rows).update(cluster_domain="other.example"),
            "part-00001.parquet",
            "1 documents have another cluster_domain than others of their cluster",
        ),
        (
            "part-00001.parquet",
            lambda rows: _pair(rows).update(cluster_created=None),
            "part-00001.parquet",
            "are older than their cluster_created",
        ),
        (
            "part-00000.parquet",
            lambda rows: rows[0].update(cluster_created=datetime(2031, 1, 1, tzinfo=UTC)),
            "part-00000.parquet",
            "are older than their cluster_created",
        ),
    ],
)
def test_each_contradiction_is_found_and_names_file_and_document(
    run: Folder, name: str, change: Callable[[Rows], Any], where: str, what: str
) -> None:
    _change(run, name, change)
    found = _found(run)
    assert any(where in file and what in told for file, told in found), found


def test_a_document_that_was_kept_and_removed_is_found(run: Folder) -> None:
    alone = NAMES[20]
    rejected = {"id": alone, "url": "https://example.com/", "reason": "near_duplicate", "value": "x"}
    _change(run, "part-00001.rejected.parquet", lambda rows: rows.append(rejected))
    assert ("part-00000.parquet", f"1 documents were removed as well, as {alone}") in _found(run)


def test_a_removal_under_the_threshold_is_found(run: Folder) -> None:
    rejected = (run / "corpus").read_table("part-00001.rejected.parquet").to_pylist()
    lost = _unlike(rejected)
    low = f"{lost['value'].split(' ')[0]} 0.690"
    _change(run, "part-00001.rejected.parquet", lambda rows: _first(rows, id=lost["id"]).update(value=low))
    _change(run, CLUSTERS_TABLE, lambda rows: _first(rows, id=lost["id"]).update(similarity=0.69))
    what = f"1 documents were removed with a similarity under 0.7, as {lost['id']}"
    assert _found(run) == [("part-00001.rejected.parquet", what)]


def _without(name: str) -> Callable[[Rows], Any]:
    return lambda rows: _drop(_first(rows, id=name), rows)


def _in_tables(run: Folder, *gone: str) -> list[tuple[str, str]]:
    """What is found in the tables: the facts are as they were."""
    return [one for one in _found(run, *gone) if one[0] != "manifest.json"]


def test_a_survivor_that_was_taken_out_may_be_missing(run: Folder) -> None:
    clusters = (run / "corpus").read_table("clusters.parquet").to_pylist()
    sizes = Counter(row["cluster"] for row in clusters)
    pairs = [row for row in clusters if sizes[row["cluster"]] == 2]
    lost = _first(pairs, kept=False, run=None)
    survivor = lost["survivor"]
    for index in range(2):
        names = (run / "corpus").read_table(f"part-0000{index}.parquet")["id"].to_pylist()
        if survivor in names:
            _change(run, f"part-0000{index}.parquet", _without(survivor))
    _change(run, CLUSTERS_TABLE, _without(survivor))
    assert any("have a survivor that was not kept" in what for _, what in _found(run))
    assert _in_tables(run, survivor) == []
    # Alone, it is in no cluster.
    _change(run, CLUSTERS_TABLE, _without(lost["id"]))
    assert any("are not in clusters.parquet" in what for _, what in _found(run))
    assert _in_tables(run, survivor) == []


def test_a_cluster_may_have_the_name_of_what_was_taken_out(run: Folder) -> None:
    end, middle, other = NAMES[40], NAMES[57], NAMES[58]
    _change(run, "part-00001.parquet", _without(end))
    _change(run, "part-00001.rejected.parquet", _without(middle))
    _change(run, CLUSTERS_TABLE, _without(end))
    _change(run, CLUSTERS_TABLE, _without(middle))
    assert any("not named after its smallest id" in what for _, what in _found(run))
    assert _in_tables(run, end, middle) == []
    _change(run, CLUSTERS_TABLE, _without(other))
    assert any("name another's cluster" in what for _, what in _found(run))
    assert _in_tables(run, end, middle) == []


def test_a_corpus_without_parts_has_nothing_wrong(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "corpus"))
    manifest = Manifest("dedupe", "0", "", {"threshold": 0.7}, {}, Counts(0, 0), (), {})
    assert list(recount_clusters(folder, manifest, pa.array([], pa.string()))) == []
