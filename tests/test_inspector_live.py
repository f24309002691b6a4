"""How a build goes: rates by hand, sidecars as they come, and a real crawl in the background."""

import asyncio
import fcntl
import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page

from pipeline.inspector.overview import Observer
from pipeline.live import Finished, Lookout, Pace, Tally, pace
from pipeline.lock import is_locked, locked
from pipeline.runs import Counts, Folder, Manifest, PartWriter
from pipeline.stages import PLAN, STAGES
from pipeline.status import read_status
from tests import browser
from tests.command import start_build, webtext
from tests.inspected import ask, inspecting, remote
from tests.pipeline_fetch_site import Site, page, serving
from tests.synthetic_run import write_run

HOUR = 3_600.0


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.browsing() as opened:
        yield opened


# --- rates --------------------------------------------------------------------------------------------------


def test_a_rate_is_that_of_the_last_ten_minutes() -> None:
    slow = [Finished(100.0 * n, 10) for n in range(1, 30)]  # until 2,900
    fast = [Finished(3_000.0 + 10 * n, 10) for n in range(100)]  # until 3,990
    assert pace(slow + fast, 30, 0.0, 3_990.0) == Pace(1.0, 300.0)
    assert pace(slow, 30, 0.0, 2_900.0) == Pace(0.1, 3_000.0)


def test_where_parts_take_longer_the_last_five_count() -> None:
    parts = [Finished(HOUR * n, 3_600 * n) for n in range(1, 9)]  # of hours 1 to 8
    # From the fourth hour's end, since when hours 4 + … + 8 have been done, and half an hour of the ninth.
    assert pace(parts, 11, 0.0, 8.5 * HOUR) == Pace(30 * HOUR / (5.5 * HOUR), 11 * 5.5 * HOUR / 5)


def test_parts_of_an_earlier_build_say_nothing() -> None:
    earlier = [Finished(float(n), 1_000_000) for n in range(100)]
    assert pace(earlier, 5, 90_000.0, 90_010.0) == Pace()
    assert pace([*earlier, Finished(90_020.0, 40)], 5, 90_000.0, 90_020.0) == Pace(2.0, 100.0)


def test_a_stage_that_stands_still_takes_longer_and_longer() -> None:
    parts = [Finished(10.0, 1), Finished(20.0, 1)]
    left = [pace(parts, 1, 0.0, now).left_s for now in (20.0, 100.0, 1_000.0, 100_000.0)]
    assert left == [10.0, 50.0, 500.0, 50_000.0]


def test_without_a_plan_the_first_part_says_where_to_count_from() -> None:
    assert pace([Finished(50.0, 7)], 1, None, 60.0) == Pace()
    assert pace([Finished(50.0, 7), Finished(60.0, 20)], 3, None, 60.0) == Pace(2.0, 30.0)


def test_parts_that_only_prepare_have_no_records_but_a_time_to_go() -> None:
    assert pace([Finished(5.0, 0)], 2, 0.0, 5.0) == Pace(None, 10.0)


@given(
    st.lists(st.builds(Finished, st.floats(0, 1e6), st.integers(0, 10**6)), max_size=60),
    st.integers(0, 1000),
    st.none() | st.floats(0, 1e6),
    st.floats(0, 1e6),
)
def test_a_pace_is_never_negative(
    parts: list[Finished], num_left: int, began: float | None, now: float
) -> None:
    found = pace(parts, num_left, began, now)
    assert found.records_a_second is None or found.records_a_second > 0
    assert found.left_s is None or found.left_s >= 0


# --- sidecars -----------------------------------------------------------------------------------------------


def finish(folder: Folder, name: str, counts: Counts | None, written: float) -> None:
    """A part that was finished at a time."""
    PartWriter(folder, name, "x").commit(counts, seconds=1.5)
    os.utime(folder.path(f"{name}.json"), (written, written))


