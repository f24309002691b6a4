"""What the hostile web sends: the bytes for each kind of host and page, and what follows them.

Pure: an answer is a description that the server carries out. All that is large is repeated, so that a bomb of
1 GB costs as little as a page.
"""

import gzip
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from enum import Enum, auto
from functools import lru_cache

from tests.hostile_pages import (
    LARGE_CRAWL_DELAY_S,
    LATER,
    LONG_PAUSE_S,
    NUM_BEFORE_DYING,
    PRIVATE_PREFIX,
    SMALL_CRAWL_DELAY_S,
    Entry,
    Host,
    Page,
    Web,
    rules_host,
)

BOMB_BYTES = 1 << 30  # unpacked
_PAUSE_S = 1
_DRIP_S = 0.1
_BOMB_CRC = 0x77E0D1C5  # of the bomb unpacked
_ENDLESS = 1 << 62
_WORDS = (
    "The web is older than most of its readers and younger than most of its writers. "
    "A page that was there yesterday may be gone today, and come back tomorrow at another address. "
)
_RULES = f"User-agent: *\nDisallow: {PRIVATE_PREFIX}\n"
_PDF = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n"
_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU" * 20
_HTML = "text/html; charset=utf-8"


class Then(Enum):
    """What follows the last byte."""

    KEEP = auto()  # the next request
    CLOSE = auto()
    RESET = auto()
    HANG = auto()  # nothing, ever


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request is answered with: first, then repeated so many times, then last.

    Attributes:
        status: As the log has it; 0 where it is no HTTP status.
        first: Bytes that are sent at once.
        repeated: Bytes that are sent again and again.
        times: How often.
        interval_s: Seconds between.
        last: Bytes that end it.
        then: What becomes of the connection.
        pause_s: For how long nothing more may be asked of the host (Retry-After); 0 where it does not say.
    """

    status: int
    first: bytes = b""
    repeated: bytes = b""
    times: int = 0
    interval_s: float = 0.0
    last: bytes = b""
    then: Then = Then.KEEP
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, and what went before it."""

    host: str
    path: str
    num_before: int
    """How often the same page was asked before."""
    num_of_host: int
    """How many pages of the host were, robots.txt left out."""
    now: datetime
    port: int


def answer(web: Web, ask: Ask) -> Answer:
    """What a request is answered with; hosts and pages that are not of the web are not found."""
    kind = web.hosts.get(ask.host)
    if kind is None:
        return _http(404, b"no such host")
    if kind is Host.SILENT:
        return Answer(0, then=Then.HANG)
    if ask.path.startswith("/rules/"):
        return _http(200, _RULES.encode(), "text/plain")
    if ask.path == "/robots.txt":
        return _robots(web, kind, ask)
    if kind is Host.OVERLOADED:
        return _later(429, str(LONG_PAUSE_S), LONG_PAUSE_S)
    if kind is Host.DYING and ask.num_of_host >= NUM_BEFORE_DYING:
        return Answer(0, then=Then.RESET)
    entry = web.pages.get((ask.host, ask.path))
    if entry is None:
        return _http(404, b"no such page")
    if entry.kind in LATER and ask.num_before == 0:
        return _first_answer(entry.kind, ask)
    if entry.target:
        status = (301, 302, 303, 307, 308)[zlib.crc32(ask.path.encode()) % 5]
        return _http(status, b"moved", Location=entry.target.replace("{port}", str(ask.port)))
    return _PAGES.get(entry.kind, _good)(entry)


# --- robots.txt -------------------------------------------------------------------------------------------


def _robots(web: Web, kind: Host, ask: Ask) -> Answer:
    if kind is Host.ROBOTS_RESET:
        return Answer(0, then=Then.RESET)
    if kind is Host.ROBOTS_ENDLESS:
        head = _head(200, {"Content-Type": "text/plain", "Transfer-Encoding": "chunked"})
        return Answer(200, head + _chunk(_RULES.encode()), _chunk(b"# and so on\n" * 4096), _ENDLESS)
    if kind is Host.ROBOTS_503:
        return _http(503, b"come back later")
    if kind is Host.ROBOTS_FORBIDDEN:
        return _http(403, b"no")
    location = {
        Host.ROBOTS_MOVED: "/rules/robots.txt",
        Host.ROBOTS_AWAY: f"http://{rules_host(list(web.hosts))}/rules/{ask.host}.txt",
        Host.ROBOTS_IN_CIRCLES: "/robots.txt",
        Host.ROBOTS_PRIVATE: f"http://127.0.0.66:{ask.port}/robots.txt",
    }.get(kind)
    if location:
        return _http(302, b"moved", Location=location)
    if kind is Host.ROBOTS_HTML:
        return _http(200, _text(ask.host))
    rules = _ROBOTS.get(kind)
    return _http(200, rules.encode(), "text/plain") if rules else _http(404, b"no rules")


