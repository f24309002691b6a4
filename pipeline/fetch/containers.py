"""Reading WARC and ARC files as they come: packed record by record, packed as a whole, plain, or damaged.

A file is scanned once for where its HTTP responses stand; single records are read by those places. Damage
ends a record and not the scan, which goes on at the next place that begins like a record.
"""

import gzip
import io
import mmap
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Self

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType
from warcio.archiveiterator import ArchiveIterator as ArcIterator

from pipeline.fetch.exchange import Headers, Response
from pipeline.fetch.warc import stored_headers

_GZIP = b"\x1f\x8b\x08"
_CHUNK = 64 * 1024
_MAX_HEADER_BYTES = 1 << 20  # of a record: its WARC and HTTP headers together


class Packing(StrEnum):
    """How a record stands in its file."""

    MEMBER = "member"  # a gzip member of its own
    PLAIN = "plain"
    SOLID = "solid"  # in a file that is packed as a whole; offsets are those of the unpacked file
    ARC = "arc"


@dataclass(frozen=True, slots=True)
class Found:
    """A response in a file: where it is, and what a choice between captures needs."""

    url: str
    date: datetime
    status: int
    content_type: str | None
    location: str | None
    packing: Packing
    offset: int
    length: int  # at most: up to the next record


@dataclass(frozen=True, slots=True)
class Scan:
    """The responses of a file, and how often damage was met (a stretch of damaged records is one)."""

    found: tuple[Found, ...]
    num_damaged: int


@dataclass(frozen=True, slots=True)
class Record:
    """A response read from a file; ``member`` is its gzip member, where it can be kept as it is."""

    url: str
    date: datetime
    response: Response
    digest: str | None
    member: bytes | None


class _PackedAsWholeError(Exception):
    """A gzip member holds more than one record."""


@dataclass(slots=True)
class _Notes:
    """What a scan has met so far."""

    starts: list[int] = field(default_factory=list)  # of all records
    found: list[Found] = field(default_factory=list)
    num_damaged: int = 0

    def scan(self, end: int) -> Scan:
        """The result: each response reaches to the next record at most."""
        ends = dict(pairwise([*self.starts, end]))
        return Scan(
            tuple(replace(one, length=ends[one.offset] - one.offset) for one in self.found), self.num_damaged
        )


def packing_of(path: str) -> Packing:
    """How records stand in a WARC or ARC file, by its first bytes: those of a packed one are members."""
    with Path(path).open("rb") as file:
        head = file.read(_CHUNK)
    packed = head.startswith(_GZIP)
    if (_unpacked_start(head) if packed else head).startswith(b"filedesc:"):
        return Packing.ARC
    return Packing.MEMBER if packed else Packing.PLAIN


def scan(path: str) -> Scan:
    """Finds the HTTP responses of a WARC or ARC file, as far as it can be read."""
    packing = packing_of(path)
    with Path(path).open("rb") as file:
        if packing is Packing.ARC:
            return _scan_arc(file)
        try:
            return _scan_warc(file, packing)
        except _PackedAsWholeError:
            with _unpacked(path) as whole:
                return _scan_warc(whole, Packing.SOLID)


def _scan_warc(file: IO[bytes], packing: Packing) -> Scan:
    size = file.seek(0, io.SEEK_END)
    if not size:
        return Scan((), 0)
    notes = _Notes()
    position: int | None = 0
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        while position is not None:
            position = _scan_from(position, file, data, packing, notes)
    return notes.scan(size)


def _scan_from(
    position: int, file: IO[bytes], data: mmap.mmap, packing: Packing, notes: _Notes
) -> int | None:
    """Notes the records from a position on; returns where to go on behind damage, None at the end."""
    num_before = len(notes.starts)
    file.seek(position)
    records = ArchiveIterator(file, parse_http=False, strict_mode=False)
    while True:
        try:
            record = next(records, None)
            if record is None:
                return None
            start = record.stream_pos
            response = _found(record, packing)
            expected = record.content_length
            whole = record.consume() == expected
        except Exception:  # whatever a parser says of foreign bytes is damage
            # Where not one record came since the last damage, it is the same stretch still.
            notes.num_damaged += not position or len(notes.starts) > num_before
            return _next_record(data, max([position, *notes.starts[-1:]]) + 1, packing)
        if packing is Packing.MEMBER and (start in notes.starts[-1:] or data[start : start + 3] != _GZIP):
            raise _PackedAsWholeError
        notes.starts.append(start)
        if whole and isinstance(response, Found):
            notes.found.append(response)
        elif not whole or response is None:
            notes.num_damaged += 1


