"""Hands tries to the process that writes them, and hears what is written."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import msgspec

from pipeline.errors import RunError, refusal
from pipeline.fetch.spool import OpenPart
from pipeline.fetch.tries import Try, encode
from pipeline.fetch.writing import LENGTH, MARK, Problem, Report, Task

_MAX_UNWRITTEN_BYTES = 2 << 20  # what is more is moved about in memory, again and again
_MAX_UNWRITTEN = 256  # tries

_reports = msgspec.msgpack.Decoder(Report)


class Writer:
    """The process that writes, as the crawl sees it: an asynchronous context.

    Args:
        parts: The open parts, by their numbers.
        info: The fields of new files' warcinfo records.
        complete: Told of a part whose links are all settled and written.
        lock: A descriptor that the process keeps open as long as it may write.
    """

    def __init__(
        self,
        parts: Sequence[OpenPart],
        info: Mapping[str, str],
        complete: Callable[[int], None],
        lock: int,
    ) -> None:
        self._parts = parts
        self._info = info
        self._complete = complete
        self._lock = lock
        self._process: Process | None = None
        self._num_unwritten = self._bytes_unwritten = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._marks: dict[int, asyncio.Future[None]] = {}
        self._failed: Exception | None = None

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "pipeline.fetch.writing",
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=[self._lock],
            start_new_session=True,  # a Ctrl-C is for the crawl to hear; it ends when that has ended
        )
        self._send(msgspec.msgpack.encode(Task(list(self._parts), dict(self._info))))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Lets the process write what it has been handed, and end."""
        self._input.close()
        await self._running.wait()

    async def put(self, one: Try) -> None:
        """Hands over a try; waits while too much is unwritten.

        Raises:
            RunError: Writing has failed: the disk is full, for example.
        """
        while self._room() <= 0 and not self._failed:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        if self._failed:
            raise self._failed
        self._num_unwritten += 1
        self._bytes_unwritten += one.num_bytes
        self._send(encode(one))

    async def flush(self) -> None:
        """Waits until what has been handed over is written."""
        number = len(self._marks)
        mark = self._marks[number] = asyncio.get_running_loop().create_future()
        self._write(LENGTH.pack(MARK), LENGTH.pack(number))
        await mark

    async def watch(self) -> None:
        """Hears the process, as long as it lives.

        Raises:
            RunError: It says that writing has failed, or has been ended by something else.
        """
        said = self._running.stdout
        assert said is not None  # noqa: S101 (asked for)
        try:
            while True:
                (length,) = LENGTH.unpack(await said.readexactly(LENGTH.size))
                self._written(_reports.decode(await said.readexactly(length)))
        except asyncio.IncompleteReadError:
            status = await self._running.wait()
            ended = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
            self._fail(_gone(ended))

    @property
    def _running(self) -> Process:
        assert self._process is not None  # noqa: S101 (entered)
        return self._process

    @property
    def _input(self) -> asyncio.StreamWriter:
        assert self._running.stdin is not None  # noqa: S101 (asked for)
        return self._running.stdin

    def _send(self, message: bytes) -> None:
        self._write(LENGTH.pack(len(message)), message)

    def _write(self, *pieces: bytes) -> None:
        try:
            self._input.writelines(pieces)
        except RuntimeError as error:  # the pipe is closed, and what closed it is not known yet
            raise self._failed or _gone("before its time") from error

    def _written(self, report: Report) -> None:
        if report.problem is not None:
            self._fail(in_words(report.problem))
        self._num_unwritten -= report.num
        self._bytes_unwritten -= report.num_bytes
        self._let_in(self._room())
        for number in report.marks:
            self._marks[number].set_result(None)
        for part in report.complete:
            self._complete(part)

    def _fail(self, error: Exception) -> None:
        self._failed = error
        self._let_in(len(self._waiting))
        raise error

    def _room(self) -> int:
        """How many tries more may be handed over."""
        return _MAX_UNWRITTEN - self._num_unwritten if self._bytes_unwritten < _MAX_UNWRITTEN_BYTES else 0

    def _let_in(self, num: int) -> None:
        """Wakes as many of those who wait as there is room for, and no more: they are hundreds."""
        while num > 0 and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                num -= 1


def _gone(how: str) -> RunError:
    return RunError(
        f"fetch stopped: the process that writes pages has ended {how}. Run the same build again: it goes on "
        "from what is written."
    )


def in_words(problem: Problem | OSError) -> RunError:
    """What a disk that refuses comes down to for whoever runs the build."""
    told = refusal(problem.errno, problem.filename)
    if told is None:
        words = problem.words if isinstance(problem, Problem) else problem.strerror or str(problem)
        where = f" ({problem.filename})" if problem.filename else ""
        told = f"{words}{where}. Mend it, and run the same build again: it goes on from what is written."
    return RunError(f"fetch stopped: {told}")
