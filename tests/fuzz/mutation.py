"""Damaged inputs: pieces of valid ones, changed as bad disks, bad servers and bad people change them."""

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hypothesis import strategies as st

MOST_BYTES = 100_000
"""Of an input: a parser that takes seconds for so few is too slow."""

# What parsers stumble over, whatever they parse.
ODD = (
    b"", b"\0", b"\0" * 9, b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
    b"\x7f", b"\xc0\x80", b"\xe2\x80\xa8", b"\xc2\x85", b"\xd9\xa3", b"\xc4\xb0", b"\xf0\x9f\x92\xa9",
    b"\x1f\x8b\x08", b"\r", b"\n", b"\r\n", b"\n\n", b"\t", b" ", b"\x0b", b"\x1a", b"\x1b",
    b"\x28\xb5\x2f\xfd", b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"\0\0\0\x80", b"\0\0\0\0\0\0\0\x80",
    b"\x01\0\0\0\0\0\0\0", b"9" * 19, b"9" * 400, b"9" * 5000, b"\\u0000", b"\\ud83d", b"\\ud83d\\ude00",
    *rb"""" ' \ { } [ ] [[ {"a": , : ; = & % %00 %zz # ? / // ../ < > - . * $ @""".split(),
    *b"null true NaN Infinity -Infinity 0 -1 -0.0 1e999 1e-999 0x10 1_0 2147483648 0001-01-01".split(),
    *b"-9223372036854775809 18446744073709551616 9999-12-31 9999-12-31T23:59:59-12:00".split(),
)  # fmt: skip


class Change(NamedTuple):
    """One change, by numbers that mean something whatever the input's length."""

    how: int
    place: int
    length: int
    piece: int


def _flip(data: bytes, change: Change, at: int, _end: int, _pieces: Sequence[bytes]) -> bytes:
    if at == len(data):
        return data
    return data[:at] + bytes([data[at] ^ (1 << change.piece % 8)]) + data[at + 1 :]


def _overwrite(data: bytes, change: Change, at: int, _end: int, _pieces: Sequence[bytes]) -> bytes:
    return data[:at] + bytes([change.piece % 256]) + data[at + 1 :]


def _cut(data: bytes, _change: Change, at: int, _end: int, _pieces: Sequence[bytes]) -> bytes:
    return data[:at]


def _delete(data: bytes, _change: Change, at: int, end: int, _pieces: Sequence[bytes]) -> bytes:
    return data[:at] + data[end:]


def _insert(data: bytes, change: Change, at: int, _end: int, pieces: Sequence[bytes]) -> bytes:
    return data[:at] + pieces[change.piece % len(pieces)] + data[at:]


def _replace(data: bytes, change: Change, at: int, end: int, pieces: Sequence[bytes]) -> bytes:
    return data[:at] + pieces[change.piece % len(pieces)] + data[end:]


def _replace_word(data: bytes, change: Change, at: int, _end: int, pieces: Sequence[bytes]) -> bytes:
    """A number, name or string as a whole, as a value of another kind stands where it was."""
    begin, end = at, at
    while begin and data[begin - 1 : begin].isalnum():
        begin -= 1
    while data[end : end + 1].isalnum():
        end += 1
    return data[:begin] + pieces[change.piece % len(pieces)] + data[end:]


def _move(data: bytes, change: Change, at: int, end: int, _pieces: Sequence[bytes]) -> bytes:
    taken, rest = data[at:end], data[:at] + data[end:]
    to = change.piece % (len(rest) + 1)
    return rest[:to] + taken + rest[to:]


def _repeat(data: bytes, change: Change, at: int, end: int, _pieces: Sequence[bytes]) -> bytes:
    return data[:at] + data[at:end] * (2 + change.piece % 3) + data[end:]


def _nest(data: bytes, change: Change, at: int, _end: int, pieces: Sequence[bytes]) -> bytes:
    """A piece again and again: nesting without an end, and what makes careless patterns slow."""
    piece = pieces[change.piece % len(pieces)]
    times = 1 << (change.length % 18 if change.length > 192 else change.length % 6)
    return data[:at] + piece * min(times, MOST_BYTES // max(1, len(piece))) + data[at:]


def _splice(data: bytes, change: Change, at: int, _end: int, pieces: Sequence[bytes]) -> bytes:
    return data[:at] + pieces[-1 - change.piece % len(pieces)][change.length :]


_CHANGES: tuple[Callable[[bytes, Change, int, int, Sequence[bytes]], bytes], ...] = (
    _flip, _overwrite, _cut, _delete, _insert, _replace, _replace_word, _replace_word, _move, _repeat, _nest,
    _splice,
)  # fmt: skip


def apply(data: bytes, changes: Sequence[Change], pieces: Sequence[bytes]) -> bytes:
    """The bytes after the changes, one after the other.

    >>> apply(b"score: 3", [Change(6, 60000, 0, 1)], (b"", b"null"))
    b'score: null'
    """
    for change in changes:
        at = change.place * (len(data) + 1) >> 16
        end = min(len(data), at + change.length)
        data = _CHANGES[change.how % len(_CHANGES)](data, change, at, end, pieces)
    return data[:MOST_BYTES]


_CHANGE = struct.Struct("<BHBH")
_MOST_CHANGES = 6
PLAN_BYTES = 2 + _MOST_CHANGES * _CHANGE.size


def mutated(plan: bytes, seeds: Sequence[bytes], pieces: Sequence[bytes]) -> bytes:
    """A seed after the changes that a plan tells: its first byte which seed, its second how many changes.

    Args:
        plan: PLAN_BYTES bytes.
        seeds: Valid inputs.
        pieces: What the format gives meaning to; what is odd in any comes on top.

    >>> mutated(bytes(PLAN_BYTES), (b"a seed", b"another"), (b"x",))
    b'a seed'
    """
    known = (*ODD, *pieces, *seeds)
    changes = [
        Change(*_CHANGE.unpack_from(plan, 2 + number * _CHANGE.size))
        for number in range(plan[1] % (_MOST_CHANGES + 1))
    ]
    return apply(seeds[plan[0] % len(seeds)], changes, known)


def plans() -> st.SearchStrategy[bytes]:
    """Plans, drawn as one string of bytes, as drawing takes ten times as long as changing.

    The simplest, to which a failure is reduced, is no change.
    """
    return st.binary(min_size=PLAN_BYTES, max_size=PLAN_BYTES)
