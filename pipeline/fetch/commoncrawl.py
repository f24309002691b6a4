"""Common Crawl as an archive: an index a crawl for captures, ranges of WARC files for their records.

Sources: index.commoncrawl.org (``collinfo.json`` lists the crawls; an index each that speaks pywb's CDX
server API, pywb.readthedocs.io/en/latest/manual/cdxserver_api.html, one JSON object a line, HTTP 404 where
it has none), and commoncrawl.org/get-started (a record is a gzip member, got with a Range request).
"""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import msgspec

from pipeline import urls
from pipeline.config import FetchSettings
from pipeline.fetch.archives import (
    MAX_INDEX_BYTES,
    STATUSES,
    Answer,
    Line,
    Pace,
    index_bytes,
    query,
    unusable,
)
from pipeline.fetch.client import Client
from pipeline.fetch.containers import Record, read_member
from pipeline.fetch.exchange import Headers, Refusal
from pipeline.fetch.indexes import decode
from pipeline.fetch.trails import Capture, distance_s, is_of
from pipeline.fetch.warc import payload_digest
from pipeline.records import Reason

_NUM_CRAWLS = 3  # that are asked for a URL, nearest first
_PAUSE_S = 60.0  # "503 Slow Down" comes while others ask for too much, and tells no pause
_BUSY = frozenset([403, 429, 503])  # who asks for too much gets 403 too, by rules of the content network
_MAX_HEADER_BYTES = 1 << 20
_CRAWL = re.compile(r"CC-MAIN-(\d{4})(?:-(\d{4}|\d{2}))?", re.ASCII)
_FILENAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=+-]*(?:/[A-Za-z0-9_][A-Za-z0-9._=+-]*)*")
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(?:\d+|\*)", re.ASCII)


class _Collection(msgspec.Struct):
    id: str
    cdx_api: str = msgspec.field(name="cdx-api")
    begin: str | None = msgspec.field(name="from", default=None)
    end: str | None = msgspec.field(name="to", default=None)


class _Message(msgspec.Struct):
    message: str | None = None
    error: str | None = None


_collections = msgspec.json.Decoder(list[_Collection])
_message = msgspec.json.Decoder(_Message)


@dataclass(frozen=True, slots=True)
class Crawl:
    """One crawl: where its index is, and when it was made."""

    api: str
    begin: datetime
    end: datetime

    def distance_s(self, created: datetime) -> float:
        """Seconds between a time and the crawl; 0 within it."""
        return max(0.0, (self.begin - created).total_seconds(), (created - self.end).total_seconds())


@dataclass(frozen=True, slots=True)
class CrawlCapture(Capture):
    """A capture of Common Crawl: a record in one of its WARC files."""

    filename: str
    offset: int
    length: int
    digest: str  # SHA-1 in base 32


class CommonCrawl:
    """Common Crawl, behind a line to its indexes and one to its files."""

    name = "commoncrawl"

    def __init__(self, client: Client, settings: FetchSettings) -> None:
        chosen = settings.commoncrawl
        self._index_url = chosen.index_url.rstrip("/")
        self._data_url = chosen.data_url.rstrip("/")
        self._max_bytes = settings.max_bytes
        pace = Pace(chosen.delay_s, _PAUSE_S, _BUSY)
        self._index = Line(client, settings, pace)
        same = _host(self._index_url) == _host(self._data_url)
        self._data = self._index if same else Line(client, settings, pace)
        self._crawls: list[Crawl] | None = None
        self._listing = asyncio.Lock()

    async def captures(self, url: urls.Url, created: datetime | None) -> list[CrawlCapture] | Refusal:
        """Its captures of a URL that are pages or redirects, of the crawls nearest to a time, or earliest.

        Further crawls are asked only while one of them could hold a nearer page than those that are found.
        """
        crawls = await self._listed()
        if isinstance(crawls, Refusal):
            return crawls
        when = created or min(crawl.begin for crawl in crawls)
        found: list[CrawlCapture] = []
        for crawl in sorted(crawls, key=lambda one: (one.distance_s(when), one.begin))[:_NUM_CRAWLS]:
            pages = [distance_s(one, when) for one in found if one.may_be_page]
            if pages and min(pages) <= crawl.distance_s(when):
                break
            more = await self._of_crawl(crawl, url)
            if isinstance(more, Refusal):
                return more
            found += more
        return found

    async def record(self, capture: CrawlCapture) -> tuple[Record, str] | Refusal:
        """A capture's record, its gzip member as it is in the crawl's file, and that file's address."""
        if capture.length > self._max_bytes + _MAX_HEADER_BYTES:
            return Refusal(Reason.BAD_RECORD, f"a record of {capture.length:,} bytes")
        address = f"{self._data_url}/{capture.filename}"
        last = capture.offset + capture.length - 1
        headers = {"Range": f"bytes={capture.offset}-{last}", "Accept-Encoding": "identity"}

        def wanted(status: int, headers: Headers) -> int:
            # What is more than was asked for is a whole file of a gigabyte.
            return capture.length if status == 206 else 0 if status == 200 else index_bytes(status, headers)

        answer = await self._data.get(address, wanted, headers=headers)
        if isinstance(answer, Refusal):
            return answer
        if answer.status == 200:
            return Refusal(Reason.PROTOCOL, "the archive sends the whole file where a range was asked for")
        if answer.status != 206:
            return unusable(answer)
        span = _RANGE.fullmatch(answer.headers.get("content-range") or "")
        if span is None or (int(span[1]), int(span[2])) != (capture.offset, last) or answer.truncated:
            return Refusal(Reason.PROTOCOL, "the archive sends another range than was asked for")
        record = _checked(read_member(answer.body, self._max_bytes), capture)
        return record if isinstance(record, Refusal) else (record, address)

    async def _listed(self) -> list[Crawl] | Refusal:
        """The crawls, asked for once: the list grows by one a month."""
        async with self._listing:
            if self._crawls is None:
                answer = await self._index.get(f"{self._index_url}/collinfo.json", index_bytes)
                if isinstance(answer, Refusal):
                    return answer
                crawls = read_crawls(answer.body, self._index_url) if answer.status == 200 else None
                if not crawls:
                    return unusable(answer)
                self._crawls = crawls
            return self._crawls

    async def _of_crawl(self, crawl: Crawl, url: urls.Url) -> list[CrawlCapture] | Refusal:
        asked = query(url, filter=f"~status:{STATUSES}")
        answer = await self._index.get(f"{crawl.api}?{asked}", index_bytes)
        if isinstance(answer, Refusal):
            return answer
        if answer.status == 404 and _says_none(answer.body):
            return []
        found = _read_index(answer) if answer.status == 200 else None
        return unusable(answer) if found is None else found