_ROBOTS: Mapping[Host, str] = {
    Host.ALLOWING: "User-agent: *\nDisallow:\n",
    Host.DISALLOWING: _RULES,
    Host.NAMING: f"User-agent: *\nDisallow: /\n\nUser-agent: WebText\nDisallow: {PRIVATE_PREFIX}\n",
    Host.CRAWL_DELAY: f"User-agent: *\nCrawl-delay: {SMALL_CRAWL_DELAY_S}\n",
    Host.CRAWL_DELAY_LONG: f"User-agent: *\nCrawl-delay: {LARGE_CRAWL_DELAY_S:.0f}\n",
}


# --- pages ------------------------------------------------------------------------------------------------


def _good(entry: Entry) -> Answer:
    return _http(200, _text(entry.url))


def _gzipped(entry: Entry) -> Answer:
    return _http(200, _packed(_text(entry.url)), Content_Encoding="gzip")


def _chunked(entry: Entry) -> Answer:
    head = _head(200, {"Content-Type": _HTML, "Transfer-Encoding": "chunked"})
    text = _text(entry.url)
    half = len(text) // 2
    return Answer(200, head + _chunk(text[:half]), last=_chunk(text[half:]) + _chunk(b""))


def _chunk_missing(entry: Entry) -> Answer:
    head = _head(200, {"Content-Type": _HTML, "Transfer-Encoding": "chunked"})
    return Answer(200, head + _chunk(_text(entry.url)), then=Then.CLOSE)


def _other_length(difference: int, rest: bytes = b"") -> Callable[[Entry], Answer]:
    def make(entry: Entry) -> Answer:
        body = _text(entry.url)
        head = _head(200, {"Content-Type": _HTML, "Content-Length": str(len(body) + difference)})
        return Answer(200, head + body + rest, then=Then.CLOSE)

    return make


def _without_length(entry: Entry) -> Answer:
    head = _head(200, {"Content-Type": _HTML, "Connection": "close"})
    return Answer(200, head + _text(entry.url), then=Then.CLOSE)


def _with(
    body: bytes | None = None, status: int = 200, content_type: str = _HTML, **headers: str
) -> Callable[[Entry], Answer]:
    """An answer with this body, or the page's own."""

    def make(entry: Entry) -> Answer:
        return _http(status, _text(entry.url) if body is None else body, content_type, **headers)

    return make


def _encoded(encoding: str, declared: str) -> Callable[[Entry], Answer]:
    def make(entry: Entry) -> Answer:
        text = _text(entry.url).replace(b"older", "älter, ".encode() + "старше".encode())
        return _http(200, text.decode().encode(encoding, "replace"), f"text/html; charset={declared}")

    return make


def _meta(words: str) -> Callable[[Entry], Answer]:
    def make(entry: Entry) -> Answer:
        return _http(200, _text(entry.url, f'<META content="{words}" name=Robots>'))

    return make


def _twice(declared: str) -> Callable[[Entry], Answer]:
    def make(entry: Entry) -> Answer:
        return _http(200, _packed(_packed(_text(entry.url))), Content_Encoding=declared)

    return make


