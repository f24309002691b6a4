"""URLs: parsed as browsers do, keyed by what they mean, refused where nothing good can be behind them.

Parsing is the WHATWG URL standard's (can_ada). The canonical form is only a key: what is fetched is the
URL as it was submitted.
"""

import re
from functools import lru_cache
from typing import NamedTuple

import can_ada

from pipeline.canonical import canonical, key_of
from pipeline.config import UrlSettings
from pipeline.hosts import (
    NUM_REMEMBERED,
    askable,
    domain_hash,
    is_global_address,
    is_private_host,
    registrable_domain,
)

__all__ = ["Url", "domain_hash", "is_global_address", "is_private_host", "parse", "registrable_domain"]

_DEFAULT_RULES = UrlSettings()
_MAX_CHARS = 1 << 14  # RFC 9110 asks for 8,000 octets to be understood; servers take little more
_AMPERSANDS = re.compile(r"&(?:amp;)+")
_DROPPED = str.maketrans("", "", "\t\n\r")  # by the parser, wherever they stand: they would hide an escape
_askable = lru_cache(maxsize=NUM_REMEMBERED)(askable)


class Url(NamedTuple):
    """An http(s) URL, parsed."""

    href: str  # as fetched
    host: str  # without port and the root's dot
    port: str  # empty where it is the scheme's own
    path: str  # from its first slash
    query: str  # with its question mark, or empty

    @property
    def canonical(self) -> str:
        """The canonical form by the default rules."""
        return canonical(self, _DEFAULT_RULES)

    @property
    def key(self) -> bytes:
        """The 128-bit hash of the canonical form."""
        return key_of(self.canonical)

    @property
    def domain(self) -> str:
        """The registrable domain (``bbc.co.uk``), or the host where there is none (an address)."""
        return registrable_domain(self.host)


def parse(text: str) -> Url | None:
    """Parses a URL as submitted; None if it is not an absolute http(s) URL with a host that can be asked.

    None as well if it is longer than servers read (16,384 characters).

    Reddit's own escapes are undone first: its API and the dumps write ``&amp;``, ``&lt;`` and ``&gt;`` for
    ``&``, ``<`` and ``>``, on top of those that people paste. No other entity is one of theirs: ``&copy=1``
    is a parameter, and what follows ``&#`` is a fragment.
    """
    cleaned = text.strip()
    if "&" in cleaned:
        cleaned = _AMPERSANDS.sub("&", cleaned.translate(_DROPPED)).replace("&lt;", "<").replace("&gt;", ">")
    try:
        url = can_ada.parse(cleaned)
    except (ValueError, TypeError):  # a TypeError is what can_ada makes of lone surrogates
        return None
    href = url.href
    if url.protocol not in ("https:", "http:") or len(href) > _MAX_CHARS:
        return None
    host = _askable(url.hostname)
    if host is None or cleaned.partition(":")[2].startswith("///"):
        return None  # a browser takes "https:///path" for a host named "path"; nobody meant that
    return Url(href, host, url.port, url.pathname, url.search)
