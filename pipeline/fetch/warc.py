"""Writing WARC 1.1: one gzip member a record, each found again by its offset and length.

Bodies are kept as they were decoded (no transfer or content coding), as Common Crawl keeps them. A body
that is cut at the limit is then an exact beginning of the page, which no reader has to decompress: a cut
gzip stream makes fastwarc fail where warcio goes on, and a bomb would stay one for every later reader. The
fields that described the body on the wire stay under ``X-Archive-Orig-``, and Content-Length tells the
stored body's length, so warcio, fastwarc and pywb all read payload and digests alike.

Every record has its block's digest: fastwarc, asked to verify, passes over those without. Records are laid
out here and packed by ISA-L: warcio writes a tenth as fast, and would hold the network up. The format is ISO
28500:2017, in words at iipc.github.io/warc-specifications.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha1
from typing import Protocol

import xxhash
from isal import igzip_lib

from pipeline.fetch import cdxj
from pipeline.fetch.exchange import Exchange, Headers, Response

REVISIT = "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"

_LENGTH = frozenset(["content-length"])
_CODINGS = frozenset(["content-encoding", "transfer-encoding"])
_PACKING_LEVEL = 2  # a ninth larger than zlib's usual level, at ten times its speed
_WORTH_PACKING_BYTES = 2048  # below, packing well takes as long as packing a page, for a hundred bytes

# Ten bits in RFC 4648's base 32: the standard library's encoder takes longer than the digest itself.
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_BASE32 = [first + second for first in _DIGITS for second in _DIGITS]

Fields = Sequence[tuple[str, str]]


class Stream(Protocol):
    """What records are appended to."""

    @property
    def num_bytes(self) -> int:
        """How long it is."""
        ...

    def write(self, data: bytes, /) -> int:
        """Appends."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands in a WARC file: the bytes of its gzip member."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Original:
    """A response that is kept, as a revisit of it is said to refer to it."""

    place: Place
    record_id: str
    url: str
    date: datetime
    digest: str