def _torn(entry: Entry) -> Answer:
    packed = _packed(_text(entry.url))
    return _http(200, packed[: len(packed) // 2], Content_Encoding="gzip")


def _endless_chunks(_: Entry) -> Answer:
    head = _head(200, {"Content-Type": _HTML, "Transfer-Encoding": "chunked"})
    return Answer(200, head, _chunk(_WORDS.encode() * 300), _ENDLESS)


def _endless_length(_: Entry) -> Answer:
    head = _head(200, {"Content-Type": _HTML, "Content-Length": str(10**15)})
    return Answer(200, head, _WORDS.encode() * 300, _ENDLESS)


def bomb(_: Entry | None = None) -> Answer:
    """A gigabyte in a megabyte, RFC 1952: one flushed block of deflate, a thousand times."""
    block = _bomb_block()
    times = BOMB_BYTES >> 20
    first = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    last = b"\x03\x00" + struct.pack("<II", _BOMB_CRC, BOMB_BYTES & 0xFFFFFFFF)
    length = len(first) + len(block) * times + len(last)
    head = _head(200, {"Content-Type": _HTML, "Content-Encoding": "gzip", "Content-Length": str(length)})
    return Answer(200, head + first, block, times, last=last)


@lru_cache(maxsize=1)
def _bomb_block() -> bytes:
    """A megabyte of words, packed so that the same bytes may follow."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(b"boom" * (1 << 18)) + packer.flush(zlib.Z_FULL_FLUSH)


def _drip(_: Entry) -> Answer:
    head = _head(200, {"Content-Type": _HTML, "Content-Length": "100000"})
    return Answer(200, head + b"<p>Once", b".", _ENDLESS, _DRIP_S)


def _header_lines(_: Entry) -> Answer:
    return Answer(200, b"HTTP/1.1 200 OK\r\n", b"X-Flood: and so on and so on\r\n" * 100, _ENDLESS)


def _header_line(_: Entry) -> Answer:
    return Answer(200, b"HTTP/1.1 200 OK\r\nX-Flood: ", b"and so on " * 1000, _ENDLESS)


def _raw(*, body: bytes = b"", then: Then = Then.CLOSE) -> Callable[[Entry], Answer]:
    return lambda _: Answer(0, body, then=then)


def _no_content(_: Entry) -> Answer:
    return Answer(204, _head(204, {}))


_PAGES: Mapping[Page, Callable[[Entry], Answer]] = {
    Page.GZIPPED: _gzipped,
    Page.CHUNKED: _chunked,
    Page.LATIN_1: _encoded("latin-1", "iso-8859-1"),
    Page.WRONG_CHARSET: _encoded("cp1251", "utf-8"),
    Page.COOKIES: _with(Set_Cookie="session=4711; Path=/; HttpOnly"),
    Page.NO_TYPE: _with(content_type=""),
    Page.SAME_PAYLOAD: _with(b"<html><title>Parked</title><p>This domain is for sale."),
    Page.TAG_FOR_OTHERS: _with(X_Robots_Tag="otherbot: noindex"),
    Page.LENGTH_TOO_SMALL: _other_length(0, b"and more of it, which nobody announced"),
    Page.CLOSED_WITHOUT_LENGTH: _without_length,
    Page.ENDLESS_CHUNKED: _endless_chunks,
    Page.ENDLESS_LENGTH: _endless_length,
    Page.BOMB: bomb,
    Page.MOVED_NOWHERE: _with(b"moved", 301),
    Page.TAG_NOINDEX: _with(X_Robots_Tag="noarchive, NoIndex"),
    Page.TAG_NOAI: _with(X_Robots_Tag="webtext: noai"),
    Page.META_NOINDEX: _meta("nofollow,NOINDEX"),
    Page.META_NOAI: _meta("noai, noimageai"),
    Page.NOT_FOUND: _with(b"<p>not here</p>", 404),
    Page.GONE: _with(b"<p>not any more</p>", 410),
    Page.CRASHED: _with(b"<p>oops</p>", 500),
    Page.NO_CONTENT: _no_content,
    Page.PDF: _with(_PDF, content_type="application/pdf"),
    Page.NO_TYPE_BINARY: _with(_PNG, content_type=""),
    Page.BINARY_AS_HTML: _with(_PNG),
    Page.TWICE_GZIPPED: _twice("gzip"),
    Page.SAYS_TWICE_GZIPPED: _twice("gzip, gzip"),
    Page.TORN_GZIP: _torn,
    Page.NOT_GZIPPED: _with(Content_Encoding="gzip"),
    Page.LENGTH_TOO_LARGE: _other_length(1000),
    Page.CHUNK_MISSING: _chunk_missing,
    Page.HTTP_09: _raw(body=b"<html><p>HTTP was simpler once.</p></html>\n" * 20),
    Page.GARBAGE: _raw(body=bytes(range(128, 256)) * 8),
    Page.EMPTY: _raw(),
    Page.RESET: _raw(then=Then.RESET),
    Page.STUCK: _raw(then=Then.HANG),
    Page.DRIP: _drip,
    Page.HEADER_LINES: _header_lines,
    Page.HEADER_LINE: _header_line,
}


# --- asking for patience ----------------------------------------------------------------------------------


def _first_answer(kind: Page, ask: Ask) -> Answer:
    if kind is Page.LATER_429_DATE:
        at = ask.now.replace(microsecond=0) + timedelta(seconds=_PAUSE_S + 1)
        return _later(429, format_datetime(at, usegmt=True), (at - ask.now).total_seconds())
    if kind in (Page.LATER_429, Page.LATER_503):
        return _later(429 if kind is Page.LATER_429 else 503, str(_PAUSE_S), _PAUSE_S)
    return _http(429 if kind is Page.LATER_429_BARE else 503, b"later")


def _later(status: int, retry_after: str, pause_s: float) -> Answer:
    made = _http(status, b"later", Retry_After=retry_after)
    return Answer(status, made.first, pause_s=pause_s)


# --- bytes ------------------------------------------------------------------------------------------------


def _http(status: int, body: bytes, content_type: str = _HTML, **headers: str) -> Answer:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type:
        fields["Content-Type"] = content_type
    return Answer(status, _head(status, {**fields, "Content-Length": str(len(body))}) + body)


def _head(status: int, fields: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} As it is\r\n{lines}\r\n".encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _packed(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


def _text(name: str, extra: str = "") -> bytes:
    """A page of its own for every name."""
    number = zlib.crc32(name.encode())
    sentences = _WORDS * (2 + number % 9)
    return (
        f"<!DOCTYPE html><html><head><title>Page {number}</title>{extra}</head>"
        f"<body><h1>{name}</h1><p>{sentences}</p></body></html>"
    ).encode()
