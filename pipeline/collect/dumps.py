"""Submission dumps as lines, whatever they are packed with, in memory that does not grow with the file."""

import bz2
import gzip
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import zstandard

from pipeline.errors import InputError

_CHUNK_BYTES = 1 << 22
_MAX_WINDOW_BYTES = 1 << 31  # the monthly dumps are packed with --long=31


def read_lines(path: str) -> Iterator[bytes]:
    """The lines of a dump without their line ends; a last line without one counts too.

    Raises InputError, naming the file and the offset, where the archive is damaged or cut off.
    """
    offset = 0  # of what was unpacked, in bytes
    rest = b""
    with _open(path) as stream:
        while True:
            try:
                chunk = stream.read(_CHUNK_BYTES)
            except (EOFError, OSError, lzma.LZMAError, zstandard.ZstdError) as error:
                raise InputError(
                    f"{path} is damaged after {offset:,} unpacked bytes ({error}). Fetch the dump again."
                ) from error
            if not chunk:
                break
            offset += len(chunk)
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            yield from lines
    if rest:
        yield rest


def _open(path: str) -> IO[bytes]:
    suffix = Path(path).suffix
    if suffix == ".zst":
        decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        return decompressor.stream_reader(Path(path).open("rb"), read_across_frames=True, closefd=True)
    if suffix == ".xz":
        return lzma.open(path, "rb")
    if suffix == ".bz2":
        return bz2.open(path, "rb")
    if suffix == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]  # a binary file in all but name
    return Path(path).open("rb")
