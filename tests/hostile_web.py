"""A large and hostile web on loopback: one port for all hosts, on a thread or in a process of its own.

``python -m tests.hostile_web --port 0 --log FILE`` serves :meth:`Web.make` of the same arguments, prints the
port, and ends with its standard input. :mod:`tests.hostile_pages` tells what hosts and pages are,
:mod:`tests.hostile_answers` what they send, and :mod:`tests.hostile_log` what the log proves.
"""

import argparse
import asyncio
import contextlib
import os
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import msgspec

from tests.hostile_answers import Answer, Ask, Then, answer
from tests.hostile_log import (
    Asked,
    asked_in_pause,
    asked_too_often,
    asked_twice,
    forbidden,
    indiscreet,
    private,
    read_log,
)
from tests.hostile_pages import ADDRESS, CANARY, Web
from tests.on_a_thread import on_a_thread

__all__ = [
    "Asked",
    "Running",
    "Served",
    "Web",
    "asked_in_pause",
    "asked_too_often",
    "asked_twice",
    "forbidden",
    "indiscreet",
    "private",
    "running",
    "serving",
]

_PIECES_AT_ONCE = 32
_HIGH_WATER = 1 << 16  # bytes that wait in the server: what is endless is not made ahead
_MAX_HEAD = 1 << 16
_TELLING = frozenset([b"cookie", b"authorization", b"proxy-authorization"])


@dataclass
class Served:
    """A web that is being served on a thread of this process, and its log."""

    web: Web
    port: int = 0
    log: list[Asked] = field(default_factory=list)

    def resolve(self) -> dict[str, str]:
        """The table of hosts for fetch.resolve."""
        return self.web.resolve(self.port)


@dataclass(frozen=True, slots=True)
class Running:
    """A web that is served by a process of its own."""

    web: Web
    port: int
    path: Path
    """Of the log, one JSON object a line."""

    def resolve(self) -> dict[str, str]:
        """The table of hosts for fetch.resolve."""
        return self.web.resolve(self.port)

    @property
    def log(self) -> list[Asked]:
        """What has ended until now; what is still in flight is not in it."""
        return read_log(self.path)


@contextlib.contextmanager
def serving(web: Web) -> Iterator[Served]:
    """Serves a web on a free port, on a thread of its own; at the end all of the log is there."""
    served = Served(web)

    @contextlib.asynccontextmanager
    async def service() -> AsyncIterator[None]:
        async with _listening(web, 0, served.log.append) as served.port:
            yield

    with on_a_thread(service()):
        yield served


@contextlib.contextmanager
def running(log: Path, *, seed: int = 5, num_hosts: int = 200, num_pages: int = 20_000) -> Iterator[Running]:
    """Serves a web from a process of its own, which outlives those that ask it; the log is a file."""
    arguments = ("--seed", seed, "--hosts", num_hosts, "--pages", num_pages, "--log", log)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.hostile_web", *map(str, arguments)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin
        assert process.stdout
        port = int(process.stdout.readline())
        try:
            yield Running(Web.make(seed, num_hosts, num_pages), port, log)
        finally:
            process.stdin.close()
            process.wait(30)


@contextlib.asynccontextmanager
async def _listening(web: Web, port: int, log: Callable[[Asked], object]) -> AsyncIterator[int]:
    """Listens at the web's address and at the canary's, on the same port; gives the port."""
    loop = asyncio.get_running_loop()
    service = _Service(web, log)
    async with contextlib.AsyncExitStack() as stack:
        server = await loop.create_server(lambda: _Connection(service), ADDRESS, port, backlog=4096)
        await stack.enter_async_context(server)
        service.port = server.sockets[0].getsockname()[1]
        canary = await loop.create_server(lambda: _Connection(service), CANARY, service.port)
        await stack.enter_async_context(canary)
        try:
            yield service.port
        finally:
            service.close()
            await asyncio.sleep(0)  # so that what was open is logged


