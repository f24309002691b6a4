"""Whether a URL leads to Wikipedia, under whatever name: its hosts, its mirrors, copies in archives."""

import re
from typing import NamedTuple
from urllib.parse import unquote

from pipeline.hosts import lies_within, registrable_domain
from pipeline.url_lists import read_words
from pipeline.urls import Url, parse
from pipeline.wrappers import unwrap

_MOST_LAYERS = 5  # a translation of a copy in an archive has two

# Archives with the page's URL in their path, behind a time or a name.
_ARCHIVES = frozenset(
    f"archive.{ending}" for ending in ("org", "today", "is", "ph", "li", "vn", "fo", "md")
) | {"arquivo.pt", "webarchive.org.uk", "webarchive.loc.gov"}
_SCHEME = re.compile(r"https?:/{1,2}(?=[^/])", re.IGNORECASE)
_BEHIND_TIME = re.compile(r"/(?:web|wayback|archive|[0-9]{4,14})/(?:[0-9*]{1,14}[a-z_]*/)?(?=[^/]+\.)")
# Gateways to IPFS, with a site's name in their path or before their host.
_IPFS_GATEWAYS = frozenset(("ipfs.io", "dweb.link", "cloudflare-ipfs.com"))


class _Proxy(NamedTuple):
    """A service that shows others' pages, named in a parameter; ``google.*`` is Google in every country."""

    host: str
    path: str
    parameter: str


_PROXIES = (
    _Proxy("translate.google.*", "/translate", "u"),
    _Proxy("translate.google.*", "/website", "u"),
    _Proxy("translate.googleusercontent.com", "/translate_c", "u"),
    _Proxy("webcache.googleusercontent.com", "/search", "q"),
    _Proxy("google.*", "/search", "q"),  # only with cache: in front
    _Proxy("microsofttranslator.com", "/bv.aspx", "a"),
    _Proxy("translatetheweb.com", "/", "a"),
    _Proxy("translate.yandex.*", "/translate", "url"),
    _Proxy("webcitation.org", "/query", "url"),
)
_CACHED = re.compile(r"cache:(?:[\w-]{12}:)?", re.IGNORECASE)


def wikipedia_host(*urls: str | None) -> str | None:
    """The first host among URLs that serves Wikipedia, None where none does.

    That is any host of a domain ``wikipedia`` under any ending, ``secure.wikimedia.org`` (its https until
    2011), Kiwix's Wikipedias, and the sites of ``url_lists/wikipedia_mirrors.txt``. For copies in archives
    and caches, translations and redirects it is the host of the page that they name in their URL.

    Args:
        urls: A document's: as linked, as reached, as declared. What is None or no http(s) URL is passed over.
    """
    for text in dict.fromkeys(urls):  # most documents have one URL, several times
        url = parse(text) if text else None
        host = _behind(url) if url is not None else None
        if host is not None:
            return host
    return None


def _behind(url: Url) -> str | None:
    """Wikipedia's host, the URL's own or that of the page inside it."""
    for _ in range(_MOST_LAYERS):
        url = unwrap(url)
        if _is_wikipedia(url):
            return url.host
        text = _in_host(url.host) or _in_archive(url) or _in_parameter(url)
        inner = parse(text if _SCHEME.match(text) else f"http://{text}") if text else None
        if inner is None:
            return None
        url = inner
    return None


def _is_wikipedia(url: Url) -> bool:
    if registrable_domain(url.host).partition(".")[0] == "wikipedia":
        return True
    if url.host == "secure.wikimedia.org":
        return url.path.startswith("/wikipedia/")
    if url.domain == "kiwix.org":
        return "/wikipedia_" in url.path or "#wikipedia_" in url.href
    return lies_within(url.host, read_words("wikipedia_mirrors.txt"))


def _in_host(host: str) -> str:
    """The host that Google's translation or an IPFS gateway writes as one label; empty where none is.

    >>> _in_host("zh--classical-m-wikipedia-org.translate.goog")
    'zh-classical.m.wikipedia.org'
    """
    label, _, rest = host.partition(".")
    if rest == "translate.goog" or (rest.startswith("ipns.") and rest[5:] in _IPFS_GATEWAYS):
        return label.replace("--", "\0").replace("-", ".").replace("\0", "-")
    return ""


def _in_archive(url: Url) -> str:
    if url.host in _IPFS_GATEWAYS and url.path.startswith("/ipns/"):
        return url.path.removeprefix("/ipns/")
    if not lies_within(url.host, _ARCHIVES):
        return ""
    path = url.path if "%" not in url.path else unquote(url.path)
    scheme = _SCHEME.search(path)
    if scheme:
        return path[scheme.start() :] + url.query
    time = _BEHIND_TIME.match(path)
    return path[time.end() :] if time else ""


def _in_parameter(url: Url) -> str:
    if not url.query:
        return ""
    host, path = url.host.removeprefix("www."), url.path.rstrip("/") or "/"
    suffix = url.domain.partition(".")[2]
    any_country = f"{host.removesuffix(suffix)}*"
    for proxy in _PROXIES:
        if proxy.path == path and proxy.host in (host, any_country):
            value = _parameter(url.query, proxy.parameter)
            if proxy.path != "/search":
                return value
            cached = _CACHED.match(value)
            return value[cached.end() :].partition("+")[0].partition(" ")[0] if cached else ""
    return ""


def _parameter(query: str, name: str) -> str:
    for parameter in query.removeprefix("?").split("&"):
        key, _, value = parameter.partition("=")
        if key == name:
            return unquote(value).strip()
    return ""
