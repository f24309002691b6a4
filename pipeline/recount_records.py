"""What a ledger says of a record in a WARC file, told again from the record: for verify."""

import io
import zlib

import pyarrow as pa

from pipeline.urls import parse

DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, pa.ArrowException, zlib.error)
"""What readers raise over bytes that are not what they should be."""

_MOST_BYTES = 1 << 22  # unpacked at once


def recount_record(data: bytes, url: str | None) -> str:
    """What is wrong with a gzipped response record, in words; empty where nothing is.

    Args:
        data: The record's bytes in its file.
        url: Whose response it must be; None: anybody's.
    """
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    member = zlib.decompressobj(wbits=31)
    try:
        raw = member.decompress(data, _MOST_BYTES)
        rest = member.unconsumed_tail
        while rest and member.decompress(rest, _MOST_BYTES):
            rest = member.unconsumed_tail
        if not member.eof or member.unused_data:
            return "its length is not that of one record"
        record = next(ArchiveIterator(io.BytesIO(raw), parse_http=False), None)
    except DAMAGE as error:
        return f"cannot be read ({error})"
    if record is None or record.record_type != WarcRecordType.response:
        return "is not a response"
    target = str(record.headers.get("WARC-Target-URI", "")).strip("<>")
    return "" if url is None or _same_url(target, url) else f"is of {target}, not of {url}"


def _same_url(left: str, right: str) -> bool:
    if left == right:
        return True
    parsed = parse(left), parse(right)
    return parsed[0] is not None and parsed[1] is not None and parsed[0].href == parsed[1].href