class _Service:
    """What the connections share: the web, the log, and how often each page was asked."""

    def __init__(self, web: Web, log: Callable[[Asked], object]) -> None:
        self.port = 0
        self.log = log
        self.open: set[_Connection] = set()
        self._web = web
        self._pages: Counter[tuple[str, str]] = Counter()
        self._hosts: Counter[str] = Counter()

    def answer(self, host: str, path: str) -> Answer:
        """What the next request is answered with."""
        before = self._pages[host, path], self._hosts[host]
        self._pages[host, path] += 1
        self._hosts[host] += path != "/robots.txt"
        return answer(self._web, Ask(host, path, *before, datetime.now(UTC), self.port))

    def close(self) -> None:
        """Ends what is open."""
        for connection in list(self.open):
            connection.abort()


class _Connection(asyncio.Protocol):
    """One connection: a request at a time, and its answer as it is described."""

    def __init__(self, service: _Service) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._address = ""
        self._buffer = b""
        self._asked: tuple[str, str, float, tuple[str, ...]] | None = None
        self._answer = Answer(0)
        self._left = 0
        self._paused = self._last = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(_HIGH_WATER)
        self._address = transport.get_extra_info("sockname")[0]
        self._service.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._service.open.discard(self)
        self._log(complete=False)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pump()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._asked is None:
            self._next()
        elif len(self._buffer) > _MAX_HEAD:
            self.abort()

    def eof_received(self) -> None:
        self.abort()  # nobody half-closes a connection and reads on

    def abort(self) -> None:
        """Closes at once: what is not sent yet is lost."""
        self._transport.abort()

    def _next(self) -> None:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        self._buffer = rest
        request, *lines = head.split(b"\r\n")
        path = request.split(b" ")[1] if request.count(b" ") == 2 else b""
        fields = [
            (name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)
        ]
        host = dict(fields).get(b"host", b"").decode("latin-1").lower()
        host = host if host.startswith("[") else host.partition(":")[0]
        self._last = (b"connection", b"close") in fields
        telling = tuple(sorted(name.decode() for name, _ in fields if name in _TELLING))
        self._asked = (host, path.decode("latin-1"), time.monotonic(), telling)
        self._answer = self._service.answer(host, self._asked[1])
        self._left = self._answer.times
        if self._left:
            self._transport.write(self._answer.first)
            self._pump()
        else:
            self._end(self._answer.first)

    def _pump(self) -> None:
        """Sends on, as fast as it is read."""
        if self._asked is None or self._paused or self._transport.is_closing():
            return
        pieces = 1 if self._answer.interval_s else _PIECES_AT_ONCE
        for _ in range(min(pieces, self._left)):
            self._left -= 1
            self._transport.write(self._answer.repeated)
            if self._transport.is_closing() or self._transport.get_write_buffer_size() > _HIGH_WATER:
                return  # for good, or until resume_writing
        if self._left:
            self._loop.call_later(self._answer.interval_s, self._pump)
        else:
            self._end()

    def _end(self, first: bytes = b"") -> None:
        done = self._answer
        if done.then is Then.HANG:
            return
        self._log(
            complete=done.then is not Then.RESET
        )  # before the asker has it all, and may look into the log
        if first or done.last:
            self._transport.write(first + done.last)
        if done.then is Then.RESET:
            self._reset()
        elif self._last or done.then is Then.CLOSE:
            self._transport.close()
        elif self._buffer:
            self._next()

    def _reset(self) -> None:
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _log(self, *, complete: bool) -> None:
        if self._asked:
            host, path, began, telling = self._asked
            self._asked = None
            done = self._answer
            ended = time.monotonic()
            self._service.log(
                Asked(host, path, began, ended, complete, self._address, done.status, done.pause_s, telling)
            )


def main() -> None:
    """Serves until the standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--hosts", type=int, default=200)
    parser.add_argument("--pages", type=int, default=20_000)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, default=Path(os.devnull))
    arguments = parser.parse_args()
    web = Web.make(arguments.seed, arguments.hosts, arguments.pages)

    async def serve() -> None:
        with arguments.log.open("ab", buffering=0) as file:
            write = msgspec.json.Encoder().encode
            async with _listening(web, arguments.port, lambda one: file.write(write(one) + b"\n")) as port:
                print(port, flush=True)
                await asyncio.to_thread(sys.stdin.buffer.read)

    asyncio.run(serve())


if __name__ == "__main__":
    main()
