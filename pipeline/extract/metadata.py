"""What a page says of itself besides its text; nothing of who wrote it."""

import re
from collections.abc import Iterator
from datetime import date
from typing import Any, NamedTuple
from urllib.parse import urljoin

from htmldate import find_date

from pipeline.extract.page import Page
from pipeline.urls import parse

_MOST_CHARACTERS = 1_000  # of one value
_NAMES = frozenset(("og:url", "og:site_name", "og:description", "description"))
_RELATIONS = frozenset(("canonical", "license"))


class Metadata(NamedTuple):
    """A page's own words on itself; None where it has none.

    ``published`` is the day that it gives as its first, ``page_language`` that of ``<html lang>``,
    ``license`` the address of ``rel="license"``, ``canonical_url`` what it declares to be its right address
    (``rel="canonical"``, else ``og:url``), made absolute.
    """

    title: str | None = None
    published: date | None = None
    site_name: str | None = None
    description: str | None = None
    license: str | None = None
    page_language: str | None = None
    canonical_url: str | None = None


def read_metadata(page: Page, url: str, fetched: date) -> Metadata:
    """Reads a page's metadata.

    Args:
        page: The page.
        url: Where it was found.
        fetched: When: it was not published later.
    """
    tree = page.head
    if tree is None:
        return Metadata()
    said = _said(tree)
    base = absolute(url, said.get("base", "")) or url
    canonical = said.get("link canonical") or said.get("meta og:url")
    license_url = said.get("link license")
    return Metadata(
        title=said.get("title"),
        published=_published(tree, fetched),
        site_name=said.get("meta og:site_name"),
        description=said.get("meta description") or said.get("meta og:description"),
        license=absolute(base, license_url) if license_url else None,
        page_language=said.get("html"),
        canonical_url=absolute(base, canonical) if canonical else None,
    )


def _published(tree: Any, fetched: date) -> date | None:
    """The day on which the page was published, as it says itself (by htmldate); None before 1995."""
    try:
        found = find_date(tree, original_date=True, extensive_search=False, max_date=fetched.isoformat())
        return date.fromisoformat(found) if found else None
    except MemoryError:
        raise
    except Exception:  # a foreign page may do anything to the library: then it tells no day
        return None


def absolute(base: str, address: str) -> str | None:
    """An address as it stands on a page, made absolute; None where that is no URL of the web."""
    try:
        joined = urljoin(base, address)
    except ValueError:
        return None
    return joined if parse(joined) is not None else None


def _said(tree: Any) -> dict[str, str]:
    """What a page's head says, by name; of two that say the same the first, and none that is empty."""
    said: dict[str, str] = {}
    for element in tree.iter("html", "base", "title", "meta", "link"):
        for name, value in _values(element):
            if name not in said and value and (cleaned := _clean(value)):
                said[name] = cleaned
    return said


def _values(element: Any) -> Iterator[tuple[str, str | None]]:
    match element.tag:
        case "html":
            yield "html", element.get("lang")
        case "base":
            yield "base", element.get("href")
        case "title" if next(element.iterancestors("svg"), None) is None:
            yield "title", "".join(element.itertext())
        case "meta":
            name = (element.get("property") or element.get("name") or "").lower()
            if name in _NAMES:
                yield f"meta {name}", element.get("content")
        case "link":
            for rel in _RELATIONS.intersection(element.get("rel", "").lower().split()):
                yield f"link {rel}", element.get("href")


def _clean(text: str) -> str:
    """One line of printable characters."""
    line = re.sub(r"\s+", " ", text[:_MOST_CHARACTERS])
    return "".join(char for char in line if char.isprintable()).strip()
