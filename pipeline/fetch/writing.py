"""The process that writes: packing, digests and disks never hold the network.

It is started by :mod:`pipeline.fetch.writer`, is handed tries over its standard input, and says what it has
written over its standard output. When its parent is gone it writes down what it has been handed, and ends.
"""

import os
import struct
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from select import select

import msgspec

from pipeline.fetch.appender import Appender
from pipeline.fetch.spool import OpenPart
from pipeline.fetch.tries import Try, decode

LENGTH = struct.Struct("!I")  # before each message; of a mark, which has no length, the number follows
MARK = 0xFFFFFFFF

_BATCH_BYTES = 1 << 20


class Task(msgspec.Struct, frozen=True):
    """The first message: the open parts, and the fields of new files' warcinfo records."""

    parts: list[OpenPart]
    info: dict[str, str]


class Problem(msgspec.Struct, frozen=True):
    """Why writing has failed: what the system has said, and of which file."""

    errno: int | None
    words: str
    filename: str | None


class Report(msgspec.Struct, frozen=True):
    """What has been written since the last report.

    ``complete`` are parts of which none is left to be settled; ``marks`` are those that have been reached.
    """

    num: int = 0
    num_bytes: int = 0
    complete: list[int] = []
    marks: list[int] = []
    problem: Problem | None = None


def main() -> None:
    """Writes until its input ends."""
    messages = _messages(sys.stdin.fileno())
    began = next(messages, None)
    if began is None or isinstance(began[0], int):
        return  # the parent has gone before it could say what to do
    task = msgspec.msgpack.decode(began[0], type=Task)
    appender = Appender(task.parts, task.info)
    for batch in chain([began[1:]], messages):
        report = _write(appender, batch)
        _say(report)
        if report.problem:
            return


def _write(appender: Appender, batch: Sequence[memoryview | int]) -> Report:
    tries: list[Try] = [decode(one) for one in batch if isinstance(one, memoryview)]
    problem = None
    complete: list[int] = []
    try:
        complete = appender.append(tries)
    except OSError as error:
        problem = Problem(error.errno, error.strerror or str(error), error.filename)
    return Report(
        num=len(tries),
        num_bytes=sum(one.num_bytes for one in tries),
        complete=complete,
        marks=[one for one in batch if isinstance(one, int)],
        problem=problem,
    )


def _messages(descriptor: int) -> Iterator[list[memoryview | int]]:
    """What has come since the last time: messages, and marks by their numbers; at least one of them."""
    rest = b""
    while chunk := _read(descriptor):
        data = memoryview(rest + chunk if rest else chunk)
        found: list[memoryview | int] = []
        at = 0
        while len(data) - at >= 2 * LENGTH.size:
            (length,) = LENGTH.unpack_from(data, at)
            if length == MARK:
                found += LENGTH.unpack_from(data, at + LENGTH.size)
                at += 2 * LENGTH.size
            elif len(data) - at - LENGTH.size >= length:
                found.append(data[at + LENGTH.size : at + LENGTH.size + length])
                at += LENGTH.size + length
            else:
                break
        rest = bytes(data[at:])
        if found:
            yield found


def _read(descriptor: int) -> bytes:
    """What has come, and comes while it is read: the more at once, the less often files are opened."""
    pieces = [os.read(descriptor, _BATCH_BYTES)]
    num_bytes = len(pieces[0])
    while pieces[-1] and num_bytes < _BATCH_BYTES and select([descriptor], [], [], 0)[0]:
        pieces.append(os.read(descriptor, _BATCH_BYTES - num_bytes))
        num_bytes += len(pieces[-1])
    return b"".join(pieces)


def _say(report: Report) -> None:
    data = msgspec.msgpack.encode(report)
    view = memoryview(LENGTH.pack(len(data)) + data)
    try:
        while view:
            view = view[os.write(sys.stdout.fileno(), view) :]
    except BrokenPipeError:  # the parent is gone; what is still in the pipe is written all the same
        pass


if __name__ == "__main__":
    main()
