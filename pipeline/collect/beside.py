"""A .zst unpacked by a process beside the one that reads it, into memory that both share.

Unpacking is half of the work of reading a dump. A thread for it waits for the interpreter again and again,
and makes the reader wait as well: on two cores a dump takes 5.3 microseconds a row with a process, and 7.8
with a thread.

This module is also the other process's program, and so imports little.
"""

import mmap
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

_CHUNK_BYTES = 1 << 18  # fits a core's cache with what is made of it
_NUM_CHUNKS = 8
_PACKED_BYTES = 1 << 17
_MAX_WINDOW_BYTES = 1 << 31  # the monthly dumps are packed with --long=31
_SIZE_BYTES = 4
_WHOLE = 0  # what the other process says in the end, in the place of a chunk's size

CAN_SHARE = hasattr(os, "memfd_create")


class Broken(Exception):  # noqa: N818 (what became of the other process, not what went wrong here)
    """The file is damaged or the other process ended: what was not given must be unpacked in another way."""


def unpack_beside(path: str) -> Generator[bytes, None, None]:
    """The content of a .zst in chunks.

    Raises:
        Broken: Not all could be unpacked.
    """
    shared = os.memfd_create("webtext-unpacked")
    command = [sys.executable, "-P", __file__, path, str(shared)]
    try:
        os.ftruncate(shared, _NUM_CHUNKS * _CHUNK_BYTES)
        with (
            mmap.mmap(shared, 0) as memory,
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, pass_fds=[shared]
            ) as process,
        ):
            try:
                yield from _received(memory, cast(BinaryIO, process.stdout), cast(BinaryIO, process.stdin))
            finally:
                process.kill()
    finally:
        os.close(shared)


def _received(memory: mmap.mmap, sizes: BinaryIO, freed: BinaryIO) -> Generator[bytes, None, None]:
    start = 0
    while True:
        told = sizes.read(_SIZE_BYTES)
        if len(told) < _SIZE_BYTES:
            raise Broken
        size = int.from_bytes(told, "little")
        if size == _WHOLE:
            return
        chunk = memory[start : start + size]
        with suppress(BrokenPipeError):  # it has filled the last one, and is gone
            freed.write(b"\0")  # this chunk's place is free again
        yield chunk
        start = (start + _CHUNK_BYTES) % len(memory)


class _Sealed:
    """A file with a seal behind it that cannot begin a frame.

    The decompressor is silent where its input ends within a frame. With a seal, it fails over the seal if the
    last frame was whole, and otherwise over something else, or not at all.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.is_opened = False

    def read(self, size: int) -> bytes:
        """The file's next bytes; behind them the seal, once."""
        data = self._file.read(size)
        if data or self.is_opened:
            return data
        self.is_opened = True
        return b"\xff" * 8


def _unpack(path: str, shared: int) -> None:
    """The other process: fills the places of the shared memory in turn, as they become free."""
    memory = memoryview(mmap.mmap(shared, 0))
    num_free, start = _NUM_CHUNKS, 0
    with Path(path).open("rb") as file:
        sealed = _Sealed(file)
        reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).stream_reader(
            cast(BinaryIO, sealed), read_size=_PACKED_BYTES, read_across_frames=True
        )
        while True:
            if not num_free:
                freed = len(os.read(sys.stdin.fileno(), _NUM_CHUNKS))
                if not freed:
                    return  # nobody listens any more
                num_free += freed
            try:
                size = reader.readinto1(memory[start : start + _CHUNK_BYTES])
            except zstandard.ZstdError as error:
                if sealed.is_opened and "Unknown frame descriptor" in str(error):
                    os.write(sys.stdout.fileno(), _WHOLE.to_bytes(_SIZE_BYTES, "little"))
                return
            if not size:
                return
            os.write(sys.stdout.fileno(), size.to_bytes(_SIZE_BYTES, "little"))
            num_free, start = num_free - 1, (start + _CHUNK_BYTES) % len(memory)


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):  # its reader was ended, or both were
        _unpack(sys.argv[1], int(sys.argv[2]))
