"""What a small web consists of: responses, the pages that give them, and the site that holds them all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from webtext.demo.articles import Article

Headers = tuple[tuple[str, str], ...]
HTML: Headers = (("Content-Type", "text/html; charset=utf-8"),)


class Kind(StrEnum):
    """Why a page is there: what it shows of a crawl."""

    ARTICLE = "article"
    NEAR_COPY = "near copy"
    EXACT_COPY = "exact copy"
    FORBIDDEN = "forbidden by robots.txt"
    SLOW = "slow"
    ENDLESS = "never ends"
    UNHURRIED = "asks for a crawl-delay"
    NO_AI = "noai"
    CHARSET = "other charset"
    LANGUAGE = "other language"
    WIKIPEDIA = "wikipedia"
    REDIRECT = "redirect"
    LOOP = "redirect loop"
    INWARD = "redirect to a private address"
    ERROR = "error status"
    EMPTY = "empty shell"
    SHORT = "too short"
    NOT_HTML = "not HTML"
    ROBOTS = "robots.txt"


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response as sent: the body is compressed already where the headers say so."""

    status: int = 200
    headers: Headers = HTML
    body: bytes = b""
    delay_s: float = 0.0
    """Seconds that the server waits before it answers."""
    drips: bool = False
    """Whether a byte is sent now and then after the body, for ever."""


@dataclass(frozen=True, slots=True)
class Page:
    """What stands at one address."""

    host: str
    path: str
    kind: Kind
    response: Response
    title: str = ""
    article: Article | None = None
    """What there is to read, for pages that have it."""
    target: str = ""
    """The URL that a redirect leads to, or that a copy was made of."""

    @property
    def url(self) -> str:
        """The address."""
        return f"http://{self.host}{self.path}"

    @property
    def linked(self) -> bool:
        """Whether submissions link to it."""
        return self.kind is not Kind.ROBOTS


@dataclass(frozen=True, slots=True)
class Site:
    """A small web: its pages by host and path (with the query)."""

    pages: dict[tuple[str, str], Page]

    @classmethod
    def of(cls, pages: Iterable[Page]) -> Site:
        """Collects pages; no two may stand at the same address."""
        collected: dict[tuple[str, str], Page] = {}
        for page in pages:
            address = (page.host, page.path)
            if address in collected:
                raise ValueError(f"two pages at {page.url}: give one of them another path")
            collected[address] = page
        return cls(collected)

    @property
    def hosts(self) -> list[str]:
        """The names of all hosts, sorted."""
        return sorted({host for host, _ in self.pages})

    @property
    def linked(self) -> list[Page]:
        """The pages that submissions link to, in order of making."""
        return [page for page in self.pages.values() if page.linked]
