"""Stand-ins on loopback for the Wayback Machine and Common Crawl, over a few captures, with their own log.

They speak as the services do: the CDX server and playback of the one, the list of crawls, pywb's index server
and ranges of WARC files of the other. What they answer can be replaced, to be hostile.
"""

import asyncio
import contextlib
import gzip
import io
import json
import re
import time
from base64 import b32encode
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha1
from typing import Any
from urllib.parse import urljoin

from aiohttp import web
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from pipeline.config import FetchSettings
from pipeline.fetch.cdxj import surt
from pipeline.fetch.client import Client
from pipeline.fetch.rescue import Rescued, Rescuer
from pipeline.fetch.trails import Wanted
from pipeline.records import Reason
from tests.on_a_thread import Handler, listening, on_a_thread

WAYBACK, INDEX, DATA = "wayback.example.net", "index.example.net", "data.example.net"


def at(stamp: str) -> datetime:
    """The time of 14 digits, or of the day that 8 tell."""
    return datetime.strptime(f"{stamp:0<14}", "%Y%m%d%H%M%S").replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Captured:
    """A response as a crawler has got it; ``coded`` says that it came packed, and with which header."""

    url: str
    stamp: str  # 14 digits
    status: int = 200
    body: bytes = b"<html><p>A page.</p></html>"
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/html"),)
    coded: bool = False

    @property
    def payload(self) -> bytes:
        """The body as it came."""
        return gzip.compress(self.body, mtime=0) if self.coded else self.body

    @property
    def digest(self) -> str:
        """SHA-1 in base 32, of the body as it came."""
        return digest_of(self.payload)

    @property
    def mime(self) -> str:
        """The media type, as an index tells it."""
        return dict(self.headers).get("Content-Type", "unk").partition(";")[0]

    @property
    def fields(self) -> dict[str, str]:
        """The header as it came."""
        coding = {"Content-Encoding": "gzip"} if self.coded else {}
        return {**dict(self.headers), **coding, "Content-Length": str(len(self.payload))}


def digest_of(data: bytes) -> str:
    return b32encode(sha1(data, usedforsecurity=False).digest()).decode()