_NOT_A_RESPONSE = object()


def _found(record: WarcRecord, packing: Packing) -> Found | object | None:
    """A record's response; None for one that cannot be understood."""
    if record.record_type != WarcRecordType.response or not record.is_http:
        return _NOT_A_RESPONSE
    record.parse_http(strict_mode=False)
    headers = Headers(record.http_headers.items())
    status, date = record.http_headers.status_code, record.record_date
    if status is None or date is None:
        return None
    return Found(
        url=_clean(record.headers.get("WARC-Target-URI")),
        date=date,
        status=status,
        content_type=headers.get("content-type"),
        location=headers.get("location"),
        packing=packing,
        offset=record.stream_pos,
        length=0,
    )


def _next_record(data: mmap.mmap, start: int, packing: Packing) -> int | None:
    """The next place that begins like a record."""
    signature = _GZIP if packing is Packing.MEMBER else b"WARC/"
    at = data.find(signature, start)
    while at >= 0:
        if packing is Packing.MEMBER:
            if _unpacked_start(data[at : at + _CHUNK]).startswith(b"WARC/"):
                return at
        elif data[at - 1 : at] == b"\n":
            return at
        at = data.find(signature, at + 1)
    return None


def _scan_arc(file: IO[bytes]) -> Scan:
    notes = _Notes()
    records = ArcIterator(file, arc2warc=True)
    while True:
        try:
            record = next(records, None)
            if record is None:
                break
            start = records.get_record_offset()
            if start < max(notes.starts[-1:], default=0):
                raise ValueError("the parser has lost its place")
            response = _found_in_arc(record, start)
            records.read_to_end()
        except Exception:  # as above
            notes.num_damaged += 1
            break
        notes.starts.append(start)
        if isinstance(response, Found):
            notes.found.append(response)
        elif response is None:
            notes.num_damaged += 1
    return notes.scan(file.seek(0, io.SEEK_END))


def _found_in_arc(record: Any, start: int) -> Found | object | None:
    if record.rec_type != "response":
        return _NOT_A_RESPONSE
    if not record.http_headers or not record.http_headers.get_statuscode().isdigit():
        return None
    return Found(
        url=_clean(record.rec_headers.get_header("WARC-Target-URI")),
        date=_arc_date(record),
        status=int(record.http_headers.get_statuscode()),
        content_type=record.http_headers.get_header("Content-Type"),
        location=record.http_headers.get_header("Location"),
        packing=Packing.ARC,
        offset=start,
        length=0,
    )


