"""The cast: who serves the pages, in which dress and with which manners."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Template(StrEnum):
    """How a host's pages look: the name of a file under templates/."""

    BLOG = "blog.html"
    DOCS = "docs.html"
    MAGAZINE = "magazine.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host name and how it behaves."""

    name: str
    brand: str
    template: Template
    weight: int = 0
    """Its share of the ordinary articles."""
    gzip: bool = False
    robots: str = ""
    """Its robots.txt; none (404) if empty."""
    min_delay_s: float = 0.0
    """Seconds that each answer takes at least."""


_MEMBERS_ONLY = "User-agent: *\nDisallow: /members/\n"

ORDINARY = (
    Host(name="pydocs.example", brand="PyDocs", template=Template.DOCS, weight=9, gzip=True),
    Host(name="stdlib.example", brand="Stdlib Reference", template=Template.DOCS, weight=7),
    Host(name="reference.numerics.example", brand="Numerics", template=Template.DOCS, weight=6, gzip=True),
    Host(name="handbook.lattice.example", brand="The Lattice Handbook", template=Template.DOCS, weight=4),
    Host(
        name="api.tensorfield.example",
        brand="Tensorfield",
        template=Template.DOCS,
        weight=3,
        robots="User-agent: *\nDisallow: /search\nDisallow: /_build/\n",
    ),
    Host(name="blog.stdlib.example", brand="Batteries Included", template=Template.BLOG, weight=6),
    Host(name="notes.graphs.example", brand="Notes on Graphs", template=Template.BLOG, weight=5, gzip=True),
    Host(name="www.tinkerer.example", brand="The Tinkerer", template=Template.BLOG, weight=4),
    Host(name="quietcode.example", brand="Quiet Code", template=Template.BLOG, weight=3, gzip=True),
    Host(name="dev.inkwell.example", brand="Inkwell", template=Template.BLOG, weight=2),
    Host(
        name="www.codeweekly.example",
        brand="Code Weekly",
        template=Template.MAGAZINE,
        weight=9,
        gzip=True,
        robots=_MEMBERS_ONLY,
    ),
    Host(name="runtime.example", brand="Runtime", template=Template.MAGAZINE, weight=5),
    Host(name="www.dailyloop.example", brand="The Daily Loop", template=Template.MAGAZINE, weight=4),
    Host(
        name="thebytecode.example",
        brand="The Bytecode",
        template=Template.MAGAZINE,
        weight=3,
        robots="User-agent: *\nDisallow: /print\nAllow: /\n\nUser-agent: badbot\nDisallow: /\n",
    ),
)

MIRRORS = (
    Host(name="mirror.pydocs.example", brand="PyDocs Mirror", template=Template.DOCS, gzip=True),
    Host(name="reposts.example", brand="Reposts", template=Template.BLOG),
    Host(name="syndicate.example", brand="The Syndicate", template=Template.MAGAZINE),
)

MEMBERS = next(host for host in ORDINARY if host.robots == _MEMBERS_ONLY)
CLOSED = Host(
    name="closed.example",
    brand="Closed Garden",
    template=Template.BLOG,
    robots="User-agent: *\nDisallow: /\n",
)
UNHURRIED = Host(
    name="unhurried.example",
    brand="Unhurried",
    template=Template.DOCS,
    robots="User-agent: *\nCrawl-delay: 0.5\n",
)
SLOW = Host(name="slow.example", brand="Slow Reading", template=Template.BLOG, min_delay_s=1.0)
CHARSETS = Host(name="alphabets.example", brand="Alphabets", template=Template.MAGAZINE)
LANGUAGES = Host(name="weltweit.example", brand="Weltweit", template=Template.BLOG)
WIKIPEDIA = Host(name="en.wikipedia.org", brand="Wikipedia", template=Template.DOCS, gzip=True)
# These serve no articles of their own.
MOVED = "old.pydocs.example"
SHORTENER = "go.short.example"
FILES = "files.example"
BROKEN = "broken.example"
