"""fetch from the web, against a real server on loopback and checked by the server's own log."""

import asyncio
import gzip
import io
import socket
import tracemalloc
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fastwarc.warc import ArchiveIterator as FastIterator
from warcio.archiveiterator import ArchiveIterator

from pipeline.config import FetchSettings
from pipeline.errors import InputError
from pipeline.fetch.plan import plan
from pipeline.fetch.web import Group, crawl
from pipeline.runs import Counts
from pipeline.stages import Job
from tests.pipeline_fetch_site import Site, build, ledger, make_job, page, redirect, serving

A, B = "http://a.example.com", "http://b.example.org"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as served:
        yield served


def settings(site: Site, *hosts: str, **values: Any) -> FetchSettings:
    hosts = hosts or ("a.example.com", "b.example.org")
    usual = {"delay_s": 0.0, "timeout_s": 5.0, "tries": 1, "retry_wait_s": 0.0, "connections": 16}
    return FetchSettings(**{**usual, "resolve": site.resolve(*hosts), **values})


def fetch(root: Path, links: list[str], settings: FetchSettings) -> tuple[Job, dict[str, dict[str, Any]]]:
    """One part, without Beam."""
    job = make_job(root, [links], settings)
    crawl(job, Group(0, plan(job).parts))
    return job, ledger(job)


def raw_deflate(data: bytes) -> bytes:
    """Deflate without zlib's wrapping, as some servers send it."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def records(job: Job) -> list[tuple[str, str, bytes, bool | None]]:
    """The part's records as warcio reads them: type, URL, payload, whether the digests hold."""
    found = []
    data = io.BytesIO(job.folder.read("part-00000.warc.gz"))
    for record in ArchiveIterator(data, check_digests=True):
        url = record.rec_headers.get_header("WARC-Target-URI")
        payload = record.content_stream().read()
        found.append((record.rec_type, url, payload, record.digest_checker.passed))
    return found


def test_pages_and_failures_come_out_with_their_reasons(site: Site, tmp_path: Path) -> None:
    site.pages = {
        "a.example.com/good": page("<html>good</html>"),
        "a.example.com/plain": page("words", Content_Type="text/plain"),
        "a.example.com/pdf": page(b"%PDF-1.4", Content_Type="application/pdf"),
        "a.example.com/broken": page("sorry", 500),
        "a.example.com/odd": page("", 300),
        "a.example.com/noai": page(X_Robots_Tag="noai"),
        "a.example.com/other-bot": page(X_Robots_Tag="otherbot: noindex"),
    }
    names = ["good", "plain", "pdf", "missing", "broken", "odd", "noai", "other-bot"]
    job = make_job(tmp_path, [[f"{A}/{name}" for name in names], [f"{B}/missing"]], settings(site))
    manifest = build(job)
    rows = ledger(job)
    outcomes = {url.rpartition("/")[2]: row["outcome"] for url, row in rows.items()}
    assert outcomes == {
        "good": "fetched",
        "plain": "fetched",
        "pdf": "wrong_type",
        "missing": "http_4xx",
        "broken": "http_5xx",
        "odd": "http_other",
        "noai": "noindex",
        "other-bot": "fetched",
    }
    assert [rows[f"{A}/{name}"]["status"] for name in ("good", "missing", "broken")] == [200, 404, 500]
    rejected = {"http_4xx": 2, "http_5xx": 1, "http_other": 1, "noindex": 1, "wrong_type": 1}
    assert manifest.counts == Counts(9, 3, rejected)
    assert manifest.facts == {"pages": 3, "bytes": sum(row["bytes"] or 0 for row in rows.values())}
    assert {url for kind, url, _, _ in records(job) if kind == "response"} == {
        f"{A}/good",
        f"{A}/plain",
        f"{A}/other-bot",
    }
    assert build(job).encode() == manifest.encode()
    assert len(site.log) == 9 + 2  # and robots.txt of two hosts; the second run asked for nothing