def read_crawls(listing: bytes, index_url: str) -> list[Crawl] | None:
    """The crawls of a ``collinfo.json``; None where it cannot be understood.

    Only those with an index at the host that was asked count. When a crawl was made is told since 2024; of
    a list without that, its name tells the year and the week (or the years, before 2013).
    """
    try:
        entries = _collections.decode(listing[:MAX_INDEX_BYTES])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    crawls = []
    for entry in entries:
        span = _told_span(entry.begin, entry.end) or _named_span(entry.id)
        if span and _host(entry.cdx_api) == _host(index_url):
            crawls.append(Crawl(entry.cdx_api, *span))
    return crawls


def _told_span(begin: str | None, end: str | None) -> tuple[datetime, datetime] | None:
    try:
        span = datetime.fromisoformat(begin or ""), datetime.fromisoformat(end or "")
    except ValueError:
        return None
    first, last = (one if one.tzinfo else one.replace(tzinfo=UTC) for one in span)
    return (first, last) if first <= last else None


def _named_span(name: str) -> tuple[datetime, datetime] | None:
    """When a crawl was made, by its name.

    >>> [str(day.date()) for day in _named_span("CC-MAIN-2019-26")]
    ['2019-06-10', '2019-07-01']
    >>> [str(day.date()) for day in _named_span("CC-MAIN-2009-2010")]
    ['2009-01-01', '2011-01-01']
    """
    found = _CRAWL.fullmatch(name)
    if found is None:
        return None
    year, rest = int(found[1]), found[2]
    try:
        if rest and len(rest) == 2:
            # The week of its end or just after it: a crawl runs for about two.
            end = _midnight(date.fromisocalendar(year, int(rest), 7)) + timedelta(days=1)
            return end - timedelta(days=21), end
        return _midnight(date(year, 1, 1)), _midnight(date(int(rest or year) + 1, 1, 1))
    except ValueError:
        return None


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _read_index(answer: Answer) -> list[CrawlCapture] | None:
    """The captures of an index server's answer; None where that cannot be understood."""
    lines = [line for line in answer.body.splitlines() if line.strip()]
    if answer.truncated:
        return None
    captures = [capture for capture in _captures(lines) if capture is not None]
    return None if lines and not captures else captures


def _captures(lines: Iterable[bytes]) -> Iterable[CrawlCapture | None]:
    for line in lines:
        one = decode(line)
        url = urls.parse(one.url) if one is not None else None
        if one is None or url is None or one.status is None or not _FILENAME.fullmatch(one.filename):
            yield None
            continue
        if one.is_revisit:
            continue
        yield CrawlCapture(
            url=url.href,
            date=one.date,
            status=one.status,
            content_type=one.content_type,
            location=None,
            filename=one.filename,
            offset=one.offset,
            length=one.length,
            digest=one.digest,
        )


def _says_none(body: bytes) -> bool:
    """Whether an HTTP 404 means that the crawl has no capture, and not that the server is another."""
    try:
        said = _message.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return bool(said.message or said.error)


def _checked(record: Record | None, capture: CrawlCapture) -> Record | Refusal:
    """The record, if it is the one that the index tells of."""
    if record is None:
        return Refusal(Reason.BAD_RECORD, "the archive's record is damaged")
    if not is_of(record, capture.url) or record.response.status != capture.status:
        return Refusal(Reason.BAD_RECORD, f"the archive's record is another one: of {record.url}"[:200])
    whole = record.member is not None
    if whole and payload_digest(record.response.body) != f"sha1:{capture.digest}":
        return Refusal(Reason.BAD_RECORD, "the body is not the one of the archive's digest")
    return record


def _host(address: str) -> str:
    url = urls.parse(address)
    return f"{url.host}:{url.port}" if url else ""