class WarcSink:
    """Appends records to a WARC file, and keeps the lines of its CDXJ index.

    Args:
        stream: The file.
        filename: Its name, for the index and the warcinfo record.
        date: When it was begun; None for one that has its warcinfo record already.
        info: The fields of its warcinfo record.
    """

    def __init__(
        self,
        stream: Stream,
        filename: str,
        *,
        date: datetime | None = None,
        info: Mapping[str, str] | None = None,
    ) -> None:
        self._stream = stream
        self._filename = filename
        self.lines: list[str] = []
        self.num_records = 0
        if date is not None:
            self._info(date, info or {})

    def exchange(self, exchange: Exchange, original: Original | None = None) -> tuple[Original, str]:
        """Writes a response and its request.

        Args:
            exchange: Both of them.
            original: An earlier response with the same body: then a revisit record that refers to it.

        Returns:
            The response with the body (the original, or what has been written), and the id of the record
            that has been written.
        """
        stamp = _stamp(exchange.date)
        got = exchange.response
        if original is None:
            original = self._original(exchange.url, exchange.date, got, exchange.address)
            response_id = original.record_id
        else:
            response_id = self._revisit(exchange, original)
        self._write(
            [
                ("WARC-Type", "request"),
                ("WARC-Record-ID", _record_id("request", exchange.url, stamp)),
                ("WARC-Date", stamp),
                ("WARC-Target-URI", exchange.url),
                ("WARC-Concurrent-To", response_id),
                ("Content-Type", "application/http; msgtype=request"),
            ],
            _http(exchange.request_line, exchange.request),
        )
        return original, response_id

    def metadata(self, url: str, date: datetime, concurrent_to: str | None, fields: Fields) -> None:
        """Writes what is known of a response besides itself, as ``name: value`` lines."""
        stamp = _stamp(date)
        block = "".join(f"{name}: {value}\r\n" for name, value in fields).encode()
        self._write(
            [
                ("WARC-Type", "metadata"),
                ("WARC-Record-ID", _record_id("metadata", url, stamp)),
                ("WARC-Date", stamp),
                ("WARC-Target-URI", url),
                *([("WARC-Concurrent-To", concurrent_to)] if concurrent_to else []),
                ("Content-Type", "application/warc-fields"),
            ],
            block,
        )

    def response(self, url: str, date: datetime, response: Response, *, address: str | None = None) -> Place:
        """Writes a response record; returns its place."""
        return self._original(url, date, response, address).place

    def member(
        self, data: bytes, *, url: str, date: datetime, status: int, headers: Headers, digest: str
    ) -> Place:
        """Appends a response record that is packed already (a gzip member), byte for byte."""
        place = Place(self._stream.num_bytes, len(data))
        self._stream.write(data)
        self.num_records += 1
        self._index(url, date, status, headers.get("content-type"), digest, place)
        return place

    def cdxj(self) -> bytes:
        """The index of the response records, as a CDXJ file."""
        return cdxj.encode(self.lines)

    @property
    def num_responses(self) -> int:
        """How many lines the index has."""
        return len(self.lines)

    def _info(self, date: datetime, info: Mapping[str, str]) -> None:
        stamp = _stamp(date)
        self._write(
            [
                ("WARC-Type", "warcinfo"),
                ("WARC-Record-ID", _record_id("warcinfo", self._filename, stamp)),
                ("WARC-Filename", self._filename),
                ("WARC-Date", stamp),
                ("Content-Type", "application/warc-fields"),
            ],
            "".join(f"{name}: {value}\r\n" for name, value in info.items()).encode(),
        )

    def _original(self, url: str, date: datetime, response: Response, address: str | None) -> Original:
        digest, stamp = payload_digest(response.body), _stamp(date)
        record_id = _record_id("response", url, stamp)
        fields = [
            ("WARC-Type", "response"),
            ("WARC-Record-ID", record_id),
            ("WARC-Date", stamp),
            ("WARC-Target-URI", url),
            *([("WARC-IP-Address", address)] if address else []),
            *([("WARC-Truncated", "length")] if response.truncated else []),
            ("WARC-Payload-Digest", digest),
            ("Content-Type", "application/http; msgtype=response"),
        ]
        place = self._write(fields, _http(response.status_line, response.headers) + response.body)
        self._index(url, date, response.status, response.headers.get("content-type"), digest, place)
        return Original(place, record_id, url, date, digest)

    def _revisit(self, exchange: Exchange, original: Original) -> str:
        got, stamp = exchange.response, _stamp(exchange.date)
        digest = original.digest
        record_id = _record_id("revisit", exchange.url, stamp)
        fields = [
            ("WARC-Type", "revisit"),
            ("WARC-Record-ID", record_id),
            ("WARC-Date", stamp),
            ("WARC-Target-URI", exchange.url),
            *([("WARC-IP-Address", exchange.address)] if exchange.address else []),
            ("WARC-Profile", REVISIT),
            ("WARC-Refers-To", original.record_id),
            ("WARC-Refers-To-Target-URI", original.url),
            ("WARC-Refers-To-Date", _stamp(original.date)),
            ("WARC-Payload-Digest", digest),
            ("Content-Type", "application/http; msgtype=response"),
        ]
        place = self._write(fields, _http(got.status_line, got.headers))
        self._index(exchange.url, exchange.date, got.status, "warc/revisit", digest, place)
        return record_id

    def _write(self, fields: Fields, block: bytes) -> Place:
        header = "WARC/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields)
        header += f"WARC-Block-Digest: {payload_digest(block)}\r\nContent-Length: {len(block)}\r\n\r\n"
        data = _packed(b"".join((header.encode("utf-8", "replace"), block, b"\r\n\r\n")))
        place = Place(self._stream.num_bytes, len(data))
        self._stream.write(data)
        self.num_records += 1
        return place

    def _index(
        self, url: str, date: datetime, status: int, content_type: str | None, digest: str, place: Place
    ) -> None:
        self.lines.append(
            cdxj.line(
                url,
                date,
                status=status,
                content_type=content_type,
                digest=digest,
                offset=place.offset,
                length=place.length,
                filename=self._filename,
            )
        )


def payload_digest(body: bytes) -> str:
    """The SHA-1 of a payload in the spelling of WARC files.

    >>> payload_digest(b"")
    'sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ'
    """
    number = int.from_bytes(sha1(body, usedforsecurity=False).digest(), "big")
    return "sha1:" + "".join([_BASE32[number >> shift & 1023] for shift in range(150, -1, -10)])


def stored_headers(headers: Headers, num_bytes: int, *, decoded: bool = False) -> Headers:
    """A response's header for a body that is not stored as it came: cut, or (``decoded``) without codings."""
    renamed = _LENGTH | _CODINGS if decoded else _LENGTH
    fields = tuple(
        (f"X-Archive-Orig-{name}" if name.lower() in renamed else name, value)
        for name, value in headers.fields
    )
    return Headers((*fields, ("Content-Length", str(num_bytes))))


def _http(first_line: str, headers: Headers) -> bytes:
    """The head of an HTTP message, with the empty line."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.fields)
    return f"{first_line}\r\n{lines}\r\n".encode("utf-8", "replace")


def _packed(data: bytes) -> bytes:
    level = _PACKING_LEVEL if len(data) >= _WORTH_PACKING_BYTES else 0
    packed: bytes = igzip_lib.compress(data, level, igzip_lib.COMP_GZIP)
    return packed


def _record_id(kind: str, url: str, stamp: str) -> str:
    """An id that follows from what the record is (RFC 9562's version 8): the same input, the same WARC."""
    digits = xxhash.xxh3_128_hexdigest(f"{kind} {url} {stamp}".encode("utf-8", "replace"))
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"<urn:uuid:{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}>"


@lru_cache(maxsize=64)
def _stamp(date: datetime) -> str:
    return f"{date.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
