"""What a response's status, header and body say: keep it, follow it, or refuse it and why."""

from collections.abc import Collection
from urllib.parse import urljoin

from pipeline import urls
from pipeline.fetch.exchange import Headers, Refusal, Response
from pipeline.fetch.tags import barred_by_header, barred_by_meta
from pipeline.records import Reason

REDIRECTS = frozenset([301, 302, 303, 307, 308])
PAGE_TYPES = frozenset(["text/html", "application/xhtml+xml", "text/plain"])

# How many first bytes tell text from the rest, as in the WHATWG's MIME sniffing.
_SNIFFED = 1445
_BINARY = frozenset(set(range(0x20)) - set(b"\t\n\x0c\r\x1b"))
_MAGIC = (b"%PDF-", b"%!PS-Adobe-", b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"PK\x03\x04", b"RIFF", b"OggS")
_PACKED = (b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd")


def media_type(content_type: str | None) -> str:
    """``text/html`` of ``Text/HTML; charset=utf-8``; empty where the header is missing."""
    return (content_type or "").partition(";")[0].strip().lower()


def refusal(status: int, headers: Headers, robots_tags: Collection[str]) -> Refusal | None:
    """Why a final response is no page, by what comes before its body; None if it may be one."""
    content_type = headers.get("content-type")
    if status != 200:
        return Refusal(_of_status(status), f"HTTP {status}", status, content_type)
    barred = barred_by_header(headers, robots_tags)
    if barred:
        return Refusal(Reason.NO_INDEX, f"X-Robots-Tag: {barred}", status, content_type)
    kind = media_type(content_type)
    if kind and kind not in PAGE_TYPES:
        return Refusal(Reason.WRONG_TYPE, kind, status, content_type)
    return None


def judge(answer: Response, robots_tags: Collection[str]) -> Refusal | None:
    """Why a final response is no page; None if it is one."""
    return refusal(answer.status, answer.headers, robots_tags) or judge_body(answer, robots_tags)


def judge_body(answer: Response, robots_tags: Collection[str]) -> Refusal | None:
    """Why a response whose header may be a page's is none; None if it is one."""
    content_type = answer.headers.get("content-type")
    if answer.body.startswith(_PACKED):
        what = "packed, and not marked so, or twice"
        return Refusal(Reason.BAD_ENCODING, what, answer.status, content_type)
    # A stray control character is found on many a page that says it is one: there only signatures count.
    if answer.body.startswith(_MAGIC) if media_type(content_type) else not looks_like_text(answer.body):
        what = "not text by its first bytes"
        return Refusal(Reason.WRONG_TYPE, what, answer.status, content_type)
    barred = barred_by_meta(answer.body, robots_tags)
    if barred:
        return Refusal(Reason.NO_INDEX, f"meta robots: {barred}", answer.status, content_type)
    return None


def looks_like_text(body: bytes) -> bool:
    """Whether the first bytes can be text: none that only binary files have, no known signature."""
    head = body[:_SNIFFED]
    if head.startswith((b"\xfe\xff", b"\xff\xfe")):
        return True  # UTF-16 by its mark
    return not head.startswith(_MAGIC + _PACKED) and _BINARY.isdisjoint(head)


def redirect_target(base: str, location: str | None) -> urls.Url | None:
    """Where a redirect leads; None where that is no http(s) URL."""
    if not location:
        return None
    try:
        joined = urljoin(base, location.strip())
    except ValueError:
        return None
    return urls.parse(joined)


def asked_address(href: str) -> str:
    """What is asked of a server: without the fragment, and without a user and password.

    >>> asked_address("https://user:word@example.com/a?b#c")
    'https://example.com/a?b'
    """
    if "#" not in href and "@" not in href:
        return href
    scheme, _, rest = href.partition("#")[0].partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def _of_status(status: int) -> Reason:
    if 400 <= status < 500:
        return Reason.HTTP_4XX
    return Reason.HTTP_5XX if 500 <= status < 600 else Reason.HTTP_OTHER
