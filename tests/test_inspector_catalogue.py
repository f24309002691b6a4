"""The inspector's tables: the same from a run's files and from its catalogue, whatever happens to either."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.inspector.catalogue import build as builds
from pipeline.inspector.catalogue import catalogue as catalogues
from pipeline.inspector.catalogue import place as places
from pipeline.inspector.catalogue.build import make
from pipeline.inspector.catalogue.builder import TEXTS, WAITING, Building
from pipeline.inspector.catalogue.catalogue import Catalogue
from pipeline.inspector.catalogue.place import discard, place
from pipeline.inspector.search import text_index
from pipeline.inspector.search.query import parse_query
from pipeline.inspector.search.text_index import Indexed
from pipeline.records import CORPUS
from pipeline.runs import Folder, read_manifest
from tests.document_parts import document, table, write_parts
from tests.inspected import remote
from tests.resealed import resealed
from tests.synthetic_run import write_run

TABLES = {"documents", "links", "ledger", "rejected", "measured", "clusters", "shard_documents"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own; and what changes is seen at once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(catalogues, "_LOOKS_S", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def small(tmp_path: Path) -> Folder:
    return write_run(tmp_path / "small")


def made(run: Folder) -> Catalogue:
    make(run, place(run))
    return Catalogue(run)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name.split("-")[0] for path in folder.iterdir() if path.name != "lock")


def everything(catalogue: Catalogue) -> dict[str, list[Any]]:
    """All rows of all tables, in an order of their own, and the tables' columns."""
    found = {}
    for name in catalogue.contents.tables:
        rows = catalogue.rows(f"SELECT * FROM {name}")  # noqa: S608
        found[name] = sorted(rows, key=repr)
        found[f"{name}'s columns"] = catalogue.rows(f"DESCRIBE {name}")
    return found


def corpus_of(run: Folder) -> list[dict[str, Any]]:
    """The corpus as pyarrow reads it, each document with its part."""
    manifest = read_manifest(run / "corpus")
    assert manifest is not None
    return [
        {**row, "part": part.name}
        for part in manifest.counted()
        for row in (run / "corpus").read_table(part.file(".parquet").name).to_pylist()
    ]


def test_tables_are_the_same_from_files_and_from_the_catalogue(small: Folder) -> None:
    before = Catalogue(small)
    assert not before.state().is_ready
    assert set(before.contents.tables) == TABLES
    from_files = everything(before)
    after = made(small)
    assert after.state() == Building(is_ready=True)
    assert everything(after) == from_files
    rows = {row["id"]: row for row in after.rows("SELECT * FROM documents")}
    domains = {row["id"]: row["domain"] for row in after.rows("SELECT id, domain FROM links")}
    expected = {
        row["id"]: {
            **{name: value for name, value in row.items() if name != "text"},
            "domain": domains[row["id"]],
            "num_bytes": len(row["text"].encode()),
        }
        for row in corpus_of(small)
    }
    assert rows == expected


def test_documents_and_texts_are_found_by_their_ids(small: Folder) -> None:
    corpus = corpus_of(small)
    for catalogue in (Catalogue(small), made(small)):
        one = corpus[7]
        found = catalogue.document(one["id"])
        assert found is not None
        assert (found["url"], found["part"]) == (one["url"], one["part"])
        assert catalogue.text(one["id"]) == one["text"]
        assert catalogue.texts(row["id"] for row in corpus) == {row["id"]: row["text"] for row in corpus}
        assert catalogue.document("0" * 32) is None
        assert catalogue.text("it's none") is None


@pytest.mark.parametrize(
    ("upto", "stage"),
    [("collect", None), ("fetch", None), ("extract", "extract"), ("filter", "filter"), ("dedupe", "dedupe")],
)
def test_the_furthest_stage_gives_the_documents(tmp_path: Path, upto: str, stage: str | None) -> None:
    run = write_run(tmp_path / "run", num_links=20, upto=upto)
    for catalogue in (Catalogue(run), made(run)):
        assert catalogue.stage == stage
        assert ("documents" in catalogue.contents.tables) == (stage is not None)
        assert catalogue.text("0" * 32) is None
        assert catalogue.document("0" * 32) is None
    assert catalogue.state().is_ready
    assert (catalogue.now().index is None) == (stage is None)
    stages = {row["stage"] for row in catalogue.rows("SELECT stage FROM rejected")} if stage else set()
    assert stages <= {"extract", "filter", "dedupe"}


