"""What the ledgers of a finished fetch say together: its tries and pages, its failures, its seconds."""

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.fetch.ledger import FETCHED, LEDGER_SUFFIX, last_tries
from pipeline.records import Reason
from pipeline.runs import Folder, Manifest, Part

# What went wrong, more coarsely than a reason says it.
CLASSES: Mapping[str, str] = {
    Reason.ROBOTS: "robots",
    Reason.ROBOTS_UNREACHABLE: "robots",
    Reason.CRAWL_DELAY: "robots",
    Reason.NO_INDEX: "robots",
    Reason.NOT_ALLOWED_ADDRESS: "not allowed",
    Reason.BAD_PORT: "not allowed",
    Reason.DNS: "dns",
    Reason.CONNECT: "connection",
    Reason.CERTIFICATE: "tls",
    Reason.TLS: "tls",
    Reason.TIMEOUT: "timeout",
    Reason.DEAD_HOST: "dead host",
    Reason.RATE_LIMITED: "rate limit",
    Reason.HTTP_4XX: "http 4xx",
    Reason.HTTP_5XX: "http 5xx",
    Reason.HTTP_OTHER: "http other",
    Reason.HTTP_09: "protocol",
    Reason.PROTOCOL: "protocol",
    Reason.HEADER_TOO_LARGE: "protocol",
    Reason.CUT_SHORT: "protocol",
    Reason.BAD_ENCODING: "protocol",
    Reason.REDIRECT_LOOP: "redirects",
    Reason.BAD_REDIRECT: "redirects",
    Reason.WRONG_TYPE: "content",
    Reason.NOT_IN_WARC: "archive",
}

# The ledger's columns of seconds, in the order in which a request comes to them.
LATENCIES = ("dns_s", "connect_s", "first_byte_s", "seconds")

_COLUMNS = ["id", "url", "attempt", "outcome", "source", "fetched", "bytes", *LATENCIES]

_LEDGERS_AT_ONCE = 8  # cores share them, and an object store answers each late

_AUTHORITY = r"^[^/]*//(?P<authority>[^/?#]*)"
_HOST = r"^(?:.*@)?(?P<host>\[.*\]|[^:]*)"

# Seconds are counted in classes, each reaching 2 % further than the one below it: a quantile is right to
# that, however many tries there are, in the memory of a table of a thousand numbers.
_LEAST_S = 1e-4
_STEP = 1.02
_NUM_CLASSES = 1000  # the last begins at 11 hours


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Seconds that were enough for a half, for nine in ten and for 99 in 100 of ``num`` requests; the most.

    The quantiles are right to 2 %, the most exactly.
    """

    num: int
    p50: float
    p90: float
    p99: float
    max: float

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``webtext status --json``."""
        seconds = {name: round(getattr(self, name), 4) for name in ("p50", "p90", "p99", "max")}
        return {"requests": self.num, **seconds}


