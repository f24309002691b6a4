"""Stories, raw pages and clusters in a real browser; and that a page which tries everything gets nowhere."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser, Dialog, Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from pipeline.canonical import key_of
from pipeline.inspector.catalogue.catalogue import Catalogue
from pipeline.inspector.document.harmless import harmless
from pipeline.inspector.web import raw_page
from pipeline.runs import Folder
from tests.browser import browsing, fits, keep_picture, page_of, serving
from tests.hostile_documents import COPIES, HOSTILE, ODD, RIGHT_TO_LEFT, SHORT, build_hostile, hostile_page
from tests.inspected import inspecting


class Trap(socketserver.ThreadingTCPServer):
    """Notes who connects, and what for: the path that is asked for, or nothing."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Trapped)
        self.hits: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


class _Trapped(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Trap)
        line = self.rfile.readline(500).decode(errors="replace").split(" ")
        self.server.hits.append(line[1] if len(line) > 1 else "a connection")
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nAccess-Control-Allow-Origin: *\r\n\r\n")


@pytest.fixture(scope="module")
def trap() -> Iterator[Trap]:
    with Trap() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def hits(trap: Trap) -> list[str]:
    """What came to the trap in this test."""
    trap.hits.clear()
    return trap.hits


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, trap: Trap) -> Folder:
    return build_hostile(tmp_path_factory.mktemp("hostile"), trap.address)


@pytest.fixture(scope="module")
def address(run: Folder) -> Iterator[str]:
    with inspecting(run) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


def story_of(url: str) -> str:
    return f"/documents/{key_of(url.removeprefix('https://')).hex()}"


# ---- what a hostile page gets


@dataclass(slots=True)
class Visit:
    """A page that is watched."""

    page: Page
    dialogs: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # pages and downloads that it opened

    def marks(self) -> list[object]:
        """What scripts of the hostile page leave, wherever they run."""
        left: list[object] = self.page.evaluate(
            "[document.title === 'ran', window.name,"
            " (() => { try { return localStorage.ran } catch {} })() ?? null]"
        )
        return [*left, self.dialogs, self.others]


NOTHING: list[object] = [False, "", None, [], []]


@contextmanager
def visiting(browser: Browser, address: str) -> Iterator[Visit]:
    """A page, and whatever it opens, told from what people see of it."""
    context = browser.new_context()
    visit = Visit(context.new_page())
    context.on("page", lambda page: visit.others.append(page.url))

    def dismiss(dialog: Dialog) -> None:
        visit.dialogs.append(dialog.message)
        dialog.dismiss()

    visit.page.on("dialog", dismiss)
    visit.page.on("download", lambda download: visit.others.append(download.url))
    try:
        visit.page.goto(address)
        visit.page.wait_for_timeout(700)
        yield visit
    finally:
        context.close()


@contextmanager
def plainly(html: str) -> Iterator[str]:
    """Serves a page as it is, with no policy."""

    def page(_: Request) -> Response:
        return HTMLResponse(html)

    with serving(Starlette(routes=[Route("/{path:path}", page)])) as address:
        yield address


def test_the_trap_catches_what_is_not_held_back(browser: Browser, trap: Trap, hits: list[str]) -> None:
    html = hostile_page(trap.address).replace("top.location", "var a")
    with plainly(html) as address, visiting(browser, address):
        pass
    assert {"/script.js", "/a.css", "/img.png", "/fetch", "/refresh"} <= set(hits)
    assert len(set(hits)) > 15


