"""URLs that stand for others: redirects that name their target, and shorteners that do not."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from pipeline.hosts import NUM_REMEMBERED, lies_within, parents, registrable_domain
from pipeline.url_lists import read_list, read_words
from pipeline.urls import Url, parse

_MAX_WRAPPINGS = 5
_MAX_ENCODINGS = 3
_ASCII = re.compile(r"%([0-7][0-9A-Fa-f])")
_ABSOLUTE = re.compile(r"https?://", re.IGNORECASE)


class _Wrapper(NamedTuple):
    """A kind of redirect, as ``url_lists/wrappers.txt`` describes it."""

    host: str
    path: str
    where: tuple[str, ...]


def unwrap(url: Url) -> Url:
    """The page that a redirect (Reddit's out-links, search engines', AMP caches) names in its URL.

    Redirects inside redirects are followed; a URL that is none, or names no page, stays as it is.
    """
    for _ in range(_MAX_WRAPPINGS):
        wrappers = _wrappers_of(url.host)
        if not wrappers:
            return url
        url = _target(url, wrappers) or url
    return url


@lru_cache(maxsize=NUM_REMEMBERED)
def is_shortener(host: str) -> bool:
    """Whether a host is a link shortener's, by ``url_lists/shorteners.txt``."""
    return lies_within(host, read_words("shorteners.txt"))


@lru_cache(maxsize=NUM_REMEMBERED)
def _wrappers_of(host: str) -> tuple[_Wrapper, ...]:
    """The kinds of redirects that a host makes: none, for almost all."""
    names = {host.removeprefix("www.")} | {f"*.{parent}" for parent in parents(host)}
    if registrable_domain(host).startswith("google."):
        names.add("google.*")
    return tuple(
        _Wrapper(name, path, tuple(where))
        for name, path, *where in read_list("wrappers.txt")
        if name in names
    )


def _target(url: Url, wrappers: tuple[_Wrapper, ...]) -> Url | None:
    for wrapper in wrappers:
        if not _is_at(url.path, wrapper.path):
            continue
        for text in _named(url, wrapper):
            target = parse(text)
            if target is not None:
                return target
    return None


def _is_at(path: str, pattern: str) -> bool:
    if pattern.endswith("/"):
        return path.startswith(pattern)
    return pattern == "*" or path.rstrip("/") == pattern


def _named(url: Url, wrapper: _Wrapper) -> Iterator[str]:
    """What stands where a redirect's target should, as far as it looks like a URL."""
    query = url.query.removeprefix("?")
    for where in wrapper.where:
        if where == "/":
            rest = url.path.removeprefix(wrapper.path)
            scheme = "https" if rest.startswith("s/") else "http"
            yield f"{scheme}://{rest.removeprefix('s/')}{url.query}"
        elif where == "?":
            yield from _absolute(query)
        elif where == "**":
            yield from _absolute(url.path.rpartition("*")[2] + url.query)
        else:
            start = f"{where}="
            for parameter in query.split("&"):
                if parameter.startswith(start):
                    yield from _absolute(parameter.removeprefix(start))


def _absolute(text: str) -> Iterator[str]:
    """The text, decoded until it begins as an absolute URL does; nothing where it never does.

    Only ASCII is decoded: what else is percent-encoded is so in the URL inside too, in whatever charset.
    """
    for _ in range(_MAX_ENCODINGS):
        if _ABSOLUTE.match(text):
            yield text
            return
        text = _ASCII.sub(lambda match: chr(int(match[1], 16)), text)
    if _ABSOLUTE.match(text):
        yield text
