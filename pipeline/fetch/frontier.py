"""Whose turn it is: registrable domains, one request at a time each, the longest queue first.

A domain waits until its pause is over, is ready, is at work, or is idle. Only so many have their links open
at once that connections always find a ready one; of the others nothing is in memory but where they begin.
"""

import asyncio
import heapq
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

from pipeline.fetch.backlog import Queue, Start
from pipeline.fetch.exchange import Exchange
from pipeline.fetch.politeness import Host
from pipeline.fetch.tries import Link
from pipeline.urls import Url

MAX_PARKED = 256  # links of a domain that wait for another try
_MAX_HOSTS = 64  # of a domain; their links follow each other
_MAX_IDLE = 4096  # domains remembered that have nothing to ask, for their rules


@dataclass(slots=True)
class Errand:
    """A link on its way: the URL to ask next, and what it has been answered so far."""

    link: Link
    url: Url | None
    way: list[Exchange] = field(default_factory=list)
    robots: str | None = None  # the decision for its last URL
    attempt: int = 1  # the number of its try, in the ledger
    num_failed: int = 0  # tries of this crawl whose failure may pass


@dataclass(slots=True)
class RobotsErrand:
    """A robots.txt on its way, for a host of a domain that waits for it."""

    owner: "Domain"
    host: Host
    url: Url
    num_redirects: int = 0


@dataclass(slots=True, eq=False)
class Domain:
    """A registrable domain: what is to be asked of it, and when it may be asked again.

    Attributes:
        not_before: The time, by the frontier's clock, before which nothing is asked.
        waits: Whether a robots.txt of it is on its way: until it is there, no page is asked.
        errands: What came here by a redirect, or is to be asked again: before the queue.
        parked: Links that wait for another try, as a heap by their time.
    """

    name: str
    delay_s: float
    not_before: float = 0.0
    waits: bool = False
    queue: Queue | None = None
    errands: deque[Errand | RobotsErrand] = field(default_factory=deque)
    parked: list[tuple[float, int, Errand]] = field(default_factory=list)
    hosts: OrderedDict[str, Host] = field(default_factory=OrderedDict)
    turn: int = 0  # counts its turns: what stands in a heap for an earlier one is void
    at_work: bool = False

    def host(self, origin: str) -> Host:
        """What is known of ``https://host:port``; of those asked last, for a domain may have 100,000."""
        known = self.hosts.setdefault(origin, Host())
        self.hosts.move_to_end(origin)
        if len(self.hosts) > _MAX_HOSTS:
            self.hosts.popitem(last=False)
        return known

    @property
    def num_waiting(self) -> int:
        """Links that are still to be asked here, as far as is known."""
        return len(self.errands) + len(self.parked) + (self.queue.num_left if self.queue else 0)

    def ready_at(self) -> float | None:
        """When it may be asked next; None while there is nothing to ask."""
        if self.waits:
            ready = bool(self.errands) and isinstance(self.errands[0], RobotsErrand)
            return self.not_before if ready else None
        if self.errands or (self.queue and self.queue.num_left):
            return self.not_before
        return max(self.not_before, self.parked[0][0]) if self.parked else None

    def take(self, now: float) -> Errand | RobotsErrand | Link | None:
        """What is to be asked next; None where there is nothing."""
        if self.waits and not (self.errands and isinstance(self.errands[0], RobotsErrand)):
            return None
        if self.errands:
            return self.errands.popleft()
        if self.parked and self.parked[0][0] <= now:
            return heapq.heappop(self.parked)[2]
        if self.queue and self.queue.num_left:
            return self.queue.take()
        return None


