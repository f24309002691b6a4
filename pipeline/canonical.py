"""The canonical form of URLs: one for all spellings of one page, and never one for two pages.

It is a key, not an address: what is fetched is the URL as it was submitted. Always left out are the scheme,
user and password, ``www.``, both schemes' default ports (without the scheme there is no telling whose), the
fragment, empty parameters, and percent-encodings of what needs none; the parameters are sorted by name. The
settings say what else is. A fragment that begins with ``!`` stays: it chose the page on sites of 2009 to 2014
(Google's scheme for making AJAX applications crawlable).

Where in doubt two URLs stay two links: a duplicate is found again by its text, a lost page is not.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import xxhash

from pipeline.config import UrlSettings
from pipeline.hosts import NUM_REMEMBERED, is_subdomain, registrable_domain
from pipeline.url_lists import read_list, read_words

if TYPE_CHECKING:
    from pipeline.urls import Url

# What encodeURIComponent leaves alone: RFC 3986's unreserved characters, and the marks of RFC 2396.
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~!*'()")
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})?")
# Once decoded, these would be read as Reddit's escapes of &, < and > the next time.
_ENTITY = re.compile(r"&(amp|lt|gt);")
_ENTITY_FIRST = ("amp;", "lt;", "gt;")

# A parameter of a path segment (RFC 3986, section 3.3), but not of "..": without it that is another path.
_PATH_PARAMETER = re.compile(r"(?<!/\.)(?<!/\.\.);([^;/=]+)=[^;/]*")
# Sessions of ASP.NET without cookies: /(S(lit3py55t21z5v55vlm25s55))/page.aspx
_ASP_NET_SESSION = re.compile(r"/\((?:[AFX]\([^()/]*\))*S\([a-z0-5]{24}\)(?:[AFX]\([^()/]*\))*\)(?=/|$)")
_MD5 = re.compile(r"[0-9A-Fa-f]{32}")
_AMP_FIRST = re.compile(r"^(?:/amp)+(?=/[^/])")
_AMP_END = re.compile(r"[^/]/amp|[^/.]\.amp")


def canonical(url: "Url", rules: UrlSettings) -> str:
    """The canonical form, such as ``example.com/page?id=1``: its own canonical form under http and https."""
    site = _site(url.host, rules.drop_mobile, rules.drop_amp)
    path, query = url.path, url.query
    if url.port and url.port not in ("80", "443"):
        site = f"{site}:{url.port}"
    if "%" in path or ";" in path or "(" in path or "amp" in path:
        path = _without_variants(_decoded(path), rules)
    if rules.drop_trailing_slash:
        path = path.rstrip("/")
    if query:
        query = _sorted_without_noise(query, url.host, rules)
    if "#!" in url.href:
        query += _page_fragment(url.href)
    return site + path + query


def key_of(canonical_form: str) -> bytes:
    """The 128-bit hash of a canonical form: a link's identity."""
    return xxhash.xxh3_128_digest(canonical_form.encode())


@lru_cache(maxsize=NUM_REMEMBERED)
def _site(host: str, drop_mobile: bool, drop_amp: bool) -> str:
    """The host without the labels that choose a variant of the site."""
    variants = {"m", "mobile"} if drop_mobile else set()
    if drop_amp:
        variants.add("amp")
    while True:
        first, _, rest = host.partition(".")
        is_variant = first in variants and rest not in read_words("user_domains.txt") and is_subdomain(host)
        # What is registered right below a suffix (www.gov.uk) is a site of its own.
        is_same_site = "." in rest and registrable_domain(rest) == registrable_domain(host)
        if not (is_same_site and (first == "www" or is_variant)):
            break
        host = rest
    language, _, rest = host.partition(".")
    if drop_mobile and rest.startswith("m.") and rest.removeprefix("m.") in read_words("mobile_domains.txt"):
        return f"{language}.{rest.removeprefix('m.')}"
    return host


def _decoded(text: str) -> str:
    """Percent-encodings in upper case and only where they are needed; a stray ``%`` is one that lacks it."""
    if "%" not in text:
        return text
    decoded = _PERCENT.sub(_decode, text)
    return _ENTITY.sub(r"&\1%3B", decoded) if "&" in decoded else decoded


def _decode(match: re.Match[str]) -> str:
    digits = match[1]
    if digits is None:
        return "%25"
    char = chr(int(digits, 16))
    return char if char in _PLAIN else f"%{digits.upper()}"


