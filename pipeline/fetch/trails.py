"""The choice between captures of a URL, and the way from a link through captured redirects to a page.

It is the same for WARC files at hand and for archives on the web: only where captures are looked up, and
how a record is read, differs.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from pipeline import urls
from pipeline.fetch import response
from pipeline.fetch.containers import Record
from pipeline.fetch.exchange import Headers, Refusal
from pipeline.fetch.response import PAGE_TYPES, REDIRECTS, media_type
from pipeline.records import Reason


@dataclass(frozen=True, slots=True)
class Capture:
    """A response that an archive holds, as its index tells; what tells where it is comes on top."""

    url: str
    date: datetime
    status: int
    content_type: str | None
    location: str | None

    @property
    def is_redirect(self) -> bool:
        """Whether it leads on."""
        return self.status in REDIRECTS

    @property
    def may_be_page(self) -> bool:
        """Whether its status and type are a page's."""
        kind = media_type(self.content_type)
        return self.status == 200 and (not kind or kind in PAGE_TYPES)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A link whose captures are looked for; ``created`` is its first submission."""

    id: str
    url: str
    created: datetime | None


C = TypeVar("C", bound=Capture)


@dataclass(frozen=True, slots=True)
class Trail(Generic[C]):
    """A link's captures, from its own through redirects to the last; a refusal where they bring no page."""

    captures: tuple[C, ...]
    refusal: Refusal | None


def nearest(captures: Iterable[C], created: datetime | None) -> C | None:
    """The capture to take: pages before redirects before the rest, then the nearest in time.

    Where the link tells no time, the earliest is taken; of several that are equal, the first.
    """
    return min(
        captures,
        key=lambda one: (not one.may_be_page, not one.is_redirect, distance_s(one, created), one.date),
        default=None,
    )


def distance_s(capture: Capture, created: datetime | None) -> float:
    """Seconds between a capture and a link's first submission; 0 where the link tells no time."""
    return abs((capture.date - created).total_seconds()) if created is not None else 0.0


def follow(
    address: str, created: datetime | None, known: Mapping[bytes, Sequence[C]], max_redirects: int
) -> Trail[C] | urls.Url:
    """A link's trail through the captures that are known (by their URLs' keys).

    Returns:
        The trail; the URL to look up, where it leads beyond what is known.
    """
    captures: list[C] = []
    seen: set[bytes] = set()
    url = urls.parse(address)
    if url is None:
        return Trail((), Refusal(Reason.BAD_URL))
    while True:
        if url.key in seen or len(captures) > max_redirects:
            return Trail(tuple(captures), Refusal(Reason.REDIRECT_LOOP, f"at {url.href}"))
        if url.key not in known:
            return url
        seen.add(url.key)
        capture = nearest(known[url.key], created)
        if capture is None:
            detail = f"redirected to {url.href}" if captures else ""
            return Trail(tuple(captures), Refusal(Reason.NOT_IN_WARC, detail))
        captures.append(capture)
        if capture.may_be_page:
            return Trail(tuple(captures), None)
        if not capture.is_redirect:
            fields = (("content-type", capture.content_type),) if capture.content_type else ()
            return Trail(tuple(captures), response.refusal(capture.status, Headers(fields), ()))
        url = response.redirect_target(capture.url, capture.location)
        if url is None:
            refusal = Refusal(Reason.BAD_REDIRECT, capture.location or "no location", capture.status)
            return Trail(tuple(captures), refusal)


def judge(record: Record, robots_tags: Collection[str]) -> Refusal | None:
    """Why a record is no page, by the rules for pages that are fetched; None if it is one."""
    got = record.response
    if got.headers.get("content-encoding"):
        # Other crawlers store bodies as they came: of those only the header can be read here.
        return response.refusal(got.status, got.headers, robots_tags)
    return response.judge(got, robots_tags)


def is_of(record: Record, url: str) -> bool:
    """Whether a record is of the URL that its index says."""
    told, found = urls.parse(url), urls.parse(record.url)
    return told is not None and found is not None and told.key == found.key