def test_records_are_read_alike_by_others_and_found_by_ledger_and_index(site: Site, tmp_path: Path) -> None:
    body = "<html>" + "Zwölf Boxkämpfer. " * 500

    async def packed(_: web.BaseRequest) -> web.Response:
        answer = web.Response(text=body, content_type="text/html", headers={"X-Odd": "ü"})
        answer.enable_chunked_encoding()
        answer.enable_compression(web.ContentCoding.gzip)
        return answer

    site.pages = {
        "a.example.com/packed?b=2&A=1": packed,
        "b.example.org/go": redirect("/there"),
        "b.example.org/there": page("there"),
    }
    job, rows = fetch(tmp_path, [f"{A}/packed?b=2&A=1", f"{B}/go"], settings(site))
    whole = job.folder.read("part-00000.warc.gz")
    assert all(passed is not False for _, _, _, passed in records(job))
    assert [kind for kind, _, _, _ in records(job)].count("request") == 3
    for url, expected in ((f"{A}/packed?b=2&A=1", body.encode()), (f"{B}/go", b"there")):
        row = rows[url]
        member = whole[row["offset"] : row["offset"] + row["length"]]
        assert gzip.decompress(member).startswith(b"WARC/1.1\r\n")
        one = next(FastIterator(io.BytesIO(member), auto_decode="all", verify_digests=True))
        assert one.headers["WARC-Target-URI"] == row["final_url"]
        assert one.reader.read() == expected
        assert row["bytes"] == len(expected)
        assert (row["warc"], row["truncated"]) == ("part-00000.warc.gz", False)
    assert rows[f"{B}/go"]["final_url"] == f"{B}/there"
    (packed_record,) = [
        one
        for one in FastIterator(io.BytesIO(whole))
        if "packed" in (one.headers.get("WARC-Target-URI") or "") and one.headers["WARC-Type"] == "response"
    ]
    assert packed_record.http_headers["X-Archive-Orig-Content-Encoding"] == "gzip"
    lines = job.folder.read("part-00000.cdxj").decode().splitlines()
    assert lines == sorted(lines)
    assert [line.split(" ")[0] for line in lines] == [
        "com,example,a)/packed?a=1&b=2",
        "org,example,b)/go",
        "org,example,b)/there",
    ]
    assert f'"offset":"{rows[f"{B}/go"]["offset"]}"' in lines[2]
    assert '"status":"302"' in lines[1]


def test_a_domain_is_asked_one_thing_at_a_time_with_a_pause_between(site: Site, tmp_path: Path) -> None:
    async def slow(_: web.BaseRequest) -> web.Response:
        await asyncio.sleep(0.05)
        return web.Response(text="slow", content_type="text/html")

    hosts = ("www.example.com", "blog.example.com", "b.example.org", "c.example.net")
    for host in hosts:
        site.pages |= {f"{host}/{number}": slow for number in range(3)}
    site.pages["c.example.net/robots.txt"] = page(
        "User-agent: *\nCrawl-delay: 0.3", Content_Type="text/plain"
    )
    links = [f"http://{host}/{number}" for number in range(3) for host in hosts]
    _, rows = fetch(tmp_path, links, settings(site, *hosts, delay_s=0.1))
    assert all(row["outcome"] == "fetched" for row in rows.values())
    for domain, delay in (("example.com", 0.1), ("example.org", 0.1), ("example.net", 0.3)):
        asked = [one for one in site.log if one.host.endswith(domain)]
        pauses = [later.began - one.ended for one, later in pairwise(asked)]
        assert len(pauses) >= 3
        assert min(pauses) >= delay
    spans = [
        (min(o.began for o in site.log if o.host == h), max(o.ended for o in site.log if o.host == h))
        for h in hosts[2:]
    ]
    assert spans[0][0] < spans[1][1]
    assert spans[1][0] < spans[0][1], "other domains do not wait for each other"


