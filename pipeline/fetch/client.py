"""One HTTP request: to allowed addresses only, within a deadline, its body decoded and capped.

The address is checked where the socket is made, so that no name, literal, redirect or answer of a name
server leads into a private network. Hosts of the ``resolve`` table have a connector of their own, that
reaches the table's addresses and no other.
"""

import asyncio
import ipaddress
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from pipeline.config import FetchSettings
from pipeline.fetch.exchange import Exchange, Headers, Refusal, Response
from pipeline.fetch.response import without_fragment
from pipeline.fetch.warc import stored_headers
from pipeline.records import Reason
from pipeline.stages import VERSION
from pipeline.urls import Url, is_global_address, is_private_host

PORTS = frozenset([80, 443])

# What aiohttp decodes, or fails over; only the first two are asked for.
_CODINGS = frozenset(["gzip", "deflate", "br", "zstd", "identity", ""])
_DNS_CACHE_S = 600
_MAX_HEADER_BYTES = 64 * 1024  # a field; sites' cookies and policies pass aiohttp's 8 KiB
_MAX_DETAIL = 200

BytesWanted = Callable[[int, Headers], int]


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
    port = URL(url.href, encoded=True).port
    if port not in PORTS:
        return Refusal(Reason.BAD_PORT, str(port))
    return None


class Client:
    """Makes requests; an asynchronous context, whose loop it lives in.

    Args:
        settings: The stage's settings.
        resolver: Looks up names of the public web; aiodns by default.
    """

    def __init__(self, settings: FetchSettings, resolver: AbstractResolver | None = None) -> None:
        self._settings = settings
        self._resolver = resolver
        self._stack = AsyncExitStack()
        self._public: aiohttp.ClientSession | None = None
        self._named: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        table = {host: _address(target) for host, target in self._settings.resolve.items()}
        self._named = await self._session(_NamedResolver(table), _only(frozenset(table.values())))
        if self._settings.contact:
            resolver = self._resolver or aiohttp.AsyncResolver()
            self._stack.push_async_callback(resolver.close)
            self._public = await self._session(resolver, _public_socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def get(self, url: Url, bytes_wanted: BytesWanted) -> Exchange | Refusal:
        """Asks for a URL that the guard has let pass.

        Args:
            url: What to ask for.
            bytes_wanted: Told the status and the header; how many bytes of the body (decoded) to take.
                The rest is not read.
        """
        session = self._named if url.host in self._settings.resolve else self._public
        if session is None:
            raise RuntimeError(f"{url.href} was asked for without passing the guard")
        started, date = time.monotonic(), datetime.now(UTC)
        asked = without_fragment(url.href)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                target = URL(asked, encoded=True)
                async with session.get(target, allow_redirects=False) as answer:
                    peer = _peer(answer)
                    response = await _read(answer, bytes_wanted)
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            return _refusal(error)
        if isinstance(response, Refusal):
            return response
        request = answer.request_info
        return Exchange(
            url=asked,
            date=date,
            seconds=time.monotonic() - started,
            address=peer,
            request_line=f"GET {target.raw_path_qs} HTTP/1.1",
            request=Headers(tuple((str(name), value) for name, value in request.headers.items())),
            response=response,
        )

    async def _session(
        self, resolver: AbstractResolver, make_socket: Callable[[Any], socket.socket]
    ) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=resolver, ttl_dns_cache=_DNS_CACHE_S, limit=0, socket_factory=make_socket
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "User-Agent": user_agent(self._settings.contact),
                "Accept": "text/html,application/xhtml+xml,text/plain;q=0.9,*/*;q=0.1",
                "Accept-Encoding": "gzip, deflate",
            },
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            trust_env=False,
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
        )
        return await self._stack.enter_async_context(session)


async def _read(answer: aiohttp.ClientResponse, bytes_wanted: BytesWanted) -> Response | Refusal:
    """The response with as much of its body as is wanted; what is left is closed, not drained."""
    headers = Headers(tuple((_text(name), _text(value)) for name, value in answer.raw_headers))
    limit = bytes_wanted(answer.status, headers)
    coding = (headers.get("content-encoding") or "").strip().lower()
    if limit and coding not in _CODINGS:
        return Refusal(Reason.PROTOCOL, f"content-encoding {coding}"[:_MAX_DETAIL], answer.status)
    body, truncated = bytearray(), False
    if limit:
        async for chunk in answer.content.iter_any():
            room = limit - len(body)
            body += chunk[:room]
            if len(chunk) > room:
                truncated = True
                break
    if not answer.content.at_eof():
        answer.close()
    version = answer.version or aiohttp.HttpVersion11
    return Response(
        status_line=f"HTTP/{version.major}.{version.minor} {answer.status} {answer.reason or ''}".rstrip(),
        status=answer.status,
        headers=stored_headers(headers, len(body), decoded=True),
        body=bytes(body),
        truncated=truncated,
    )


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


def _only(allowed: frozenset[tuple[str, int]]) -> Callable[[Any], socket.socket]:
    def make(info: Any) -> socket.socket:
        if info[4][:2] not in allowed:
            raise NotAllowedAddressError("not an address of the resolve table")
        return socket.socket(info[0], info[1], info[2])

    return make


def _public_socket(info: Any) -> socket.socket:
    """The socket for an address that is about to be connected to, if it is one of the public internet."""
    if not is_global_address(ipaddress.ip_address(info[4][0])):
        # The same words for every address: aiohappyeyeballs then keeps the type where all are refused.
        raise NotAllowedAddressError("the name leads to a private address")
    return socket.socket(info[0], info[1], info[2])


def _address(target: str) -> tuple[str, int]:
    address, _, port = target.rpartition(":")
    return str(ipaddress.ip_address(address.strip("[]"))), int(port)


def _peer(answer: aiohttp.ClientResponse) -> str | None:
    """The server's address; None where the connection has been given back already."""
    transport = answer.connection.transport if answer.connection else None
    peer = transport.get_extra_info("peername") if transport else None
    return peer[0] if peer else None


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _refusal(error: Exception) -> Refusal:
    """What a failed request comes down to."""
    return Refusal(_reason(error), " ".join(str(error).split())[:_MAX_DETAIL])


# The first that fits: what stands above is more special than what stands below.
_REASONS: tuple[tuple[type[Exception], Reason], ...] = (
    (TimeoutError, Reason.TIMEOUT),
    (aiohttp.ClientConnectorDNSError, Reason.DNS),
    (aiohttp.ClientConnectorCertificateError, Reason.TLS),
    (aiohttp.ClientSSLError, Reason.TLS),
    (aiohttp.ClientOSError, Reason.CONNECT),
    (aiohttp.InvalidURL, Reason.BAD_URL),
    (aiohttp.ClientError, Reason.PROTOCOL),
    (ValueError, Reason.BAD_URL),
)


def _reason(error: Exception) -> Reason:
    if isinstance(getattr(error, "os_error", None), NotAllowedAddressError):
        return Reason.NOT_ALLOWED_ADDRESS
    return next(reason for kind, reason in _REASONS if isinstance(error, kind))