class Frontier:
    """Gives out domains whose turn it is; lives in one event loop.

    Args:
        starts: Domains' places in the backlog, the longest first.
        open_queue: Opens one.
        delay_s: The seconds between requests to a domain, by its name.
        num_links: How many links there are to settle in all.
        max_open: How many domains have their queues open at once.
        resumed: Whether the crawl goes on: its last requests may have been made a moment ago, so every
            domain begins with its pause.
        clock: Seconds that only grow; a loop's own may lag behind by what its callbacks take.
    """

    def __init__(
        self,
        starts: Iterator[Start],
        open_queue: Callable[[Start], Queue],
        delay_s: Callable[[str], float],
        *,
        num_links: int,
        max_open: int,
        resumed: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._starts = starts
        self._open_queue = open_queue
        self._delay_s = delay_s
        self._max_open = max_open
        self._resumed = resumed
        self.now = clock
        self._loop = asyncio.get_running_loop()
        self._begun = clock()
        self._domains: dict[str, Domain] = {}
        self._idle: OrderedDict[str, Domain] = OrderedDict()
        self._ready: list[tuple[int, int, int, Domain]] = []
        self._waiting: list[tuple[float, int, int, Domain]] = []
        self._takers: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.Handle | None = None
        self._rings_at = 0.0
        self._numbers = count()
        self._num_open = 0
        self.num_left = num_links
        self.num_at_work = 0

    @property
    def num_waiting(self) -> int:
        """Domains that are not at work and have something to ask, those in the heaps twice with them."""
        return len(self._waiting) + len(self._ready)

    def begin(self) -> None:
        """Opens the first domains."""
        while self._num_open < self._max_open and self._open_next():
            pass

    def domain(self, name: str) -> Domain:
        """A domain by its name, made where it is not known."""
        known = self._domains.get(name)
        if known is None:
            known = self._domains[name] = Domain(name, self._delay_s(name))
            if self._resumed:
                known.not_before = self._begun + known.delay_s
        return known

    async def take(self) -> Domain | None:
        """The next domain whose turn it is; whoever takes it gives it back. None when all is settled."""
        while self.num_left:
            self._wake_due()
            while self._ready:
                _, _, turn, domain = heapq.heappop(self._ready)
                if turn == domain.turn and not domain.at_work:
                    domain.at_work = True
                    self.num_at_work += 1
                    return domain
            taker = self._loop.create_future()
            self._takers.append(taker)
            self._set_timer()
            await taker
        return None

    def give_back(self, domain: Domain) -> None:
        """Ends a domain's turn."""
        domain.at_work = False
        self.num_at_work -= 1
        self.schedule(domain)

    def schedule(self, domain: Domain) -> None:
        """Puts a domain where it belongs, after something came to it or its pause was changed."""
        if domain.at_work:
            return
        domain.turn += 1
        if domain.queue is not None and not domain.queue.num_left:
            domain.queue = None  # makes room for the next
            self._num_open -= 1
            self._open_next()
        self._idle.pop(domain.name, None)
        at = domain.ready_at()
        if at is None:
            if not domain.waits:
                self._idle[domain.name] = domain
                self._forget()
        elif at <= self.now():
            self._make_ready(domain)
        else:
            heapq.heappush(self._waiting, (at, next(self._numbers), domain.turn, domain))
            if self._takers:
                self._set_timer()

    def park(self, errand: Errand, until: float) -> None:
        """Lets a link wait for another try, in its own domain."""
        domain = self.domain(errand.link.domain)
        heapq.heappush(domain.parked, (until, next(self._numbers), errand))
        self.schedule(domain)

    def settled(self) -> None:
        """Counts a link that has had its last try."""
        self.num_left -= 1
        if not self.num_left:
            self.stop()

    def stop(self) -> None:
        """Gives out no more turns, and lets everyone go who waits for one."""
        self.num_left = 0
        if self._timer is not None:
            self._timer.cancel()
        while self._takers:
            self._release()

    def longest_s(self) -> float:
        """The seconds that the longest open domain still takes by its delay."""
        return max((one.num_waiting * one.delay_s for one in self._domains.values()), default=0.0)

    def _open_next(self) -> bool:
        start = next(self._starts, None)
        if start is None:
            return False
        queue = self._open_queue(start)
        domain = self.domain(queue.domain)
        domain.queue = queue
        self._num_open += 1
        self.schedule(domain)
        return True

    def _forget(self) -> None:
        """Forgets the domain that has rested longest, unless its pause is not over."""
        if len(self._idle) <= _MAX_IDLE:
            return
        name, domain = next(iter(self._idle.items()))
        if domain.not_before <= self.now():
            del self._idle[name], self._domains[name]
        else:
            self._idle.move_to_end(name)

    def _make_ready(self, domain: Domain) -> None:
        heapq.heappush(self._ready, (-domain.num_waiting, next(self._numbers), domain.turn, domain))
        self._release()

    def _wake_due(self) -> None:
        now = self.now()
        while self._waiting and self._waiting[0][0] <= now:
            _, _, turn, domain = heapq.heappop(self._waiting)
            if turn == domain.turn and not domain.at_work:
                self._make_ready(domain)

    def _set_timer(self) -> None:
        if not self._waiting:
            return
        due, now = self._waiting[0][0], self.now()
        if self._timer is not None:
            if now < self._rings_at <= due:
                return
            self._timer.cancel()
        self._rings_at = due
        self._timer = self._loop.call_later(max(0.0, due - now), self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._wake_due()
        if self._takers:
            self._set_timer()

    def _release(self) -> None:
        """Lets one who waits for a turn look again."""
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                return
