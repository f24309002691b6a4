"""How fast a crawl goes: its figures, for the file that each process leaves every second."""

import time
from collections import Counter, deque

from pipeline.fetch.frontier import Frontier
from pipeline.fetch.progress import Figures
from pipeline.fetch.schedule import eta_s
from pipeline.fetch.tries import Settled

_WINDOW_S = 30.0


class Meter:
    """Counts tries as they are settled.

    Args:
        num_links: Of the parts that are crawled.
        num_done: How many of them had their last try in an earlier crawl.
    """

    def __init__(self, num_links: int, num_done: int) -> None:
        self._num_links = num_links
        self._num_done = num_done
        self._started = time.monotonic()
        self._num_pages = self._num_bytes = 0
        self._failures: Counter[str] = Counter()
        self._before: deque[tuple[float, int, int]] = deque([(self._started, 0, num_done)])

    def count(self, one: Settled) -> None:
        """Counts a try."""
        refusal = one.outcome.refusal
        if not one.final:
            return
        self._num_done += 1
        if refusal is not None:
            self._failures[str(refusal.reason)] += 1
        else:
            self._num_pages += 1
            self._num_bytes += len(one.outcome.way[-1].response.body)

    def figures(self, frontier: Frontier) -> Figures:
        """What has been counted, with where the domains are."""
        now = time.monotonic()
        while now - self._before[0][0] > _WINDOW_S and len(self._before) > 1:
            self._before.popleft()
        since, pages, done = self._before[0]
        self._before.append((now, self._num_pages, self._num_done))
        seconds = max(now - since, 1e-3)
        return Figures(
            links=self._num_links,
            done=self._num_done,
            pages=self._num_pages,
            bytes=self._num_bytes,
            hosts_in_flight=frontier.num_at_work,
            hosts_waiting=frontier.num_waiting,
            links_waiting=frontier.num_left,
            failures=dict(self._failures.most_common()),
            seconds=now - self._started,
            pages_a_second=(self._num_pages - pages) / seconds,
            eta_s=eta_s(frontier.longest_s(), frontier.num_left, (self._num_done - done) / seconds),
        )
