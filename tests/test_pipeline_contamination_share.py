"""How much of evaluation tasks a run's corpus has, against sets of tuples of words as the oracle."""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.records import CORPUS
from pipeline.runs import Counts, Folder, PartWriter, read_manifest
from tests.document_parts import document, table, write_parts
from tests.synthetic_run import write_run
from webtext.contaminating import contamination_of

Items = Sequence[Sequence[str]]

# Few words, written in several ways, so that items and documents often have n-grams in common.
WORDS = st.sampled_from(["a", "b", "B,", "c", "“C”", "d.", "a b", "—"])
TEXTS = st.lists(WORDS, max_size=12).map(" ".join)
ITEMS = st.lists(st.lists(TEXTS, max_size=3), max_size=4)


def grams(text: str, n: int) -> list[tuple[str, ...]]:
    """The oracle's n-grams of plain English: words in lower case, of letters and digits alone."""
    words = re.sub(r"[^\w\s]", "", text.lower()).split()
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def expected(items: Items, corpus: Sequence[str], n: int) -> dict[str, Any]:
    """What is to be found of a task, by brute force."""
    known = {gram for text in corpus for gram in grams(text, n)}
    of_items = [[gram for text in item for gram in grams(text, n)] for item in items]
    told = [item for item in of_items if item]
    shares = [sum(gram in known for gram in item) / len(item) for item in told]
    own = {gram for item in of_items for gram in item}
    hit = [item for item in told if known & set(item)]
    return {
        "n": n,
        "num_items": len(items),
        "num_too_short": len(items) - len(told),
        "num_grams": len(own),
        "num_found": len(own & known),
        "num_items_hit": len(hit),
        "mean_item_share": pytest.approx(sum(shares) / len(shares)) if shares else None,
        "share": len(own & known) / len(own) if own else None,
        "share_of_items": len(hit) / len(told) if told else None,
    }


def write_corpus(path: Path, parts: Sequence[Sequence[str]]) -> Path:
    """A run of which there is the corpus alone."""
    tables = [
        table([document(f"{part}-{i}", text) for i, text in enumerate(texts)], CORPUS)
        for part, texts in enumerate(parts)
    ]
    write_parts(Folder(str(path)), "dedupe", tables)
    return path


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["one", "two"]), ITEMS),
    st.lists(st.lists(TEXTS, max_size=3), max_size=3),
    st.integers(1, 5),
)
def test_any_tasks_and_corpora_are_the_oracles(
    tasks: dict[str, list[list[str]]], parts: list[list[str]], n: int
) -> None:
    with tempfile.TemporaryDirectory() as path:
        found = contamination_of(write_corpus(Path(path), parts), tasks, n)
    corpus = [text for texts in parts for text in texts]
    assert list(found) == list(tasks)
    for name, items in tasks.items():
        assert found[name].to_json() == expected(items, corpus, n)


def test_by_hand(tmp_path: Path) -> None:
    """Of three, one and twice the same n-gram of 8 words; two items are too short to tell."""
    corpus = [["One two, three — four FIVE six\nseven\xa0eight nine!"], ["x " * 300 + "c d e f g h i j."]]
    run = write_corpus(tmp_path, corpus)
    items = [
        ["one two three four five six seven eight nine ten"],
        ["k l m n o p q r"],
        ["c d e f g h i j", "c d e f g h i J"],
        ["one two three four five six seven"],
        ["one two three four", "five six seven eight"],
    ]
    found = contamination_of(run, {"task": items})["task"]
    assert (found.num_items, found.num_too_short, found.num_items_hit) == (5, 2, 2)
    assert (found.num_grams, found.num_found, found.share) == (5, 3, 3 / 5)
    assert found.share_of_items == pytest.approx(2 / 3)
    assert found.mean_item_share == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert contamination_of(run, {"task": items}, 13)["task"].share is None


def test_grams_go_from_no_document_into_the_next(tmp_path: Path) -> None:
    run = write_corpus(tmp_path, [["a b", "c d"], ["e f"]])
    found = contamination_of(run, {"task": [["b c"], ["d e"], ["a b"]]}, 2)["task"]
    assert (found.num_grams, found.num_found) == (3, 1)


