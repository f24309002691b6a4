"""What stands in a WARC file where a record was removed: a record of exactly the same length.

All other records keep their places, to which ledgers and documents point. Nothing of the record that was
there is kept but its date. Room is filled with stored blocks (RFC 1951, section 3.2.4), which readers unpack
like any others; the last bytes that these cannot make up go into the gzip header's comment (RFC 1952).
"""

import struct
import zlib

import xxhash

_HEADER = b"\x1f\x8b\x08%c\x00\x00\x00\x00\x00\xff"  # no time, no system; %c: which fields follow
_COMMENT = 16  # the flag for FCOMMENT
_STORED_BYTES = 65_535  # in a block, at the most
_SAID = b"A record was removed here.\r\n"


def fill(length: int, name: str, date: str) -> bytes:
    """A gzip member of so many bytes that holds one WARC metadata record.

    Args:
        length: Of the member, in bytes.
        name: What the record's id is made of; each record's is another.
        date: Its WARC-Date.

    Raises:
        ValueError: No record is so short.
    """
    smallest = _stored(_record(0, name, date), b"")
    if length >= len(smallest):
        return _padded(length, name, date)
    for record in (_record(None, name, date), _record(None, None, date)):
        packed = _deflated(record)
        if length == len(packed):
            return packed
        if length > len(packed):
            return _deflated(record, b" " * (length - len(packed) - 1))
    raise ValueError(f"no WARC record is as short as {length} bytes")


def _padded(length: int, name: str, date: str) -> bytes:
    """Stored, with as much padding inside the record as fits, and the rest in the comment."""
    spare = length - len(_stored(_record(0, name, date), b""))
    padding = spare - 5 * (length // _STORED_BYTES + 1) - len(str(spare))  # blocks, Content-Length's digits
    padding = max(0, padding)
    member = _stored(_record(padding, name, date), b"")
    while len(member) < length and len(longer := _stored(_record(padding + 1, name, date), b"")) <= length:
        member, padding = longer, padding + 1
    if len(member) == length:
        return member
    return _stored(_record(padding, name, date), b" " * (length - len(member) - 1) + b"\0")


def _record(padding: int | None, name: str | None, date: str) -> bytes:
    """The record, its block padded by so many spaces; None: without a block."""
    digits = xxhash.xxh3_128_hexdigest(name.encode()) if name else "0" * 32
    number = f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"
    block = b"" if padding is None else _SAID + b" " * padding
    header = (
        f"WARC/1.1\r\nWARC-Type: metadata\r\nWARC-Record-ID: <urn:uuid:{number}>\r\nWARC-Date: {date}\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return header.encode() + block + b"\r\n\r\n"


def _stored(data: bytes, comment: bytes) -> bytes:
    """A gzip member of stored blocks; a comment ends with a zero byte."""
    starts = range(0, len(data), _STORED_BYTES)
    blocks = [data[start : start + _STORED_BYTES] for start in starts]
    packed = b"".join(
        struct.pack("<BHH", number == len(blocks), len(block), len(block) ^ 0xFFFF) + block
        for number, block in enumerate(blocks, 1)
    )
    return _member(packed, data, comment)


def _deflated(data: bytes, comment: bytes | None = None) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    return _member(packer.compress(data) + packer.flush(), data, b"" if comment is None else comment + b"\0")


def _member(packed: bytes, data: bytes, comment: bytes) -> bytes:
    header = _HEADER % (_COMMENT if comment else 0)
    return header + comment + packed + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)