def test_another_process_makes_it_while_it_is_used(small: Folder) -> None:
    with Catalogue(small) as catalogue:
        num = catalogue.rows("SELECT count(*) AS num FROM documents")
        catalogue.build()
        seen = set()
        while not catalogue.state().is_ready:
            seen.add(catalogue.state().what)
            assert catalogue.state().error is None
            assert catalogue.rows("SELECT count(*) AS num FROM documents") == num
            time.sleep(0.05)
        catalogue.build()  # there is nothing left to do
        assert catalogue.rows("SELECT count(*) AS num FROM documents") == num
        index = catalogue.now().index
        assert index is not None
        assert index.best(parse_query("page"), 5).total == num[0]["num"]
    assert names_in(Path(small.path("inspect"))) == ["catalogue", "index"]


def test_two_inspectors_make_it_once(small: Folder) -> None:
    with Catalogue(small) as one, Catalogue(small) as other:
        one.build()
        other.build()
        waited = False
        while not (one.state().is_ready and other.state().is_ready):
            waited = waited or WAITING in (one.state().what, other.state().what)
            time.sleep(0.01)
        assert waited
        assert everything(one) == everything(other)
    assert names_in(Path(small.path("inspect"))) == ["catalogue", "index"]


def test_a_process_that_dies_is_told_and_its_halves_go(small: Folder) -> None:
    with Catalogue(small) as catalogue:
        catalogue.build()
        builder = catalogue._builder
        assert builder is not None
        os.kill(builder._process.pid, signal.SIGKILL)
        builder.wait()
        assert "could not be indexed (it ended with status -9)" in catalogue.state().line()
        assert catalogue.rows("SELECT count(*) AS num FROM documents")[0]["num"] > 0
    folder = place(small)
    (folder / "catalogue-0.duckdb.0.tmp").touch()
    (folder / "index-0.0.tmp").mkdir()
    assert made(small).state().is_ready
    assert names_in(folder) == ["catalogue", "index"]


def test_the_process_ends_with_who_asked_for_it(small: Folder) -> None:
    catalogue = Catalogue(small)
    catalogue.build()
    builder = catalogue._builder
    assert builder is not None
    catalogue.close()
    assert builder._process.poll() is not None


def test_a_run_that_changes_is_followed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", num_links=60, upto="dedupe")
    catalogue = made(run)
    before = catalogue.rows("SELECT count(*) AS num FROM documents")[0]["num"]
    files = set(place(run).iterdir())
    shutil.copytree(write_run(tmp_path / "larger", num_links=90).path(), run.path(), dirs_exist_ok=True)
    after = catalogue.rows("SELECT count(*) AS num FROM documents")[0]["num"]
    assert after > before
    assert not catalogue.state().is_ready
    catalogue.build()
    catalogue.wait()
    assert catalogue.rows("SELECT count(*) AS num FROM documents")[0]["num"] == after
    assert {path.name for path in files & set(place(run).iterdir())} == {"lock"}
    catalogue.close()


def test_a_stage_that_is_done_again_leaves_the_one_before(small: Folder) -> None:
    catalogue = made(small)
    (small / "corpus").remove(["manifest.json"])
    assert catalogue.stage == "filter"
    assert "cluster" not in catalogue.contents.columns.names
    (small / "links").remove(["manifest.json"])
    assert {row["domain"] for row in catalogue.rows("SELECT domain FROM documents")} == {None}
    (small / "filtered").write("manifest.json", b"{")  # as if it were being written
    assert catalogue.stage == "filter"


