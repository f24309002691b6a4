"""A domain's turn: one request, and what follows from its answer.

Each hop of a link passes the guard, the opt-outs, its host's robots.txt and its own domain's turn; a hop into
another domain waits there.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

from pipeline import urls
from pipeline.config import FetchSettings
from pipeline.fetch import politeness, response, robots
from pipeline.fetch.client import Client, guard
from pipeline.fetch.exchange import Exchange, Failure, Headers, Outcome, Refusal
from pipeline.fetch.frontier import MAX_PARKED, Domain, Errand, Frontier, RobotsErrand
from pipeline.fetch.opted_out import OptedOut
from pipeline.fetch.pauses import Pauses
from pipeline.fetch.politeness import Host, is_throttled, may_pass, retry_after_s
from pipeline.fetch.robots import Robots
from pipeline.fetch.tries import Link, Settled
from pipeline.records import Reason

_REDIRECT_BODY_BYTES = 64 * 1024
_MAX_UNASKED = 64  # links settled without a request before others have their turn
_MAX_WAITING_KEPT = 512  # domains that wait: with more, keeping their connections open costs too much


class Fetcher:
    """Takes turns for domains.

    Args:
        client: Makes the requests.
        settings: The stage's.
        frontier: Where domains and errands wait.
        opted_out: Where no redirect may lead.
        pauses: Those that hosts have asked for, in an earlier crawl too.
        settle: Told of every try; it may take its time where writing falls behind.
    """

    def __init__(
        self,
        client: Client,
        settings: FetchSettings,
        frontier: Frontier,
        opted_out: OptedOut,
        pauses: Pauses,
        settle: Callable[[Settled], Awaitable[None]],
    ) -> None:
        self._client = client
        self._settings = settings
        self._frontier = frontier
        self._opted_out = opted_out
        self._pauses = pauses
        self._settle = settle
        self._now = frontier.now

    def keep_pauses(self) -> None:
        """Goes on with what is left of the pauses that hosts have asked for before."""
        now = time.time()
        for origin, pause in self._pauses.read().items():
            url, left_s = urls.parse(f"{origin}/"), pause.left_s(now)
            if url is None or not left_s:
                continue
            domain = self._frontier.domain(url.domain)
            if left_s > self._settings.max_pause_s:
                domain.host(origin).throttled(left_s, self._settings)
            else:
                domain.not_before = max(domain.not_before, self._now() + left_s)
            self._frontier.schedule(domain)

    async def work(self) -> None:
        """Takes turns until every link is settled."""
        while (domain := await self._frontier.take()) is not None:
            try:
                await self.turn(domain)
            finally:
                self._frontier.give_back(domain)

    async def turn(self, domain: Domain) -> None:
        """Makes one request to a domain, if there is one to be made."""
        for _ in range(_MAX_UNASKED):
            errand = domain.take(self._now())
            if errand is None:
                return
            if isinstance(errand, RobotsErrand):
                await self._ask_robots(domain, errand)
                return
            if isinstance(errand, Link):
                errand = Errand(errand, urls.parse(errand.url), attempt=errand.attempt)
            if await self._advance(domain, errand):
                return
        await asyncio.sleep(0)

    async def _advance(self, domain: Domain, errand: Errand) -> bool:
        """Brings a link a step further; whether that took a request."""
        url = errand.url
        refusal = self._barred(errand)
        if refusal is not None or url is None:
            await self._done(errand, refusal or Refusal(Reason.BAD_URL))
            return False
        if url.domain != domain.name:
            self._forward(errand, url)
            return False
        host = domain.host(_origin(url))
        if host.dead is not None:
            await self._done(errand, host.dead)
            return False
        if host.robots is None or host.robots_until <= self._now():
            domain.errands.appendleft(errand)
            domain.waits = True
            address = urls.parse(f"{_origin(url)}/robots.txt")
            await self._ask_robots(domain, RobotsErrand(domain, host, address or url))
            return True
        refusal = host.robots.refusal(response.asked_address(url.href), self._settings.max_crawl_delay_s)
        errand.robots = host.robots.decision(refusal)
        if refusal is not None:
            await self._done(errand, refusal)
            return False
        await self._ask(domain, host, errand, url)
        return True

    def _barred(self, errand: Errand) -> Refusal | None:
        """Why a hop is not made, whatever its host says."""
        url, way = errand.url, errand.way
        if url is None:
            return Refusal(Reason.BAD_URL)
        if way:
            if response.asked_address(url.href) in {one.url for one in way}:
                return Refusal(Reason.REDIRECT_LOOP, f"back at {url.href}")
            if len(way) > self._settings.max_redirects:
                return Refusal(Reason.REDIRECT_LOOP, f"more than {self._settings.max_redirects} redirects")
            if self._opted_out.covers(url):
                return Refusal(Reason.OPT_OUT, f"redirected to {url.href}")
        return guard(url, self._settings)

    async def _ask(self, domain: Domain, host: Host, errand: Errand, url: urls.Url) -> None:
        refusal: Refusal | None = None

        def bytes_wanted(status: int, headers: Headers) -> int:
            """Of a redirect little is read, of what is no page nothing."""
            nonlocal refusal
            if status in response.REDIRECTS:
                return _REDIRECT_BODY_BYTES
            refusal = response.refusal(status, headers, self._settings.robots_tags)
            return 0 if refusal else self._settings.max_bytes

        answer = await self._client.get(url, bytes_wanted, keep_alive=self._keeps_connections())
        self._pause(domain, answer, max(domain.delay_s, host.robots.crawl_delay_s if host.robots else 0.0))
        if isinstance(answer, Failure):
            if politeness.is_silence(answer):
                domain.not_before += host.failed(answer.refusal, self._settings)
            else:
                host.answered()
            await self._done(errand, answer.refusal, answer)
            return
        status, headers = answer.response.status, answer.response.headers
        if is_throttled(status, headers):
            await self._throttled(domain, host, errand, answer)
            return
        host.answered()
        errand.way.append(answer)
        if status not in response.REDIRECTS:
            await self._done(
                errand, refusal or response.judge_body(answer.response, self._settings.robots_tags)
            )
            return
        location = headers.get("location")
        target = response.redirect_target(answer.url, location)
        if target is None:
            await self._done(errand, Refusal(Reason.BAD_REDIRECT, location or "no location", status))
            return
        errand.url = target
        self._forward(errand, target)

    async def _throttled(self, domain: Domain, host: Host, errand: Errand, answer: Exchange) -> None:
        """A host that has too many requests is asked for the same again, when it says."""
        status = answer.response.status
        pause_s = self._rest(host, answer)
        domain.not_before = max(domain.not_before, self._now() + pause_s)
        refusal = Refusal(Reason.RATE_LIMITED, f"HTTP {status}", status)
        if host.dead is not None:
            errand.way.append(answer)
            await self._done(errand, replace(host.dead, status=status))
            return
        outcome = Outcome((*errand.way, answer), refusal, robots=errand.robots)
        await self._settle(Settled(errand.link, errand.attempt, outcome, final=False))
        errand.attempt += 1
        domain.errands.appendleft(errand)

    async def _done(self, errand: Errand, refusal: Refusal | None, failure: Failure | None = None) -> None:
        """Ends a try; the link is tried again later, where that may help."""
        outcome = Outcome(tuple(errand.way), refusal, failure, errand.robots)
        link = errand.link
        again = (
            refusal is not None
            and may_pass(refusal)
            and errand.num_failed + 1 < self._settings.tries
            and len(self._frontier.domain(link.domain).parked) < MAX_PARKED
        )
        await self._settle(Settled(link, errand.attempt, outcome, final=not again))
        if not again:
            self._frontier.settled()
            return
        fresh = Errand(
            link, urls.parse(link.url), attempt=errand.attempt + 1, num_failed=errand.num_failed + 1
        )
        self._frontier.park(fresh, self._now() + self._settings.retry_wait_s)

    async def _ask_robots(self, domain: Domain, errand: RobotsErrand) -> None:
        refusal = guard(errand.url, self._settings)
        if refusal is not None:
            self._learn(errand, robots.of_failure(refusal))
            return
        answer = await self._client.get(
            errand.url, lambda *_: robots.MAX_BYTES, keep_alive=self._keeps_connections()
        )
        self._pause(domain, answer, domain.delay_s)
        failed = _failure_of_robots(answer)
        if failed is not None:
            self._robots_failed(domain, errand, answer, failed)
            return
        assert isinstance(answer, Exchange)  # noqa: S101 (else it has failed)
        errand.host.answered()
        status, headers = answer.response.status, answer.response.headers
        if status not in response.REDIRECTS:
            self._learn(errand, robots.of_response(status, answer.response.body))
            return
        target = response.redirect_target(answer.url, headers.get("location"))
        errand.num_redirects += 1
        if target is None or errand.num_redirects > robots.MAX_REDIRECTS or self._opted_out.covers(target):
            self._learn(errand, robots.ALLOW_ALL)  # as if there were none
            return
        errand.url = target
        self._forward(errand, target)

    def _robots_failed(
        self, domain: Domain, errand: RobotsErrand, answer: Exchange | Failure, refusal: Refusal
    ) -> None:
        """A robots.txt that could not be had is asked for again, until its host is given up."""
        host = errand.host
        if refusal.reason is Reason.RATE_LIMITED and isinstance(answer, Exchange):
            pause_s = self._rest(host, answer)
        else:
            pause_s = host.failed(refusal, self._settings)
        if host.dead is not None or not (may_pass(refusal) or refusal.reason is Reason.RATE_LIMITED):
            host.dead = None  # the reason is what the rules then tell of every link
            self._learn(errand, robots.of_failure(refusal))
            return
        domain.not_before = max(domain.not_before, self._now() + pause_s)
        domain.errands.appendleft(errand)

    def _rest(self, host: Host, answer: Exchange) -> float:
        """Notes that a host has too many requests; the pause in seconds."""
        now = datetime.now(UTC)
        asked_s = retry_after_s(answer.response.headers, now)
        if asked_s:
            self._pauses.add(_origin_of(answer.url), asked_s, now.timestamp())
        return host.throttled(asked_s, self._settings)

    def _learn(self, errand: RobotsErrand, rules: Robots) -> None:
        errand.host.robots = rules
        errand.host.robots_until = self._now() + rules.kept_s
        owner = errand.owner
        owner.waits = False
        if rules.crawl_delay_s <= self._settings.max_crawl_delay_s:  # else nothing is asked
            owner.not_before = max(owner.not_before, self._now() + rules.crawl_delay_s)
        self._frontier.schedule(owner)

    def _forward(self, errand: Errand | RobotsErrand, url: urls.Url) -> None:
        """Lets an errand wait for the turn of its next URL's domain; robots.txt goes before pages."""
        target = self._frontier.domain(url.domain)
        if isinstance(errand, RobotsErrand):
            target.errands.appendleft(errand)
        else:
            target.errands.append(errand)
        self._frontier.schedule(target)

    def _pause(self, domain: Domain, answer: Exchange | Failure, delay_s: float) -> None:
        """The usual pause after a request; a name that could not be looked up has made none."""
        if isinstance(answer, Exchange) or answer.refusal.reason is not Reason.DNS:
            domain.not_before = max(domain.not_before, self._now() + delay_s)

    def _keeps_connections(self) -> bool:
        return self._frontier.num_waiting < _MAX_WAITING_KEPT


def _failure_of_robots(answer: Exchange | Failure) -> Refusal | None:
    """Why the answer tells no rules; None if it tells some, or where they are."""
    if isinstance(answer, Failure):
        return answer.refusal
    status = answer.response.status
    if is_throttled(status, answer.response.headers):
        return Refusal(Reason.RATE_LIMITED, f"HTTP {status}", status)
    if robots.is_unreachable(status):
        return Refusal(Reason.ROBOTS_UNREACHABLE, f"HTTP {status}", status)
    return None


def _origin(url: urls.Url) -> str:
    """``https://host:port`` of a URL."""
    return _origin_of(response.asked_address(url.href))


def _origin_of(asked: str) -> str:
    return asked[: asked.index("/", asked.index("://") + 3)]
