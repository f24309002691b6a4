"""A new month against corpora that are finished, and against what was taken out on request."""

import contextlib
import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import DedupeSettings
from pipeline.dedupe.signatures import sign_table
from pipeline.errors import InputError
from pipeline.remove.tombstones import REMOVED, TOMBSTONES, encode_told
from pipeline.runs import MANIFEST, Folder, Manifest
from pipeline.stages import BY_NAME, Job, execute
from tests.document_parts import EARLY, LATE, document, table, write_parts
from tests.resealed import resealed

Rows = list[dict[str, Any]]


def dedupe(run: Folder, parts: Sequence[Rows], **values: Any) -> Manifest:
    filtered = write_parts(run, "filter", [table(part) for part in parts])
    job = Job(BY_NAME["dedupe"], run, DedupeSettings.model_validate(values), {"filter": filtered})
    return execute(job, beam_options=[], watch=lambda *_: contextlib.nullcontext())


def read(run: Folder, manifest: Manifest, kind: str = "parquet") -> Rows:
    names = [f"{part.name}.{kind}" for part in manifest.counted()]
    return [row for name in names for row in (run / "corpus").read_table(name).to_pylist()]


def words(seed: int, num: int = 200) -> list[str]:
    generator = random.Random(seed)
    return [f"w{generator.randrange(2000)}" for _ in range(num)]


def text(seed: int, *, changes: int = 0) -> str:
    own = words(seed)
    for place in range(7, 7 + 40 * changes, 40):
        own[place] = "changed"
    return " ".join(own)


@pytest.fixture
def june(tmp_path: Path) -> Folder:
    """A finished corpus of five documents; one more was removed from it as a duplicate."""
    run = Folder(str(tmp_path / "june"))
    rows = [
        document(f"{i:032x}", text(i), karma=3, created=EARLY, final_url=f"https://june{i}.example/")
        for i in range(5)
    ]
    dedupe(run, [rows[:3], [*rows[3:], document("f" * 32, text(0, changes=1), karma=2)]])
    return run


def test_a_new_month_says_nothing_again(june: Folder, tmp_path: Path) -> None:
    july = Folder(str(tmp_path / "july"))
    rows = [
        document("a" * 32, text(1).upper(), karma=99),  # however good it is
        document("b" * 32, text(2, changes=1), karma=99),
        document("c" * 32, text(7), karma=9),
        document("d" * 32, text(7, changes=1), karma=8),
        document(f"{4:032x}", text(4), karma=9),  # the same link, posted again
    ]
    manifest = dedupe(july, [rows[:2], rows[2:]], against=[june.uri])
    assert manifest.counts.to_json() == {
        "in": 5,
        "kept": 1,
        "rejected": {"exact_duplicate": 2, "near_duplicate": 2},
    }
    (kept,) = read(july, manifest)
    assert kept["id"] == "c" * 32
    rejected = {row["id"][0]: row for row in read(july, manifest, "rejected.parquet")}
    assert rejected["a"]["value"] == f"{1:032x} 1.000 june"
    assert rejected["b"]["value"].split()[::2] == [f"{2:032x}", "june"]
    assert rejected["0"]["value"] == f"{4:032x} 1.000 june"
    assert rejected["d"]["value"].split()[0] == "c" * 32
    clusters = {row["id"][0]: row for row in (july / "corpus").read_table("clusters.parquet").to_pylist()}
    assert {name: (row["run"], row["cluster"][-1]) for name, row in clusters.items()} == {
        "a": ("june", "1"),
        "b": ("june", "2"),
        "c": (None, "c"),
        "d": (None, "c"),
        "0": ("june", "4"),
    }
    assert manifest.inputs["corpus june 1"]


