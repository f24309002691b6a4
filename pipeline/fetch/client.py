"""One HTTP request: to allowed addresses only, within a deadline, its body decoded and capped.

The address is checked where the socket is made, so that no name, literal, redirect or answer of a name
server leads into a private network. Hosts of the ``resolve`` table have a connector of their own, that
reaches the table's addresses and no other.
"""

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection
from yarl import URL

from pipeline.config import FetchSettings
from pipeline.fetch.coding import CODINGS, CodingError, Decoder
from pipeline.fetch.exchange import Exchange, Failure, Headers, Refusal, Response, Timings
from pipeline.fetch.failures import MAX_DETAIL, refusal_of
from pipeline.fetch.resolver import CachingResolver
from pipeline.fetch.response import REDIRECTS, asked_address
from pipeline.fetch.warc import stored_headers
from pipeline.records import Reason
from pipeline.stages import VERSION
from pipeline.urls import Url, is_global_address, is_private_host

_MAX_FIELD_BYTES = 32 * 1024  # sites' cookies and policies pass aiohttp's 8 KiB
_MAX_FIELDS = 128

BytesWanted = Callable[[int, Headers], int]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class NotAllowedAddressError(OSError):
    """A connection that would lead to an address that is not allowed."""


def user_agent(contact: str) -> str:
    """How the fetcher names itself."""
    return f"webtext/{VERSION.rpartition('.')[0]}" + (f" (+{contact})" if contact else "")


def guard(url: Url, settings: FetchSettings) -> Refusal | None:
    """Why a URL is not asked at all, by its host and port; None if it may be."""
    if url.host in settings.resolve:
        return None
    if is_private_host(url.host):
        return Refusal(Reason.NOT_ALLOWED_ADDRESS, url.host)
    if not settings.contact:
        return Refusal(Reason.NOT_ALLOWED_ADDRESS, "not in fetch.resolve, and no fetch.contact is set")
    port = int(url.port) if url.port else 443 if url.href.startswith("https:") else 80
    if port not in settings.ports:
        return Refusal(Reason.BAD_PORT, str(port))
    return None


@dataclass(slots=True)
class _Probe:
    """What is measured of the request that runs in this context."""

    dns_s: float | None = None
    connect_s: float | None = None
    sockets: int = 0
    address: str | None = None


_PROBE: ContextVar[_Probe] = ContextVar("probe")


