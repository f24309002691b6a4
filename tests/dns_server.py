"""A name server on loopback under a test's control: UDP, RFC 1035, with a log of what it was asked.

A name has a list of answers, one a query of a type, the last of them from then on: so it can lead elsewhere
the second time (DNS rebinding; with ``ttl_s=0``, as c-ares remembers answers by itself). Names that are not
in the table do not exist.
"""

import asyncio
import contextlib
import ipaddress
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import cast

from tests.on_a_thread import on_a_thread

_A, _AAAA = 1, 28
_TYPES = {_A: "A", _AAAA: "AAAA"}
_IN = 1
_POINTER_TO_QUESTION = 0xC00C
_ANSWER, _RECURSION_DESIRED, _RECURSION_AVAILABLE = 0x8000, 0x0100, 0x0080


class Code(IntEnum):
    """Response codes of RFC 1035, section 4.1.1."""

    NO_ERROR = 0
    SERVFAIL = 2
    NXDOMAIN = 3
    REFUSED = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """What one query is answered with: the addresses of the type that it asks for, perhaps none."""

    addresses: tuple[str, ...] = ()
    ttl_s: int = 60
    code: Code = Code.NO_ERROR
    silent: bool = False
    """Nothing is sent at all."""
    delay_s: float = 0.0


NXDOMAIN = Answer(code=Code.NXDOMAIN)
SERVFAIL = Answer(code=Code.SERVFAIL)
SILENCE = Answer(silent=True)


def at(*addresses: str, ttl_s: int = 60) -> Answer:
    """An answer with these addresses, IPv4 or IPv6."""
    return Answer(addresses, ttl_s)


@dataclass(frozen=True, slots=True)
class Query:
    """A query as the server saw it."""

    name: str
    kind: str
    """``A``, ``AAAA``, or the number of another type."""
    at: float
    """By the monotonic clock, in seconds."""


@dataclass
class NameServer:
    """The table of names and the log; both may be read and changed while it serves."""

    names: dict[str, Sequence[Answer]] = field(default_factory=dict)
    log: list[Query] = field(default_factory=list)
    port: int = 0
    _asked: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def address(self) -> str:
        """``address:port``, as fetch.nameservers and aiodns have it."""
        return f"127.0.0.1:{self.port}"

    def queries(self, name: str, kind: str | None = None) -> list[Query]:
        """What was asked about a name, in order."""
        return [one for one in self.log if one.name == name and kind in (None, one.kind)]

    def answer(self, packet: bytes) -> tuple[bytes, float] | None:
        """A packet's answer, and how long it waits (seconds); None where there is none."""
        parsed = _question(packet)
        if parsed is None:
            return None
        name, number, question = parsed
        kind = _TYPES.get(number, str(number))
        self.log.append(Query(name, kind, time.monotonic()))
        answers = self.names.get(name, (NXDOMAIN,))
        answer = answers[min(self._asked[name, kind], len(answers) - 1)]
        self._asked[name, kind] += 1
        return None if answer.silent else (_message(packet, question, number, answer), answer.delay_s)


@contextlib.contextmanager
def serving(names: Mapping[str, Answer | Sequence[Answer]]) -> Iterator[NameServer]:
    """Runs a name server on a free UDP port of loopback, on a thread of its own.

    Args:
        names: What each name (lower case) is answered with: always, or query by query.
    """
    table = {name: (one,) if isinstance(one, Answer) else one for name, one in names.items()}
    server = NameServer(dict(table))

    @contextlib.asynccontextmanager
    async def service() -> AsyncIterator[None]:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Protocol(server), local_addr=("127.0.0.1", 0)
        )
        server.port = transport.get_extra_info("sockname")[1]
        try:
            yield
        finally:
            transport.close()
            await asyncio.sleep(0)  # so that the socket is closed

    with on_a_thread(service()):
        yield server


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answered = self._server.answer(data)
        if answered and self._transport:
            message, delay_s = answered
            asyncio.get_running_loop().call_later(delay_s, self._transport.sendto, message, addr)


def _question(packet: bytes) -> tuple[str, int, bytes] | None:
    """The name (lower case), the type and the bytes of a packet's question; None where there is none."""
    if len(packet) < 12 or struct.unpack_from("!H", packet, 4) != (1,):
        return None
    labels, place = [], 12
    while place < len(packet) and packet[place]:
        length = packet[place]
        labels.append(packet[place + 1 : place + 1 + length])
        place += 1 + length
    if place + 5 > len(packet):
        return None
    (number,) = struct.unpack_from("!H", packet, place + 1)
    return b".".join(labels).decode("ascii", "replace").lower(), number, packet[12 : place + 5]


def _message(packet: bytes, question: bytes, number: int, answer: Answer) -> bytes:
    version = {_A: 4, _AAAA: 6}.get(number)
    parsed = [ipaddress.ip_address(address) for address in answer.addresses]
    records = [
        struct.pack("!HHHIH", _POINTER_TO_QUESTION, number, _IN, answer.ttl_s, len(one.packed)) + one.packed
        for one in parsed
        if one.version == version
    ]
    (asked_flags,) = struct.unpack_from("!H", packet, 2)
    flags = _ANSWER | (asked_flags & _RECURSION_DESIRED) | _RECURSION_AVAILABLE | answer.code
    header = packet[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0)
    return header + question + b"".join(records)
