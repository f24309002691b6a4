"""How long a crawl takes: what its delays and its domains' links alone say, before a single request.

A domain is asked one link at a time, with a delay between, so the domain with the longest queue sets a lower
bound, however fast the crawler is. The rest is how many requests may be under way at once. The model is a
fluid one: while a domain has links left, it is asked one link a *period* (its delay and the time of a
request); where all of them together want more requests a second than the crawler may make, all are slowed
down by the same factor.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import FetchSettings
from pipeline.plain_table import duration, percentage
from pipeline.runs import Folder, read_manifest

if TYPE_CHECKING:
    from rich.console import RenderableType

# Assumed: the mean time of a request on the public web, slow and dead hosts among them.
REQUEST_S = 0.5

# What one process fetches at the most (see benchmarks/RESULTS.md), whatever its number of connections.
PROCESS_LINKS_A_SECOND = 1_000

SHARES = (0.5, 0.9, 0.99, 1.0)

_NUM_LONGEST = 10

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Queue:
    """A domain's links, and the seconds that their delays take."""

    domain: str
    links: int
    delay_s: float

    @property
    def seconds(self) -> float:
        """The least time that the domain takes."""
        return self.links * self.delay_s


@dataclass(frozen=True, slots=True)
class Course:
    """How a crawl goes: its links, and the seconds until each of SHARES of them is asked."""

    what: str  # the settings and links as they are, or a change to them
    links: int
    seconds: Mapping[float, float]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long a crawl takes, as far as delays and links tell; the first of ``courses`` is as it is set."""

    links: int
    domains: int
    lower_bound_s: float  # the longest queue's delays: no crawler of these manners is faster
    links_a_second: float  # the most, by connections and processes
    longest: tuple[Queue, ...]  # by their seconds, the longest first
    courses: tuple[Course, ...]


def eta_s(longest_domain_s: float, links_waiting: int, pages_a_second: float) -> float | None:
    """Seconds until a crawl is done: what its longest domain takes, or all of its links at today's rate.

    Args:
        longest_domain_s: Of the domains with links left, the longest schedule that remains.
        links_waiting: Links that are not asked yet.
        pages_a_second: Of late.

    Returns:
        None while links wait and no page comes: it cannot be told.
    """
    if links_waiting <= 0:
        return longest_domain_s
    return max(longest_domain_s, links_waiting / pages_a_second) if pages_a_second > 0 else None


def read_links_by_domain(links: Folder) -> tuple[pa.Array, Ints] | None:
    """Each domain of a finished link stage, once, and its number of links; None if it is not finished."""
    manifest = read_manifest(links)
    if manifest is None:
        return None
    domains, numbers = [pa.array([], pa.string())], [np.zeros(0, np.int64)]
    for part in manifest.counted():  # a domain is in one part only
        counts = links.read_table(f"{part.name}.parquet", ["domain"])["domain"].value_counts()
        domains.append(counts.field("values"))
        numbers.append(counts.field("counts").to_numpy())
    return pa.concat_arrays(domains), np.concatenate(numbers)


def schedule(domains: pa.Array, links: Ints, settings: FetchSettings) -> Schedule:
    """How long a crawl takes, and what would make it shorter.

    Args:
        domains: Registrable domains, each once.
        links: The number of links of each, one at least.
        settings: The delays, connections and processes.
    """
    delays = _delays(domains, settings)
    queues = links * delays
    longest = _first(queues, _NUM_LONGEST)
    rate = settings.processes * min(settings.connections / REQUEST_S, PROCESS_LINKS_A_SECOND)
    uncut = np.ones(len(links), bool)
    uncut[longest] = False
    changes: tuple[tuple[str, Ints, Floats], ...] = (
        ("as it is set", links, delays),
        ("every delay halved", links, delays / 2),
        ("every delay a tenth", links, delays / 10),
        (f"without the {len(longest)} longest domains", links[uncut], delays[uncut]),
        ("at most 1,000 links a domain", np.minimum(links, 1_000), delays),
    )
    return Schedule(
        links=int(links.sum()),
        domains=len(links),
        lower_bound_s=float(queues.max(initial=0.0)),
        links_a_second=rate,
        longest=tuple(
            Queue(domains[index].as_py(), int(links[index]), float(delays[index])) for index in longest
        ),
        courses=tuple(_course(what, num, delay, rate) for what, num, delay in changes),
    )


def _delays(domains: pa.Array, settings: FetchSettings) -> Floats:
    """The delay of each domain, in seconds."""
    delays = np.full(len(domains), settings.delay_s)
    if settings.domain_delays_s:
        table = settings.domain_delays_s
        places = pc.index_in(domains, value_set=pa.array(list(table), pa.string())).fill_null(-1).to_numpy()
        own = np.array([*table.values(), settings.delay_s])  # the last for those that the table lacks
        delays = own[places]
    return delays


def _first(values: Floats, num: int) -> list[int]:
    """The places of the ``num`` greatest, in their order."""
    some = np.argpartition(-values, num)[:num] if len(values) > num else np.arange(len(values))
    places: list[int] = some[np.lexsort((some, -values[some]))].tolist()
    return places


def _course(what: str, links: Ints, delays: Floats, rate: float) -> Course:
    total = int(links.sum())
    if total == 0:
        return Course(what, 0, dict.fromkeys(SHARES, 0.0))
    # Domains of the same delay and as many links go the same way: millions of them are some thousand kinds.
    kinds = [
        (number, kind_delay + REQUEST_S, times)
        for kind_delay in np.unique(delays)
        for number, times in zip(*np.unique(links[delays == kind_delay], return_counts=True), strict=True)
    ]
    numbers, periods, times = (np.array(column, float) for column in zip(*kinds, strict=True))
    seconds = asked_after(np.array(SHARES) * total, numbers, periods, times, rate)
    return Course(what, total, dict(zip(SHARES, seconds.tolist(), strict=True)))


def asked_after(wanted: Floats, links: Floats, periods: Floats, times: Floats, rate: float) -> Floats:
    """The seconds after which so many links are asked: exact for the fluid model, and without steps in time.

    Were there no limit on the rate, a domain would be done at ``links * period``, and between two such ends
    the rate of all would stay as it is. With a limit each such piece takes longer, by its own factor.

    Args:
        wanted: Numbers of links, at most as many as there are.
        links: Of each kind of domain.
        periods: Of each kind, in seconds: one link is asked in each.
        times: How many domains are of each kind.
        rate: The most links a second.
    """
    order = np.argsort(links * periods, kind="stable")
    ends = np.concatenate([[0.0], (links * periods)[order]])
    # By piece: the links a second of the domains that are not done before its end, without the limit.
    rates = np.cumsum((times / periods)[order][::-1])[::-1]
    pieces = np.diff(ends)
    asked = np.concatenate([[0.0], np.cumsum(rates * pieces)])
    clock = np.concatenate([[0.0], np.cumsum(pieces * np.maximum(1.0, rates / rate))])
    found: Floats = np.interp(wanted, asked, clock)
    return found


def render(found: Schedule, settings: FetchSettings) -> "RenderableType":
    """The schedule for people: what it comes to, what limits it, and what would make it shorter."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table

    work_s = found.links / found.links_a_second
    processes = "1 process" if settings.processes == 1 else f"{settings.processes:,} processes"
    text = (
        f"{found.links:,} links on {found.domains:,} domains: "
        f"about {duration(found.courses[0].seconds[1.0])}\n"
        f"  by the delays alone: {duration(found.lower_bound_s)} (links × delay of the longest domain)\n"
        f"  by the connections alone: {duration(work_s)} ({found.links_a_second:,.0f} links/s: "
        f"{settings.connections:,} in {processes})\n"
        f"  what limits it: {'the longest domains' if found.lower_bound_s >= work_s else 'the connections'}\n"
        f"  assumed: {REQUEST_S:g} s a request, {PROCESS_LINKS_A_SECOND:,} links/s a process at the most\n"
        "  not foreseen: longer delays that robots.txt asks for, dead hosts, second tries"
    )
    longest = Table(box=None, padding=(0, 2, 0, 0), title="the longest domains", title_justify="left")
    for name in ("domain", "links", "delay", "takes"):
        longest.add_column(name, justify="left" if name == "domain" else "right", overflow="fold")
    for queue in found.longest:
        longest.add_row(queue.domain, f"{queue.links:,}", f"{queue.delay_s:g} s", duration(queue.seconds))
    courses = Table(box=None, padding=(0, 2, 0, 0), title="hours until", title_justify="left")
    courses.add_column("")
    courses.add_column("links", justify="right")
    for share in SHARES:
        courses.add_column(percentage(share, 1, digits=0), justify="right")
    for course in found.courses:
        hours = [f"{course.seconds[share] / 3600:,.2f}" for share in SHARES]
        courses.add_row(course.what, f"{course.links:,}", *hours)
    return Group(text, *(Padding(table, (1, 0, 0, 0)) for table in (longest, courses)))