class Reader:
    """Reads single records by the places that a scan has found; a context, which holds what it unpacks."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._whole: dict[str, IO[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self, path: str, packing: Packing, offset: int, length: int, max_bytes: int) -> Record | None:
        """A record with its body, cut at ``max_bytes``; None where it is damaged."""
        if packing is Packing.SOLID:
            if path not in self._whole:
                self._whole[path] = self._stack.enter_context(_unpacked(path))
            return _read_plain(self._whole[path], offset, length, max_bytes)
        with Path(path).open("rb") as file:
            if packing is Packing.PLAIN:
                return _read_plain(file, offset, length, max_bytes)
            if packing is Packing.ARC:
                return _read_arc(file, offset, max_bytes)
            return _read_member(file, offset, length, max_bytes)


def read_member(data: bytes, max_bytes: int) -> Record | None:
    """The record of a gzip member, its body cut at ``max_bytes``; None where it is damaged."""
    return _read_member(io.BytesIO(data), 0, len(data), max_bytes)


def _read_member(file: IO[bytes], offset: int, length: int, max_bytes: int) -> Record | None:
    """A record in a gzip member; one that was spread over several is packed anew, in one."""
    file.seek(offset)
    limit = max_bytes + _MAX_HEADER_BYTES
    packed = file.read(min(_CHUNK, length))
    raw, num_read = bytearray(), len(packed)
    member = bytearray()
    unpacker = zlib.decompressobj(31)
    first = True
    try:
        while packed and len(raw) <= limit:
            raw += unpacker.decompress(packed, limit + 1 - len(raw))
            if first:
                member += packed[: len(packed) - len(unpacker.unused_data)]
            packed = unpacker.unused_data
            if unpacker.eof:
                record = _parse(bytes(raw), bytes(member), limit, max_bytes) if first else None
                if record is not None:
                    return record
                first, unpacker = False, zlib.decompressobj(31)
            if not packed:
                packed = file.read(min(_CHUNK, length - num_read))
                num_read += len(packed)
    except zlib.error:
        pass  # damage between this record and the next: what has come so far may be all of this one
    return _repacked(bytes(raw), limit, max_bytes)


def _read_plain(file: IO[bytes], offset: int, length: int, max_bytes: int) -> Record | None:
    file.seek(offset)
    limit = max_bytes + _MAX_HEADER_BYTES
    return _repacked(file.read(min(length, limit + 1)), limit, max_bytes)


def _repacked(raw: bytes, limit: int, max_bytes: int) -> Record | None:
    """A record of unpacked bytes, its member made of them; what follows it in ``raw`` is left out."""
    record = _first_record(raw)
    header, gap, rest = raw.partition(b"\r\n\r\n")
    if record is None or not gap:
        return _parse(raw, None, limit, max_bytes)
    block = rest[: record.content_length]
    return _parse(raw, gzip.compress(header + gap + block + gap, mtime=0), limit, max_bytes)


def _first_record(raw: bytes) -> WarcRecord | None:
    try:
        return next(iter(ArchiveIterator(io.BytesIO(raw), parse_http=False, strict_mode=False)), None)
    except Exception:  # as above
        return None


def _parse(raw: bytes, member: bytes | None, limit: int, max_bytes: int) -> Record | None:
    """The record that unpacked bytes begin with; they end behind ``limit`` at the latest."""
    record = _first_record(raw)
    if record is None or record.record_date is None:
        return None
    if record.record_type != WarcRecordType.response or not record.is_http:
        return None
    record.parse_http(strict_mode=False)
    expected, body = record.content_length, bytes(record.reader.read())
    status = record.http_headers.status_code
    if status is None or (len(body) < expected and len(raw) <= limit):
        return None
    headers = Headers(record.http_headers.items())
    cut = len(body) < expected or expected > max_bytes
    body = body[:max_bytes]
    return Record(
        url=_clean(record.headers.get("WARC-Target-URI")),
        date=record.record_date,
        response=Response(
            status_line=record.http_headers.status_line or "",
            status=status,
            headers=stored_headers(headers, len(body)) if cut else headers,
            body=body,
            truncated=cut or "WARC-Truncated" in record.headers,
        ),
        digest=None if cut else record.headers.get("WARC-Payload-Digest"),
        member=None if cut else member,
    )


def _read_arc(file: IO[bytes], offset: int, max_bytes: int) -> Record | None:
    file.seek(offset)
    try:
        record: Any = next(ArcIterator(file, arc2warc=True))
        found = _found_in_arc(record, offset)
        if not isinstance(found, Found):
            return None
        body = record.raw_stream.read(max_bytes + 1)
    except Exception:  # as above
        return None
    headers = Headers(tuple(record.http_headers.headers))
    too_long = len(body) > max_bytes
    return Record(
        url=found.url,
        date=found.date,
        response=Response(
            status_line=f"{record.http_headers.protocol} {record.http_headers.statusline}",
            status=found.status,
            headers=stored_headers(headers, max_bytes) if too_long else headers,
            body=body[:max_bytes],
            truncated=too_long,
        ),
        digest=None,
        member=None,
    )


def _arc_date(record: Any) -> datetime:
    stamp = record.rec_headers.get_header("WARC-Date")
    return datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _clean(uri: str | None) -> str:
    """A record's URI; wget has written it in angle brackets."""
    return (uri or "").strip().removeprefix("<").removesuffix(">")


def _unpacked_start(data: bytes) -> bytes:
    """The first unpacked bytes of a gzip member, as many as can be had."""
    try:
        return zlib.decompressobj(31).decompress(data, 64)
    except zlib.error:
        return b""


@contextmanager
def _unpacked(path: str) -> Iterator[IO[bytes]]:
    """A file that is packed as a whole, unpacked on disk as far as it goes."""
    with TemporaryFile() as whole, Path(path).open("rb") as file:
        unpacker = zlib.decompressobj(31)
        try:
            while chunk := file.read(_CHUNK):
                while chunk:
                    whole.write(unpacker.decompress(chunk))
                    chunk = unpacker.unused_data
                    if unpacker.eof:
                        unpacker = zlib.decompressobj(31)
        except zlib.error:
            pass  # the scan meets the record that was cut here, and counts it
        whole.flush()
        yield whole
