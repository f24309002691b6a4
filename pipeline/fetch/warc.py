"""Writing WARC 1.1: one gzip member a record, each found again by its offset and length.

Bodies are kept as they were decoded (no transfer or content coding), as Common Crawl keeps them. A body
that is cut at the limit is then an exact beginning of the page, which no reader has to decompress: a cut
gzip stream makes fastwarc fail where warcio goes on, and a bomb would stay one for every later reader. The
fields that described the body on the wire stay under ``X-Archive-Orig-``, and Content-Length tells the
stored body's length, so warcio, fastwarc and pywb all read payload and digests alike.
"""

import io
import uuid
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha1

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from pipeline.fetch import cdxj
from pipeline.fetch.exchange import Exchange, Headers, Response
from pipeline.runs import HashingSink

_LENGTH = frozenset(["content-length"])
_CODINGS = frozenset(["content-encoding", "transfer-encoding"])


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands in a WARC file: the bytes of its gzip member."""

    offset: int
    length: int


class WarcSink:
    """Appends records to a WARC file and indexes its responses."""

    def __init__(
        self, stream: HashingSink, filename: str, *, date: datetime, info: Mapping[str, str]
    ) -> None:
        self._stream = stream
        self._filename = filename
        # warcio wants a file to write to and no more than that; the sink is one.
        self._writer = WARCWriter(stream, gzip=True, warc_version="1.1")
        self._lines: list[str] = []
        self.num_records = 0
        self._info(date, info)

    def exchange(self, exchange: Exchange) -> Place:
        """Writes a response and its request; returns the response's place."""
        response_id = _record_id("response", exchange.url, _stamp(exchange.date), exchange.response.body)
        place = self.response(
            exchange.url, exchange.date, exchange.response, address=exchange.address, record_id=response_id
        )
        line, _, protocol = exchange.request_line.rpartition(" ")
        request = self._writer.create_warc_record(
            exchange.url,
            "request",
            warc_headers_dict={
                "WARC-Record-ID": _record_id("request", exchange.url, _stamp(exchange.date), b""),
                "WARC-Date": _stamp(exchange.date),
                "WARC-Concurrent-To": response_id,
            },
            http_headers=StatusAndHeaders(
                f"{line} {protocol}", list(exchange.request.fields), is_http_request=True
            ),
        )
        self._write(request)
        return place

    def response(
        self,
        url: str,
        date: datetime,
        response: Response,
        *,
        address: str | None = None,
        record_id: str | None = None,
    ) -> Place:
        """Writes a response record; returns its place."""
        fields = {
            "WARC-Record-ID": record_id or _record_id("response", url, _stamp(date), response.body),
            "WARC-Date": _stamp(date),
            "WARC-Payload-Digest": payload_digest(response.body),
        }
        if address:
            fields["WARC-IP-Address"] = address
        if response.truncated:
            fields["WARC-Truncated"] = "length"
        protocol, _, status = response.status_line.partition(" ")
        record = self._writer.create_warc_record(
            url,
            "response",
            payload=io.BytesIO(response.body),
            length=len(response.body),
            warc_headers_dict=fields,
            http_headers=StatusAndHeaders(status, list(response.headers.fields), protocol=protocol),
        )
        place = self._write(record)
        self._index(url, date, response.status, response.headers, fields["WARC-Payload-Digest"], place)
        return place

    def member(
        self, data: bytes, *, url: str, date: datetime, status: int, headers: Headers, digest: str
    ) -> Place:
        """Appends a response record that is packed already (a gzip member), byte for byte."""
        place = Place(self._stream.num_bytes, len(data))
        self._stream.write(data)
        self.num_records += 1
        self._index(url, date, status, headers, digest, place)
        return place

    def cdxj(self) -> bytes:
        """The index of the response records, as a CDXJ file."""
        return cdxj.encode(self._lines)

    @property
    def num_responses(self) -> int:
        """How many lines the index has."""
        return len(self._lines)

    def _info(self, date: datetime, info: Mapping[str, str]) -> None:
        record = self._writer.create_warcinfo_record(self._filename, info)
        record.rec_headers.replace_header("WARC-Date", _stamp(date))
        identity = _record_id("warcinfo", self._filename, _stamp(date), b"")
        record.rec_headers.replace_header("WARC-Record-ID", identity)
        self._write(record)

    def _write(self, record: object) -> Place:
        offset = self._stream.num_bytes
        self._writer.write_record(record)
        self.num_records += 1
        return Place(offset, self._stream.num_bytes - offset)

    def _index(
        self, url: str, date: datetime, status: int, headers: Headers, digest: str, place: Place
    ) -> None:
        self._lines.append(
            cdxj.line(
                url,
                date,
                status=status,
                content_type=headers.get("content-type"),
                digest=digest,
                offset=place.offset,
                length=place.length,
                filename=self._filename,
            )
        )


def payload_digest(body: bytes) -> str:
    """The SHA-1 of a payload in the spelling of WARC files."""
    return f"sha1:{b32encode(sha1(body, usedforsecurity=False).digest()).decode()}"


def stored_headers(headers: Headers, num_bytes: int, *, decoded: bool = False) -> Headers:
    """A response's header for a body that is not stored as it came: cut, or (``decoded``) without codings."""
    renamed = _LENGTH | _CODINGS if decoded else _LENGTH
    fields = tuple(
        (f"X-Archive-Orig-{name}" if name.lower() in renamed else name, value)
        for name, value in headers.fields
    )
    return Headers((*fields, ("Content-Length", str(num_bytes))))


def _record_id(kind: str, url: str, stamp: str, body: bytes) -> str:
    """An id that follows from what the record is: the same input gives the same WARC."""
    return f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{kind} {url} {stamp} {payload_digest(body)}')}>"


def _stamp(date: datetime) -> str:
    return date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