def test_texts_of_finished_corpora_are_not_read(june: Folder, tmp_path: Path) -> None:
    corpus = Path((june / "corpus").path())

    def without_texts(manifest: dict[str, Any]) -> None:
        for part in (one for one in manifest["parts"] if one["name"] in ("part-00000", "part-00001")):
            path = corpus / f"{part['name']}.parquet"
            pq.write_table(pq.read_table(path).drop_columns(["text", "title", "url"]), path)
            path.with_suffix(".json").unlink()
            (file,) = (one for one in part["files"] if one["name"] == path.name)
            file.update(bytes=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest())

    path = corpus / MANIFEST
    path.write_bytes(resealed(path.read_bytes(), without_texts))
    for name in (june / "filtered").sizes():
        Path((june / "filtered").path(name)).unlink()
    july = Folder(str(tmp_path / "july"))
    rows = [document("a" * 32, text(1, changes=1)), document("b" * 32, text(9))]
    for verify in ("estimate", "exact"):
        manifest = dedupe(july, [rows], against=[june.uri], verify=verify)
        assert manifest.counts.rejected == {"near_duplicate": 1}


def test_what_a_corpus_has_removed_itself_counts_for_nothing(june: Folder, tmp_path: Path) -> None:
    # Of june's cluster the survivor alone is known: of a document that is like its copy and unlike itself.
    other = words(0)
    for place in range(7, 47, 40):
        other[place] = "changed"
    other[100:140] = [f"other{i}" for i in range(40)]
    july = Folder(str(tmp_path / "july"))
    manifest = dedupe(july, [[document("a" * 32, " ".join(other))]], against=[june.uri])
    assert manifest.counts.kept == 1


def test_several_corpora_and_the_first_that_has_it(june: Folder, tmp_path: Path) -> None:
    july, august = Folder(str(tmp_path / "july")), Folder(str(tmp_path / "august"))
    dedupe(july, [[document("a" * 32, text(1)), document("b" * 32, text(8))]])
    rows = [document("c" * 32, text(1)), document("d" * 32, text(8, changes=1)), document("e" * 32, text(9))]
    manifest = dedupe(august, [rows], against=[june.uri, july.uri])
    rejected = {row["id"][0]: row["value"].split() for row in read(august, manifest, "rejected.parquet")}
    assert rejected["c"] == [f"{1:032x}", "1.000", "june"]
    assert rejected["d"][::2] == ["b" * 32, "july"]
    manifest = dedupe(august, [rows], against=[july.uri, june.uri])
    rejected = {row["id"][0]: row["value"].split() for row in read(august, manifest, "rejected.parquet")}
    assert rejected["c"] == ["a" * 32, "1.000", "july"]


def test_a_chain_into_a_known_corpus_stays_on_its_side_of_the_split(tmp_path: Path) -> None:
    long = words(50, 460)
    first, middle, last = (" ".join(long[start : start + 300]) for start in (0, 36, 72))
    june, july = Folder(str(tmp_path / "june")), Folder(str(tmp_path / "july"))
    dedupe(june, [[document("e" * 32, first, final_url="https://a.example/", created=EARLY)]])
    rows = [document("a" * 32, middle, karma=5, created=LATE), document("b" * 32, last, created=LATE)]
    manifest = dedupe(july, [rows], against=[june.uri])
    (kept,) = read(july, manifest)
    assert kept["id"] == "b" * 32
    assert kept["cluster"] == "e" * 32
    assert kept["cluster_domain"] == "a.example"
    assert kept["cluster_created"] == EARLY


def test_a_corpus_that_changes_makes_the_run_anew(june: Folder, tmp_path: Path) -> None:
    july = Folder(str(tmp_path / "july"))
    rows = [document("a" * 32, text(1)), document("b" * 32, text(20))]
    first = dedupe(july, [rows], against=[june.uri])
    signed = Path((july / "corpus").path("signatures-00000.parquet"))
    written = signed.stat().st_mtime_ns
    assert dedupe(july, [rows], against=[june.uri]).fingerprint == first.fingerprint
    dedupe(june, [[document("1" * 32, text(20))]])
    second = dedupe(july, [rows], against=[june.uri])
    assert [row["id"] for row in read(july, second)] == ["a" * 32]
    assert signed.stat().st_mtime_ns == written


