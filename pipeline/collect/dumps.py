"""Dumps as lines, whatever they are packed with, in memory that does not grow with the file.

Unpacking runs ahead of the reading: in a process beside it for the large .zst that monthly dumps are, in a
thread for all others.
"""

import bz2
import io
import lzma
import queue
import sys
import threading
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from pipeline.collect.beside import CAN_SHARE, Broken, unpack_beside
from pipeline.records import Reason

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd  # the same, before it came into the standard library

__all__ = ["PACKINGS", "Damaged", "open_unpacked", "read_lines", "unpack", "unpack_file", "zstd"]

_MAX_LINE_BYTES = 1 << 24
_PACKED_BYTES = 1 << 16
_UNPACKED_BYTES = 1 << 18  # fits a core's cache with what is made of it
_CHUNKS_AHEAD = 8
_WORTH_A_PROCESS_BYTES = 1 << 22  # to start one takes as long as to unpack and read so much
_SWITCH_S = 0.0005


class Damaged(Exception):  # noqa: N818 (what the file is, not what went wrong here)
    """An archive is cut off or corrupt; everything before ``offset`` (in unpacked bytes) was read."""

    def __init__(self, offset: int | None, cause: str) -> None:
        super().__init__(offset, cause)
        self.offset = offset
        self.cause = cause


class _Unpacker(Protocol):
    """What the standard library's decompressors have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gunzip:
    """zlib's decompressor with the others' way of holding back input."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail and not self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max(0, max_length))


def _unzstd() -> _Unpacker:
    # The monthly dumps are packed with --long=31.
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 31})


_UNPACKERS: dict[str, Callable[[], _Unpacker]] = {
    ".zst": _unzstd,
    ".xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ),
    ".bz2": bz2.BZ2Decompressor,
    ".gz": _Gunzip,
}
_ERRORS = (EOFError, OSError, ValueError, lzma.LZMAError, zlib.error, zstd.ZstdError)

PACKINGS = tuple(_UNPACKERS)


def read_lines(path: str) -> Generator[bytes | Reason, None, None]:
    """The lines of a dump without their line ends; a last line without one counts too.

    A line of more than 16 MiB is no submission's: it comes as ``Reason.LINE_TOO_LONG``.

    Raises:
        Damaged: The archive is cut off or corrupt; all whole lines before have been given.
    """
    begun = b""  # of a line that goes on in the next chunk
    too_long = False  # that line
    with closing(_read_ahead(path)) as chunks:
        for chunk in chunks:
            find = chunk.find
            start = 0
            while (end := find(b"\n", start)) >= 0:
                if start or not (begun or too_long):
                    yield chunk[start:end]
                else:
                    yield Reason.LINE_TOO_LONG if too_long else begun + chunk[:end]
                    begun, too_long = b"", False
                start = end + 1
            begun = b"" if too_long else begun + chunk[start:]
            if len(begun) > _MAX_LINE_BYTES:
                begun, too_long = b"", True
    if begun or too_long:
        yield Reason.LINE_TOO_LONG if too_long else begun


def open_unpacked(path: str) -> BinaryIO:
    """A dump as a file for reading; its reads raise Damaged as :func:`unpack` does."""
    return io.BufferedReader(_Stream(unpack(path)), _UNPACKED_BYTES)


class _Stream(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        into = memoryview(target).cast("B")
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        num = min(len(into), len(self._rest))
        into[:num] = self._rest[:num]
        self._rest = self._rest[num:]
        return num


def unpack(path: str) -> Iterator[bytes]:
    """The content of a dump in chunks, unpacked by its suffix: .zst, .xz, .bz2, .gz, else as it is.

    Several frames, streams or members make one content.

    Raises:
        Damaged: The archive is cut off or corrupt; every byte that can be had before has been given.
    """
    offset = 0
    with Path(path).open("rb") as file:
        try:
            for chunk in unpack_file(file, Path(path).suffix):
                yield chunk
                offset += len(chunk)
        except Damaged:
            near = file.tell() - 3 * _PACKED_BYTES
        else:
            return
        # A decompressor that fails keeps what it had unpacked in the same step: go to the place again, and
        # over it byte by byte.
        file.seek(0)
        yield from _without_first(unpack_file(file, Path(path).suffix, careful_from=near), offset)


def unpack_file(file: BinaryIO, suffix: str, *, careful_from: int = sys.maxsize) -> Iterator[bytes]:
    """The content from where the file stands, in chunks; behind ``careful_from`` packed bytes go singly.

    Raises Damaged as :func:`unpack` does, but not for every byte before.
    """
    if suffix not in _UNPACKERS:
        while chunk := file.read(_UNPACKED_BYTES):
            yield chunk
        return
    offset = num_frames = 0
    packed = b""
    unpacker: _Unpacker | None = None  # None between frames
    while True:
        if not packed and (unpacker is None or unpacker.needs_input):
            packed = file.read(_PACKED_BYTES if file.tell() < careful_from else 1)
            if not packed:
                break
        if unpacker is None:
            packed = packed.lstrip(b"\0") if num_frames else packed  # padding may follow a frame
            if not packed:
                continue
            unpacker = _UNPACKERS[suffix]()
            num_frames += 1
        try:
            chunk = unpacker.decompress(packed, _UNPACKED_BYTES)
        except _ERRORS as error:
            raise Damaged(offset, str(error)) from error
        packed = b""
        if chunk:
            yield chunk
            offset += len(chunk)
        if unpacker.eof:
            packed = unpacker.unused_data
            unpacker = None
    if unpacker is not None or not num_frames:
        raise Damaged(offset, "it ends in the middle" if num_frames else "it is empty")


def _read_ahead(path: str) -> Generator[bytes, None, None]:
    """The content in chunks, unpacked while the caller works on those before."""
    offset = 0
    if CAN_SHARE and path.endswith(".zst") and Path(path).stat().st_size >= _WORTH_A_PROCESS_BYTES:
        try:
            for chunk in unpack_beside(path):
                yield chunk
                offset += len(chunk)
        except Broken:  # what follows tells where and why
            pass
        else:
            return
    yield from _ahead(_without_first(unpack(path), offset))


def _without_first(chunks: Iterator[bytes], num_bytes: int) -> Iterator[bytes]:
    for chunk in chunks:
        if rest := chunk[num_bytes:]:
            yield rest
        num_bytes = max(0, num_bytes - len(chunk))


def _ahead(chunks: Iterator[bytes]) -> Generator[bytes, None, None]:
    """The same chunks, made by a thread that works up to some of them ahead of who asks."""
    ready: queue.Queue[bytes | BaseException | None] = queue.Queue(_CHUNKS_AHEAD)
    stopped = threading.Event()

    def work() -> None:
        last: BaseException | None = None
        try:
            for chunk in chunks:
                ready.put(chunk)
                if stopped.is_set():
                    return
        except BaseException as error:  # raised again by who asks
            last = error
        ready.put(last)

    thread = threading.Thread(target=work, name="unpack", daemon=True)
    with _prompt_switches():
        thread.start()
        try:
            while isinstance(chunk := ready.get(), bytes):
                yield chunk
            if chunk is not None:
                raise chunk
        finally:
            stopped.set()
            while thread.is_alive():  # it may wait to put one more
                with suppress(queue.Empty):
                    ready.get(timeout=0.01)


@contextmanager
def _prompt_switches() -> Iterator[None]:
    """Lets a thread that comes back from unpacking have the interpreter soon.

    By default it would wait 5 ms for it, which is longer than it takes to unpack a chunk.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _SWITCH_S))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
