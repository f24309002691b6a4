"""From a label given in a browser to a document that is gone: from the corpus and from the inspector."""

import contextlib
import shutil
from pathlib import Path

import duckdb
import pytest

from pipeline.inspector.catalogue import place
from pipeline.inspector.judging.labels import FOLDER, Labelled, Labels
from pipeline.remove import staged
from pipeline.remove.request import Kind
from pipeline.remove.staged import pending
from pipeline.runs import Folder
from pipeline.verify import verify
from tests.browser import browsing, page_of
from tests.command import webtext
from tests.inspected import ask, inspecting, remote
from tests.removal_run import FEW, NEAR, NEAR_COPY, copy_run, files_with, mark_of, remove_in
from webtext.build import remove, resume_removal


@pytest.fixture
def run(small_built: Path, tmp_path: Path) -> Folder:
    """A copy of it to be changed, with notes that quote two documents."""
    return copy_run(small_built, tmp_path / "copy")


def ids(run: Folder) -> dict[str, str]:
    """URL → id, of all links."""
    links = duckdb.read_parquet(run.path("links/part-*[0-9].parquet"))
    return dict(links.select("url, id").fetchall())


def made_of(run: Folder) -> set[str]:
    """What the inspector has made, and the labels."""
    return {path.name for path in Path(run.path("inspect")).iterdir()}


def test_from_a_label_to_a_document_that_is_gone(run: Folder) -> None:
    names = ids(run)
    folder = Path(run.path()).parent
    with inspecting(run, indexed=True) as address, browsing() as browser, page_of(browser) as page:
        page.goto(f"{address}/samples?seed=1&n=100&by=documents")
        page.locator(f"#document-{names[NEAR]}").focus()
        page.keyboard.press("1")
        page.locator(f"#document-{names[NEAR]} .said", has_text="Saved.").wait_for()
        page.goto(f"{address}/labels")
        with page.expect_download() as download:
            page.get_by_text("Download documents.txt").click()
        download.value.save_as(folder / "documents.txt")
        made = {name for name in made_of(run) if name.startswith(("catalogue-", "index-"))}
        assert len(made) == 2
        other = names["https://site3.example/"]
        Labels(run).put(Labelled(other, "https://site3.example/", ("good",)))
        options = ("remove", "run", "--documents", "documents.txt")
        told = webtext(*options, "--dry-run", cwd=folder)
        assert told.returncode == 0, told.stderr
        assert "2 links with 2 documents would go: 1 asked for, 1 near-duplicates of them" in told.stdout
        assert Labels(run).of(names[NEAR]).labels == ("remove",)
        done = webtext(*options, cwd=folder)
        assert done.returncode == 0, done.stderr
        assert [one.id for one in Labels(run).every()] == [other]
        assert NEAR not in ask(f"{address}/labels").text
    assert files_with(run, mark_of("near")) == set()
    assert made_of(run).isdisjoint(made)
    assert verify(run) == []
    with inspecting(run, indexed=True) as address:
        page_of_all = ask(f"{address}/samples?seed=1&n=100&by=documents").text
        assert page_of_all.count('class="panel sample"') == len(FEW) - 2
        assert mark_of("near") not in page_of_all
        assert ask(f"{address}/labels/{names[NEAR]}", {"label": "good"}).status == 404


def with_notes(run: Folder) -> dict[str, str]:
    names = ids(run)
    for url, document in names.items():
        Labels(run).put(Labelled(document, url, ("good",), f"see {url}"))
    (run / "inspect").write("catalogue-0123456789abcdef.duckdb", mark_of("near").encode())
    (run / "inspect/index-0123456789abcdef").write("0.store", mark_of("near").encode())
    (run / FOLDER).write(f"{names[NEAR]}.json.0.tmp", mark_of("near").encode())
    return names


def test_labels_and_notes_of_what_goes_with_it_go_too(run: Folder) -> None:
    names = with_notes(run)
    remove_in(run, Kind.URLS, NEAR)
    left = {one.url for one in Labels(run).every()}
    assert left == set(names) - {NEAR, NEAR_COPY}
    assert len((run / FOLDER).sizes()) == len(left)
    assert made_of(run) == {"labels"}


def test_a_dry_run_leaves_all(run: Folder) -> None:
    with_notes(run)
    before = made_of(run)
    remove_in(run, Kind.URLS, NEAR, dry_run=True)
    assert made_of(run) == before
    assert len(Labels(run).every()) == len(FEW)


@pytest.mark.parametrize("moment", [(staged, "_move"), (place, "discard")])
def test_stopped_it_goes_on_to_the_same_end(
    run: Folder, moment: tuple[object, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_notes(run)

    class StoppedError(Exception):
        """In the place of a kill."""

    def stop(*_: object) -> None:
        raise StoppedError

    with monkeypatch.context() as patch, contextlib.suppress(StoppedError):
        patch.setattr(*moment, stop)
        remove_in(run, Kind.URLS, NEAR)
    assert pending(run) is not None
    resume_removal(run)
    assert made_of(run) == {"labels"}
    assert len(Labels(run).every()) == len(FEW) - 2
    assert files_with(run, mark_of("near")) == set()


def test_a_remote_run(run: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Labels go from the run, and what was made of it from the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "store"
    shutil.copytree(run.path(), root / "bucket" / "run")
    with remote(str(root)) as there:
        Labels(there).put(Labelled(ids(run)[NEAR], NEAR, ("remove",)))
        cached = place.place(there)
        assert cached.is_relative_to(tmp_path / "cache")
        (cached / "catalogue-0123456789abcdef.duckdb").write_bytes(b"texts")
        listed = tmp_path / "documents.txt"
        listed.write_text(ids(run)[NEAR])
        remove(there, Kind.DOCUMENTS, listed)
        assert Labels(there).every() == []
        assert list(cached.iterdir()) == []
