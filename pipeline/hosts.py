"""Hosts: what was registered, which are of the public internet, and what no name server can answer for.

All of this is asked again and again of the same hosts, and remembered for the last ones.
"""

import ipaddress
from functools import lru_cache

import can_ada
import tldextract
import xxhash

from pipeline.url_lists import read_words

NUM_REMEMBERED = 1 << 17  # hosts; a month of submissions has about as many

_LONGEST_NAME, _LONGEST_LABEL = 253, 63  # octets, RFC 1035

_PUBLIC_SUFFIXES = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

# The only IPv6 addresses given out to hosts on the internet, by IANA's registry of address space.
_IPV6_UNICAST = ipaddress.IPv6Network("2000::/3")
# Global by the letter of ipaddress, and yet ways into a private network (or no single host at all).
_NOT_GLOBAL = tuple(
    ipaddress.ip_network(block)
    for block in (
        "192.0.0.0/24",  # protocol assignments, RFC 6890
        "192.88.99.0/24",  # relays of 6to4, RFC 7526
        "2001::/32",  # Teredo, RFC 4380: an IPv4 address inside
        "2002::/16",  # 6to4, RFC 3056: likewise
        "3fff::/20",  # documentation, RFC 9637
    )
)


def askable(hostname: str) -> str | None:
    """A hostname as the URL standard has it, without the root's dot; None where no one can be asked for it.

    That is a name without a dot (but localhost), with an empty label, or longer than DNS allows.
    """
    host = hostname.removesuffix(".")
    if host.startswith("["):
        return host
    labels = host.split(".")
    if len(host) > _LONGEST_NAME or not all(0 < len(label) <= _LONGEST_LABEL for label in labels):
        return None
    return host if len(labels) > 1 or host == "localhost" else None


@lru_cache(maxsize=NUM_REMEMBERED)
def registrable_domain(host: str) -> str:
    """The part of a host name that was registered, by the public suffix list; else the host itself.

    Below a top-level domain that the list does not know, names are registered right below it: by the list's
    own algorithm, its rule is ``*`` (https://github.com/publicsuffix/list/wiki/Format).

    >>> registrable_domain("news.bbc.co.uk"), registrable_domain("www.of-the-list.example")
    ('bbc.co.uk', 'of-the-list.example')
    """
    return _registered(host, below_private=False) or host


@lru_cache(maxsize=NUM_REMEMBERED)
def domain_hash(domain: str) -> int:
    """64 bits by which links are dealt to parts, so that a domain lives in one part only."""
    return xxhash.xxh3_64_intdigest(domain.encode())


def is_subdomain(host: str) -> bool:
    """Whether a host lies under a registrable name, those below private suffixes (github.io) with them."""
    return _registered(host, below_private=True) not in ("", host)


@lru_cache(maxsize=NUM_REMEMBERED)
def has_listed_suffix(host: str) -> bool:
    """Whether a host ends as the public suffix list says that names can."""
    return bool(_PUBLIC_SUFFIXES.extract_str(host).suffix)


def _registered(host: str, *, below_private: bool) -> str:
    """The registered name that a host is or lies under; empty for addresses and suffixes."""
    parts = _PUBLIC_SUFFIXES.extract_str(host, include_psl_private_domains=below_private)
    if parts.suffix or not parts.subdomain:
        return parts.top_domain_under_public_suffix
    return ".".join(host.rsplit(".", 2)[-2:])


def parents(host: str) -> tuple[str, ...]:
    """A host and the names that it lies under, from the longest to the shortest.

    >>> parents("a.b.example")
    ('a.b.example', 'b.example', 'example')
    """
    labels = host.split(".")
    return tuple(".".join(labels[start:]) for start in range(len(labels)))


def lies_within(host: str, domains: frozenset[str]) -> bool:
    """Whether a host is one of the domains or lies under one."""
    return not domains.isdisjoint(parents(host))


@lru_cache(maxsize=NUM_REMEMBERED)
def is_private_host(host: str) -> bool:
    """Whether a host, in any spelling, is a non-global address or a name that only local networks know.

    Names count as such that have no dot or end as those in ``url_lists/private_names.txt``; so does what
    browsers take for no host at all.
    """
    bare = f"[{host}]" if ":" in host and not host.startswith("[") else host
    try:
        parsed = can_ada.parse(f"http://{bare}/")
    except (ValueError, TypeError):  # a TypeError is what can_ada makes of lone surrogates
        return True
    name = askable(parsed.hostname)
    if name is None:
        return True
    if name.startswith("[") or name.rpartition(".")[2].isdigit():  # the parser lets only addresses end so
        return not is_global_address(ipaddress.ip_address(name.strip("[]")))
    return lies_within(name, read_words("private_names.txt"))


def is_global_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address belongs to one host on the public internet."""
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        return is_global_address(mapped)
    return (
        address.is_global
        and not address.is_multicast
        and (address.version == 4 or address in _IPV6_UNICAST)
        and not any(address.version == block.version and address in block for block in _NOT_GLOBAL)
    )
