"""Clusters: their list against a recount, their pages, and two texts' differences."""

import difflib
import random
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inspector.catalogue.catalogue import Catalogue
from pipeline.inspector.document.clusters import (
    CLUSTERS_A_PAGE,
    ORDERS,
    Order,
    cluster_of,
    count_clusters,
    list_clusters,
    read_members,
)
from pipeline.inspector.document.differences import MOST_CHARACTERS, Piece, compare
from pipeline.records import CLUSTERS
from pipeline.runs import Folder
from tests.inspected import ask, inspecting
from tests.synthetic_run import write_run

# ---- differences


def words(pieces: tuple[Piece, ...], *, is_marked: bool) -> list[str]:
    return [word for piece in pieces if piece.is_marked == is_marked for word in piece.text.split()]


def text_of(pieces: tuple[Piece, ...]) -> str:
    return "".join(piece.text for piece in pieces)


TEXTS = st.lists(
    st.lists(st.sampled_from(["one", "two", "three", "a\tb", "", "über"]), max_size=6).map(" ".join),
    max_size=8,
).map("\n".join)


@given(TEXTS, TEXTS)
def test_differences_leave_what_both_have(left: str, right: str) -> None:
    """Put together again, the rows are the texts; without what is marked, both are the same words."""
    compared = compare(left, right)
    assert "".join(text_of(row.left) for row in compared.rows) == left
    ours = [word for row in compared.rows for word in words(row.left, is_marked=False)]
    theirs = [
        word
        for row in compared.rows
        for word in words(row.left if row.is_same else row.right, is_marked=False)
    ]
    assert ours == theirs
    others = [text_of(row.left if row.is_same else row.right).split() for row in compared.rows]
    assert [word for row in others for word in row] == right.split()
    assert compared.num_shared == len(ours)
    assert compared.num_left == len(left.split()) - len(ours)
    assert compared.num_right == len(right.split()) - len(ours)
    assert not compared.is_cut
    assert not any(piece.text.isspace() for row in compared.rows for piece in row.left if piece.is_marked)


@given(TEXTS, st.integers(0, 40), st.text("xyz", min_size=1, max_size=5))
def test_a_word_put_in_is_all_that_differs(text: str, at: int, word: str) -> None:
    pieces = text.split(" ")
    compared = compare(text, " ".join([*pieces[:at], word, *pieces[at:]]))
    assert (compared.num_left, compared.num_right) in {(0, 1), (1, 1)}  # in the middle of what has no space
    assert compare(text, text).num_right == 0


def test_differences_are_about_as_few_as_difflib_finds() -> None:
    some = random.Random(5)
    vocabulary = [f"word{n}" for n in range(400)]
    left = " ".join(some.choices(vocabulary, k=1500))
    right = " ".join(word if some.random() < 0.9 else "other" for word in left.split())
    matcher = difflib.SequenceMatcher(None, left.split(), right.split(), autojunk=False)
    expected = sum(block.size for block in matcher.get_matching_blocks())
    assert compare(left, right).num_shared > 0.98 * expected


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("a b\n" * 60_000, "b a\n\n" * 60_000),
        (" ".join(str(n % 300) for n in range(60_000)), " ".join(str(n * n % 301) for n in range(60_000))),
        ("x" * 10_000_000, "x" * 9_999_999 + "y"),
        ("", "y " * 200_000),
    ],
    ids=["lines", "words", "letters", "nothing"],
)
def test_monsters_are_compared_in_part(left: str, right: str) -> None:
    compared = compare(left, right)
    assert compared.is_cut
    assert sum(len(text_of(row.left)) for row in compared.rows) <= MOST_CHARACTERS


