"""What the hostile web consists of: hosts and pages of every kind, and what must become of each page.

Pure and seeded: the same arguments give the same web. Most hosts and pages are good; the others misbehave in
one way each, so that a page's right outcome follows from its kind and its host's. Where more than one outcome
is right, timing decides (which of a host's requests is the third without an answer), or the failure looks the
same from two sides (a reset before or after the request was written).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from itertools import pairwise
from random import Random

from pipeline.records import Reason

FETCHED = "fetched"
SMALL_CRAWL_DELAY_S, LARGE_CRAWL_DELAY_S = 0.2, 3600.0
_LARGE_ALONE = 20  # hosts, the largest, that share no domain: it would take too long
_MOST_WITH_CRAWL_DELAY = 10  # pages, so that no host takes longer than the others
LONG_PAUSE_S = 3600
NUM_BEFORE_DYING = 3
ODD_SHARE = 0.15  # of a plain host's pages
PRIVATE_PREFIX = "/private/"

ADDRESS, CANARY, CLOSED = "127.0.0.1", "127.0.0.66", "127.0.0.77"
"""Where the web listens, where nobody may ever ask, and where nothing listens."""

_BARRED = frozenset([str(Reason.ROBOTS_UNREACHABLE)])
_GIVEN_UP = frozenset([str(Reason.DEAD_HOST)])
_BROKEN = frozenset([str(Reason.CONNECT), str(Reason.PROTOCOL)])
_RIGHT = frozenset([FETCHED])


class Host(Enum):
    """What a host does as a whole, and how many of 200 hosts do."""

    def __init__(self, label: str, weight: int) -> None:
        self.label = label
        self.weight = weight

    PLAIN = "plain", 140  # no robots.txt
    ALLOWING = "allowing", 20  # a robots.txt that allows all
    DISALLOWING = "disallowing", 4  # /private/ for everyone
    NAMING = "naming", 2  # /private/ for webtext, everything for others
    ROBOTS_FORBIDDEN = "robots_forbidden", 1  # HTTP 403: as if there were none
    ROBOTS_HTML = "robots_html", 1  # a page, HTTP 200
    ROBOTS_MOVED = "robots_moved", 1  # redirects to a file of the same host, which disallows /private/
    ROBOTS_AWAY = "robots_away", 1  # redirects to a file of another host, which disallows /private/
    ROBOTS_IN_CIRCLES = (
        "robots_in_circles",
        1,
    )  # redirects to itself: RFC 9309, 2.3.1.2: may be taken for unavailable
    ROBOTS_ENDLESS = "robots_endless", 1  # disallows /private/, then never ends
    ROBOTS_PRIVATE = "robots_private", 1  # redirects to a private address
    ROBOTS_503 = "robots_503", 2
    ROBOTS_RESET = "robots_reset", 1
    CRAWL_DELAY = "crawl_delay", 2  # a small one
    CRAWL_DELAY_LONG = "crawl_delay_long", 1
    OVERLOADED = "overloaded", 2  # HTTP 429 to every page, Retry-After: 3600
    REFUSING = "refusing", 2  # nothing listens
    SILENT = "silent", 1  # never answers
    DYING = "dying", 1  # answers a few pages, then resets


_OF_HOST: Mapping[Host, frozenset[str]] = {
    Host.ROBOTS_503: _BARRED,
    Host.ROBOTS_PRIVATE: _BARRED | {str(Reason.NOT_ALLOWED_ADDRESS)},
    Host.ROBOTS_RESET: _BARRED | _BROKEN | _GIVEN_UP,
    Host.CRAWL_DELAY_LONG: frozenset([str(Reason.CRAWL_DELAY)]),
    Host.OVERLOADED: frozenset([str(Reason.RATE_LIMITED)]) | _GIVEN_UP,
    Host.REFUSING: _BARRED | {str(Reason.CONNECT)} | _GIVEN_UP,
    Host.SILENT: _BARRED | {str(Reason.TIMEOUT)} | _GIVEN_UP,
    Host.DYING: _RIGHT | _BROKEN | _GIVEN_UP,
}
"""What becomes of every page of a host of a kind, whatever the page's own."""