def test_robots_txt_is_asked_once_a_host_and_obeyed_on_every_hop(site: Site, tmp_path: Path) -> None:
    rules = "User-agent: *\nDisallow: /\n\nUser-agent: webtext\nDisallow: /private\n"
    site.pages = {
        "a.example.com/robots.txt": page(rules, Content_Type="text/plain"),
        "a.example.com/open": page(),
        "a.example.com/private/1": page(),
        "b.example.org/robots.txt": redirect(f"{A}/rules.txt"),
        "a.example.com/rules.txt": page(rules, Content_Type="text/plain"),
        "b.example.org/hop": redirect(f"{A}/private/2"),
        "a.example.com/private/2": page(),
        "down.example.net/robots.txt": page("", 503),
        "down.example.net/": page(),
        "slow.example.net/robots.txt": page("User-agent: *\nCrawl-delay: 60", Content_Type="text/plain"),
        "slow.example.net/": page(),
    }
    hosts = ("a.example.com", "b.example.org", "down.example.net", "slow.example.net")
    links = [
        f"{A}/open",
        f"{A}/private/1",
        f"{B}/hop",
        "http://down.example.net/",
        "http://slow.example.net/",
    ]
    _, rows = fetch(tmp_path, links, settings(site, *hosts))
    assert {url: row["outcome"] for url, row in rows.items()} == {
        f"{A}/open": "fetched",
        f"{A}/private/1": "robots",
        f"{B}/hop": "robots",
        "http://down.example.net/": "robots_unreachable",
        "http://slow.example.net/": "crawl_delay",
    }
    assert rows["http://down.example.net/"]["detail"] == "robots.txt: HTTP 503"
    assert rows["http://slow.example.net/"]["detail"] == "60 s"
    assert sorted(site.paths("a.example.com")) == ["/open", "/robots.txt", "/rules.txt"]
    assert [site.paths(host) for host in hosts[1:]] == [
        ["/robots.txt", "/hop"],
        ["/robots.txt"] * 3,  # until it is given up
        ["/robots.txt"],
    ]
    assert {url: row["robots"] for url, row in rows.items()} == {
        f"{A}/open": "allowed",
        f"{A}/private/1": "disallowed",
        f"{B}/hop": "disallowed",
        "http://down.example.net/": "unreachable",
        "http://slow.example.net/": "allowed",
    }
    assert {one.user_agent for one in site.log} == {"webtext/0.1"}


def test_redirects_are_followed_to_their_end_and_no_further(site: Site, tmp_path: Path) -> None:
    site.pages = {f"a.example.com/{n}": redirect(f"/{n + 1}", 301) for n in range(8)}
    site.pages |= {
        "a.example.com/8": page("the end"),
        "a.example.com/ring": redirect("/ring2"),
        "a.example.com/ring2": redirect("/ring#part"),
        "a.example.com/mail": redirect("mailto:a@example.com"),
        "a.example.com/nowhere": page("", 302),
        "a.example.com/away": redirect("//b.example.org/page#part", 307),
        "b.example.org/page": page(),
    }
    links = [f"{A}/{name}" for name in ("3", "2", "ring", "mail", "nowhere", "away")]
    _, rows = fetch(tmp_path, links, settings(site))
    outcomes = {url.rpartition("/")[2]: (row["outcome"], row["detail"]) for url, row in rows.items()}
    assert outcomes == {
        "3": ("fetched", ""),
        "2": ("redirect_loop", "more than 5 redirects"),
        "ring": ("redirect_loop", f"back at {A}/ring#part"),
        "mail": ("bad_redirect", "mailto:a@example.com"),
        "nowhere": ("bad_redirect", "no location"),
        "away": ("fetched", ""),
    }
    assert rows[f"{A}/3"]["final_url"] == f"{A}/8"
    assert rows[f"{A}/away"]["final_url"] == f"{B}/page"
    assert site.paths("a.example.com").count("/8") == 1


