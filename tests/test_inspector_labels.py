"""Labels and notes: kept whole whoever writes, given in a browser and without JavaScript, and exported."""

import csv
import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import UrlSettings
from pipeline.errors import InputError
from pipeline.inspector.judging.labels import (
    EXPORTS,
    FOLDER,
    MAX_LABEL,
    MAX_LABELS,
    Conflict,
    Labelled,
    Labels,
    parse_names,
)
from pipeline.remove.request import Kind, read_request
from pipeline.runs import Folder
from tests.browser import browsing, fits, keep_picture, page_of
from tests.inspected import ask, inspecting, remote
from tests.synthetic_run import write_run

NOW = datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)


def labelled(number: int, *labels: str, note: str = "") -> Labelled:
    return Labelled(f"{number:032x}", f"https://site.example/{number}", labels, note, NOW)


# --- kept -------------------------------------------------------------------------------------------------


def keeps(run: Folder) -> None:
    labels = Labels(run)
    assert labels.every() == []
    assert labels.of("0" * 32) == Labelled("0" * 32)
    first, second = labelled(1, "remove", "שלום"), labelled(2, note="two\nlines, “quoted”")
    labels.put(first)
    labels.put(second)
    assert Labels(run).of(first.id) == first
    assert labels.every() == [second, first]  # the same moment: by id, the last first
    labels.put(replace(first, labels=()))
    assert labels.every() == [second]
    labels.put(replace(first, labels=()))  # which is gone already
    assert labels.every() == [second]


def test_labels_are_kept(run: Folder) -> None:
    keeps(run)


def test_labels_are_kept_in_an_object_store(tmp_path: Path) -> None:
    with remote(str(tmp_path)) as run:
        keeps(run)
    assert len(list((tmp_path / "bucket/run" / FOLDER).iterdir())) == 1


def test_what_was_said_meanwhile_is_not_lost(run: Folder) -> None:
    labels = Labels(run)
    seen = labels.of(labelled(1).id).version
    labels.put(labelled(1, "good"), seen)
    with pytest.raises(Conflict):
        labels.put(labelled(1, "remove"), seen)
    assert labels.of(labelled(1).id).labels == ("good",)
    labels.put(labelled(1, "remove"), labels.of(labelled(1).id).version)
    assert labels.of(labelled(1).id).labels == ("remove",)


def test_two_who_write_at_once_lose_nothing(run: Folder) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: Labels(run).put(labelled(n, "good", note=str(n))), range(200)))
    assert {one.id: one.note for one in Labels(run).every()} == {f"{n:032x}": str(n) for n in range(200)}


def test_of_those_who_saw_the_same_one_alone_is_heard(run: Folder) -> None:
    labels, seen = Labels(run), Labels(run).of(labelled(1).id).version

    def say(n: int) -> bool:
        with suppress(Conflict):
            labels.put(labelled(1, str(n)), seen)
            return True
        return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(say, range(50))) == 1


_WRITER = """
import sys
from pipeline.inspector.judging.labels import Labels
from pipeline.runs import Folder
from tests.test_inspector_labels import labelled
labels = Labels(Folder(sys.argv[1]))
for n in range(10**9):
    labels.put(labelled(n % 3, str(n), note="x" * 5000))
    print(n, flush=True)
"""


def test_a_kill_tears_nothing(run: Folder) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, run.uri], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
    )
    assert writer.stdout is not None
    for _ in range(50):
        last = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    last = [last, *map(int, writer.stdout.read().split())][-1]
    writer.stdout.close()
    writer.wait()
    found = {int(one.id, 16): int(one.labels[0]) for one in Labels(run).every()}
    assert sorted(found) == [0, 1, 2]
    for number, written in found.items():
        assert written % 3 == number
        assert written > last - 3
    assert all(one.note == "x" * 5000 for one in Labels(run).every())


