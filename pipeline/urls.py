"""URLs: parsed as browsers do, keyed by what they mean, refused where nothing good can be behind them.

Parsing is the WHATWG URL standard's (can_ada). The canonical form is only a key: what is fetched is the
URL as it was submitted.
"""

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

import can_ada
import tldextract
import xxhash

# Query parameters that say where a reader came from, and never which page.
TRACKERS = frozenset(
    [
        "fbclid",
        "gclid",
        "gclsrc",
        "dclid",
        "msclkid",
        "yclid",
        "igshid",
        "mc_cid",
        "mc_eid",
        "mkt_tok",
        "ref_src",
        "ref_url",
        "_ga",
        "_hsenc",
        "_hsmi",
        "cmpid",
        "ncid",
        "sr_share",
        "s_cid",
        "twclid",
        "wt_mc",
        "vero_id",
        "oly_anon_id",
        "oly_enc_id",
    ]
)
TRACKER_PREFIXES = ("utm_", "pk_", "hsa_")

_PUBLIC_SUFFIXES = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

# Global by the letter of ipaddress, and yet ways into a private network (or no single host at all).
_NOT_GLOBAL = tuple(
    ipaddress.ip_network(block)
    for block in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "fec0::/10", "192.88.99.0/24")
)


@dataclass(frozen=True, slots=True)
class Url:
    """An http(s) URL: as fetched, its host without port, its canonical form and that form's hash."""

    href: str
    host: str
    canonical: str

    @property
    def key(self) -> bytes:
        """The 128-bit hash of the canonical form: a link's identity."""
        return xxhash.xxh3_128_digest(self.canonical.encode())

    @property
    def domain(self) -> str:
        """The registrable domain (``bbc.co.uk``), or the host where there is none (an address)."""
        return registrable_domain(self.host)


def parse(text: str) -> Url | None:
    """Parses a URL as submitted; None if it is not an absolute http(s) URL with a host.

    Reddit's own escapes are undone first: its API and old dumps write ``&amp;`` for ``&``.
    """
    cleaned = text.strip().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    try:
        url = can_ada.parse(cleaned)
    except (ValueError, TypeError):  # a TypeError is what can_ada makes of lone surrogates
        return None
    if url.protocol not in ("http:", "https:") or not url.hostname:
        return None
    host = url.hostname.rstrip(".")
    if not host or ("." not in host and not host.startswith("[") and host != "localhost"):
        return None
    if cleaned.partition(":")[2].startswith("///"):
        return None  # a browser takes "https:///path" for a host named "path"; nobody meant that
    return Url(href=url.href, host=host, canonical=_canonical(host, url.port, url.pathname, url.search))


def _canonical(host: str, port: str, path: str, search: str) -> str:
    """No scheme, no ``www.``, no default port (can_ada drops it), sorted query without trackers."""
    pairs = sorted(pair for pair in search.removeprefix("?").split("&") if pair and not _tracks(pair))
    query = f"?{'&'.join(pairs)}" if pairs else ""
    return f"{host.removeprefix('www.')}{f':{port}' if port else ''}{path}{query}"


def _tracks(pair: str) -> bool:
    name = pair.partition("=")[0].lower()
    return name in TRACKERS or name.startswith(TRACKER_PREFIXES)


@lru_cache(maxsize=100_000)
def registrable_domain(host: str) -> str:
    """The part of a host name that was registered, by the public suffix list; else the host itself."""
    return _PUBLIC_SUFFIXES.extract_str(host).top_domain_under_public_suffix or host


def domain_hash(domain: str) -> int:
    """64 bits by which links are dealt to parts, so that a domain lives in one part only."""
    return xxhash.xxh3_64_intdigest(domain.encode())


def is_private_host(host: str) -> bool:
    """Whether a host (as parsed) is a non-global address, or a name that only local networks know."""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal", ".lan", ".home.arpa")):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return not is_global_address(address)


def is_global_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address belongs to one host on the public internet."""
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        return is_global_address(mapped)
    return (
        address.is_global
        and not address.is_multicast
        and not any(address.version == block.version and address in block for block in _NOT_GLOBAL)
    )