@dataclass(frozen=True, slots=True)
class LedgerFigures:
    """All ledgers of a run together. What became of a link is what its last try says.

    ``first`` and ``last`` are when the first and the last request of a try was made; they and the latencies
    (a column's name → its quantiles, over all tries that have it) are of the web, archives left out.
    """

    links: int
    tries: int
    hosts: int  # of links
    pages: int
    bytes: int  # of pages' bodies
    sources: Mapping[str, int]  # of pages: "web", "warc" or an archive
    failures: Mapping[str, int]  # links by reason, the most frequent first
    first: datetime | None
    last: datetime | None
    latencies: Mapping[str, Quantiles]

    @property
    def classes(self) -> dict[str, int]:
        """Links without a page by class of failure, the most frequent first."""
        found: Counter[str] = Counter()
        for reason, num in self.failures.items():
            found[CLASSES.get(reason, "other")] += num
        return _ordered(found)

    @property
    def pages_a_second(self) -> float | None:
        """Pages of the web over the time from the first request to the last; None where there is none."""
        if self.first is None or self.last is None or self.first == self.last:
            return None
        return self.sources.get("web", 0) / (self.last - self.first).total_seconds()

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``webtext status --json``; times by ISO 8601."""
        rate = self.pages_a_second
        return {
            **{name: getattr(self, name) for name in ("links", "tries", "hosts", "pages", "bytes")},
            "sources": dict(self.sources),
            "classes": self.classes,
            "failures": dict(self.failures),
            "first": None if self.first is None else self.first.isoformat(),
            "last": None if self.last is None else self.last.isoformat(),
            "pages_a_second": None if rate is None else round(rate, 3),
            "latencies": {name: one.to_json() for name, one in self.latencies.items()},
        }


def read_ledgers(pages: Folder, manifest: Manifest) -> LedgerFigures:
    """Adds up the ledgers that the manifest lists, some parts at a time.

    Raises:
        OSError, pa.ArrowException, KeyError: A ledger is missing, damaged, or lacks a column.
    """
    numbers: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    times: list[datetime] = []
    seconds = {name: _Seconds() for name in LATENCIES}
    with ThreadPoolExecutor(_LEDGERS_AT_ONCE) as pool:
        for part in pool.map(partial(_read_part, pages), manifest.counted()):
            numbers += part.numbers
            sources += part.sources
            failures += part.outcomes
            times += part.times
            for name, one in seconds.items():
                one.add(part.seconds[name])
    failures.pop(FETCHED, None)
    return LedgerFigures(
        **{name: numbers[name] for name in ("links", "tries", "hosts", "pages", "bytes")},
        sources=_ordered(sources),
        failures=_ordered(failures),
        first=min(times, default=None),
        last=max(times, default=None),
        latencies={name: one.quantiles() for name, one in seconds.items() if one.num},
    )


class _PartFigures(NamedTuple):
    """What one part's ledger adds."""

    numbers: Counter[str]
    sources: Counter[str]
    outcomes: Counter[str]
    times: list[datetime]
    seconds: Mapping[str, npt.NDArray[np.float32]]


def _read_part(pages: Folder, part: Part) -> _PartFigures:
    table = pages.read_table(part.file(LEDGER_SUFFIX).name, _COLUMNS)
    last = last_tries(table)
    fetched = last.filter(pc.equal(last["outcome"], FETCHED))
    web = table.filter(pc.equal(table["source"], "web"))
    return _PartFigures(
        numbers=Counter(
            links=last.num_rows,
            tries=table.num_rows,
            # A host's links are all in one part, so that no host is counted twice.
            hosts=len(_hosts(last["url"])),
            pages=fetched.num_rows,
            bytes=pc.sum(fetched["bytes"], min_count=0).as_py(),
        ),
        sources=_frequencies(fetched["source"]),
        outcomes=_frequencies(last["outcome"]),
        times=[one for one in pc.min_max(web["fetched"]).as_py().values() if one is not None],
        seconds={name: web[name].drop_null().to_numpy() for name in LATENCIES},
    )


def _hosts(urls: pa.ChunkedArray) -> pa.Array:
    """The hosts in URLs, each once."""
    authorities = pc.struct_field(pc.extract_regex(urls, _AUTHORITY), "authority").unique()
    hosts = pc.struct_field(pc.extract_regex(authorities, _HOST), "host")
    return pc.utf8_lower(hosts).unique().drop_null()


def _frequencies(values: pa.ChunkedArray) -> Counter[str]:
    return Counter({one["values"].as_py(): one["counts"].as_py() for one in values.value_counts()})


def _ordered(numbers: Counter[str]) -> dict[str, int]:
    return dict(sorted(numbers.items(), key=lambda item: (-item[1], item[0])))


class _Seconds:
    """Durations, counted in classes."""

    def __init__(self) -> None:
        self.num = 0
        self._counts = np.zeros(_NUM_CLASSES, np.int64)
        self._max = 0.0

    def add(self, seconds: npt.NDArray[np.float32]) -> None:
        if len(seconds) == 0:
            return
        steps = np.log(np.maximum(seconds, _LEAST_S) / _LEAST_S) / np.log(_STEP)
        classes = np.minimum(steps.astype(np.int64), _NUM_CLASSES - 1)
        self._counts += np.bincount(classes, minlength=_NUM_CLASSES)
        self._max = max(self._max, float(seconds.max()))
        self.num += len(seconds)

    def quantiles(self) -> Quantiles:
        below = np.cumsum(self._counts)
        ranks = np.ceil(np.array([0.5, 0.9, 0.99]) * self.num)
        ends = _LEAST_S * _STEP ** (1 + np.searchsorted(below, ranks))
        p50, p90, p99 = np.minimum(ends, self._max).tolist()
        return Quantiles(self.num, p50, p90, p99, self._max)