@dataclass(frozen=True, slots=True)
class Crawl:
    """A crawl: its name, when it was made (days), and whether the list of crawls tells that."""

    id: str
    begin: str
    end: str
    told: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the servers saw it."""

    host: str
    path: str
    began: float
    ended: float
    status: int
    span: str | None


@dataclass
class Standins:
    """Both services under one port; ``instead`` has answers, used up in turn, by the paths' beginning."""

    captures: Sequence[Captured] = ()
    crawls: Sequence[Crawl] = ()
    instead: dict[str, list[Handler]] = field(default_factory=dict)
    says_coding: bool = True  # whether playback tells that a body is packed
    log: list[Asked] = field(default_factory=list)
    port: int = 0
    files: dict[str, bytes] = field(default_factory=dict)
    _lines: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for crawl in self.crawls:
            self._write(crawl, f"crawl-data/{crawl.id}/segments/1.2/warc/{crawl.id}-00000.warc.gz")

    def settings(self) -> dict[str, Any]:
        """What the settings need to reach the stand-ins."""
        return {
            "resolve": dict.fromkeys((WAYBACK, INDEX, DATA), f"127.0.0.1:{self.port}"),
            "wayback": {"url": f"http://{WAYBACK}", "delay_s": 0},
            "commoncrawl": {
                "index_url": f"http://{INDEX}",
                "data_url": f"http://{DATA}",
                "delay_s": 0,
            },
        }

    def asked(self, host: str) -> list[Asked]:
        """What a host was asked, in order."""
        return [one for one in self.log if one.host == host]

    def _write(self, crawl: Crawl, filename: str) -> None:
        stream = io.BytesIO()
        writer = WARCWriter(stream, gzip=True)
        writer.write_record(writer.create_warcinfo_record(filename, {"isPartOf": crawl.id}))
        lines = self._lines[crawl.id] = []
        for one in self.captures:
            if not at(crawl.begin) <= at(one.stamp) < at(crawl.end):
                continue
            offset = stream.tell()
            headers = [*one.headers, ("Content-Length", str(len(one.body)))]
            record = writer.create_warc_record(
                one.url,
                "response",
                payload=io.BytesIO(one.body),
                length=len(one.body),
                warc_headers_dict={"WARC-Date": at(one.stamp).strftime("%Y-%m-%dT%H:%M:%SZ")},
                http_headers=StatusAndHeaders(f"{one.status} Reason", headers, protocol="HTTP/1.1"),
            )
            writer.write_record(record)
            lines.append(
                {
                    "urlkey": surt(one.url),
                    "timestamp": one.stamp,
                    "url": one.url,
                    "mime": one.mime,
                    "mime-detected": one.mime,
                    "status": str(one.status),
                    "digest": digest_of(one.body),
                    "length": str(stream.tell() - offset),
                    "offset": str(offset),
                    "filename": filename,
                }
            )
        self.files[filename] = stream.getvalue()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers and logs."""
        began, host, path = time.monotonic(), request.host.partition(":")[0], request.raw_path
        status = 0
        try:
            response = await (self._replaced(path) or self._service(host, path))(request)
            status = response.status
            return response
        finally:
            span = request.headers.get("Range")
            self.log.append(Asked(host, path, began, time.monotonic(), status, span))

    def _replaced(self, path: str) -> Handler | None:
        for beginning, handlers in self.instead.items():
            if path.startswith(beginning) and handlers:
                return handlers.pop(0)
        return None

    def _service(self, host: str, path: str) -> Handler:
        if host == WAYBACK:
            return self._cdx if path.startswith("/cdx/search/cdx?") else self._play
        if host == INDEX:
            return self._list if path == "/collinfo.json" else self._index
        return self._file

    async def _cdx(self, request: web.BaseRequest) -> web.StreamResponse:
        """The CDX server: fields, filters, order and limit, as JSON; packed by default."""
        query = request.rel_url.query
        assert (query["output"], query["matchType"]) == ("json", "exact")
        names = ["urlkey", "timestamp", "original", "mimetype", "statuscode", "digest", "length"]
        rows = [
            [surt(one.url), one.stamp, one.url, one.mime, str(one.status), one.digest, str(len(one.body))]
            for one in self.captures
            if surt(one.url) == surt(query["url"])
        ]
        for rule in query.getall("filter", []):
            name, _, pattern = rule.partition(":")
            rows = [row for row in rows if re.fullmatch(pattern, row[names.index(name)])]
        rows.sort(key=lambda row: row[1])
        if query.get("sort") == "closest":
            rows.sort(key=lambda row: abs((at(row[1]) - at(query["closest"])).total_seconds()))
        chosen = [names.index(name) for name in query["fl"].split(",")]
        kept = [[row[index] for index in chosen] for row in rows[: int(query["limit"])]]
        told = [[names[index] for index in chosen], *kept] if kept else []
        response = web.Response(text=json.dumps(told), content_type="application/json")
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async def _play(self, request: web.BaseRequest) -> web.StreamResponse:
        """Playback of a capture as it was: what another time brings is a redirect of the archive's own."""
        found = re.fullmatch(r"/web/(\d{14})id_/(.*)", request.raw_path)
        assert found
        same = [one for one in self.captures if surt(one.url) == surt(found[2])]
        one = next((one for one in same if one.stamp == found[1]), None)
        if one is None and same:
            return web.Response(status=302, headers={"Location": f"/web/{same[0].stamp}id_/{same[0].url}"})
        if one is None:
            error = "ResourceNotInArchiveException: the Resource is not in this archive"
            return web.Response(status=404, headers={"X-Archive-Wayback-Runtime-Error": error})
        played = {f"x-archive-orig-{name.lower()}": value for name, value in one.fields.items()}
        played.pop("x-archive-orig-location", None)
        played["Memento-Datetime"] = at(one.stamp).strftime("%a, %d %b %Y %H:%M:%S GMT")
        played["Link"] = f'<{one.url}>; rel="original"'
        played["X-Archive-Src"] = "stand-in.warc.gz"
        if "Content-Type" in one.fields:
            played["Content-Type"] = one.fields["Content-Type"]
        if "Location" in one.fields:
            target = urljoin(one.url, one.fields["Location"])
            played["Location"] = f"http://{request.host}/web/{one.stamp}id_/{target}"
        if one.coded and self.says_coding:
            played["Content-Encoding"] = "gzip"
        return web.Response(status=one.status, body=one.payload, headers=played)

    async def _list(self, request: web.BaseRequest) -> web.StreamResponse:
        """The list of crawls, newest first."""
        entries = []
        for crawl in sorted(self.crawls, key=lambda one: one.begin, reverse=True):
            entry = {
                "id": crawl.id,
                "name": f"{crawl.id} Index",
                "timegate": f"http://{request.host}/{crawl.id}/",
                "cdx-api": f"http://{request.host}/{crawl.id}-index",
            }
            if crawl.told:
                times = (at(day).strftime("%Y-%m-%dT%H:%M:%S") for day in (crawl.begin, crawl.end))
                entry |= dict(zip(("from", "to"), times, strict=True))
            entries.append(entry)
        return web.json_response(entries)

    async def _index(self, request: web.BaseRequest) -> web.StreamResponse:
        """The index of a crawl: pywb's filters, one JSON object a line."""
        query = request.rel_url.query
        assert (query["output"], query["matchType"]) == ("json", "exact")
        crawl = request.path.removeprefix("/").removesuffix("-index")
        lines = [line for line in self._lines[crawl] if line["urlkey"] == surt(query["url"])]
        for rule in query.getall("filter", []):
            name, _, pattern = rule.removeprefix("~").partition(":")
            lines = [line for line in lines if re.fullmatch(pattern, line[name])]
        if not lines:
            return web.json_response({"message": f"No Captures found for: {query['url']}"}, status=404)
        text = "".join(f"{json.dumps(line)}\n" for line in lines[: int(query["limit"])])
        return web.Response(text=text, content_type="text/x-ndjson")

    async def _file(self, request: web.BaseRequest) -> web.StreamResponse:
        """A range of a WARC file."""
        data = self.files[request.path.removeprefix("/")]
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
        assert span
        first, last = int(span[1]), min(int(span[2]), len(data) - 1)
        return web.Response(
            status=206,
            body=data[first : last + 1],
            headers={"Content-Range": f"bytes {first}-{last}/{len(data)}"},
        )


