"""What a page says of itself to robots: X-Robots-Tag and ``<meta name="robots">``.

Both are read as Google documents them (developers.google.com, "Robots meta tag specifications"); ``noai`` is
DeviantArt's addition to them, of 2022.
"""

import re
from collections.abc import Iterable

from pipeline.fetch.exchange import Headers
from pipeline.fetch.robots import AGENT

_HEAD_BYTES = 1 << 16
_AGENTS = (b"robots", AGENT.encode())
_META = re.compile(rb"<meta\s[^>]*>", re.I)
_NAME = re.compile(rb"""\bname\s*=\s*["']?\s*([^\s"'>/]+)""")
_CONTENT = re.compile(rb"""\bcontent\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))""")


def barred_by_header(headers: Headers, words: Iterable[str]) -> str:
    """Which of the words stand in X-Robots-Tag, to all agents or to this one; empty where none does."""
    said: set[str] = set()
    for value in headers.all("x-robots-tag"):
        agent, colon, rest = value.partition(":")
        named = bool(colon) and "," not in agent and agent.strip().lower() != "unavailable_after"
        if named and agent.strip().lower() != AGENT:
            continue
        said.update(word.strip().lower() for word in (rest if named else value).split(","))
    return ", ".join(sorted(said.intersection(words)))


def barred_by_meta(body: bytes, words: Iterable[str]) -> str:
    """Which of the words stand in a robots meta tag of the page's beginning; empty where none does.

    >>> barred_by_meta(b'<head><META Name="robots" content="NoAI, follow">', ("noindex", "noai"))
    'noai'
    """
    end = body.find(b"</head", 0, _HEAD_BYTES)
    head = body[: end if end >= 0 else _HEAD_BYTES]
    said: set[str] = set()
    for found in _META.finditer(head):
        tag = found[0].lower()
        if not any(agent in tag for agent in _AGENTS):
            continue  # most pages name no robots, and all have dozens of meta tags
        name = _NAME.search(tag)
        if name is None or name[1] not in _AGENTS or _is_comment(head, found.start()):
            continue
        content = _CONTENT.search(tag)
        if content:
            text = next(group for group in content.groups() if group is not None)
            said.update(word.strip() for word in text.decode("latin-1").split(","))
    return ", ".join(sorted(said.intersection(words)))


def _is_comment(head: bytes, at: int) -> bool:
    return head.rfind(b"<!--", 0, at) > head.rfind(b"-->", 0, at)