def test_a_slow_drip_ends_at_the_deadline(site: Site, tmp_path: Path) -> None:
    async def drip(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/html"})
        await answer.prepare(request)
        while True:
            await answer.write(b"<p>")
            await asyncio.sleep(0.02)

    site.pages = {"a.example.com/drip": drip, "a.example.com/after": page()}
    _, rows = fetch(tmp_path, [f"{A}/drip", f"{A}/after"], settings(site, timeout_s=0.3))
    assert [rows[f"{A}/{name}"]["outcome"] for name in ("drip", "after")] == ["timeout", "fetched"]
    assert rows[f"{A}/drip"]["detail"] == "the body did not end within 0.3 s"


def test_long_bodies_are_cut_and_a_bomb_costs_no_memory(site: Site, tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(200_000_000), 9)
    site.pages = {
        "a.example.com/bomb": page(bomb, Content_Encoding="gzip"),
        "a.example.com/long": page("x" * 100_001),
        "a.example.com/full": page("x" * 100_000),
        "a.example.com/torn": page(gzip.compress(b"words" * 99)[:-4], Content_Encoding="gzip"),
        "a.example.com/bare": page(b"no gzip at all, but plain words", Content_Encoding="gzip"),
        "a.example.com/twice": page(gzip.compress(gzip.compress(b"words")), Content_Encoding="gzip"),
        "a.example.com/listed": page(gzip.compress(b"words"), Content_Encoding="gzip, gzip"),
        "a.example.com/raw": page(raw_deflate(b"words"), Content_Encoding="deflate"),
        "a.example.com/moved": page(b"no gzip", 301, Content_Encoding="gzip", Location="/full"),
    }
    names = ["bomb", "long", "full", "torn", "bare", "twice", "listed", "raw", "moved"]
    links = [f"{A}/{name}" for name in names]
    job = make_job(tmp_path, [links], settings(site, max_bytes=100_000))
    group = Group(0, plan(job).parts)
    tracemalloc.start()
    crawl(job, group)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30_000_000
    found = ledger(job)
    rows = [found[link] for link in links]
    outcomes = ["fetched"] * 3 + ["cut_short"] + ["bad_encoding"] * 3 + ["fetched"] * 2
    assert [row["outcome"] for row in rows] == outcomes
    assert [row["truncated"] for row in rows[:3]] == [True, True, False]
    assert [row["bytes"] for row in rows[:4]] == [100_000, 100_000, 100_000, None]
    marks = {
        one.headers["WARC-Target-URI"]: one.headers.get("WARC-Truncated")
        for one in FastIterator(io.BytesIO(job.folder.read("part-00000.warc.gz")))
        if one.headers["WARC-Type"] == "response"
    }
    assert marks.pop(f"{A}/raw") is marks.pop(f"{A}/moved") is None
    assert marks == {f"{A}/bomb": "length", f"{A}/long": "length", f"{A}/full": None}
    assert all(passed is not False for _, _, _, passed in records(job))


def test_where_no_header_says_the_type_the_first_bytes_do(site: Site, tmp_path: Path) -> None:
    def untyped(body: bytes) -> Any:
        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            transport = request.transport
            assert isinstance(transport, asyncio.Transport)
            head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            transport.write(head % len(body) + body)
            transport.close()  # or aiohttp's own answer would be taken for the next request's
            return web.Response()

        return handler

    site.pages = {
        "a.example.com/text": untyped(b"<html>words</html>"),
        "a.example.com/picture": untyped(b"\x89PNG\r\n\x1a\n\x00\x00"),
    }
    links = [f"{A}/text", f"{A}/picture"]
    _, rows = fetch(tmp_path, links, settings(site))
    assert [rows[link]["outcome"] for link in links] == ["fetched", "wrong_type"]


def test_failures_of_the_connection_have_reasons_of_their_own(site: Site, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{unused.getsockname()[1]}"
        table = {**site.resolve("a.example.com"), "closed.example.org": closed}

        async def hang_up(request: web.BaseRequest) -> web.Response:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        site.pages = {"a.example.com/gone": hang_up}
        links = ["https://a.example.com/", "http://closed.example.org/", f"{A}/gone"]
        _, rows = fetch(tmp_path, links, settings(site, resolve=table))
    assert [rows[link]["outcome"] for link in links] == ["tls", "connect", "protocol"]


def test_the_public_web_is_not_asked_without_a_contact(site: Site, tmp_path: Path) -> None:
    site.pages = {"a.example.com/out": redirect("http://example.net/")}
    with pytest.raises(InputError, match=r"fetch\.contact is empty.*b\.example\.org.*contact = "):
        plan(make_job(tmp_path / "1", [[f"{A}/out"], [f"{B}/"]], settings(site, "a.example.com")))
    _, rows = fetch(tmp_path / "2", [f"{A}/out"], settings(site, "a.example.com"))
    (row,) = rows.values()
    assert (row["outcome"], row["detail"]) == (
        "private_address",
        "not in fetch.resolve, and no fetch.contact is set",
    )
