"""The source "web": a part's links asked of their servers, politely, on one event loop.

Domains take turns with each other; a domain is asked one thing at a time. A part is the unit of resume: one
that is killed half way is fetched again from its start. A part has all links of its domains, so that its
pauses are kept by itself alone; only redirects into a domain of another part that runs at the same moment
are not counted together.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp.abc import AbstractResolver

from pipeline import urls
from pipeline.config import FetchSettings
from pipeline.fetch import ledger, response, robots
from pipeline.fetch.client import BytesWanted, Client, guard, user_agent
from pipeline.fetch.exchange import Exchange, Headers, Outcome, Refusal
from pipeline.fetch.politeness import Turns
from pipeline.fetch.robots import Robots
from pipeline.fetch.warc import WarcSink
from pipeline.records import Reason
from pipeline.runs import PartWriter
from pipeline.stages import Job, Planned

MAX_OPEN_REQUESTS = 64  # a part; each may hold a body of max_bytes
_REDIRECT_BODY_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Link:
    """What the fetcher needs of a link."""

    id: str
    url: str
    domain: str


def fetch_part(job: Job, part: Planned, resolver: AbstractResolver | None = None) -> None:
    """Fetches a part's links and writes its WARC, its index and its ledger."""
    started = time.monotonic()
    table = job.folder_of("link").read_table(part.spec["links"], columns=["id", "url", "domain"])
    links = [Link(**row) for row in table.to_pylist()]
    settings: FetchSettings = job.settings
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    filename = f"{part.name}.warc.gz"
    with writer.open("warc.gz") as stream:
        sink = WarcSink(stream, filename, date=datetime.now(UTC), info=_warcinfo(settings))
        found = asyncio.run(_fetch_all(links, settings, sink, filename, resolver))
    writer.rows(sink.num_records)
    entries = [found[link.id] for link in links]
    with writer.open("cdxj") as stream:
        stream.write(sink.cdxj())
    writer.rows(sink.num_responses)
    writer.table("ledger.parquet", ledger.table(entries))
    writer.commit(ledger.counts(entries), seconds=time.monotonic() - started, facts=ledger.facts(entries))


def _warcinfo(settings: FetchSettings) -> Mapping[str, str]:
    return {
        "software": user_agent(""),
        "format": "WARC File Format 1.1",
        "http-header-user-agent": user_agent(settings.contact),
        "robots": "RFC 9309",
        "operator": settings.contact,
    }


async def _fetch_all(
    links: Sequence[Link],
    settings: FetchSettings,
    sink: WarcSink,
    filename: str,
    resolver: AbstractResolver | None,
) -> dict[str, ledger.Entry]:
    """Every link's row, by its id; pages go to the sink as they come."""
    by_domain: defaultdict[str, list[Link]] = defaultdict(list)
    for link in links:
        by_domain[link.domain].append(link)
    found: dict[str, ledger.Entry] = {}

    async def one_domain(queue: Sequence[Link]) -> None:
        for link in queue:
            found[link.id] = record(link, await fetcher.fetch(link.url), sink, filename)

    async with Client(settings, resolver) as client, asyncio.TaskGroup() as tasks:
        fetcher = Fetcher(client, settings)
        for queue in by_domain.values():
            tasks.create_task(one_domain(queue))
    return found


def record(link: Link, outcome: Outcome, sink: WarcSink, filename: str) -> ledger.Entry:
    """Writes the way to a page into the WARC; of a link that brings none, only the ledger tells."""
    last = outcome.way[-1] if outcome.way else None
    known: dict[str, Any] = {}
    if last:
        known = {
            "final_url": last.url,
            "fetched": last.date.replace(microsecond=0),
            "seconds": sum(exchange.seconds for exchange in outcome.way),
        }
    if outcome.refusal:
        return ledger.refused(link.id, link.url, outcome.refusal, **known)
    assert last is not None  # noqa: S101 (an outcome without a refusal has a page)
    place = [sink.exchange(exchange) for exchange in outcome.way][-1]
    return ledger.Entry(
        link.id,
        link.url,
        ledger.FETCHED,
        status=last.response.status,
        content_type=last.response.headers.get("content-type"),
        bytes=len(last.response.body),
        truncated=last.response.truncated,
        warc=filename,
        offset=place.offset,
        length=place.length,
        **known,
    )