def test_what_is_no_label_is_passed_over(run: Folder) -> None:
    Labels(run).put(labelled(1, "good"))
    folder = run / FOLDER
    for name, data in {
        "a.json": b"\xff",
        "b.json": b"[]",
        "c.json": b'{"id": 1}',
        "d.txt": b"",
        "e.json": b"",
    }.items():
        folder.write(name, data)
    assert Labels(run).look() == ([labelled(1, "good")], ["a.json", "b.json", "c.json", "e.json"])
    assert Labels(run).of("../../webtext") == Labelled("../../webtext")
    with pytest.raises(InputError, match="is not a document's id"):
        Labels(run).put(Labelled("../../x", "", ("good",)))


def test_a_run_that_cannot_be_written_to(run: Folder) -> None:
    run.write("inspect", b"a file in the folder's place")
    with pytest.raises(InputError, match="labels are kept in the run"):
        Labels(run).put(labelled(1, "good"))


@given(st.lists(st.text(max_size=100), max_size=50))
def test_labels_as_a_form_sends_them(names: list[str]) -> None:
    parsed = parse_names(names)
    assert parse_names(parsed) == parsed
    assert len(set(parsed)) == len(parsed) <= MAX_LABELS
    assert all(0 < len(name) <= MAX_LABEL and name.strip() == name for name in parsed)
    assert "a b" in parse_names([" a\n  b "])


# --- exported ---------------------------------------------------------------------------------------------


def test_exports_are_read_back(tmp_path: Path) -> None:
    chosen = [labelled(1, "remove", "a, b"), labelled(2, note='a "quote",\n=1+1'), labelled(3, "good")]
    chosen[2] = replace(chosen[2], url="https://site.example/3#part")
    written = {name: write(chosen) for name, (_, _, write) in EXPORTS.items()}
    (tmp_path / "documents.txt").write_text(written["documents"])
    request = read_request(Kind.DOCUMENTS, tmp_path / "documents.txt", UrlSettings())
    assert sorted(key.hex() for key in request.keys) == [one.id for one in chosen]
    rows = list(csv.DictReader(io.StringIO(written["csv"], newline="")))
    assert [(row["id"], row["labels"], row["note"]) for row in rows] == [
        (one.id, "; ".join(one.labels), one.note) for one in chosen
    ]
    lines = [Labelled.from_json(json.loads(line)) for line in written["jsonl"].splitlines()]
    assert lines == chosen


# --- in the inspector -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A run; tests label documents of their own."""
    return write_run(tmp_path_factory.mktemp("labels") / "run")


@pytest.fixture(scope="module")
def address(made: Folder) -> Iterator[str]:
    with inspecting(made, indexed=True) as address:
        yield address


def ids_of(run: Folder) -> list[str]:
    tables = [run.path(f"corpus/part-{n:05d}.parquet") for n in range(2)]
    return [row[0] for row in duckdb.read_parquet(tables).order("id").select("id").fetchall()]


def test_a_form_without_javascript(made: Folder, address: str) -> None:
    one = ids_of(made)[0]
    form = {"label": ["good", " good "], "more": "odd, odder ,", "note": "a\r\nb", "back": "/samples?seed=1"}
    answer = ask(f"{address}/labels/{one}", form)
    assert (answer.status, answer.headers["location"]) == (303, f"/samples?seed=1#labels-{one}")
    said = Labels(made).of(one)
    assert (said.labels, said.note) == (("good", "odd", "odder"), "a\nb")
    assert said.url.startswith("https://")
    page = ask(f"{address}/labels?label=odder").text
    assert said.url in page
    assert "No document has this label" in ask(f"{address}/labels?label=other").text
    assert said.url in ask(f"{address}/labels/export?as=documents&label=odd").text
    assert ask(f"{address}/labels/export?as=xml").status == 404
    stale = ask(f"{address}/labels/{one}", {"label": "remove", "seen": "0" * 16})
    assert stale.status == 409
    assert "now the labels are good, odd, odder" in stale.text
    ask(f"{address}/labels/{one}", {"seen": said.version})
    assert Labels(made).of(one).is_empty