def test_a_tally_follows_the_sidecars_and_reads_each_once(
    run: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run / "documents"
    folder.write(PLAN, b'{"parts": ["part-00000", "part-00001", "part-00002", "part-00003"]}')
    os.utime(folder.path(PLAN), (1_000.0, 1_000.0))
    reads: list[str] = []
    whole = Folder.read

    def read(folder: Folder, name: str) -> bytes:
        reads.append(name)
        return whole(folder, name)

    monkeypatch.setattr(Folder, "read", read)
    tally = Tally("extract", folder)
    assert tally.look(1_001.0).status.num_parts == 4
    finish(folder, "part-00000", Counts(10, 7, {"no_text": 3}), 1_010.0)
    finish(folder, "part-00009", Counts(99, 99), 1_010.0)  # no plan has it
    folder.write("part-00001.json", b'{"torn')
    first = tally.look(1_010.0)
    assert (first.status.num_done, first.status.counts) == (1, Counts(10, 7, {"no_text": 3}))
    assert first.pace == Pace(1.0, 30.0)
    finish(folder, "part-00001", Counts(50, 50), 1_030.0)
    second = tally.look(1_030.0)
    assert (second.status.num_done, second.status.seconds) == (2, 3.0)
    assert second.pace == Pace(2.0, 30.0)
    tally.look(1_031.0)
    assert reads.count("part-00000.json") == 1
    finish(folder, "part-00000", Counts(11, 11), 1_040.0)  # done again
    assert tally.look(1_040.0).status.counts == Counts(61, 61)
    folder.remove(["part-00001.json"])
    assert tally.look(1_041.0).status.num_done == 1


def test_a_folder_without_a_plan_has_the_parts_that_are_there(run: Folder) -> None:
    folder = run / "links"
    assert Tally("link", folder).look(5.0).status.num_parts == 0
    finish(folder, "part-00003", Counts(1, 1), 4.0)
    found = Tally("link", folder).look(5.0)
    assert (found.status.num_done, found.status.num_parts, found.newest) == (1, 1, 4.0)


@pytest.fixture
def half_built(tmp_path: Path) -> Folder:
    """A run whose extract is half done, at a part in ten seconds until second 1,000,020."""
    run = write_run(tmp_path / "run", upto="fetch")
    folder = run / "documents"
    folder.write(PLAN, json.dumps({"parts": [f"part-{n:05d}" for n in range(4)]}).encode())
    work(run, 1e6)
    return run


def work(run: Folder, began: float) -> None:
    """Half of extract, from a time on."""
    folder = run / "documents"
    os.utime(folder.path(PLAN), (began, began))
    finish(folder, "part-00000", Counts(20, 15, {"no_text": 5}), began + 10)
    finish(folder, "part-00001", Counts(30, 30), began + 20)


def test_a_build_at_work_holds_the_lock_and_one_that_was_killed_does_not(half_built: Folder) -> None:
    assert is_locked(half_built) is False
    look = Lookout(half_built).look
    stopped = look(1e6 + 25)
    assert (stopped.at_work, stopped.age_s, stopped.is_finished) == (False, 5.0, False)
    assert stopped.line() == (
        "no build is at work, and `webtext build` goes on from what is there; the newest file is 5 s old"
    )
    assert stopped.seen()["extract"].line() == "2 of 4 parts"
    with locked(half_built):
        assert is_locked(half_built) is True
        going = look(1e6 + 25)
        assert going.line() == "a build is at work; the newest file is 5 s old"
        assert going.seen()["extract"].line() == "2 of 4 parts, 2.0 records/s, about 25 s to go"
        assert going.to_json() == {
            "at_work": True,
            "newest_file_age_s": 5.0,
            "stages": {"extract": {"parts": 4, "parts_done": 2, "records_a_second": 2.0, "left_s": 25.0}},
            "training": None,
        }
    assert look(1e6 + 25).at_work is False


def test_of_a_remote_run_only_the_files_tell(half_built: Folder, tmp_path: Path) -> None:
    (tmp_path / "bucket").mkdir()
    Path(half_built.path()).rename(tmp_path / "bucket" / "run")
    with remote(str(tmp_path)) as run, locked(run):
        soon, late = (Lookout(run).look(1e6 + after) for after in (30, 900))
        assert Observer(run).look(0.0).stages == read_status(run).stages
    assert (soon.at_work, late.at_work) == (None, None)
    assert soon.line() == "a build seems to be at work; the newest file is 10 s old"
    assert late.line() == "whether a build is at work cannot be seen from here; the newest file is 15 min old"
    assert soon.seen()["extract"].line() == "2 of 4 parts, 1.7 records/s, about 30 s to go"


def test_looking_never_keeps_a_build_out(half_built: Folder) -> None:
    """Who looks holds the lock for a moment, which a build that begins then waits out."""
    with locked(half_built):
        pass
    with Path(half_built.path(".lock")).open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(0.1, fcntl.flock, (file.fileno(), fcntl.LOCK_UN)).start()
        with locked(half_built):
            assert is_locked(half_built) is True


def test_an_overview_says_what_status_says(half_built: Folder) -> None:
    observer = Observer(half_built)
    for _ in range(2):  # from the files, and from memory
        found = observer.look(1e6 + 25).to_json()
        status = read_status(half_built).to_json()
        assert {name: found[name] for name in ("stages", "tokenizer", "months", "warnings")} == {
            name: status[name] for name in ("stages", "tokenizer", "months", "warnings")
        }


def test_an_overview_follows_a_manifest_that_is_written_anew(half_built: Folder) -> None:
    observer = Observer(half_built)
    before = observer.look(0.0).stages["link"]
    path = Path(half_built.path("links/manifest.json"))
    manifest = Manifest.decode(path.read_bytes())
    path.write_bytes(replace(manifest, parts=manifest.parts[:1]).encode())
    os.utime(path, (1.0, 1.0))
    after = observer.look(0.0).stages["link"]
    assert (before.num_parts, after.num_parts) == (2, 1)


# --- a real build -------------------------------------------------------------------------------------------


@contextmanager
def crawling(folder: Path) -> Iterator[Callable[[], None]]:
    """A real build at a real crawl, of which half the pages wait until what is given is called."""
    released = threading.Event()
    asked: Counter[str] = Counter()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        asked[request.host] += 1
        if asked[request.host] > 2:
            await asyncio.to_thread(released.wait)
        return await page()(request)

    hosts = [f"site{n}.example" for n in range(6)]
    site = Site({f"{host}/{n}": answer for host in hosts for n in range(4)})
    with serving(site):
        (folder / "urls.txt").write_text("".join(f"http://{url}\n" for url in site.pages))
        resolve = ", ".join(f'"{host}" = "{at}"' for host, at in site.resolve(*hosts).items())
        (folder / "webtext.toml").write_text(
            '[run]\ndir = "run"\n[collect]\nlists = ["urls.txt"]\n[fetch]\ncontact = "a@example.org"\n'
            f"delay_s = 0.0\ntimeout_s = 60.0\nresolve = {{ {resolve} }}\n"
        )
        process = start_build(folder, "--until", "fetch")

        def release() -> None:
            released.set()
            assert process.wait(60) == 0

        try:
            yield release
        finally:
            released.set()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(happened: Callable[[], bool]) -> None:
    """Until it has; a minute is far more than it takes."""
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_crawl_in_the_background_is_seen_in_the_terminal_and_on_the_page(
    chromium: Browser, tmp_path: Path
) -> None:
    run = Folder(str(tmp_path / "run"))

    def half_is_done() -> bool:
        fetch = Lookout(run).look(time.time()).stages.get("fetch")
        return fetch is not None and fetch.crawl is not None and fetch.crawl.figures.done == 12

    with crawling(tmp_path) as release:
        wait_for(half_is_done)
        facts = json.loads(webtext("status", "run", "--json", cwd=tmp_path).stdout)
        assert facts["live"]["at_work"] is True
        assert (facts["fetch"]["live"]["done"], facts["fetch"]["live"]["links"]) == (12, 24)
        shown = webtext("status", "run", cwd=tmp_path).stdout
        assert re.search(r"\na build is at work; the newest file is \d+ s old\n\nfetch is running\n", shown)
        assert re.search(r"\n  12 of 24 links done in \d+ s", shown)
        with (
            inspecting(run) as url,
            browser.page_of(chromium) as tab,
        ):
            value = json.loads(ask(f"{url}/progress.json").text)
            assert value["live"]["at_work"] is True
            assert value["stages"] == facts["stages"]
            tab.goto(f"{url}/progress")
            tab.evaluate("window.sameDocument = true")
            assert "A build is at work" in tab.inner_text("#live")
            assert "12 of 24 links" in tab.inner_text("#live")
            browser.keep_picture(tab, "progress-crawl")
            release()
            tab.get_by_text("24 links → 24 pages").wait_for()
            assert "No build is at work" in tab.inner_text("#live")
            assert tab.evaluate("window.sameDocument")
    retried = webtext("retry", "run", "--reason", "dns", "--json", cwd=tmp_path)
    assert json.loads(retried.stdout) == {"tried": 0, "pages_more": 0, "in": 24, "kept": 24, "rejected": {}}
    assert "is at work" not in webtext("status", "run", cwd=tmp_path).stdout


# --- the page -----------------------------------------------------------------------------------------------


@contextmanager
def shown(chromium: Browser, run: Folder, **options: bool) -> Iterator[Page]:
    """The page of a run in a browser."""
    with (
        inspecting(run) as url,
        browser.page_of(chromium, **options) as tab,
    ):
        tab.goto(f"{url}/progress")
        yield tab


def test_the_page_has_every_reason_the_months_and_the_warnings(chromium: Browser, tmp_path: Path) -> None:
    months = {f"2023-{month:02d}": (1000, 4 if month == 5 else 310) for month in range(1, 10)}
    run = write_run(tmp_path / "run", num_links=900, months=months)
    status = read_status(run)
    with shown(chromium, run) as tab:
        text = tab.inner_text("main")
        assert "Every stage is finished." in text
        for stage in status.stages.values():
            for reason, num in (*stage.counts.rejected.items(), ("kept", stage.counts.kept)):
                assert re.search(rf"\n{reason}\s+{num:,}\s", text), reason
        assert status.warnings[0] in text
        for month in status.months:
            assert f"{month.name}\t{month.num_posts:,}\t{100 * month.share:.1f} %" in text
        browser.keep_picture(tab, "progress-light")


@pytest.mark.parametrize("options", [{"dark": True}, {"phone": True}, {"javascript": False}])
def test_the_page_of_a_run_that_is_half_built(
    chromium: Browser, half_built: Folder, options: dict[str, bool]
) -> None:
    work(half_built, time.time() - 25)
    with locked(half_built), shown(chromium, half_built, **options) as tab:
        assert "2 of 4 parts" in tab.inner_text("#live")
        assert "not begun" in tab.inner_text("#stages")
        assert browser.fits(tab)
        browser.keep_picture(tab, f"progress-{'-'.join(options)}")


def test_the_page_of_a_run_of_nothing(chromium: Browser, tmp_path: Path) -> None:
    run = Folder(str(tmp_path / "run"))
    run.write("webtext.toml", b"# Settings digest: 0\n")
    with shown(chromium, run) as tab:
        assert tab.inner_text("#stages").count("not begun") == len(STAGES) - 1
        assert "No build is at work" in tab.inner_text("#live")