# ---- clusters


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A run with clusters of two: an exact copy in one, nearly the same in another."""
    return write_run(tmp_path_factory.mktemp("run") / "run", 240, "dedupe")


@pytest.fixture(scope="module")
def rows(made: Folder) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(made.path("corpus/clusters.parquet")).to_pylist()
    return found


@pytest.fixture(scope="module")
def address(made: Folder) -> Iterator[str]:
    with inspecting(made) as found:
        yield found


def with_clusters(made: Folder, path: Path, rows: list[dict[str, Any]]) -> Folder:
    shutil.copytree(made.path(), path, ignore=shutil.ignore_patterns("inspect"))
    pq.write_table(pa.Table.from_pylist(rows, CLUSTERS), path / "corpus/clusters.parquet")
    return Folder(str(path))


def many(num: int) -> list[dict[str, Any]]:
    """Clusters of all sizes, some with members in another run."""
    some = random.Random(3)
    made = []
    for n in range(num):
        ids = [f"{some.getrandbits(128):032x}" for _ in range(2 + min(n, some.randrange(1, 40)))]
        for at, one in enumerate(ids):
            similarity = 1.0 if at == 0 else some.randrange(70, 100) / 100
            made.append(
                {"cluster": min(ids), "id": one, "url": f"https://site{n}.example/{one}", "survivor": ids[0]}
                | {"run": "before" if n % 9 == 0 else None, "similarity": similarity, "estimate": similarity}
                | {"kept": at == 0}
            )
    return made


def test_the_list_is_all_clusters_in_order(made: Folder, tmp_path: Path) -> None:
    rows = many(130)
    clusters = defaultdict(list)
    for row in pa.Table.from_pylist(rows, CLUSTERS).to_pylist():  # similarities are of single precision
        clusters[row["cluster"]].append(row)
    keys: Mapping[Order, Callable[[list[dict[str, Any]]], float]] = {
        "documents": lambda own: -len(own),
        "removed": lambda own: -sum(not row["kept"] for row in own),
        "least": lambda own: min(row["similarity"] for row in own if not row["kept"]),
        "most": lambda own: -max(row["similarity"] for row in own if not row["kept"]),
    }
    assert set(keys) == set(ORDERS)
    with Catalogue(with_clusters(made, tmp_path / "run", rows)) as catalogue:
        assert count_clusters(catalogue) == len(clusters) == 130
        for order in ORDERS:
            listed = [one for page in range(3) for one in list_clusters(catalogue, order, page)]
            assert len(listed) == 130
            assert len(list_clusters(catalogue, order, 0)) == CLUSTERS_A_PAGE
            expected = sorted(clusters, key=lambda name: (keys[order](clusters[name]), name))
            assert [one.id for one in listed] == expected
        for one in listed:
            own = clusters[one.id]
            gone = [row["similarity"] for row in own if not row["kept"]]
            assert (one.documents, one.removed) == (len(own), len(gone))
            assert (one.least, one.most) == (min(gone), max(gone))
            assert {one.survivor} == {row["survivor"] for row in own}
            assert one.run == own[0]["run"]
        members = read_members(catalogue, listed[0].id)
        assert {member.id for member in members} == {row["id"] for row in clusters[listed[0].id]}
        assert [member.kept for member in members] == sorted(
            (member.kept for member in members), reverse=True
        )
        assert cluster_of(catalogue, members[-1].id) == listed[0].id
        assert cluster_of(catalogue, "0" * 32) is None


def test_a_cluster_shows_both_texts(made: Folder, rows: list[dict[str, Any]], address: str) -> None:
    """The removed one's too, which only the stage before has."""
    texts = {
        row["id"]: row["text"]
        for path in Path(made.path("filtered")).glob("part-0000?.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    removed = [row for row in rows if not row["kept"]]
    assert len(removed) > 8
    for row in removed[:6]:
        text = re.sub("</?mark>", "", ask(f"{address}/clusters/{row['cluster']}").text)
        kept, gone = texts[row["survivor"]], texts[row["id"]]
        assert f"/documents/{row['survivor']}" in text
        assert kept.rpartition("—")[2] in text
        assert gone.rpartition("—")[2] in text
        expected = compare(kept, gone)
        assert f"{expected.num_shared:,} words in both" in text
        assert f"{row['similarity']:.3f}" in text


def test_pages_of_clusters(rows: list[dict[str, Any]], address: str) -> None:
    listed = ask(f"{address}/clusters").text
    names = {row["cluster"] for row in rows}
    assert set(re.findall(r"/clusters/([0-9a-f]{32})", listed)) == names
    assert ask(f"{address}/clusters?order=least&page=99").status == 200
    assert ask(f"{address}/clusters?order=nonsense&page=-1").status == 200
    assert ask(f"{address}/clusters/{'0' * 32}").status == 404
    row = next(one for one in rows if not one["kept"])
    assert ask(f"{address}/clusters/{row['cluster']}?with=nothing&page=7").status == 200
    assert f"/clusters/{row['cluster']}" in ask(f"{address}/documents/{row['id']}").text


def test_a_survivor_in_another_run_is_named(made: Folder, tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    changed = [{**row, "run": "last-year"} for row in rows if row["cluster"] == rows[0]["cluster"]]
    with inspecting(with_clusters(made, tmp_path / "run", changed)) as address:
        answer = ask(f"{address}/clusters/{rows[0]['cluster']}")
    assert answer.status == 200
    assert "in the run last-year, not in this one" in answer.text


def test_arrows_lead_through_those_removed(made: Folder, tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """In a cluster of more than a page."""
    head = next(row for row in rows if row["kept"])
    others = [row for row in many(6) if not row["kept"]] * 4
    cluster = [head] + [
        {**row, "id": f"{n:032x}", "cluster": head["cluster"], "survivor": head["id"], "run": None}
        for n, row in enumerate(others)
    ]
    cluster = cluster[:1] + (cluster[1:] * 20)[:230]
    cluster = [{**row, "id": row["id"] if row is head else f"{n:032x}"} for n, row in enumerate(cluster)]
    with inspecting(with_clusters(made, tmp_path / "run", cluster)) as address:
        seen, there = [], f"/clusters/{head['cluster']}"
        for _ in range(5):
            text = ask(address + there).text
            seen.append(text)
            found = re.search(r'id="after" href="([^"]+)#compared"', text)
            assert found is not None
            there = found[1]
        middle = ask(f"{address}/clusters/{head['cluster']}?with={cluster[150]['id']}").text
        second = ask(f"{address}/clusters/{head['cluster']}?page=3").text
    assert len(set(seen)) == 5
    assert 'id="before"' not in seen[0]
    assert 'id="before"' in seen[1]
    assert "231 documents" in seen[0]
    assert 'aria-current="true"' in middle
    assert second.count("data-row") == 31
    assert "webtext verify" in middle  # of these ids there are no texts


@pytest.mark.parametrize("upto", ["link", "filter"])
def test_before_dedupe_there_are_none(tmp_path: Path, upto: str) -> None:
    with inspecting(write_run(tmp_path / "run", 20, upto)) as address:
        assert "they come with dedupe" in ask(f"{address}/clusters").text
        assert ask(f"{address}/clusters/{'0' * 32}").status == 404


def test_a_run_without_duplicates_says_so(made: Folder, tmp_path: Path) -> None:
    with inspecting(with_clusters(made, tmp_path / "run", [])) as address:
        assert "No document was like another" in ask(f"{address}/clusters").text