def test_what_a_form_may_not_do(made: Folder, address: str) -> None:
    one = ids_of(made)[1]
    for back in ("//evil.example", "/\\evil.example", "https://evil.example"):
        answer = ask(f"{address}/labels/{one}", {"label": "good", "back": back})
        assert answer.headers["location"] == f"/labels#labels-{one}"
    assert ask(f"{address}/labels/{'0' * 32}", {"label": "good"}).status == 404
    assert ask(f"{address}/labels/..%2Fx", {"label": "good"}).status == 404
    assert ask(f"{address}/labels/{one}").status in (404, 405)
    script = "<script>alert(1)</script>"
    ask(f"{address}/labels/{one}", {"label": script, "note": f"</textarea>{script}"})
    for path in ("/labels", "/samples?seed=1&n=100&by=documents"):
        assert script not in ask(f"{address}{path}").text
    other = ask(f"{address}/labels/{one}", {"label": "good"}, **{"sec-fetch-site": "cross-site"})
    assert other.status == 403


def test_a_rejected_document_can_be_labelled(made: Folder, address: str) -> None:
    rejected = made.path("filtered/part-00000.rejected.parquet")
    one, url = duckdb.read_parquet(rejected).select("id, url").fetchall()[0]
    assert ask(f"{address}/labels/{one}", {"label": "good"}).status == 303
    assert Labels(made).of(one).url == url


def test_a_run_that_is_only_for_reading_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 30, "dedupe")
    run.write("inspect", b"")
    with inspecting(run) as address:
        answer = ask(f"{address}/labels/{ids_of(run)[0]}", {"label": "good"})
        assert answer.status == 409
        assert "labels are kept in the run" in answer.text


def test_labels_are_given_in_a_browser(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    with inspecting(run, indexed=True) as address, browsing() as browser:
        with page_of(browser) as page:
            page.goto(f"{address}/samples?seed=3&n=4&by=documents")
            first, second = (one.get_attribute("id") for one in page.locator(".sample").all()[:2])
            page.keyboard.press("j")
            page.keyboard.press("1")
            page.locator(f"#{first} .said", has_text="Saved.").wait_for()
            page.keyboard.press("j")
            page.keyboard.press("2")
            page.locator(f"#{second} .said", has_text="Saved.").wait_for()
            form = page.locator(f"#{second} form")
            form.locator("[name=more]").fill("to, ask")
            form.locator("[name=note]").fill("1 and 2 are no keys here")
            form.locator("button").click()
            form.locator(".choice", has_text="ask").wait_for()
            keep_picture(page, "samples")
            page.goto(f"{address}/labels")
            assert page.locator(".labelled").count() == 2
            assert fits(page)
            keep_picture(page, "labels")
            with page.expect_download() as download:
                page.get_by_text("Download documents.txt").click()
            listed = Path(download.value.path()).read_text()
        assert first is not None
        assert listed.startswith(first.removeprefix("document-"))
        assert len(listed.splitlines()) == 1
        found = {one.id: one for one in Labels(run).every()}
        assert second is not None
        said = found[second.removeprefix("document-")]
        assert (said.labels, said.note) == (("boiler-plate", "to", "ask"), "1 and 2 are no keys here")
        with page_of(browser, dark=True, phone=True, javascript=False) as page:
            page.goto(f"{address}/labels?label=remove")
            page.get_by_text("Delete labels and note").click()
            page.get_by_text("No document has this label").first.wait_for()
            assert fits(page)
            keep_picture(page, "labels-phone-dark")
        assert len(Labels(run).every()) == 1


def test_two_browsers_at_the_same_document(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 30, "dedupe")
    with (
        inspecting(run) as address,
        browsing() as browser,
        page_of(browser) as one,
        page_of(browser) as other,
    ):
        for page in (one, other):
            page.goto(f"{address}/samples?seed=3&n=1&by=documents")
        one.locator("[value=good]").click()
        one.locator(".said", has_text="Saved.").wait_for()
        other.locator("[value=remove]").click()
        other.locator(".said", has_text="now the labels are good").wait_for()
        assert [one.labels for one in Labels(run).every()] == [("good",)]
        other.locator("form.label-form button").click()
        other.locator(".said", has_text="Saved.").wait_for()
        assert [one.labels for one in Labels(run).every()] == [("remove",)]