def test_corpora_that_cannot_be_compared_are_refused(june: Folder, tmp_path: Path) -> None:
    july = Folder(str(tmp_path / "july"))
    rows = [document("a" * 32, text(1))]
    with pytest.raises(InputError, match=r"signatures of .*june were made with ngram = 5, num_perm = 128"):
        dedupe(july, [rows], against=[june.uri], ngram=4, num_perm=64)
    with pytest.raises(InputError, match="names the run itself"):
        dedupe(june, [rows], against=[june.uri])
    with pytest.raises(InputError, match=r"nowhere has no finished corpus .*Build it first, or take it out"):
        dedupe(july, [rows], against=[str(tmp_path / "nowhere")])
    (tmp_path / "june").rename(tmp_path / REMOVED)
    with pytest.raises(InputError, match="no run can be called 'removed'"):
        dedupe(july, [rows], against=[str(tmp_path / REMOVED)])


def test_what_was_taken_out_does_not_come_back_under_another_address(tmp_path: Path) -> None:
    run = Folder(str(tmp_path / "run"))
    gone = sign_table(table([document("0" * 32, text(1)), document("1" * 32, text(2))]), DedupeSettings())
    _bury(run, gone, near_duplicates=[True, False])
    rows = [
        document("a" * 32, text(1).upper()),
        document("b" * 32, text(1, changes=1)),
        document("c" * 32, text(2).upper()),
        document("d" * 32, text(2, changes=1)),  # the second was taken out without its near-duplicates
    ]
    manifest = dedupe(run, [rows])
    assert manifest.counts.rejected == {"opt_out": 3}
    assert [row["id"][0] for row in read(run, manifest)] == ["d"]
    values = [row["value"].split() for row in read(run, manifest, "rejected.parquet")]
    assert [(one[0][0], one[2]) for one in values] == [("0", REMOVED), ("0", REMOVED), ("1", REMOVED)]


def test_what_was_taken_out_of_a_finished_corpus_does_not_come_back_either(
    june: Folder, tmp_path: Path
) -> None:
    july = Folder(str(tmp_path / "july"))
    gone = sign_table(table([document("9" * 32, text(30))]), DedupeSettings())
    _bury(june, gone, near_duplicates=[True])
    manifest = dedupe(
        july, [[document("a" * 32, text(30, changes=1)), document("b" * 32, text(31))]], against=[june.uri]
    )
    assert manifest.counts.rejected == {"opt_out": 1}


def _bury(run: Folder, signed: pa.Table, near_duplicates: list[bool]) -> None:
    signatures = signed["signature"].to_pylist()
    num = signed.num_rows
    columns = {
        "id": signed["id"],
        "why": ["asked"] * num,
        "of": [None] * num,
        "url_hashes": [[]] * num,
        "text_hash": signed["text_hash"],
        "signature": [one if near else None for one, near in zip(signatures, near_duplicates, strict=True)],
        "shingles": ["words"] * num,
        "ngram": [5] * num,
        "num_perm": [128] * num,
    }
    tombstones = pa.table([columns[name] for name in TOMBSTONES.names], schema=TOMBSTONES)
    with (run / REMOVED).writing("removal-00001.parquet") as sink:
        pq.write_table(tombstones, sink)
    (run / REMOVED).write("removal-00001.json", encode_told({"tombstones": sink.sha256()}))


def test_known_documents_come_before_all_others(june: Folder, tmp_path: Path) -> None:
    july = Folder(str(tmp_path / "july"))
    rows = [document(f"{i + 100:032x}", text(i), karma=int(np.iinfo(np.int32).max)) for i in range(5)]
    assert dedupe(july, [rows], against=[june.uri], survivor=["karma"], max_removed=1).counts.kept == 0
