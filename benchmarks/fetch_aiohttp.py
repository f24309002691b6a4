"""The bare loop: aiohttp and nothing else, over a list of URLs; prints what it took as JSON.

Workers take the URLs from one list, read each body in chunks up to 5 MB, and keep its bytes until it is
counted. No robots.txt, no delays, no look-ups, nothing written.
"""

import argparse
import asyncio
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

_MAX_BYTES = 5_000_000
_TIMEOUT_S = 30.0


def main() -> None:
    """Fetches the URLs of a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("urls", type=Path, help="one a line")
    parser.add_argument("--connections", type=int, default=100)
    arguments = parser.parse_args()
    urls = arguments.urls.read_text().split()
    print(json.dumps(asyncio.run(fetch_all(urls, arguments.connections))))


async def fetch_all(urls: list[str], connections: int) -> dict[str, float]:
    """Pages, bytes, seconds and the peak of resident memory (bytes)."""
    num_pages = num_bytes = 0

    async def work(session: aiohttp.ClientSession, queue: Iterator[str]) -> None:
        nonlocal num_pages, num_bytes
        for url in queue:
            async with asyncio.timeout(_TIMEOUT_S), session.get(url, allow_redirects=False) as answer:
                body = bytearray()
                async for chunk in answer.content.iter_any():
                    body += chunk[: _MAX_BYTES - len(body)]
                    if len(body) == _MAX_BYTES:
                        answer.close()
                        break
            num_pages += answer.status == 200
            num_bytes += len(body)

    started = time.monotonic()
    connector = aiohttp.TCPConnector(limit=0, resolver=_Loopback())
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as session:
        queue = iter(urls)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(connections):
                tasks.create_task(work(session, queue))
    seconds = time.monotonic() - started
    return {"pages": num_pages, "bytes": num_bytes, "seconds": seconds, "peak_bytes": peak_bytes()}


def peak_bytes() -> int:
    """The most memory that was resident; getrusage would count what the parent had before it became this."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


class _Loopback(AbstractResolver):
    """Every host is at 127.0.0.1."""

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 (there is but the one)
    ) -> list[ResolveResult]:
        """The one address."""
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(
                hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=flags
            )
        ]

    async def close(self) -> None:
        """Nothing is held."""


if __name__ == "__main__":
    main()