def says(body: bytes | str, status: int = 200, **headers: str) -> Handler:
    """A handler that gives this; header names with _ for -."""
    data = body.encode() if isinstance(body, str) else body
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    fields.setdefault("Content-Type", "text/plain")

    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=data, status=status, headers=fields)

    return handler


def silent() -> Handler:
    """A handler that does not answer, until whoever asks gives up."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return web.Response()

    return handler


@contextlib.contextmanager
def serving(standins: Standins) -> Iterator[Standins]:
    """Runs the stand-ins on a free port of loopback, on a thread of their own."""

    @contextlib.asynccontextmanager
    async def service() -> AsyncIterator[None]:
        async with listening(standins.answer) as standins.port:
            yield

    with on_a_thread(service()):
        yield standins


SITE = "http://www.example.com"
PAGE = f"{SITE}/page"
CRAWLS = (
    Crawl("CC-MAIN-2018-05", "20180115", "20180128"),
    Crawl("CC-MAIN-2019-26", "20190610", "20190701", told=False),
    Crawl("CC-MAIN-2019-51", "20191205", "20191216"),
    Crawl("CC-MAIN-2020-24", "20200525", "20200608"),
    Crawl("CC-MAIN-2021-04", "20210115", "20210129"),
)
HISTORY = (
    Captured(PAGE, "20180120000000", body=b"<p>of 2018"),
    Captured(PAGE, "20190616000000", body=b"<p>of June 2019"),
    Captured("https://example.com/page", "20191206120000", body=b"<p>of December 2019"),
    Captured(PAGE, "20200601000000", 404, b"gone"),
    Captured(PAGE, "20200601000001", 301, b"", (("Location", "/elsewhere"),)),
    Captured(PAGE, "20210120000000", body=b"<p>of 2021"),
)


def settings(standins: Standins, *archives: str, **other: Any) -> FetchSettings:
    return FetchSettings(**{**standins.settings(), "rescue": archives, **other})


def rescued(chosen: FetchSettings, links: Sequence[Wanted]) -> list[Rescued]:
    """What becomes of links that are rescued at once."""

    async def run() -> list[Rescued]:
        async with Client(chosen) as client:
            rescuer = Rescuer(client, chosen)
            return await asyncio.gather(*(rescuer.rescue(link) for link in links))

    return asyncio.run(run())


def dead(url: str = PAGE, created: str | None = "20191201") -> Wanted:
    return Wanted("id", url, at(created) if created else None)


def rescue(standins: Standins, archive: str, link: Wanted, **other: Any) -> Rescued:
    return rescued(settings(standins, archive, **other), [link])[0]


def bodies(result: Rescued) -> list[bytes]:
    return [record.response.body for record in result.records]


def reason(result: Rescued) -> Reason | None:
    assert (result.refusal is None) == bool(result.records)
    return result.refusal.reason if result.refusal else None
