"""The web that fetching is measured on: pages of 30 kB under any host names, as fast as a process sends them.

Every page's bytes are its own, so that no crawler finds a payload twice: a few hundred bodies of prose, and
in each the path. There is no robots.txt (HTTP 404). ``/bomb`` is 1 GB of gzip. The process prints its port
and ends with its standard input.
"""

import asyncio
import contextlib
import html
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from random import Random
from typing import cast

from tests.hostile_answers import bomb

NUM_BODIES = 400
PAGE_BYTES = 30_000
_NAME_BYTES = 64  # of the path, in each page
_SEED = 7
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n"


@contextlib.contextmanager
def serving() -> Iterator[int]:
    """Runs the server in a process of its own; gives its port on 127.0.0.1."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fetch_server"],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdin
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(30)


def make_bodies(num_bodies: int = NUM_BODIES) -> list[bytes]:
    """HTML of about PAGE_BYTES each, of paragraphs of Python's documentation in another order each."""
    paragraphs = [text for topic in sorted(topics) for text in topics[topic].split("\n\n") if len(text) > 80]
    bodies = []
    for number in range(num_bodies):
        random = Random(_SEED + number)
        parts, length = [f"<body><h1>Page {number}</h1>"], 0
        while length < PAGE_BYTES - 500:
            parts.append(f"<p>{html.escape(random.choice(paragraphs))}</p>\n")
            length += len(parts[-1])
        body = "".join(parts).encode()[: PAGE_BYTES - 200]
        bodies.append(body.rpartition(b"<p>")[0] + b"</body></html>\n")
    return bodies


class _Server(asyncio.Protocol):
    """Answers what it reads, without looking at more than the path."""

    def __init__(self, answers: list[tuple[bytes, bytes]], bomb_answer: bytes) -> None:
        self._answers = answers
        self._bomb = bomb_answer
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            path = self._buffer[4 : self._buffer.find(b" ", 4)]
            self._buffer = self._buffer[end + 4 :]
            if path == b"/robots.txt":
                self._transport.write(_NOT_FOUND)
            elif path == b"/bomb":
                self._transport.write(self._bomb)
            else:
                head, body = self._answers[zlib.crc32(path) % len(self._answers)]
                self._transport.write(b"%b%-64b%b" % (head, path[:_NAME_BYTES], body))


async def _serve() -> None:
    start, middle = b"<!DOCTYPE html><html><head><title>", b"</title></head>\n"
    answers = []
    for body in make_bodies():
        length = len(start) + _NAME_BYTES + len(middle) + len(body)
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {length}\r\n\r\n"
        )
        answers.append((head.encode() + start, middle + body))
    made = bomb()
    packed = made.first + made.repeated * made.times + made.last
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Server(answers, packed), "127.0.0.1", 0, backlog=8192)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(_serve())