class Client:
    """Makes requests; an asynchronous context, whose loop it lives in.

    Args:
        settings: The stage's settings.
        is_allowed: Which addresses of the public web may be connected to.
    """

    def __init__(
        self, settings: FetchSettings, is_allowed: Callable[[Address], bool] = is_global_address
    ) -> None:
        self._settings = settings
        self._is_allowed = is_allowed
        self._stack = AsyncExitStack()
        self._public: aiohttp.ClientSession | None = None
        self._named: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        table = {host: _address(target) for host, target in self._settings.resolve.items()}
        self._named = await self._session(_NamedResolver(table), frozenset(table.values()).__contains__)
        if self._settings.contact:
            resolver = CachingResolver(self._settings.nameservers)
            self._stack.push_async_callback(resolver.close)
            self._public = await self._session(
                resolver, lambda target: self._is_allowed(ipaddress.ip_address(target[0]))
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def get(
        self,
        url: Url,
        bytes_wanted: BytesWanted,
        *,
        headers: Mapping[str, str] | None = None,
        keep_alive: bool = True,
    ) -> Exchange | Failure:
        """Asks for a URL that the guard has let pass.

        Args:
            url: What to ask for; a user and password in it are not sent.
            bytes_wanted: Told the status and the header; how many bytes of the body (decoded) to take.
                The rest is not read.
            headers: Fields besides the usual ones.
            keep_alive: Whether the connection is kept for the next request to the same host.
        """
        session = self._named if url.host in self._settings.resolve else self._public
        if session is None:
            raise RuntimeError(f"{url.href} was asked for without passing the guard")
        probe = _Probe()
        _PROBE.set(probe)
        date, started = datetime.now(UTC), time.monotonic()
        asked = asked_address(url.href)
        fields = dict(headers or {}) if keep_alive else {"Connection": "close", **(headers or {})}
        first_byte_s = None
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                target = URL(asked, encoded=True)
                async with session.get(target, headers=fields or None, allow_redirects=False) as answer:
                    first_byte_s = time.monotonic() - started
                    response = await _read(answer, bytes_wanted)
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            response = _refusal(error, first_byte_s, self._settings.timeout_s)
        timings = Timings(time.monotonic() - started, probe.dns_s, probe.connect_s, first_byte_s)
        if isinstance(response, Refusal):
            return Failure(asked, date, timings, probe.address, response)
        return Exchange(
            url=asked,
            date=date,
            timings=timings,
            address=probe.address,
            request_line=f"GET {target.raw_path_qs} HTTP/1.1",
            request=Headers(tuple((str(key), value) for key, value in answer.request_info.headers.items())),
            response=response,
        )

    async def _session(
        self, resolver: AbstractResolver, may_connect: Callable[[Any], bool]
    ) -> aiohttp.ClientSession:
        def make_socket(info: Any) -> socket.socket:
            if not may_connect(info[4][:2]):
                # The same words for every address: where all are refused, aiohappyeyeballs keeps the type.
                raise NotAllowedAddressError("the name leads to an address that is not allowed")
            _PROBE.get().sockets += 1
            return socket.socket(info[0], info[1], info[2])

        session = aiohttp.ClientSession(
            connector=_Connector(
                resolver=_TimedResolver(resolver),
                use_dns_cache=False,
                limit=0,
                socket_factory=make_socket,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "User-Agent": user_agent(self._settings.contact),
                "Accept": "text/html,application/xhtml+xml,text/plain;q=0.9,*/*;q=0.1",
                "Accept-Encoding": "gzip, deflate",
            },
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            trust_env=False,
            auto_decompress=False,
            max_line_size=_MAX_FIELD_BYTES,
            max_field_size=_MAX_FIELD_BYTES,
            max_headers=_MAX_FIELDS,
        )
        # Else a server that hangs up on a kept connection is asked again at once, and its pause is not kept.
        session._retry_connection = False  # noqa: SLF001 (aiohttp has no setting for it)
        return await self._stack.enter_async_context(session)


class _Connector(aiohttp.TCPConnector):
    """Tells the request's probe how long its connection took, and whose it is."""

    async def connect(self, *args: Any, **kwargs: Any) -> Connection:
        """A connection for a request, new or kept from an earlier one."""
        started, probe = time.monotonic(), _PROBE.get()
        connection = await super().connect(*args, **kwargs)
        if probe.sockets:
            probe.connect_s = time.monotonic() - started - (probe.dns_s or 0.0)
        peer = connection.transport.get_extra_info("peername") if connection.transport else None
        probe.address = peer[0] if peer else None
        return connection


class _TimedResolver(AbstractResolver):
    """Tells the request's probe how long its look-up took."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """What the resolver says."""
        started = time.monotonic()
        try:
            return await self._resolver.resolve(host, port, family)
        finally:
            _PROBE.get().dns_s = time.monotonic() - started

    async def close(self) -> None:
        """The resolver is closed by whoever made it."""


class _NamedResolver(AbstractResolver):
    """Knows the hosts of the ``resolve`` table and no other."""

    def __init__(self, table: dict[str, tuple[str, int]]) -> None:
        self._table = table

    async def resolve(
        self,
        host: str,
        port: int = 0,  # noqa: ARG002 (the table's port replaces the URL's)
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002
    ) -> list[ResolveResult]:
        """The table's address and port of a host."""
        address, number = self._table[host.rstrip(".")]
        version = ipaddress.ip_address(address).version
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=number,
                family=socket.AF_INET6 if version == 6 else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
        ]

    async def close(self) -> None:
        """Nothing is held."""


async def _read(answer: aiohttp.ClientResponse, bytes_wanted: BytesWanted) -> Response | Refusal:
    """The response with as much of its body as is wanted; what is left is closed, not drained."""
    headers = Headers(tuple((_text(name), _text(value)) for name, value in answer.raw_headers))
    limit = bytes_wanted(answer.status, headers)
    coding = (headers.get("content-encoding") or "").strip().lower()
    is_redirect = answer.status in REDIRECTS  # it is of use whatever its body
    if coding not in CODINGS:
        if limit and not is_redirect:
            return Refusal(Reason.BAD_ENCODING, f"content-encoding: {coding}"[:MAX_DETAIL], answer.status)
        limit = 0
    decoder = Decoder(coding, limit)
    if limit:
        try:
            await _feed(decoder, answer.content)
        except CodingError:
            if not is_redirect:
                raise
            decoder = Decoder("", 0)
        if not (decoder.ended or decoder.truncated or is_redirect):
            return Refusal(Reason.CUT_SHORT, f"the {coding} stream does not end", answer.status)
    if not answer.content.at_eof():
        answer.close()
    version = answer.version or aiohttp.HttpVersion11
    return Response(
        status_line=f"HTTP/{version.major}.{version.minor} {answer.status} {answer.reason or ''}".rstrip(),
        status=answer.status,
        headers=stored_headers(headers, len(decoder.body), decoded=True),
        body=bytes(decoder.body),
        truncated=decoder.truncated,
    )


async def _feed(decoder: Decoder, content: aiohttp.StreamReader) -> None:
    async for chunk in content.iter_any():
        decoder.feed(chunk)
        if decoder.truncated:
            return


def _address(target: str) -> tuple[str, int]:
    address, _, port = target.rpartition(":")
    return str(ipaddress.ip_address(address.strip("[]"))), int(port)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _refusal(error: Exception, first_byte_s: float | None, timeout_s: float) -> Refusal:
    if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
        what = "no answer" if first_byte_s is None else "the body did not end"
        return Refusal(Reason.TIMEOUT, f"{what} within {timeout_s:g} s")
    if isinstance(getattr(error, "os_error", None), NotAllowedAddressError):
        return Refusal(Reason.NOT_ALLOWED_ADDRESS, "the name leads to an address that is not allowed")
    return refusal_of(error)
