"""Every kind of damage to a run is found, named, and never raises."""

import gzip
import hashlib
import io
import json
import os
import re
import resource
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError, RunError
from pipeline.records import SUBMISSIONS
from pipeline.recount import SUBMISSION_COLUMNS, recount_submissions
from pipeline.report.page import write_report
from pipeline.runs import Folder
from pipeline.verify import Problem, verify
from pipeline.where_runs_are import DIGEST, SETTINGS
from tests import synthetic_run
from tests.resealed import resealed
from tests.synthetic_run import write_run
from tokenizer.tokenfile import index_bytes, parse_index


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    return write_run(tmp_path / "run")


def test_a_whole_run_has_no_problems_and_all_bytes_are_read(run: Folder) -> None:
    told: list[tuple[int, int]] = []
    assert verify(run, on_progress=lambda done, total: told.append((done, total))) == []
    assert told[-1][0] == told[-1][1] > 0


def test_what_a_machine_lacks_is_no_damage(run: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(lowest_free := os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        with pytest.raises(RunError, match=r"cannot be read on this machine .*Too many open files"):
            verify(run)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def fail(*_: object, **__: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 9 failed")

    monkeypatch.setattr(pq, "read_table", fail)
    with pytest.raises(RunError, match=r"cannot be read on this machine \(malloc of size 9 failed\)"):
        verify(run)


@pytest.mark.parametrize("upto", ["collect", "link", "fetch", "extract", "dedupe", "tokenizer"])
def test_a_run_on_its_way_is_checked_as_far_as_it_is(tmp_path: Path, upto: str) -> None:
    assert verify(write_run(tmp_path / "run", upto=upto)) == []


def test_a_run_in_which_links_were_tried_again_has_no_problems(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", retried=True)
    assert verify(run) == []
    ledger = run.read_table("pages/part-00001.2.ledger.parquet").to_pylist()
    assert any(row["revisit"] for row in ledger)
    assert {row["warc"] for row in ledger} == {None, "part-00001.warc.gz", "part-00001.2.warc.gz"}


def test_a_page_that_is_another_links_must_be_marked_as_such(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", retried=True)
    name = "pages/part-00001.2.ledger.parquet"

    def unmark(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["revisit"] = False

    _tamper_table(run, name, unmark)
    assert ": is of https://site" in _whats(verify(run))


def test_a_revisit_of_no_record_is_found(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", retried=True)

    def shift(rows: list[dict[str, Any]]) -> None:
        next(row for row in rows if row["revisit"])["offset"] += 1

    _tamper_table(run, "pages/part-00001.2.ledger.parquet", shift)
    assert "at byte 1: cannot be read" in _whats(verify(run))


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("turn", range(3))
def test_damage_to_any_file_is_found_and_named(run: Folder, turn: int) -> None:
    files = sorted(path for path in Path(run.path()).glob("*/*") if path.name != "manifest.json")
    assert len(files) > 40
    for index, path in enumerate(files[turn::2]):
        damage = (_flip, _cut, _remove)[(turn + index) % 3]
        data = path.read_bytes()
        damage(path)
        problems = verify(run)
        assert str(path) in {problem.where for problem in problems}, path
        assert all("webtext build" in problem.remedy for problem in problems)
        path.write_bytes(data)


def test_any_damage_to_a_manifest_is_a_problem_and_no_exception(run: Folder) -> None:
    path = Path(run.path("documents/manifest.json"))
    data = path.read_bytes()
    for position in range(0, len(data), 97):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        assert verify(run), position
        path.write_bytes(data[:position])
        assert verify(run), position


def _rewrite(run: Folder, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    run.write(name, resealed(run.read(name), change))


def _tamper(run: Folder, name: str, data: bytes) -> None:
    """Puts other bytes in place of a file, as a defect would have written them: every checksum is right."""
    folder, _, file_name = name.partition("/")
    Path(run.path(name)).write_bytes(data)

    def put(value: dict[str, Any]) -> None:
        for file in (file for one in value.get("parts", [value]) for file in one["files"]):
            if file["name"] == file_name:
                file |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    part = file_name.split(".")[0].replace("train-", "part-")
    for sidecar in (f"{folder}/{part}.json", f"{folder}/manifest.json"):
        _rewrite(run, sidecar, put)


def _tamper_table(run: Folder, name: str, change: Callable[[list[dict[str, Any]]], None]) -> None:
    table = run.read_table(name)
    rows = table.to_pylist()
    change(rows)
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, table.schema), sink)
    _tamper(run, name, sink.getvalue())


def _swap(column: str) -> Callable[[list[dict[str, Any]]], None]:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[0][column], rows[1][column] = rows[1][column], rows[0][column]

    return change


def _set(column: str, value: object) -> Callable[[list[dict[str, Any]]], None]:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[-1][column] = value

    return change


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("links/part-00000.parquet", _set("id", "0" * 32), "match among the links"),
        ("links/part-00000.parquet", _set("id", "0" * 32), "1 links are of no submission, as 0000"),
        ("links/part-00000.parquet", _set("canonical", "b"), "not the hashes of their canonical URLs"),
        ("links/part-00000.parquet", _set("karma", 1), "karma that is not the max"),
        ("links/part-00000.parquet", _set("karma", 1), "its links_by_max has"),
        ("links/part-00000.parquet", _set("karma_max", 1), "karma_max that is not that of the links'"),
        ("links/part-00000.parquet", _set("karma_sum", 1), "karma_sum that is not that of the links'"),
        ("links/part-00000.parquet", _set("created", None), "created that is not that of the links'"),
        ("links/part-00000.parquet", _set("submissions", []), "links without a submission"),
        ("links/part-00000.parquet", _set("submissions", []), "do not have the submissions that are counted"),
        (
            "submissions/part-00001.parquet",
            _set("created", datetime(2031, 2, 1, tzinfo=UTC)),
            "2031-02 has more subm",
        ),
        ("pages/part-00001.ledger.parquet", _set("id", "0" * 32), "match among the outcomes"),
        ("pages/part-00001.ledger.parquet", _set("outcome", "dns"), "outcomes of its links are not those"),
        ("pages/part-00001.ledger.parquet", _swap("final_url"), "at byte 0: is of https://site"),
        ("pages/part-00001.ledger.parquet", _set("offset", 1), "at byte 1: cannot be read"),
        ("pages/part-00001.ledger.parquet", _set("length", 10**9), "behind the file's end"),
        ("pages/part-00001.ledger.parquet", _set("length", 50), "not that of one record"),
        ("documents/part-00000.parquet", _swap("offset"), "2 records have no match among the fetch"),
        ("filtered/part-00000.parquet", _swap("id"), "2 records have no match among the extract"),
        ("corpus/part-00000.parquet", _set("id", "0" * 32), "1 records have no match among the filter"),
        ("filtered/part-00000.rejected.parquet", _set("reason", "wikipedia"), "reasons are not those"),
        (
            "corpus/part-00000.rejected.parquet",
            _set("id", "0" * 32),
            "1 records have no match among the filter",
        ),
        (
            "corpus/part-00000.rejected.parquet",
            _set("value", "x"),
            "part-00000.rejected.parquet: 1 documents have a value that is not SURVIVOR",
        ),
        (
            "corpus/clusters.parquet",
            _swap("kept"),
            "clusters.parquet: 2 documents are kept for another, or removed for themselves",
        ),
        (
            "shards/part-00000.documents.parquet",
            _set("id", "0" * 32),
            "1 records have no match among the corpus",
        ),
        (
            "shards/part-00000.documents.parquet",
            _set("split", "val"),
            "1 documents are not in the split of their cluster by the settings, as ",
        ),
        ("shards/part-00001.documents.parquet", _set("first_token", 3), "the document table's first_token"),
        (
            "shards/part-00000.documents.parquet",
            _set("num_sentences", 3),
            "the document table's num_sentences",
        ),
    ],
)
def test_tables_that_contradict_each_other_are_found(
    run: Folder, name: str, change: Callable[[list[dict[str, Any]]], None], what: str
) -> None:
    _tamper_table(run, name, change)
    assert what in _whats(verify(run))


def _refact(run: Folder, folder: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the facts of the first part, and the manifest's with them."""

    def change_both(value: dict[str, Any]) -> None:
        for one in [value, *value.get("parts", [])[:1]]:
            change(one["facts"])

    for name in ("part-00000.json", "manifest.json"):
        _rewrite(run, f"{folder}/{name}", change_both)


@pytest.mark.parametrize(
    ("name", "month", "num", "what"),
    [
        ("months", "2019-10", 10**6, "its months have 1,000,"),
        ("months_3", "2019-10", 10**6, "2019-10 has more rows with a score of 3 or more than rows"),
        ("months_3", "2019-10", -(10**6), "2019-10 has more submissions with a score of 3 or more than"),
    ],
)
def test_months_that_the_rows_contradict_are_found(
    run: Folder, name: str, month: str, num: int, what: str
) -> None:
    def change(facts: dict[str, Any]) -> None:
        facts[name][month] += num

    _refact(run, "submissions", change)
    assert what in _whats(verify(run))


def test_thresholds_that_the_links_contradict_are_found(run: Folder) -> None:
    def change(facts: dict[str, Any]) -> None:
        facts["links_by_max"]["1"] -= 10
        facts["links_by_max"]["5"] += 1

    _refact(run, "links", change)
    told = _whats(verify(run))
    assert re.search(r"its links_by_max has \d+ for 1, but there are \d+ links", told)
    assert re.search(r"its links_by_max has \d+ for 5, but \d+ links have so much", told)


def test_submissions_from_outside_the_days_asked_for_are_found() -> None:
    rows = [
        {"score": 5, "subreddit": "news", "created": datetime(2019, 6, 30, 23, 59, tzinfo=UTC)},
        {"score": 5, "subreddit": "news", "created": datetime(2019, 7, 1, tzinfo=UTC)},
        {"score": 5, "subreddit": "news", "created": None},
        {"score": 3, "subreddit": "", "created": datetime(2011, 1, 1, tzinfo=UTC)},  # of a list
    ]
    schema = pa.schema([SUBMISSIONS.field(name) for name in SUBMISSION_COLUMNS])
    table = pa.Table.from_pylist(rows, schema)
    fits = {"since": "2019-06-30", "before": "2019-07-02"}
    assert list(recount_submissions(table, 4, {}, fits)) == []
    assert list(recount_submissions(table, 4, {}, {"since": None, "before": None})) == []
    late, early = {"since": "2019-07-01", "before": None}, {"since": None, "before": "2019-07-01"}
    assert "from before 2019-07-01" in "".join(recount_submissions(table, 4, {}, late))
    assert "from 2019-07-01 on" in "".join(recount_submissions(table, 4, {}, early))


def test_links_that_tell_no_time_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = synthetic_run._links

    def timeless(num: int) -> list[dict[str, Any]]:
        rows = whole(num)
        for row in rows[::2]:
            for one in row["submissions"]:
                one["created"] = None
        return rows

    monkeypatch.setattr(synthetic_run, "_links", timeless)
    run = write_run(tmp_path / "run")
    assert verify(run) == []
    report = json.loads((write_report(run)).read("stats.json"))
    documents = report["totals"]["documents"]
    assert 0 < sum(row["documents"] for row in report["statistics"]["months"]["rows"]) < documents


def test_tokens_that_the_tokenizer_does_not_have_are_found(run: Folder) -> None:
    data = bytearray(run.read("shards/train-00000.bin"))
    data[-2:] = (300).to_bytes(2, "little")
    _tamper(run, "shards/train-00000.bin", bytes(data))
    problems = _whats(verify(run))
    assert "holds token 300, and the tokenizer has 257" in problems
    assert "not every document ends with end-of-text" in problems


def _with_other_tokenizer(value: dict[str, Any]) -> None:
    for one in [value, *value.get("parts", [])]:
        one["facts"]["tokenizer"] = "0" * 64


def test_tokens_of_another_tokenizer_are_found(run: Folder) -> None:
    for name in ("part-00000.json", "part-00001.json", "manifest.json"):
        _rewrite(run, f"shards/{name}", _with_other_tokenizer)
    assert "its tokens are not of the tokenizer" in _whats(verify(run))


def test_tokens_that_are_not_as_many_as_the_index_says_are_found(run: Folder) -> None:
    _tamper(run, "shards/train-00000.bin", run.read("shards/train-00000.bin")[:-2])
    assert "train-00000.idx says" in _whats(verify(run))


def test_sentences_that_are_not_the_documents_are_found(run: Folder) -> None:
    name = "shards/train-00000.sentences.idx"
    index = parse_index(run.read(name), name)
    shorter = index.lengths.copy()
    shorter[0] -= 1
    _tamper(run, name, index_bytes(replace(index, lengths=shorter)))
    assert "its sentences are not all of the documents" in _whats(verify(run))
    moved = index.pointers.copy()
    moved[-1] += index.dtype.itemsize
    _tamper(run, name, index_bytes(replace(index, pointers=moved)))
    assert "its sentences do not lie where the documents" in _whats(verify(run))


def test_a_request_record_in_place_of_the_response_is_found(run: Folder) -> None:
    ledger = run.read_table("pages/part-00000.ledger.parquet").to_pylist()
    first = next(row for row in ledger if row["offset"] == 0)
    warc = run.read("pages/part-00000.warc.gz")
    record = gzip.decompress(warc[: first["length"]]).replace(b"WARC-Type: response", b"WARC-Type: request")
    packed = gzip.compress(record, mtime=0)
    _tamper(run, "pages/part-00000.warc.gz", packed + warc[first["length"] :])
    assert "at byte 0: " in _whats(verify(run))


def _whats(problems: list[Problem]) -> str:
    return "\n".join(map(str, problems))


def test_a_stage_made_from_other_inputs_is_found(run: Folder) -> None:
    _rewrite(run, "links/manifest.json", lambda value: value.update(version="0.0.1"))
    problems = verify(run)
    assert {problem.where.split("/")[-2] for problem in problems} == {"pages", "documents"}
    assert "was made from other files than link has now" in _whats(problems)


def test_a_later_stage_without_the_one_that_it_reads_is_found(run: Folder) -> None:
    Path(run.path("filtered/manifest.json")).unlink()
    assert "was made from filter, which is not finished" in _whats(verify(run))


def test_a_run_that_is_not_there_or_has_nothing_finished_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no run here.*webtext build"):
        verify(Folder(str(tmp_path / "none")))
    run = Folder(str(tmp_path))
    run.write(SETTINGS, DIGEST.encode())
    with pytest.raises(InputError, match="nothing to verify"):
        verify(run)


def test_a_document_that_its_measures_would_not_keep_is_found(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", upto="filter")

    def shorten(rows: list[dict[str, Any]]) -> None:
        rows[0]["num_words"] = 3

    _tamper_table(run, "filtered/measured-00000.parquet", shorten)
    assert " is kept, and by its measures too_short" in _whats(verify(run))

    def rename(rows: list[dict[str, Any]]) -> None:
        rows[-1]["id"] = "0" * 32

    _tamper_table(run, "filtered/measured-00001.parquet", rename)
    assert "its documents are not those that were measured" in _whats(verify(run))