def test_other_stages_leave_the_index_as_it_is(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", num_links=30, upto="dedupe")
    made(run)
    (index,) = place(run).glob("index-*")
    stamp = index.stat().st_mtime_ns
    shutil.copytree(write_run(tmp_path / "further", num_links=30).path(), run.path(), dirs_exist_ok=True)
    assert len(Catalogue(run).contents.tables) == len(TABLES)
    assert made(run).state().is_ready
    assert index.stat().st_mtime_ns == stamp


def test_a_damaged_catalogue_or_index_is_made_anew(small: Folder) -> None:
    made(small)
    (path,) = place(small).glob("catalogue-*")
    (index,) = place(small).glob("index-*")
    path.write_bytes(b"no database")
    (index / "meta.json").write_text("{")
    catalogue = Catalogue(small)
    assert not catalogue.state().is_ready
    assert catalogue.rows("SELECT count(*) AS num FROM documents")[0]["num"] == len(corpus_of(small))
    assert made(small).state().is_ready


def _truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _without_urls(path: Path) -> None:
    _spoil(path, "url")


def _without_texts(path: Path) -> None:
    _spoil(path, "text")


def _spoil(path: Path, name: str) -> None:
    """Overwrites a column's pages."""
    group = pq.read_metadata(path).row_group(0)
    column = next(group.column(n) for n in range(group.num_columns) if group.column(n).path_in_schema == name)
    data = bytearray(path.read_bytes())
    start = min(filter(None, (column.dictionary_page_offset, column.data_page_offset)))
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [Path.unlink, _truncated, _without_urls, _without_texts])
def test_of_a_damaged_part_all_that_can_be_read_is_there(small: Folder, harm: Callable[[Path], None]) -> None:
    corpus = corpus_of(small)
    harm(Path(small.path("corpus/part-00000.parquet")))
    whole = [row for row in corpus if row["part"] != "part-00000"]
    with pytest.raises(InputError, match=r"cannot be read .*webtext verify"):
        Catalogue(small).rows("SELECT sum(num_bytes), max(url) FROM documents")
    catalogue = made(small)
    assert catalogue.state().is_ready
    (said,) = catalogue.damage()
    assert said.startswith("corpus/part-00000.parquet cannot be read")
    there = corpus if harm is _without_texts else whole
    assert catalogue.rows("SELECT count(*) AS num FROM documents") == [{"num": len(there)}]
    assert catalogue.texts(row["id"] for row in whole) == {row["id"]: row["text"] for row in whole}
    index = catalogue.now().index
    assert index is not None
    found = index.best(parse_query("page"), 1_000)
    assert found.total == len(whole)
    numbers = {row["id"]: row["rowid"] for row in catalogue.rows("SELECT rowid, id FROM documents")}
    assert set(found.numbers.tolist()) == {numbers[row["id"]] for row in whole}
    lost = next(row["id"] for row in corpus if row["part"] == "part-00000")
    if harm is _without_texts:
        with pytest.raises(InputError, match=r"^corpus/part-00000.parquet cannot be read"):
            catalogue.text(lost)
    else:
        assert catalogue.text(lost) is None


def test_large_and_right_to_left_documents(run: Folder) -> None:
    texts = {"a": "x" + "long words " * 1_000_000, "b": "مرحبا بالعالم، هذا نص", "c": "", "d": "日本語の文章"}
    rows = [document(name * 32, text) for name, text in texts.items()]
    write_parts(run, "dedupe", [table(rows[:2], CORPUS), table(rows[2:], CORPUS), table([], CORPUS)])
    for catalogue in (Catalogue(run), made(run)):
        assert catalogue.texts(name * 32 for name in texts) == {
            name * 32: text for name, text in texts.items()
        }
        assert [
            row["num_bytes"] for row in catalogue.rows("SELECT num_bytes FROM documents ORDER BY id")
        ] == [len(text.encode()) for text in texts.values()]
    index = catalogue.now().index
    assert index is not None
    assert index.best(parse_query("بالعالم"), 5).numbers.tolist() == [1]


