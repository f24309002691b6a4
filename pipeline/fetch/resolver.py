"""Names to addresses: c-ares by aiodns, every answer remembered, also that there is none.

At hundreds of requests a second name servers fail before anything else does (img2dataset's issue 360): a
name is looked up once however many links wait for it, and one that does not exist is not asked for again.
"""

import asyncio
import socket
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import aiodns
import pycares
from aiohttp.abc import AbstractResolver, ResolveResult

NUM_REMEMBERED = 1 << 15  # names
MIN_TTL_S, MAX_TTL_S = 60.0, 3600.0  # what an answer's own time to live is held to
ABSENT_S = 3600.0  # a name that does not exist, RFC 2308
FAILED_S = 30.0  # a server that failed or did not answer: RFC 2308 allows five minutes

_LOOK_UP_TIMEOUT_S, _LOOK_UP_TRIES = 5.0, 2
_ABSENT = frozenset([pycares.errno.ARES_ENOTFOUND, pycares.errno.ARES_ENODATA, pycares.errno.ARES_EBADNAME])


class NoSuchNameError(OSError):
    """The name does not exist, or has no address: asking again is of no use."""


@dataclass(frozen=True, slots=True)
class _Answer:
    addresses: tuple[ResolveResult, ...]
    error: OSError | None
    until: float


class CachingResolver(AbstractResolver):
    """Looks names up and remembers the answers; lives in one event loop.

    Args:
        nameservers: ``address`` or ``address:port`` of each; none: the system's.
    """

    def __init__(self, nameservers: Sequence[str] = ()) -> None:
        self._channel = aiodns.DNSResolver(
            nameservers=list(nameservers) or None, timeout=_LOOK_UP_TIMEOUT_S, tries=_LOOK_UP_TRIES
        )
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._asked: dict[str, asyncio.Task[_Answer]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """A host's addresses.

        Raises:
            NoSuchNameError: There is no such name.
            OSError: No name server could tell.
        """
        answer = self._answers.get(host)
        if answer is None or answer.until <= time.monotonic():
            task = self._asked.get(host)
            if task is None:
                task = self._asked[host] = asyncio.create_task(self._look_up(host))
                task.add_done_callback(lambda _: self._asked.pop(host, None))
            answer = await asyncio.shield(task)  # whoever waits may give up; the answer stays
            self._remember(host, answer)
        if answer.error is not None:
            raise answer.error
        return [
            ResolveResult({**one, "port": port})
            for one in answer.addresses
            if family in (socket.AF_UNSPEC, one["family"])
        ]

    async def close(self) -> None:
        """Ends what is still being asked."""
        for task in list(self._asked.values()):
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        await self._channel.close()

    def _remember(self, host: str, answer: _Answer) -> None:
        self._answers[host] = answer
        self._answers.move_to_end(host)
        while len(self._answers) > NUM_REMEMBERED:
            self._answers.popitem(last=False)

    async def _look_up(self, host: str) -> _Answer:
        now = time.monotonic
        try:
            found = await self._channel.getaddrinfo(host, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM)
        except aiodns.error.DNSError as error:
            code, words = error.args[0], str(error.args[1])
            if code in _ABSENT:
                return _Answer((), NoSuchNameError(None, words), now() + ABSENT_S)
            return _Answer((), OSError(None, words), now() + FAILED_S)
        addresses = tuple(
            ResolveResult(
                hostname=host,
                host=node.addr[0].decode("ascii"),
                port=0,
                family=node.family,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for node in found.nodes
        )
        if not addresses:
            return _Answer((), NoSuchNameError(None, "the name has no address"), now() + ABSENT_S)
        ttl_s = min(max(min(node.ttl for node in found.nodes), MIN_TTL_S), MAX_TTL_S)
        return _Answer(addresses, None, now() + ttl_s)