def test_planted_overlaps_of_a_finished_run(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    kept, other = (tmp_path / "corpus" / f"part-0000{i}.parquet" for i in range(2))
    corpus = [text for path in (kept, other) for text in pq.read_table(path)["text"].to_pylist()]
    planted = [" ".join(text.split()[3:40]) for text in (corpus[0], corpus[-1])]
    tasks = {"planted": [[text] for text in planted], "clean": [["no page has these words in a row at all"]]}
    report: list[tuple[int, int]] = []
    found = contamination_of(run.uri, tasks, on_progress=lambda *seen: report.append(seen))
    assert found["planted"].share == found["planted"].share_of_items == found["planted"].mean_item_share == 1
    assert found["clean"].share == found["clean"].mean_item_share == 0
    for name, items in tasks.items():
        assert found[name].to_json() == expected(items, corpus, 8)
    total = kept.stat().st_size + other.stat().st_size
    assert report == [(0, total), (kept.stat().st_size, total), (total, total)]


def test_parts_that_no_manifest_lists_are_not_read(tmp_path: Path) -> None:
    run = write_corpus(tmp_path, [["a b c"]])
    writer = PartWriter(Folder(str(run)) / "corpus", "part-00009", "left behind")
    writer.table("parquet", table([document("late", "d e f")], CORPUS))
    assert contamination_of(run, {"task": [["d e f"]]}, 2)["task"].num_found == 0


def test_a_corpus_and_tasks_of_nothing(tmp_path: Path) -> None:
    run = write_corpus(tmp_path, [[]])
    found = contamination_of(run, {"empty": [], "texts": [["a b c"]]}, 2)
    assert found["empty"].to_json() == expected([], [], 2)
    assert found["texts"].share == 0
    assert contamination_of(run, {}) == {}


def test_there_is_no_run_and_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing: there is no run here"):
        contamination_of(tmp_path / "nothing", {})
    write_run(tmp_path / "run", upto="filter")
    with pytest.raises(InputError, match=r"dedupe is not finished.*--until dedupe"):
        contamination_of(tmp_path / "run", {})


def test_damaged_parts_are_named(tmp_path: Path) -> None:
    run = write_corpus(tmp_path, [["a b c"], ["d e f"]])
    path = run / "corpus" / "part-00001.parquet"
    whole = path.read_bytes()

    path.write_bytes(whole[:-9])
    with pytest.raises(InputError, match=r"part-00001\.parquet has .* bytes, and .* by its manifest"):
        contamination_of(run, {})
    for at in (4, len(whole) // 2, len(whole) - 6):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        with pytest.raises(InputError, match=r"part-00001\.parquet cannot be read \(.*webtext verify"):
            contamination_of(run, {"task": [["a b c d"]]}, 2)
    path.unlink()
    with pytest.raises(InputError, match=r"part-00001\.parquet is missing"):
        contamination_of(run, {})


def test_a_file_that_is_no_table_of_documents_is_named(tmp_path: Path) -> None:
    """Though the manifest's checksum is the file's."""
    folder = Folder(str(tmp_path / "corpus"))
    write_corpus(tmp_path, [["a b c"]])
    for data in (b"no table", None):
        writer = PartWriter(folder, "part-00000", "by hand")
        if data is None:
            writer.table("parquet", table([document("a", "b")], CORPUS).drop_columns(["text"]))
        else:
            with writer.open("parquet") as sink:
                sink.write(data)
        relist(folder, writer)
        with pytest.raises(InputError, match=r"part-00000\.parquet cannot be read"):
            contamination_of(tmp_path, {"task": [["a b"]]}, 2)


def relist(folder: Folder, writer: PartWriter) -> None:
    """Makes a part that was written anew the only one of the manifest."""
    manifest = read_manifest(folder)
    assert manifest is not None
    part = writer.commit(Counts(1, 1), seconds=0)
    folder.write("manifest.json", replace(manifest, parts=(part,)).encode())


@pytest.mark.parametrize("n", [0, 128])
def test_ns_that_cannot_be(tmp_path: Path, n: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 127"):
        contamination_of(write_corpus(tmp_path, [["a"]]), {}, n)