def test_a_hostile_page_does_nothing(browser: Browser, address: str, hits: list[str]) -> None:
    with visiting(browser, address + story_of(HOSTILE)) as visit:
        page = visit.page
        page.locator("iframe.page").scroll_into_view_if_needed()
        frame = page.frame_locator("iframe.page")
        assert frame.locator("h1").inner_text() == "A page that means harm"
        for link in frame.locator("a").all():
            link.click(force=True)
            link.click(force=True, button="middle")
        frame.locator("body").press("Tab")
        frame.locator("body").press("Enter")
        page.wait_for_timeout(500)
        assert page.url == address + story_of(HOSTILE)
        assert visit.marks() == NOTHING
        assert [one.url for one in page.frames] == [page.url, f"{page.url}/page"]
        assert frame.locator("script, iframe, link, meta, form, svg, object, [href], [src]").count() == 0
        assert page.locator("h1").inner_text().startswith("</title><script>document.title='ran'")
        assert "<script>document.title='ran'" in page.locator(".story-text").inner_text()
        page.goto(f"{address}{story_of(HOSTILE)}/source")
        assert "⟦U+202E⟧" in page.locator(".source").inner_text()
        assert visit.marks() == NOTHING
    assert hits == []


def test_a_hostile_page_opened_by_itself_does_nothing(
    browser: Browser, address: str, hits: list[str]
) -> None:
    with visiting(browser, f"{address}{story_of(HOSTILE)}/page") as visit:
        assert visit.page.locator("h1").inner_text() == "A page that means harm"
        assert visit.page.url == f"{address}{story_of(HOSTILE)}/page"
        assert visit.marks()[:2] == NOTHING[:2]
    assert hits == []


def test_what_is_written_anew_does_nothing_without_a_policy(
    browser: Browser, trap: Trap, hits: list[str]
) -> None:
    with plainly(harmless(hostile_page(trap.address))) as address, visiting(browser, address) as visit:
        for link in visit.page.locator("a").all():
            link.click(force=True)
        assert visit.page.locator("h1").inner_text() == "A page that means harm"
        assert visit.marks() == NOTHING
    assert hits == []


