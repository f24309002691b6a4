"""The response records of a WARC file, read at the offsets that a ledger tells."""

import io
import zlib
from typing import NamedTuple

import pyarrow as pa
from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from pipeline.records import Reason, Rejection

_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20


class Response(NamedTuple):
    """What a server sent: the Content-Type header (empty where there was none) and the body, decoded."""

    content_type: str
    body: bytes


def read_response(warc: pa.NativeFile, offset: int, length: int, max_bytes: int) -> Response | Rejection:
    """The HTTP response in the record at ``offset``; BAD_RECORD if there is none that is whole.

    Args:
        warc: The WARC file, opened.
        offset: Where the record starts, in bytes.
        length: Of the record, compressed.
        max_bytes: A body is read one byte further than this and no more: it may be a bomb.
    """
    data = warc.read_at(length, offset)
    try:
        return _response(data, max_bytes, decode=True)
    except OSError:  # the record is damaged, or its headers promise an encoding that is not there
        pass
    try:
        answer = _response(data, max_bytes, decode=False)
    except OSError as error:
        return Rejection(Reason.BAD_RECORD, str(error))
    # Archiving tools undo the encoding and leave the header: then this is the page itself.
    if isinstance(answer, Response) and answer.body.lstrip()[:1] != b"<":
        return Rejection(Reason.BAD_RECORD, "the body is not encoded as its headers say")
    return answer


def _response(data: bytes, max_bytes: int, *, decode: bool) -> Response | Rejection:
    record = next(iter(ArchiveIterator(io.BytesIO(data), parse_http=False)), None)
    if record is None:
        return Rejection(Reason.BAD_RECORD, "no WARC record")
    if record.record_type != WarcRecordType.response:
        return Rejection(Reason.BAD_RECORD, f"a {record.record_type} record")
    if not _is_whole(record, data) and not _has_whole_payload(data):
        return Rejection(Reason.BAD_RECORD, "the digest is another")
    record.parse_http(auto_decode="all" if decode else "none")
    if record.http_headers is None or record.http_headers.status_code is None:
        return Rejection(Reason.BAD_RECORD, "no HTTP response")
    content_type = record.http_headers.get("Content-Type") or ""
    return Response(content_type, record.reader.read(max_bytes + 1))


def _is_whole(record: WarcRecord, data: bytes) -> bool:
    """Whether a record is what it was by its digest; by gzip's checksum where it has none (any more)."""
    if "WARC-Block-Digest" not in record.headers:
        return _is_whole_member(data)
    return bool(record.verify_block_digest())


def _is_whole_member(data: bytes) -> bool:
    if not data.startswith(_GZIP):
        return True
    member, rest = zlib.decompressobj(wbits=31), data
    try:
        while rest and not member.eof:
            member.decompress(rest, _CHUNK)  # in pieces: it may be a bomb
            rest = member.unconsumed_tail
    except zlib.error:
        return False
    return member.eof


def _has_whole_payload(data: bytes) -> bool:
    """Whether a body is what it was: tools that undo its chunks leave the digest of the whole record."""
    record = next(iter(ArchiveIterator(io.BytesIO(data), parse_http=True)))
    return "WARC-Payload-Digest" in record.headers and record.verify_payload_digest()
