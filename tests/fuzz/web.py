"""What the web answers: addresses, robots.txt, whole HTTP answers, their fields, content codings."""

import asyncio
import gzip
import io
import zlib
from collections.abc import Coroutine
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pyarrow as pa

from pipeline.canonical import canonical, key_of
from pipeline.config import FetchSettings, UrlSettings
from pipeline.fetch import ledger
from pipeline.fetch.cdxj import surt
from pipeline.fetch.client import Client, guard
from pipeline.fetch.coding import CodingError, Decoder
from pipeline.fetch.exchange import Exchange, Headers, Response
from pipeline.fetch.politeness import is_throttled, retry_after_s
from pipeline.fetch.response import judge, media_type, redirect_target
from pipeline.fetch.robots import of_response
from pipeline.fetch.tags import barred_by_header
from pipeline.fetch.warc import WarcSink
from pipeline.hashing_sink import HashingSink
from pipeline.hosts import is_private_host
from pipeline.urls import parse
from pipeline.wrappers import is_shortener, unwrap
from tests.fuzz.target import Target, as_text

_NOW = datetime(2020, 1, 1, tzinfo=UTC)
_WORDS = ("noindex", "noai", "none")
_LAX = UrlSettings(drop_trackers=False, drop_session_ids=False, drop_amp=False, drop_mobile=False)
_FETCH = FetchSettings(contact="https://example.org/")


def addresses(data: bytes) -> bool:
    """A URL as somebody has submitted it, to its key and to whether it is asked for at all."""
    text = as_text(data)
    is_private_host(text)
    surt(text)
    url = parse(text)
    if url is None:
        return False
    target = unwrap(url)
    for one in (url, target):
        assert parse(one.href) == one, "what was parsed is its own form"
        assert key_of(canonical(one, _LAX))
        assert one.key
        assert one.domain
    is_shortener(target.host)
    guard(target, _FETCH)
    return True


def robots_txt(data: bytes) -> bool:
    """A robots.txt, and what it says of some addresses."""
    rules = of_response(200, data)
    for url in (
        "https://example.com/",
        "https://example.com/a/b.html?c=%C3%A9&d=*",
        "https://example.com/ä$",
    ):
        refusal = rules.refusal(url, 30.0)
        rules.decision(refusal)
    assert rules.crawl_delay_s >= 0
    return rules.rules is not None


def http_fields(data: bytes) -> bool:
    """A status, header fields and a body: kept, followed, or refused, and how long to wait."""
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = Headers(tuple(line.partition(": ")[::2] for line in lines))
    code = int(status[:3]) if status[:3].isascii() and status[:3].isdecimal() else 200
    judge(Response("HTTP/1.1 200 OK", 200, headers, body, truncated=False), _WORDS)
    judge(Response(f"HTTP/1.1 {code}", code, headers, body, truncated=False), _WORDS)
    barred_by_header(headers, _WORDS)
    media_type(headers.get("content-type"))
    is_throttled(code, headers)
    wait_s = retry_after_s(headers, _NOW)
    assert wait_s is None or wait_s >= 0
    redirect_target("https://example.com/a/b?c", headers.get("location"))
    return True


def content_codings(data: bytes) -> bool:
    """A body in one of the codings, in pieces: nothing is unpacked beyond the limit."""
    coding = ("gzip", "deflate", "x-gzip", "identity")[(data[0] if data else 0) % 4]
    size = 1 + (data[1] if len(data) > 1 else 0)
    decoder = Decoder(coding, 50_000)
    try:
        for at in range(2, len(data), size * 17):
            decoder.feed(data[at : at + size * 17])
    except CodingError:
        return False
    finally:
        assert len(decoder.body) <= 50_000
    return decoder.ended or decoder.truncated