_NEVER_ASKED = frozenset(
    [Host.ROBOTS_503, Host.ROBOTS_PRIVATE, Host.ROBOTS_RESET, Host.CRAWL_DELAY_LONG, Host.SILENT]
)
_WITH_RULES = frozenset(
    [Host.DISALLOWING, Host.NAMING, Host.ROBOTS_MOVED, Host.ROBOTS_AWAY, Host.ROBOTS_ENDLESS]
)
_WITHOUT_DOMAIN_MATES = frozenset([Host.CRAWL_DELAY, Host.CRAWL_DELAY_LONG])


class Page(Enum):
    """What a page does, how many of 1,000 odd pages do so (about), and its right outcomes.

    The outcomes are those where its host lets it be asked.
    """

    def __init__(self, label: str, weight: int, *outcomes: str) -> None:
        self.label = label
        self.weight = weight
        self.outcomes = frozenset(str(outcome) for outcome in outcomes)

    GOOD = "good", 0, FETCHED
    # good, each in its own way
    GZIPPED = "gzipped", 60, FETCHED
    CHUNKED = "chunked", 60, FETCHED
    LATIN_1 = "latin_1", 30, FETCHED
    WRONG_CHARSET = "wrong_charset", 30, FETCHED
    COOKIES = "cookies", 30, FETCHED
    NO_TYPE = "no_type", 20, FETCHED
    SAME_PAYLOAD = "same_payload", 60, FETCHED
    TAG_FOR_OTHERS = "tag_for_others", 20, FETCHED
    LENGTH_TOO_SMALL = "length_too_small", 20, FETCHED, Reason.HTTP_09  # by when the rest arrives
    CLOSED_WITHOUT_LENGTH = "closed_without_length", 20, FETCHED
    # cut at the limit
    ENDLESS_CHUNKED = "endless_chunked", 10, FETCHED
    ENDLESS_LENGTH = "endless_length", 10, FETCHED
    BOMB = "bomb", 10, FETCHED
    # redirects
    MOVED = "moved", 50, FETCHED
    MOVED_AWAY = "moved_away", 50, FETCHED
    MOVED_TO_FORBIDDEN = "moved_to_forbidden", 20, Reason.ROBOTS
    MOVED_INWARD = "moved_inward", 60, Reason.NOT_ALLOWED_ADDRESS
    MOVED_OFF_HTTP = "moved_off_http", 20, Reason.BAD_REDIRECT
    MOVED_NOWHERE = "moved_nowhere", 15, Reason.BAD_REDIRECT  # no Location
    LOOP = "loop", 20, Reason.REDIRECT_LOOP
    CHAIN = "chain", 15, Reason.REDIRECT_LOOP  # longer than is followed
    # asks for patience, and is good the second time
    LATER_429 = "later_429", 15, FETCHED
    LATER_429_DATE = "later_429_date", 10, FETCHED
    LATER_429_BARE = "later_429_bare", 10, FETCHED
    LATER_503 = "later_503", 10, FETCHED
    LATER_503_BARE = "later_503_bare", 10, FETCHED
    # said no
    TAG_NOINDEX = "tag_noindex", 20, Reason.NO_INDEX
    TAG_NOAI = "tag_noai", 20, Reason.NO_INDEX
    META_NOINDEX = "meta_noindex", 20, Reason.NO_INDEX
    META_NOAI = "meta_noai", 20, Reason.NO_INDEX
    NOT_FOUND = "not_found", 40, Reason.HTTP_4XX
    GONE = "gone", 15, Reason.HTTP_4XX
    CRASHED = "crashed", 10, Reason.HTTP_5XX
    NO_CONTENT = "no_content", 10, Reason.HTTP_OTHER
    # is no page
    PDF = "pdf", 20, Reason.WRONG_TYPE
    NO_TYPE_BINARY = "no_type_binary", 10, Reason.WRONG_TYPE
    BINARY_AS_HTML = "binary_as_html", 15, Reason.WRONG_TYPE
    # lies
    TWICE_GZIPPED = "twice_gzipped", 15, Reason.BAD_ENCODING
    SAYS_TWICE_GZIPPED = "says_twice_gzipped", 10, Reason.BAD_ENCODING
    TORN_GZIP = "torn_gzip", 15, Reason.CUT_SHORT
    NOT_GZIPPED = "not_gzipped", 10, Reason.BAD_ENCODING
    LENGTH_TOO_LARGE = "length_too_large", 10, Reason.CUT_SHORT
    CHUNK_MISSING = "chunk_missing", 10, Reason.CUT_SHORT
    # does not answer as HTTP has it: one of these a host at most, lest the host is given up
    HTTP_09 = "http_09", 10, Reason.HTTP_09
    GARBAGE = "garbage", 10, Reason.PROTOCOL, Reason.HTTP_09
    EMPTY = "empty", 10, Reason.PROTOCOL, Reason.CONNECT
    RESET = "reset", 10, Reason.PROTOCOL, Reason.CONNECT
    STUCK = "stuck", 10, Reason.TIMEOUT
    DRIP = "drip", 10, Reason.TIMEOUT
    HEADER_LINES = "header_lines", 10, Reason.HEADER_TOO_LARGE
    HEADER_LINE = "header_line", 10, Reason.HEADER_TOO_LARGE