def test_an_empty_corpus_is_no_error(run: Folder) -> None:
    write_parts(run, "dedupe", [table([], CORPUS)])
    for catalogue in (Catalogue(run), made(run)):
        assert catalogue.rows("SELECT count(*) AS num FROM documents") == [{"num": 0}]
    assert catalogue.state().is_ready


def test_times_are_utc_in_python(small: Folder) -> None:
    for catalogue in (Catalogue(small), made(small)):
        row = catalogue.rows("SELECT created FROM documents WHERE created IS NOT NULL LIMIT 1")[0]
        assert isinstance(row["created"], datetime)
        assert row["created"].utcoffset() == datetime.now(UTC).utcoffset()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "ATTACH '/tmp/other.duckdb'",
        "COPY documents TO '/tmp/documents.csv'",
        "SET enable_external_access = true",
        "SET memory_limit = '100GB'",
        "INSTALL httpfs",
        "SELECT * FROM small",  # a variable of this program
    ],
)
def test_a_cursor_opens_nothing(small: Folder, sql: str) -> None:
    for catalogue in (Catalogue(small), made(small)):
        with pytest.raises(duckdb.Error):
            catalogue.cursor().execute(sql)


def test_a_catalogue_cannot_be_changed(small: Folder) -> None:
    for sql in ("DELETE FROM documents", "DROP TABLE links", "CREATE TABLE more AS SELECT 1"):
        with pytest.raises(duckdb.Error, match="read-only"):
            made(small).cursor().execute(sql)


def test_a_run_that_is_not_ones_own_uses_the_cache(small: Folder, cache: Path) -> None:
    Path(small.path("inspect")).write_text("no folder can be here")
    assert made(small).state().is_ready
    assert names_in(place(small)) == ["catalogue", "index"]
    assert place(small).is_relative_to(cache)
    discard(small)
    assert names_in(place(small)) == []


def test_a_remote_run_is_looked_at_too(tmp_path: Path, cache: Path) -> None:
    local = write_run(tmp_path / "bucket" / "run")
    expected = everything(Catalogue(local))
    with remote(str(tmp_path)) as run:
        for catalogue in (Catalogue(run), made(run)):
            assert everything(catalogue) == expected
            found = catalogue.rows("SELECT id FROM documents LIMIT 1")[0]["id"]
            assert catalogue.text(found)
        assert catalogue.state().is_ready
        assert place(run).is_relative_to(cache)


def test_what_was_made_can_be_discarded(small: Folder) -> None:
    catalogue = made(small)
    labels = place(small) / "labels"
    labels.mkdir()
    discard(small)
    assert names_in(place(small)) == ["labels"]
    assert catalogue.rows("SELECT count(*) AS num FROM documents")[0]["num"] > 0  # it is open still
    assert not Catalogue(small).state().is_ready
    places.sweep(place(small) / "nowhere", [])


def test_a_process_that_cannot_write_says_why(small: Folder) -> None:
    catalogue = Catalogue(small)
    (place(small) / "lock").mkdir()
    catalogue.build()
    catalogue.wait()
    assert "The run could not be indexed (IsADirectoryError" in catalogue.state().line()
    assert "which is slower" in catalogue.state().line()
    catalogue.close()


def test_lines_say_how_far_it_is() -> None:
    assert Building(is_ready=True).line() == "Everything is indexed."
    assert Building(is_ready=False).line().startswith("Reading tables. Until they are read filters")
    assert "1,234 of 5,678 documents" in Building(is_ready=False, what=TEXTS, done=1234, total=5678).line()
    assert "Another inspector" in Building(is_ready=False, what=WAITING).line()


def test_nothing_is_made_of_a_run_that_changes_meanwhile(
    small: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = text_index.write_index

    def write_while_it_changes(path: Path, documents: Iterable[Indexed]) -> None:
        write(path, documents)
        manifest = (small / "corpus").read("manifest.json")
        changed = resealed(manifest, lambda value: value.update(version="0.0.1"))
        (small / "corpus").write("manifest.json", changed)
        discard(small)  # as a removal does

    monkeypatch.setattr(builds, "write_index", write_while_it_changes)
    make(small, place(small))
    assert names_in(place(small)) == []