class _Server:
    """Answers every connection with the same bytes, on a loop that stays open for the next ones."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.answer = b""
        self._num_asked = 0
        self._client: Client | None = None
        self._run(self._start())

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    async def _start(self) -> None:
        server = await asyncio.start_server(self._serve, "0.0.0.0", 0)  # noqa: S104 (127.0.0.* are many)
        port = server.sockets[0].getsockname()[1]
        # Addresses take turns, as a connection that was closed keeps its place for a minute.
        hosts = {f"h{number}.example": f"127.0.0.{number + 2}:{port}" for number in range(200)}
        settings = FetchSettings(resolve=hosts, timeout_s=10, max_bytes=50_000)
        self._client = await Client(settings).__aenter__()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.answer)
        writer.close()

    def exchange(self, answer: bytes) -> object:
        """What the client makes of these bytes on the wire."""
        self.answer = answer
        self._num_asked += 1
        url = parse(f"http://h{self._num_asked % 200}.example/page")
        assert url is not None
        assert self._client is not None
        return self._run(self._client.get(url, lambda _status, _headers: 50_000, keep_alive=False))


@cache
def _server() -> _Server:
    return _Server()


def http_answers(data: bytes) -> bool:
    """Bytes on the wire, from a real server to the ledger and the WARC file."""
    got = _server().exchange(data)
    if not isinstance(got, Exchange):
        return False
    answer = got.response
    assert len(answer.body) <= 50_000
    judge(answer, _WORDS)
    redirect_target(got.url, answer.headers.get("location"))
    sink = WarcSink(HashingSink(io.BytesIO()), "a.warc.gz", date=_NOW, info={})
    place = sink.response(got.url, got.date, answer)
    sink.cdxj()
    entry = ledger.fetched(
        "0" * 32, got.url, answer, source="web", final_url=got.url, redirects=0, fetched=_NOW
    )
    assert isinstance(ledger.table([ledger.placed(entry, "a.warc.gz", place)]), pa.Table)
    return True


_PAGE = b'<html><head><title>A</title><meta name="robots" content="NoIndex, follow"></head><p>text</p></html>'


def _addresses() -> tuple[bytes, ...]:
    return (
        b"https://www.example.com/a/b.html?utm_source=x&id=1&amp;b=2#!page",
        "http://user:word@B\u00fccher.example:8080/%7Ea/(S(lit3py55t21z5v55vlm25s55))/;jsessionid=1?m=1".encode(),
        b"https://out.reddit.com/t3_a?url=https%3A%2F%2Fwww.google.com%2Furl%3Fq%3Dhttp%3A%2F%2Fexample.com%2F",
        b"https://www-example-com.cdn.ampproject.org/c/s/m.example.com/amp/x.amp.html",
        b"http://[2001:db8::1]:80/", b"http://0x7f.1/", b"https://web.archive.org/web/2015/http://example.com/",
    )  # fmt: skip


def _robots() -> tuple[bytes, ...]:
    return (
        b"User-agent: *\nDisallow: /a\nAllow: /a/b*.html$\nCrawl-delay: 2.5\nSitemap: https://example.com/s.xml\n",
        b"\xef\xbb\xbfuser-agent: webtext\r\nuser-agent: other\r\nrequest-rate: 1/10m 0800-1200\r\n# remark",
        b"user-agent: webtext\ndisallow: /%C3%A9\r\nvisit-time: 0100-0500\nhost: example.com\n",
    )


def _fields() -> tuple[bytes, ...]:
    return (
        b"200\r\ncontent-type: text/html; charset=utf-8\r\nx-robots-tag: webtext: noai, noindex\r\n\r\n"
        + _PAGE,
        b"302\r\nlocation: ../other?a=b#c\r\nretry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n",
        b"429\r\nretry-after: 120\r\ndate: Wed, 21 Oct 2015 07:00:00 GMT\r\n\r\n",
    )


def _on_the_wire() -> tuple[bytes, ...]:
    packed = gzip.compress(_PAGE, mtime=0)
    length = str(len(packed)).encode()
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(_PAGE), _PAGE),
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: " + length + b"\r\n\r\n" + packed,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<p>te\r\n2;x=y\r\nxt\r\n0\r\n\r\n",
        b"HTTP/1.0 301 Moved\r\nLocation: //example.com/\xe9\r\nConnection: keep-alive\r\n\r\n",
    )


def _coded() -> tuple[bytes, ...]:
    text = _PAGE * 900
    member = gzip.compress(_PAGE, mtime=0)
    raw = zlib.compressobj(9, wbits=-15)
    return (
        b"\0\x07" + gzip.compress(text, mtime=0), b"\2\xff" + member + member + b"rest",
        b"\1\x01" + zlib.compress(text), b"\1\x20" + raw.compress(_PAGE) + raw.flush(), b"\3\x02" + _PAGE,
    )  # fmt: skip


_NAMES = (
    *b"location: retry-after: x-robots-tag: date: set-cookie: connection: </head <!-- --> text/html".split(),
    *b"content-type: content-encoding: content-length: transfer-encoding: chunked gzip HTTP/1.1".split(),
    *b"noindex unavailable_after: <meta \r\n\r\n".split(b" "),
    *(b"deflate, gzip", b"<meta name=robots content=", b"HTTP/1.1 ", b"HTTP/1.1 101 Switching\r\n"),
    *(b"HTTP/1.1 100 Continue\r\n\r\n", b"Upgrade: websocket\r\n", b"ffffffff\r\n", b"<meta "),
)
_IN_ADDRESSES = (
    *b"http:// https: javascript: xn-- &amp; &amp;amp; %2F %25 ..; [::1] 127.0.0.1 2130706433 .m.".split(),
    *"www. /amp ?url= :// \u3002 \u00ad &lt;".encode().split(),
)
_IN_ROBOTS = (
    *b"user-agent: disallow: allow: crawl-delay: request-rate: sitemap: visit-time: webtext 1/0 1/5s".split(),
    *b"0/1 2400-2500 inf nan /*a %E9 -1 1e400".split(),
)

TARGETS = (
    Target(addresses, _addresses, _IN_ADDRESSES),
    Target(robots_txt, _robots, _IN_ROBOTS),
    Target(http_fields, _fields, _NAMES),
    Target(http_answers, _on_the_wire, _NAMES),
    Target(content_codings, _coded),
)
