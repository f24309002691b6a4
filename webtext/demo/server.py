"""Serves a site on loopback, in a process of its own: one port for all hosts, chosen by the kernel.

The serving process is told what to serve on its standard input, and ends when that ends: a parent that dies,
however it dies, takes its server with it.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qsl, urlencode

import msgspec
from aiohttp import web

from webtext.demo.web import Response, Site

_DRIP_S = 0.25
_LENGTH_BYTES = 8
_NOT_FOUND = Response(404, body=b"<html><body><h1>404</h1><p>There is nothing here.</p></body></html>")

Responses = dict[str, dict[str, Response]]
"""Responses by host and path."""


@dataclass(frozen=True, slots=True)
class Access:
    """One request: when it came (seconds since the epoch), for what, and the answer's status."""

    at: float
    host: str
    path: str
    status: int


@dataclass(frozen=True, slots=True)
class Server:
    """A site that is being served."""

    address: str
    """Where, as ``address:port``."""
    resolve: dict[str, str]
    """Each host's address and port, as curl's --resolve has them; also its name with or without ``www.``."""
    log: Path
    """The requests, one JSON object a line; it is gone when the serving ends."""
    pid: int

    def accesses(self) -> list[Access]:
        """Reads what was asked for until now, in order."""
        return [msgspec.json.decode(line, type=Access) for line in self.log.read_bytes().splitlines()]


@contextmanager
def serve(site: Site) -> Iterator[Server]:
    """Serves a site for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="webtext-demo-") as folder:
        log = Path(folder) / "access.ndjson"
        log.touch()
        process = subprocess.Popen(
            [sys.executable, "-m", "webtext.demo.server", log],
            # From here, so that the same code serves that is asking.
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A Ctrl-C is for the parent, which then ends the server.
            start_new_session=True,
        )
        with process:
            try:
                port = _hand_over(process, site)
                address = f"127.0.0.1:{port}"
                names = {name for host in site.hosts for name in (host, _twin(host))}
                yield Server(address, dict.fromkeys(sorted(names), address), log, process.pid)
            finally:
                process.kill()


def _twin(host: str) -> str:
    """Returns a host's other name: without ``www.`` if it has it, with it if not."""
    return host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"


def _hand_over(process: subprocess.Popen[bytes], site: Site) -> int:
    """Sends the site to the process that serves it, and reads the port that it listens on."""
    responses: Responses = {}
    for (host, path), page in site.pages.items():
        responses.setdefault(host, {})[path] = page.response
    content = msgspec.msgpack.encode(responses)
    assert process.stdin is not None  # noqa: S101 - both are pipes: this is for the type checker
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(len(content).to_bytes(_LENGTH_BYTES))
    process.stdin.write(content)
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        raise RuntimeError("the demo's web server did not start: its message stands above")
    return int(answer)


def _take_over(stream: BinaryIO) -> Responses:
    """Reads the site that is to be served."""
    length = int.from_bytes(stream.read(_LENGTH_BYTES))
    return msgspec.msgpack.decode(stream.read(length), type=Responses)


def _known_as(path: str) -> str:
    """Returns a path as sites understand it: whatever the order of its query, and who sent the reader.

    >>> _known_as("/story?id=7&utm_source=reddit&a=1")
    '/story?a=1&id=7'
    """
    place, mark, query = path.partition("?")
    pairs = sorted((name, value) for name, value in parse_qsl(query) if not name.startswith("utm_"))
    return f"{place}{mark if pairs else ''}{urlencode(pairs)}"


async def _serve_until_eof(responses: Responses, log: Path) -> None:
    known = {
        host: {_known_as(path): response for path, response in pages.items()}
        for host, pages in responses.items()
    }

    with log.open("ab", buffering=0) as accesses:

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            host = request.host.partition(":")[0].lower()
            pages = known.get(host) or known.get(_twin(host), {})
            response = pages.get(_known_as(request.raw_path), _NOT_FOUND)
            access = Access(time.time(), host, request.raw_path, response.status)
            accesses.write(msgspec.json.encode(access) + b"\n")
            await asyncio.sleep(response.delay_s)
            if response.drips:
                return await _drip(request, response)
            return web.Response(status=response.status, headers=response.headers, body=response.body)

        runner = web.ServerRunner(web.Server(answer))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        _, port = runner.addresses[0]
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.buffer.read)


async def _drip(request: web.BaseRequest, response: Response) -> web.StreamResponse:
    """Sends a word now and then, for as long as the reader has patience."""
    stream = web.StreamResponse(status=response.status, headers=response.headers)
    await stream.prepare(request)
    await stream.write(response.body)
    try:
        while True:
            await asyncio.sleep(_DRIP_S)
            await stream.write(b" and")
    except ConnectionError:
        return stream


if __name__ == "__main__":
    asyncio.run(_serve_until_eof(_take_over(sys.stdin.buffer), Path(sys.argv[1])))