def _without_variants(path: str, rules: UrlSettings) -> str:
    """A path without sessions, trackers and what marks a page's AMP variant, until none is left.

    >>> rules = UrlSettings()
    >>> _without_variants("/amp/news/1", rules), _without_variants("/news/1.amp.html;jsessionid=2", rules)
    ('/news/1', '/news/1.html')
    >>> _without_variants("/amp/", rules), _without_variants("/amplifiers/camp", rules)
    ('/amp/', '/amplifiers/camp')
    """
    noise = _noise("", rules.drop_trackers, rules.drop_session_ids, drop_amp=False)
    while True:
        shorter = path
        if ";" in shorter:
            shorter = _PATH_PARAMETER.sub(
                lambda one: "" if noise.is_named(one[1].lower()) else one[0], shorter
            )
        if rules.drop_session_ids and "S(" in shorter:
            shorter = _ASP_NET_SESSION.sub("", shorter) or "/"
        if rules.drop_amp and "amp" in shorter:
            shorter = _without_amp(shorter)
        if shorter == path:
            return path
        path = shorter


def _without_amp(path: str) -> str:
    """Without first segments ``amp`` before others, a last one behind others, and a last name's ``.amp``."""
    path = _AMP_FIRST.sub("", path)
    stem = path.rstrip("/")
    slashes = path[len(stem) :]
    extension = next((one for one in (".html", ".htm") if stem.endswith(f".amp{one}")), "")
    stem = stem.removesuffix(extension)
    while _AMP_END.fullmatch(stem[-5:]):
        stem = stem[:-4]
    return stem + extension + slashes


class _Noise(NamedTuple):
    """The parameters that choose no page on some site; names in lower case."""

    names: frozenset[str]
    starts: tuple[str, ...]
    with_value: frozenset[str]  # name=value
    by_value: frozenset[str]  # names of sessions where the value is an MD5

    def is_named(self, name: str) -> bool:
        return name in self.names or name.startswith(self.starts)

    def has(self, parameter: str) -> bool:
        name, _, value = parameter.partition("=")
        name = name.lower()
        return (
            self.is_named(name)
            or f"{name}={value.lower()}" in self.with_value
            or (name in self.by_value and _MD5.fullmatch(value) is not None)
        )


def _sorted_without_noise(query: str, host: str, rules: UrlSettings) -> str:
    """``?`` and the parameters that choose the page, by name; those of one name keep their order."""
    noise = _noise_on(host, rules.drop_trackers, rules.drop_session_ids, rules.drop_amp)
    query = query.removeprefix("?")
    if "%" in query:
        query = _PERCENT.sub(_decode, query)
    kept = [one for one in query.split("&") if one and not noise.has(one)]
    if rules.drop_mobile and ".blogspot." in host:
        kept = [one for one in kept if one not in ("m=0", "m=1")]
    if not kept:
        return ""
    if ";" in query:
        kept = [one.replace(";", "%3B", 1) if one.startswith(_ENTITY_FIRST) else one for one in kept]
    if len(kept) > 1:
        kept.sort(key=_name)
    return "?" + "&".join(kept)


def _name(parameter: str) -> str:
    return parameter.partition("=")[0]


@lru_cache(maxsize=NUM_REMEMBERED)
def _noise_on(host: str, drop_trackers: bool, drop_session_ids: bool, drop_amp: bool) -> _Noise:
    """What is noise on a host."""
    domain = registrable_domain(host)
    has_its_own = any(site == domain for site, *_ in read_list("site_trackers.txt"))
    return _noise(domain if has_its_own else "", drop_trackers, drop_session_ids, drop_amp)


@lru_cache
def _noise(domain: str, drop_trackers: bool, drop_session_ids: bool, drop_amp: bool) -> _Noise:
    """What is noise by the lists, on any site or on one that has its own."""
    entries: set[str] = set()
    if drop_trackers:
        entries |= read_words("trackers.txt")
        entries.update(*(names for site, *names in read_list("site_trackers.txt") if site == domain))
    if drop_session_ids:
        entries |= read_words("session_ids.txt")
    if drop_amp:
        entries |= read_words("amp_parameters.txt")
    return _Noise(
        names=frozenset(entries),
        starts=tuple(sorted(entry.removesuffix("*") for entry in entries if entry.endswith("*"))),
        with_value=frozenset(entry for entry in entries if "=" in entry),
        by_value=read_words("session_ids_by_value.txt") if drop_session_ids else frozenset(),
    )


def _page_fragment(href: str) -> str:
    """``#!page``, or nothing where a fragment chooses no page."""
    fragment = href.partition("#")[2]
    return f"#{_decoded(fragment)}" if fragment.startswith("!") and fragment.strip("!/") else ""