LATER = frozenset(
    [Page.LATER_429, Page.LATER_429_DATE, Page.LATER_429_BARE, Page.LATER_503, Page.LATER_503_BARE]
)
_UNANSWERED = frozenset(
    {Page.HTTP_09, Page.GARBAGE, Page.EMPTY, Page.RESET, Page.STUCK, Page.DRIP}
    | {Page.HEADER_LINES, Page.HEADER_LINE}
)
_TRIED_AGAIN = (
    _UNANSWERED
    | {Page.CRASHED, Page.LENGTH_TOO_LARGE, Page.CHUNK_MISSING}
    | {Page.TORN_GZIP, Page.NOT_GZIPPED, Page.TWICE_GZIPPED, Page.SAYS_TWICE_GZIPPED}
)
"""Kinds whose failure a crawler may hope to pass."""

_RARE: tuple[tuple[frozenset[Page], int], ...] = ((_UNANSWERED, 1), (LATER, 2))
"""How many pages of some kinds a host has at the most."""

INWARD = (
    "http://127.0.0.66:{port}/",
    "http://127.66:{port}/",
    "http://0x7f.0.0.0x42:{port}/",
    "http://2130706498:{port}/",
    "http://0177.0.0.0102:{port}/",
    "http://[::ffff:127.0.0.66]:{port}/",
    "http://[::ffff:7f00:42]:{port}/",
    "http://[64:ff9b::7f00:42]:{port}/",
    "http://[2002:7f00:42::1]:{port}/",
    "//127.0.0.66:{port}/",
    "http://user:secret@127.0.0.66:{port}/",
    "http://①②⑦.0.0.66:{port}/",
    "http://127.1:{port}/",
    "http://0x7f.1:{port}/",
    "http://127.1/",
    "http://[::1]:{port}/",
    "http://0.0.0.0:{port}/",
    "http://0:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST.:{port}/",
    "http://www.localhost:{port}/",
    "http://10.0.0.1/",
    "http://192.168.1.1/admin",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[fe80::1]/",
    "http://224.0.0.1/",
)
"""Where redirects lead that lead into private networks: the canary, the web by another name, and others."""

