"""What a response's status and header say: keep it, follow it, or refuse it and why."""

from urllib.parse import urljoin

from pipeline import urls
from pipeline.fetch.exchange import Headers, Refusal
from pipeline.records import Reason

REDIRECTS = frozenset([301, 302, 303, 307, 308])
PAGE_TYPES = frozenset(["text/html", "application/xhtml+xml", "text/plain"])

# How many first bytes tell text from the rest, as in the WHATWG's MIME sniffing.
_SNIFFED = 1445
_BINARY = frozenset(set(range(0x20)) - set(b"\t\n\x0c\r\x1b"))
_MAGIC = (b"%PDF-", b"%!PS-Adobe-", b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"PK\x03\x04", b"\x1f\x8b")


def media_type(content_type: str | None) -> str:
    """``text/html`` of ``Text/HTML; charset=utf-8``; empty where the header is missing."""
    return (content_type or "").partition(";")[0].strip().lower()


def refusal(status: int, headers: Headers) -> Refusal | None:
    """Why a final response is no page, by what comes before its body; None if it may be one."""
    content_type = headers.get("content-type")
    if status != 200:
        return Refusal(_of_status(status), f"HTTP {status}", status, content_type)
    barred = _robots_tag(headers)
    if barred:
        return Refusal(Reason.NO_INDEX, f"X-Robots-Tag: {barred}", status, content_type)
    kind = media_type(content_type)
    if kind and kind not in PAGE_TYPES:
        return Refusal(Reason.WRONG_TYPE, kind, status, content_type)
    return None


def refusal_of_body(status: int, headers: Headers, body: bytes) -> Refusal | None:
    """Why a body is no page, where no header says its type."""
    if media_type(headers.get("content-type")) or looks_like_text(body):
        return None
    return Refusal(Reason.WRONG_TYPE, "no type is given, and it is not text", status)


def looks_like_text(body: bytes) -> bool:
    """Whether the first bytes can be text: none that only binary files have, no known signature."""
    head = body[:_SNIFFED]
    if head.startswith((b"\xfe\xff", b"\xff\xfe")):
        return True  # UTF-16 by its mark
    return not head.startswith(_MAGIC) and _BINARY.isdisjoint(head)


def redirect_target(base: str, location: str | None) -> urls.Url | None:
    """Where a redirect leads; None where that is no http(s) URL."""
    if not location:
        return None
    try:
        joined = urljoin(base, location.strip())
    except ValueError:
        return None
    return urls.parse(joined)


def without_fragment(url: str) -> str:
    """What is asked of a server."""
    return url.partition("#")[0]


def _of_status(status: int) -> Reason:
    if 400 <= status < 500:
        return Reason.HTTP_4XX
    return Reason.HTTP_5XX if 500 <= status < 600 else Reason.HTTP_OTHER


def _robots_tag(headers: Headers) -> str:
    """The words of X-Robots-Tag, to all agents or to this one, that ask not to be kept or trained on."""
    found = []
    for value in headers.all("x-robots-tag"):
        agent, colon, rest = value.partition(":")
        named = bool(colon) and "," not in agent and agent.strip().lower() != "unavailable_after"
        if named and agent.strip().lower() != "webtext":
            continue
        words = {word.strip().lower() for word in (rest if named else value).split(",")}
        found += sorted(words & {"noindex", "none", "noai"})
    return ", ".join(found)
