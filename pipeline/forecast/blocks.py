"""Lines from several places of a large file, as far as its packing allows, in a time that is given.

A plain file can be read from anywhere. A packed one can be where a frame, stream or member begins: these are
looked for by their first bytes at places spread over the file. Most monthly dumps are one frame: of those
there is only the beginning.
"""

import io
import math
import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pipeline.collect.dumps import Damaged, unpack_file
from pipeline.forecast.constants import BEGINNING, BLOCKS
from pipeline.forecast.ranges import Range, Z

SMALL_BYTES = 32_000_000  # a file of so many is read from its beginning, most often whole
_NUM_PLACES = 12
_WINDOW_BYTES = 4_000_000  # behind a place, in which a beginning is looked for
_MOST_LIKENESSES = 20
_LEAST_MARKS = 8  # pieces of the packed file that are read at the least: fewer tell no ratio
_MAX_LINE_BYTES = 1 << 24

_BEGINNINGS = {
    ".zst": re.compile(rb"\x28\xb5\x2f\xfd"),
    ".gz": re.compile(rb"\x1f\x8b\x08"),
    ".bz2": re.compile(rb"BZh[1-9]1AY&SY"),
    ".xz": re.compile(rb"\xfd7zXZ\x00"),
}


@dataclass(slots=True)
class Block:
    """What was read from one place; filled while :func:`read_block` gives its lines.

    ``marks`` are pairs: packed bytes from the place on that were read whole, unpacked bytes that they gave.
    """

    start: int
    lines: int = 0
    num_bytes: int = 0  # unpacked, of the lines
    to_the_end: bool = False  # nothing is left of it
    marks: list[tuple[int, int]] = field(default_factory=list)

    @property
    def tells_ratio(self) -> bool:
        """Whether lines can be held against the packed bytes that they came from."""
        return self.lines > 0 and len(self.marks) > 1

    def packed(self) -> float:
        """About how many bytes of the file the lines came from."""
        return self.num_bytes / self._unpacking(min(1, len(self.marks) - 2)) if self.num_bytes else 0.0

    def late_lines_a_byte(self) -> float:
        """Lines a packed byte, by the second half of what was read."""
        if not self.num_bytes:
            return 0.0
        return self.lines / self.num_bytes * self._unpacking((len(self.marks) - 1) // 2)

    def _unpacking(self, first: int) -> float:
        """Unpacked bytes a packed one, from a mark on: differences, for a decompressor holds some back."""
        (packed, unpacked), (last_packed, last_unpacked) = self.marks[first], self.marks[-1]
        return (last_unpacked - unpacked) / (last_packed - packed)


def places(path: str) -> list[int]:
    """Where a file can be read from: its beginning, and of a large one one by chance in each other twelfth.

    Of a packed file it is where a frame begins behind that place, if one does.
    """
    size = Path(path).stat().st_size
    if size <= SMALL_BYTES:
        return [0]
    draw = random.Random(size)  # noqa: S311 (the same places every time)
    spread = [int(size * (number + draw.random()) / _NUM_PLACES) for number in range(1, _NUM_PLACES)]
    suffix = Path(path).suffix
    if suffix not in _BEGINNINGS:
        return sorted({0, *spread})
    with Path(path).open("rb") as file:
        found = [_beginning(file, suffix, place) for place in spread]
    return sorted({0, *(place for place in found if place is not None)})


def _beginning(file: BinaryIO, suffix: str, place: int) -> int | None:
    """Where the first frame begins behind a place: bytes that look like one and can be unpacked."""
    file.seek(place)
    window = file.read(_WINDOW_BYTES)
    for number, match in enumerate(_BEGINNINGS[suffix].finditer(window)):
        if number == _MOST_LIKENESSES:
            break
        file.seek(place + match.start())
        try:
            if next(unpack_file(file, suffix), b""):
                return place + match.start()
        except Damaged:
            continue
    return None


class _Fenced(io.FileIO):
    """A file of which no read goes over a place: what lies before it is had before what lies behind."""

    def __init__(self, path: str, place: int) -> None:
        super().__init__(path)
        self._place = place

    def read(self, size: int | None = -1, /) -> bytes:
        before = self._place - self.tell()
        return super().read(size if size is None or before <= 0 else min(size, before))


def read_block(path: str, block: Block, end: int, deadline: float) -> Iterator[bytes]:
    """Whole lines that begin behind ``block.start`` and not behind ``end``; the file's first is at 0.

    So blocks that follow one another give each line once. Ends earlier at the deadline (of time.monotonic).

    Raises:
        Damaged: The packing is cut off or corrupt; the lines before have been given.
    """
    with _Fenced(path, end) as file:
        file.seek(block.start)
        rest, unpacked, packed = b"", 0, 0
        is_whole = block.start == 0  # the line that comes first
        for chunk in unpack_file(file, Path(path).suffix):
            position = file.tell() - block.start
            if position > packed:
                block.marks.append((packed, unpacked))
                packed = position
            unpacked += len(chunk)
            *lines, rest = (rest + chunk).split(b"\n")
            is_over = block.start + packed > end
            for line in lines[:1] if is_over else lines:
                if is_whole:
                    block.lines += 1
                    block.num_bytes += len(line) + 1
                    yield line
                is_whole = True
            rest = rest if len(rest) <= _MAX_LINE_BYTES else b""
            if is_over and lines:
                block.to_the_end = True
                return
            if len(block.marks) > _LEAST_MARKS and time.monotonic() > deadline:
                return
        block.marks.append((packed, unpacked))
        block.to_the_end = True
        if rest and is_whole:
            block.lines += 1
            block.num_bytes += len(rest)
            yield rest


def estimate_lines(blocks: Sequence[Block], size: int) -> Range:
    """How many lines a file of ``size`` bytes has, from what was read of it.

    Of several blocks it is the ratio estimator (lines to packed bytes), with its standard error between
    blocks. Of the beginning alone it is what was read, and for the rest the rate of the second half of that.
    """
    if all(block.to_the_end for block in blocks):
        return Range.exact(sum(block.lines for block in blocks))
    told = [block for block in blocks if block.tells_ratio]
    if not told:
        return Range.exact(0)
    first = told[0]
    lines = sum(block.lines for block in told)
    if len(told) == 1:
        rest = max(0.0, size - first.packed()) * first.late_lines_a_byte()
        chance = Z / math.sqrt(max(1, lines))  # lines differ in length about as much as they are long
        factor = math.exp(math.hypot(math.log(BEGINNING), chance))
        return Range(lines + rest / factor, lines + rest, lines + rest * factor)
    packed = [block.packed() for block in told]
    ratio = lines / sum(packed)
    squares = sum((block.lines - ratio * of) ** 2 for block, of in zip(told, packed, strict=True))
    error = math.sqrt(squares * len(told) / (len(told) - 1)) / max(1, lines)
    return Range.around(ratio * size, math.exp(math.hypot(Z * error, math.log(BLOCKS))))