OFF_HTTP = (
    "file:///etc/passwd",
    "mailto:someone@example.org",
    "ftp://ftp.example.org/pub",
    "javascript:alert(1)",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A page of the web.

    Attributes:
        host: Its host's name.
        path: With which it is asked for.
        kind: What it does.
        target: Where it leads, if it is a redirect (a URL, or a path of the same host); ``{port}`` in it is
            the port that the web listens on.
        linked: Whether it is one of the links, or only led to.
    """

    host: str
    path: str
    kind: Page
    target: str = ""
    linked: bool = True

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{self.host}{self.path}"


@dataclass(frozen=True)
class Web:
    """Hosts and pages, and what is right to become of them."""

    hosts: Mapping[str, Host]
    domains: Mapping[str, str]
    """The registrable domain of each host."""
    pages: Mapping[tuple[str, str], Entry]
    """By host and path."""

    @staticmethod
    def make(seed: int = 5, num_hosts: int = 200, num_pages: int = 20_000) -> "Web":
        """A web of so many hosts and links; a fifth of both misbehave. 25 hosts have one of every kind."""
        random = Random(seed)
        hosts, domains = _make_hosts(random, num_hosts)
        pages: dict[tuple[str, str], Entry] = {}
        for host, number in zip(hosts, _sizes(random, list(hosts.values()), num_pages), strict=True):
            for entry in _make_pages(random, host, number, hosts):
                pages[entry.host, entry.path] = entry
        return Web(hosts, domains, pages)

    def links(self) -> list[str]:
        """The URLs to fetch, in no order."""
        urls = [entry.url for entry in self.pages.values() if entry.linked]
        Random(len(urls)).shuffle(urls)
        return urls

    @cached_property
    def expected(self) -> dict[str, frozenset[str]]:
        """The outcomes that are right for each link: "fetched", or values of Reason."""
        return {entry.url: self._outcomes(entry) for entry in self.pages.values() if entry.linked}

    def resolve(self, port: int) -> dict[str, str]:
        """The table of hosts for fetch.resolve: to the web's port, or to one where nothing listens."""
        return {
            host: f"{CLOSED if kind is Host.REFUSING else ADDRESS}:{port}"
            for host, kind in self.hosts.items()
        }

    def delays(self, delay_s: float) -> dict[str, float]:
        """How long each registrable domain must be left alone, where the crawler's own delay is this."""
        delays = dict.fromkeys(self.domains.values(), delay_s)
        for host, kind in self.hosts.items():
            if kind is Host.CRAWL_DELAY:
                delays[self.domains[host]] = max(delay_s, SMALL_CRAWL_DELAY_S)
        return delays

    def forbids(self, host: str, path: str) -> bool:
        """Whether a path may not be asked of a host, by its robots.txt or because that cannot be had."""
        if path == "/robots.txt" or path.startswith("/rules/"):
            return False
        kind = self.hosts[host]
        return kind in _NEVER_ASKED or (kind in _WITH_RULES and path.startswith(PRIVATE_PREFIX))

    def may_be_asked_again(self, host: str, path: str) -> bool:
        """Whether a page's failure may pass, or its host's; pages that are not known may be."""
        entry = self.pages.get((host, path))
        return (
            entry is None or entry.kind in _TRIED_AGAIN or self.hosts[host] in (Host.OVERLOADED, Host.DYING)
        )

    def _outcomes(self, entry: Entry) -> frozenset[str]:
        kind = self.hosts[entry.host]
        if kind in _OF_HOST:
            return _OF_HOST[kind]
        if self.forbids(entry.host, entry.path):
            return frozenset([str(Reason.ROBOTS)])
        return entry.kind.outcomes


def _make_hosts(random: Random, num_hosts: int) -> tuple[dict[str, Host], dict[str, str]]:
    """Hosts with their kinds, and their domains: three hosts in four have one for themselves."""
    kinds = _shares(random, num_hosts)
    hosts: dict[str, Host] = {}
    domains: dict[str, str] = {}
    domain, shared = "", False
    for number, kind in enumerate(kinds):
        alone = kind in _WITHOUT_DOMAIN_MATES
        if number < _LARGE_ALONE or alone or not shared or random.random() < 0.7:
            domain, shared = f"hostile-{number:03}.org", not alone
        host = f"h{number}.{domain}"
        hosts[host], domains[host] = kind, domain
    return hosts, domains


def _shares(random: Random, num_hosts: int) -> list[Host]:
    """Every kind once where there are hosts enough, then by their shares; plain hosts among the largest."""
    once = [kind for kind in Host if kind is not Host.PLAIN]
    rest = random.choices(list(Host), [kind.weight for kind in Host], k=max(0, num_hosts - len(once) - 2))
    odd = [*once, *rest][: max(0, num_hosts - 2)]
    random.shuffle(odd)
    return [Host.PLAIN, Host.PLAIN, *odd][:num_hosts]


def _sizes(random: Random, kinds: Sequence[Host], num_pages: int) -> list[int]:
    """How many pages each host has: a heavy tail, two at least, the largest about one in fifty of all."""
    num_hosts = len(kinds)
    weights = [1 / (rank + 15) ** 1.1 for rank in range(num_hosts)]
    free = num_pages - 2 * num_hosts
    if free < 0:
        raise ValueError(f"{num_pages} pages are too few for {num_hosts} hosts")
    sizes = [2 + int(free * weight / sum(weights)) for weight in weights]
    for number, kind in enumerate(kinds):
        if kind is Host.CRAWL_DELAY:
            sizes[number] = min(sizes[number], _MOST_WITH_CRAWL_DELAY)
    plain = [number for number, kind in enumerate(kinds) if kind is Host.PLAIN]
    for _ in range(num_pages - sum(sizes)):
        sizes[random.choice(plain)] += 1
    return sizes


def _make_pages(random: Random, host: str, number: int, hosts: Mapping[str, Host]) -> list[Entry]:
    kind = hosts[host]
    if kind not in (Host.PLAIN, Host.ALLOWING):
        paths = (f"{PRIVATE_PREFIX if random.random() < 0.3 else '/open/'}{index}" for index in range(number))
        return [Entry(host, path, Page.GOOD) for path in paths]
    left = {kind: most for kinds, most in _RARE for kind in kinds}
    groups = {kind: kinds for kinds, _ in _RARE for kind in kinds}
    odd = [kind for kind in Page if kind.weight]
    weights = [kind.weight for kind in odd]
    made: list[Entry] = []
    for index in range(number):
        page = Page.GOOD if random.random() >= ODD_SHARE else random.choices(odd, weights)[0]
        if page in left:
            if not left[page]:
                page = Page.GOOD
            for other in groups.get(page, ()):
                left[other] -= 1
        made += _make_page(random, Entry(host, f"/{page.name.lower()}/{index}", page), hosts)
    return made


def _make_page(random: Random, entry: Entry, hosts: Mapping[str, Host]) -> list[Entry]:
    """A page, and those that it leads to."""
    host, kind, own = entry.host, entry.kind, f"/to{entry.path}"
    if kind is Page.MOVED:
        return [_leading(entry, own), Entry(host, own, Page.GOOD, linked=False)]
    if kind is Page.MOVED_AWAY:
        away = random.choice([one for one, its in hosts.items() if its is Host.PLAIN])
        path = f"/from/{host}{entry.path}"
        return [_leading(entry, f"http://{away}{path}"), Entry(away, path, Page.GOOD, linked=False)]
    if kind is Page.MOVED_TO_FORBIDDEN:
        away = random.choice([one for one, its in hosts.items() if its is Host.DISALLOWING] or [host])
        path = f"{PRIVATE_PREFIX}from/{host}{entry.path}"
        if away == host:  # a small web without such a host
            return [Entry(host, entry.path, Page.GOOD)]
        return [_leading(entry, f"http://{away}{path}"), Entry(away, path, Page.GOOD, linked=False)]
    if kind is Page.LOOP:
        return [_leading(entry, own), Entry(host, own, Page.LOOP, entry.path, linked=False)]
    if kind is Page.CHAIN:
        stations = [f"{own}/{station}" for station in range(12)]
        steps = [Entry(host, one, Page.MOVED, then, linked=False) for one, then in pairwise(stations)]
        return [_leading(entry, stations[0]), *steps]
    if kind is Page.MOVED_INWARD:
        return [_leading(entry, random.choice(INWARD))]
    return [_leading(entry, random.choice(OFF_HTTP))] if kind is Page.MOVED_OFF_HTTP else [entry]


def _leading(entry: Entry, target: str) -> Entry:
    return Entry(entry.host, entry.path, entry.kind, target, entry.linked)


def rules_host(hosts: Sequence[str]) -> str:
    """The host whose file under /rules/ the robots.txt of others redirect to."""
    return hosts[0]
