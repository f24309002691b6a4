"""Who may ask the inspector, and what its pages may do in a browser.

Other machines are kept out by listening on loopback, or are asked for a token. Other sites in the same
browser are known by what it says of them: one that has its name lead to this machine (DNS rebinding) by the
Host header, one that sends forms or loads what is here by Origin and Sec-Fetch-Site. And what stands in the
pages that are looked at neither runs nor loads anything, by the content security policy.

Sources: the Fetch standard (Origin), Fetch Metadata Request Headers, Content Security Policy Level 3, RFC
6265bis (SameSite).
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Nothing runs or loads but what the inspector itself serves from /static.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # With "no-referrer", a browser would not say where a form of our own comes from.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

MAX_BODY_BYTES = 1 << 20

_METHODS = ("GET", "HEAD", "POST")


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask: whoever names one of these hosts and, where there is one, knows the token.

    Attributes:
        hosts: Names and addresses as they stand in Host headers, without a port; None: any.
        token: What must be known.
    """

    hosts: frozenset[str] | None = LOOPBACK
    token: str | None = None

    @property
    def cookie(self) -> str:
        """The name of the cookie that keeps the token: its own, for other inspectors may be on the host."""
        return f"webtext-{sha256((self.token or '').encode()).hexdigest()[:8]}"

    def knows(self, given: str | None) -> bool:
        """Whether what was given is the token, in a time that does not tell how much of it is right."""
        return self.token is None or secrets.compare_digest((given or "").encode(), self.token.encode())


class Guard:
    """ASGI middleware: turns away whom ``access`` does not let in, and sets every answer's headers."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = _turned_away(scope, self._access) or _let_in_by_token(scope, self._access)
        if answer is None and scope["method"] == "POST":
            body = await _read_body(receive)
            if body is None:
                answer = _refusal(413, f"More than {MAX_BODY_BYTES:,} bytes were sent: no form is so long.")
            else:
                receive = _replay(body, receive)
        await (answer or self._app)(scope, receive, send_with_headers)


def _turned_away(scope: Scope, access: Access) -> Response | None:
    """The answer to a request that is not let in whatever it knows; None where it may be."""
    headers = Headers(scope=scope)
    if scope["method"] not in _METHODS:
        return _refusal(405, "The inspector only shows, and takes forms.", {"allow": ", ".join(_METHODS)})
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not _is_host(hosts[0], access):
        return _refusal(403, "This inspector is not asked by that name: use the address that it has printed.")
    if not _is_from_here(scope, headers, hosts[0]):
        return _refusal(403, "Another site has asked for this: only the inspector's own pages may.")
    return None


def _is_host(header: str, access: Access) -> bool:
    """Whether a Host header is one that the inspector goes by."""
    if access.hosts is None:
        return True
    try:
        name = urlsplit(f"//{header}").hostname
    except ValueError:
        return False
    return name is not None and name in access.hosts


def _is_from_here(scope: Scope, headers: Mapping[str, str], host: str) -> bool:
    """Whether the inspector's own pages, the user, or a program has sent a request; links may lead here.

    Browsers say by Sec-Fetch-Site who sends, where the address is of loopback or HTTPS; and of forms always
    by Origin.
    """
    site = headers.get("sec-fetch-site")
    if scope["method"] == "POST":
        return site in {"same-origin", "none"} or (
            site is None and headers.get("origin") == f"{scope['scheme']}://{host}"
        )
    is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return site in {None, "same-origin", "none"} or is_link


def _let_in_by_token(scope: Scope, access: Access) -> Response | None:
    """The answer to a request that brings no token, or that brings it in its address; None: it is let in."""
    if access.token is None:
        return None
    headers = Headers(scope=scope)
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    if any(name == "token" and access.knows(value) for name, value in query):
        return _keep_token(scope, access, [(name, value) for name, value in query if name != "token"])
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if (scheme.lower() == "bearer" and access.knows(given)) or access.knows(
        Request(scope).cookies.get(access.cookie)
    ):
        return None
    # A browser keeps the cookie to itself while another site leads here: our own link brings it.
    return _refusal(
        403,
        "This inspector asks for a token: open the address that it has printed, with all that stands behind "
        'the question mark. If you just did, from a page of another site, <a href="/">go on</a>.',
    )


def _keep_token(scope: Scope, access: Access, query: list[tuple[str, str]]) -> Response:
    """Sends a browser to the same address without the token, which it keeps in a cookie."""
    path = "/" + quote(scope["path"].lstrip("/"))  # "//host" would lead to another host
    response = RedirectResponse(path + (f"?{urlencode(query)}" if query else ""), 303)
    response.set_cookie(
        access.cookie,
        access.token or "",
        httponly=True,
        samesite="strict",
        secure=scope["scheme"] == "https",
    )
    return response


async def _read_body(receive: Receive) -> bytes | None:
    """All that a request sends; None where that is too much, or breaks off."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """What the application receives: the body at once, and then what comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay


def _refusal(status_code: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>webtext</title><p>{text}</p>'
    return HTMLResponse(page, status_code, headers)
