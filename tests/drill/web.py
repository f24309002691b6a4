"""The network between the build and the demo's web, which can be made to fail, and counts what came through.

A proxy on loopback, one request a connection: it asks the demo's server, and sends what that says on, or what
the mode in force makes of it. An answer is whole when its last byte was handed to the asker's socket.
"""

import asyncio
import contextlib
import random
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.on_a_thread import on_a_thread

_HEAD = re.compile(rb"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/1\.[01]\r\n")
_HOST = re.compile(rb"(?im)^host: *([^:\r\n]+)")
_CONNECTION = re.compile(rb"(?im)^connection:[^\r\n]*\r\n")
_PIECE = 1 << 16
_ENDS = (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, asyncio.CancelledError)
_POLL_S = 0.02  # the mode is another thread's to set
_SILENCE_S = 30.0
_DRIBBLE_S = 0.15


class Mode(StrEnum):
    """What the network or the servers do to answers."""

    HONEST = "honest"
    REFUSED = "connections refused"
    RESET = "connections reset"
    SILENT = "no answer"
    CUT = "bodies cut short"
    WRONG_GZIP = "bodies that are no gzip"
    WRONG_CHUNKS = "broken chunks"
    GARBAGE = "garbage in place of a status line"
    UNAVAILABLE = "HTTP 503"
    DRIBBLE = "bodies in small pieces"


@dataclass(frozen=True, slots=True)
class Answer:
    """One that came through whole: which round it was, and for what."""

    round: int
    host: str
    path: str
    status: int

    @property
    def url(self) -> str:
        """What was asked for."""
        return f"http://{self.host}{self.path}"


@dataclass
class Web:
    """The proxy's state, for the supervisor to read and change while it serves."""

    upstream: str
    mode: Mode = Mode.HONEST
    share: float = 1.0
    """Of the answers, by chance, that the mode concerns."""
    round: int = 0
    answers: list[Answer] = field(default_factory=list)
    num_asked: int = 0
    port: int = 0
    _chance: random.Random = field(default_factory=random.Random)
    _serving: set[asyncio.Task[Any]] = field(default_factory=set)
    """The loop alone would let go of one that waits for a peer that is gone."""

    @property
    def address(self) -> str:
        """``address:port``, as fetch.resolve has it."""
        return f"127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, and so one request."""
        if task := asyncio.current_task():
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        with contextlib.closing(writer), contextlib.suppress(*_ENDS):
            head = await reader.readuntil(b"\r\n\r\n")
            self.num_asked += 1
            asked, host = _HEAD.match(head), _HOST.search(head)
            if asked and host:
                await self._answer(head, host[1].decode().lower(), asked["path"].decode(), writer)

    async def _answer(self, head: bytes, host: str, path: str, writer: asyncio.StreamWriter) -> None:
        asked_in = self.round  # a slow answer may outlive the round, and so whoever has asked
        mode = self.mode if self._chance.random() < self.share else Mode.HONEST
        if mode in _WITHOUT_ASKING:
            await _WITHOUT_ASKING[mode](writer)
            return
        address, _, port = self.upstream.rpartition(":")
        theirs, ours = await asyncio.open_connection(address, int(port))
        try:
            ours.write(_CONNECTION.sub(b"", head)[:-2] + b"Connection: close\r\n\r\n")
            if mode in _SPOILERS:
                answer = await asyncio.wait_for(theirs.read(-1), _SILENCE_S)
                is_whole = await _SPOILERS[mode](answer, writer)
                status = _status(answer)
            else:
                is_whole, status = True, 0
                while piece := await theirs.read(_PIECE):
                    status = status or _status(piece)
                    writer.write(piece)
                    await writer.drain()
        finally:
            ours.close()
        if is_whole:
            await writer.drain()
            self.answers.append(Answer(asked_in, host, path, status))


def _status(answer: bytes) -> int:
    return int(answer[9:12]) if answer[9:12].isdigit() else 0


async def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _say_nothing(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(_SILENCE_S)


async def _say_garbage(writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\xffH\x8aTP/9 20O yes\r\nContent-Length: 4\r\n\r\nnope")
    await writer.drain()


async def _refuse_for_now(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()


_WITHOUT_ASKING: dict[Mode, Callable[[asyncio.StreamWriter], Awaitable[None]]] = {
    Mode.RESET: _reset,
    Mode.SILENT: _say_nothing,
    Mode.GARBAGE: _say_garbage,
    Mode.UNAVAILABLE: _refuse_for_now,
}


async def _cut(answer: bytes, writer: asyncio.StreamWriter) -> bool:
    head, mark, body = answer.partition(b"\r\n\r\n")
    writer.write(head + mark + body[: len(body) // 2])
    return False


async def _not_gzip(answer: bytes, writer: asyncio.StreamWriter) -> bool:
    status = answer.partition(b"\r\n")[0]
    head = b"\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\nConnection: close"
    writer.write(status + head + b"\r\n\r\nno such gzip")
    return False


async def _not_chunks(answer: bytes, writer: asyncio.StreamWriter) -> bool:
    status = answer.partition(b"\r\n")[0]
    head = b"\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\nConnection: close"
    writer.write(status + head + b"\r\n\r\n5\r\nhello\r\nZZ\r\n")
    return False


async def _dribble(answer: bytes, writer: asyncio.StreamWriter) -> bool:
    size = max(1, len(answer) // 8)
    for at in range(0, len(answer), size):
        writer.write(answer[at : at + size])
        await writer.drain()
        await asyncio.sleep(_DRIBBLE_S)
    return True


_SPOILERS: dict[Mode, Callable[[bytes, asyncio.StreamWriter], Awaitable[bool]]] = {
    Mode.CUT: _cut,
    Mode.WRONG_GZIP: _not_gzip,
    Mode.WRONG_CHUNKS: _not_chunks,
    Mode.DRIBBLE: _dribble,
}


@contextlib.contextmanager
def between(upstream: str, seed: int) -> Iterator[Web]:
    """Serves, on a thread, what stands at ``upstream`` (``address:port``), honestly until told otherwise."""
    web = Web(upstream, _chance=random.Random(seed))

    @contextlib.asynccontextmanager
    async def service() -> AsyncIterator[None]:
        door = asyncio.create_task(_obey(web))
        await _until(lambda: bool(web.port))
        try:
            yield
        finally:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(door, *others, return_exceptions=True)
            await asyncio.sleep(0.1)  # so that transports are closed

    with on_a_thread(service()):
        yield web


async def _obey(web: Web) -> None:
    """Opens the door, and closes it while connections are to be refused."""
    while True:
        await _until(lambda: web.mode is not Mode.REFUSED)
        server = await asyncio.start_server(web.serve, "127.0.0.1", web.port, backlog=1024, limit=_PIECE)
        web.port = server.sockets[0].getsockname()[1]
        try:
            await _until(lambda: web.mode is Mode.REFUSED)
        finally:
            server.close()


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110  # what it waits for is set on another thread
        await asyncio.sleep(_POLL_S)