class Fetcher:
    """Follows links to their pages: each hop passes the guard, robots.txt and its domain's turn."""

    def __init__(self, client: Client, settings: FetchSettings) -> None:
        self._client = client
        self._settings = settings
        self._turns: defaultdict[str, Turns] = defaultdict(Turns)
        self._robots: dict[str, asyncio.Task[Robots]] = {}
        self._open = asyncio.Semaphore(MAX_OPEN_REQUESTS)

    async def fetch(self, submitted: str) -> Outcome:
        """What becomes of a URL."""
        way: list[Exchange] = []
        seen: set[str] = set()
        url = urls.parse(submitted)
        if url is None:
            return Outcome((), Refusal(Reason.BAD_URL))
        while True:
            refusal = self._loop(url, seen) or await self._barred(url)
            if refusal:
                return Outcome(tuple(way), refusal)
            seen.add(response.without_fragment(url.href))
            answer = await self._ask(url, await self._delay(url), self._page_bytes)
            if isinstance(answer, Refusal):
                return Outcome(tuple(way), answer)
            way.append(answer)
            if answer.response.status not in response.REDIRECTS:
                return Outcome(tuple(way), _judge(answer))
            location = answer.response.headers.get("location")
            url = response.redirect_target(answer.url, location)
            if url is None:
                status = answer.response.status
                return Outcome(tuple(way), Refusal(Reason.BAD_REDIRECT, location or "no location", status))

    def _loop(self, url: urls.Url, seen: set[str]) -> Refusal | None:
        if response.without_fragment(url.href) in seen:
            return Refusal(Reason.REDIRECT_LOOP, f"back at {url.href}")
        if len(seen) > self._settings.max_redirects:
            return Refusal(Reason.REDIRECT_LOOP, f"more than {self._settings.max_redirects} redirects")
        return None

    async def _barred(self, url: urls.Url) -> Refusal | None:
        """Why a hop may not be made."""
        refusal = guard(url, self._settings)
        if refusal:
            return refusal
        rules = await self._rules(url)
        return rules.refusal(response.without_fragment(url.href), self._settings.max_crawl_delay_s)

    async def _delay(self, url: urls.Url) -> float:
        return max(self._settings.delay_s, (await self._rules(url)).crawl_delay_s)

    async def _ask(self, url: urls.Url, delay_s: float, bytes_wanted: BytesWanted) -> Exchange | Refusal:
        async with self._turns[url.domain].take(delay_s), self._open:
            return await self._client.get(url, bytes_wanted)

    def _page_bytes(self, status: int, headers: Headers) -> int:
        """How much of a body is read: of a redirect little, of what is no page nothing."""
        if status in response.REDIRECTS:
            return _REDIRECT_BODY_BYTES
        return 0 if response.refusal(status, headers) else self._settings.max_bytes

    async def _rules(self, url: urls.Url) -> Robots:
        """The robots.txt of a URL's scheme, host and port: asked for once."""
        origin = _origin(url)
        if origin not in self._robots:
            self._robots[origin] = asyncio.create_task(self._ask_robots(f"{origin}/robots.txt"))
        return await self._robots[origin]

    async def _ask_robots(self, address: str) -> Robots:
        url = urls.parse(address)
        for _ in range(robots.MAX_REDIRECTS + 1):
            if url is None:
                break
            refusal = guard(url, self._settings)
            answer = refusal or await self._ask(url, self._settings.delay_s, lambda *_: robots.MAX_BYTES)
            if isinstance(answer, Refusal):
                return robots.of_failure(answer)
            if answer.response.status not in response.REDIRECTS:
                return robots.of_response(answer.response.status, answer.response.body)
            url = response.redirect_target(answer.url, answer.response.headers.get("location"))
        return robots.ALLOW_ALL  # redirects that lead nowhere: as if there were none


def _origin(url: urls.Url) -> str:
    """``https://host:port`` of a URL."""
    scheme, _, rest = url.href.partition("://")
    authority = rest.partition("/")[0].rpartition("@")[2]
    return f"{scheme}://{authority}"


def _judge(answer: Exchange) -> Refusal | None:
    """Whether the last response is a page."""
    got = answer.response
    return response.refusal(got.status, got.headers) or response.refusal_of_body(
        got.status, got.headers, got.body
    )