def test_the_policy_holds_what_is_not_written_anew(
    browser: Browser, address: str, hits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No script, no request: only that a connection is made ahead of requests is in no policy's power."""
    monkeypatch.setattr(raw_page, "harmless", lambda html: html)
    for path in ("", "/page"):
        with visiting(browser, address + story_of(HOSTILE) + path) as visit:
            visit.page.mouse.click(300, 700)
            visit.page.wait_for_timeout(300)
            assert visit.page.url == address + story_of(HOSTILE) + path
            assert visit.marks()[:2] == NOTHING[:2]
            assert visit.marks()[3:] == NOTHING[3:]
    assert set(hits) <= {"a connection"}


def test_other_pages_may_not_frame_it(browser: Browser, address: str) -> None:
    with (
        plainly(f"<iframe src='{address}{story_of(HOSTILE)}/page'></iframe>") as elsewhere,
        visiting(browser, elsewhere) as visit,
    ):
        assert len(visit.page.frames) == 2
        assert all("A page that means harm" not in frame.content() for frame in visit.page.frames)


# ---- what people see


@pytest.mark.parametrize("url", [HOSTILE, RIGHT_TO_LEFT, COPIES[0], SHORT])
def test_a_story_in_the_browser(browser: Browser, address: str, url: str) -> None:
    name = url.split("/")[2].partition(".")[0]
    for dark, phone in ((True, False), (False, True)):
        with page_of(browser, dark=dark, phone=phone) as page:
            page.goto(address + story_of(url))
            page.locator("iframe.page").scroll_into_view_if_needed()
            page.frame_locator("iframe.page").locator("body").wait_for()
            assert fits(page)
            page.evaluate("window.scrollTo(0, 0)")
            keep_picture(page, f"story-{name}-{'phone' if phone else 'desk'}")


def test_right_to_left_text_reads_from_the_right(browser: Browser, address: str) -> None:
    with page_of(browser) as page:
        page.goto(address + story_of(RIGHT_TO_LEFT))
        for place in ("h1", ".story-text"):
            direction = f"getComputedStyle(document.querySelector('{place}')).direction"
            assert page.evaluate(direction) == "rtl"
        assert page.frame_locator("iframe.page").locator("html").get_attribute("dir") == "rtl"


def test_tokens_together_are_the_text(browser: Browser, address: str, run: Folder) -> None:
    """And each tells its id, when it is pointed at or tapped."""
    texts = {
        row["url"]: row["text"]
        for path in Path(run.path("corpus")).glob("part-0000?.parquet")
        for row in pq.read_table(path).to_pylist()
    }
    with page_of(browser) as page:
        page.goto(f"{address}{story_of('https://site1.example/page')}")
        spans = page.locator(".tokens span")
        shown = "".join(spans.all_text_contents()).replace("⏎\n", "\n")
        assert shown == texts["https://site1.example/page"] + "<|endoftext|>"
        colours = {one.evaluate("one => getComputedStyle(one).backgroundColor") for one in spans.all()[:8]}
        assert len(colours) == 4
        spans.nth(4).hover()
        title = spans.nth(4).get_attribute("title")
        assert page.locator("#token").inner_text() == f"token 5: id {title}"
        spans.nth(6).click()
        spans.nth(4).hover()
        assert page.locator("#token").inner_text().startswith("token 7: id ")
        page.goto(f"{address}{story_of(ODD)}")
        odd = page.locator(".tokens .odd").all_text_contents()
        assert any(r"\x" in one for one in odd)


def test_a_cluster_by_the_keyboard(browser: Browser, address: str, run: Folder) -> None:
    with Catalogue(run) as catalogue:
        cluster = catalogue.rows("SELECT DISTINCT cluster FROM clusters")[0]["cluster"]
    with page_of(browser) as page:
        page.goto(f"{address}/clusters")
        keep_picture(page, "clusters")
        page.keyboard.press("j")
        with page.expect_navigation(url=f"**/clusters/{cluster}"):  # until its scripts have run
            page.keyboard.press("Enter")
        assert page.locator("mark").count() == 0  # the first one is the very same
        assert "Every word is the same" in page.locator("main").inner_text()
        with page.expect_navigation():
            page.keyboard.press("ArrowRight")
        page.locator(".left mark").first.wait_for()
        with page.expect_navigation():
            page.keyboard.press("ArrowRight")
        assert page.locator("#after").count() == 0
        assert 0 < len("".join(page.locator(".right mark").all_inner_texts()).split()) < 30
        with page.expect_navigation():
            page.keyboard.press("ArrowLeft")
        assert page.locator("#after").count() == 1
        page.locator(".here a", has_text=COPIES[1]).or_(
            page.locator(".here a", has_text=COPIES[2])
        ).wait_for()
        page.locator(".side.head a").nth(1).click()
        page.wait_for_url("**/documents/*")
        assert "rejected by dedupe" in page.locator("main").inner_text()
    for dark, phone in ((False, False), (True, False), (False, True)):
        with page_of(browser, dark=dark, phone=phone) as page:
            page.goto(f"{address}/clusters/{cluster}?with={key_of(COPIES[2].removeprefix('https://')).hex()}")
            assert fits(page)
            boxes = [page.locator(f".side.{side}").first.bounding_box() for side in ("left", "right")]
            left, right = (box["x"] for box in boxes if box is not None)
            assert (left == right) == phone  # one above the other, else side by side
            keep_picture(page, f"cluster{'-dark' if dark else '-phone' if phone else ''}")


def test_everything_is_there_without_javascript(browser: Browser, address: str) -> None:
    with page_of(browser, javascript=False) as page:
        page.goto(address + story_of(COPIES[2]))
        assert page.locator(".story-text").inner_text()
        assert page.frame_locator("iframe.page").locator("h1").inner_text() == "A page"
        page.get_by_role("link", name="compare").last.click()
        assert page.locator("mark").count() > 0
        page.get_by_role("link", name=COPIES[2]).first.click()
        page.get_by_role("link", name="as source, with headers").click()
        assert "<!DOCTYPE html>" in page.locator(".source").inner_text()
        assert "WARC-Target-URI" in page.locator("main").inner_text()
