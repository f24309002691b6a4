"""The demo's web server: answers over real HTTP, manners that can be checked, an end that is an end."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from webtext.demo.server import Server, serve
from webtext.demo.site import build_site
from webtext.demo.web import Kind, Page, Response, Site

SMALL = Site.of([Page("a.example", "/", Kind.ARTICLE, Response(body=b"Hello"))])
PARENT = """
import sys, time
from webtext.demo.server import serve
from webtext.demo.web import Kind, Page, Response, Site
with serve(Site.of([Page("a.example", "/", Kind.ARTICLE, Response())])) as server:
    print(server.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def site() -> Site:
    return build_site(60)


@pytest.fixture(scope="module")
def server(site: Site) -> Iterator[Server]:
    with serve(site) as server:
        yield server


async def get(
    server: Server, host: str, path: str, timeout_s: float = 10.0
) -> tuple[int, dict[str, str], bytes]:
    url = URL(f"http://{server.address}{path}", encoded=True)
    limit = aiohttp.ClientTimeout(total=timeout_s)
    async with (
        aiohttp.ClientSession(timeout=limit, auto_decompress=False) as session,
        session.get(url, headers={"Host": host}, allow_redirects=False) as answer,
    ):
        return answer.status, dict(answer.headers), await answer.read()


def ended(pid: int, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_every_page_answers_as_the_site_says(site: Site, server: Server) -> None:
    async def check(page: Page) -> None:
        status, headers, body = await get(server, page.host, page.path)
        assert (status, body) == (page.response.status, page.response.body), page.url
        assert headers.items() >= dict(page.response.headers).items(), page.url

    async def check_all() -> None:
        pages = [page for page in site.pages.values() if page.kind is not Kind.ENDLESS]
        await asyncio.gather(*map(check, pages))

    asyncio.run(check_all())


def test_hosts_without_a_robots_txt_answer_404(server: Server) -> None:
    status, _, _ = asyncio.run(get(server, "stdlib.example", "/robots.txt"))
    assert status == 404


def test_pages_are_known_by_other_spellings(site: Site, server: Server) -> None:
    page = next(page for page in site.linked if page.kind is Kind.ARTICLE and "&" in page.path)
    place, _, query = page.path.partition("?")
    turned = "&".join(reversed(query.split("&")))
    host = f"www.{page.host.removeprefix('www.')}:80".upper()
    status, _, body = asyncio.run(get(server, host, f"{place}?{turned}&utm_source=reddit"))
    assert (status, body) == (200, page.response.body)


def test_the_story_without_end_meets_a_deadline(server: Server) -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(get(server, "broken.example", "/story-without-end", timeout_s=0.8))


def test_the_slow_host_is_slow(site: Site, server: Server) -> None:
    page = next(page for page in site.linked if page.kind is Kind.SLOW)
    start = time.monotonic()
    asyncio.run(get(server, page.host, page.path))
    assert 1.0 <= time.monotonic() - start < 4.0


def test_requests_are_logged(server: Server) -> None:
    before = len(server.accesses())
    asyncio.run(get(server, "pydocs.example", "/nowhere?x=1"))
    (access,) = server.accesses()[before:]
    assert (access.host, access.path, access.status) == ("pydocs.example", "/nowhere?x=1", 404)
    assert abs(access.at - time.time()) < 10


def test_all_names_resolve_to_one_address(site: Site, server: Server) -> None:
    assert set(site.hosts) < set(server.resolve)
    assert set(server.resolve.values()) == {server.address}
    assert {"codeweekly.example", "www.codeweekly.example", "www.pydocs.example"} < set(server.resolve)


def test_the_server_ends_with_its_context_and_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    with serve(SMALL) as server:
        assert asyncio.run(get(server, "a.example", "/"))[2] == b"Hello"
    assert ended(server.pid)
    assert not server.log.exists()
    assert capfd.readouterr() == ("", "")


def test_the_server_ends_with_its_parent_however_that_dies() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=Path(__file__).parents[1], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not ended(pid, within_s=0.2)
        os.kill(parent.pid, signal.SIGKILL)
    assert ended(pid)
