"""Asking archives on the web: one request at a time, pauses kept, and a page brought by its captures."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple, Protocol
from urllib.parse import urlencode

from pipeline import urls
from pipeline.config import FetchSettings
from pipeline.fetch.client import BytesWanted, Client, guard
from pipeline.fetch.containers import Record
from pipeline.fetch.exchange import Failure, Headers, Refusal
from pipeline.fetch.politeness import MAX_THROTTLED, retry_after_s
from pipeline.fetch.response import media_type, refusal
from pipeline.fetch.trails import C, Trail, follow, judge
from pipeline.records import Reason

MAX_INDEX_BYTES = 1 << 20  # of an index server's answer
# Without revisits: what they repeat stands in the index too, and their own status and type are unknown.
STATUSES = "200|30[12378]"
_NUM_CAPTURES = 100  # that an index is asked for
_MAX_WORDS_BYTES = 2048  # of an answer that says what went wrong
_MAX_WORDS = 120  # characters of it that are told
_TRIES = 3  # of a request that is put off

# No answer at all: an archive that blocks an address refuses its connections.
_NO_ANSWER = frozenset(
    [Reason.DNS, Reason.CONNECT, Reason.TIMEOUT, Reason.TLS, Reason.CERTIFICATE, Reason.PROTOCOL]
)


class Answer(NamedTuple):
    """What an archive answered; ``headers`` are those of the wire, the body has its content coding undone."""

    status: int
    headers: Headers
    body: bytes
    truncated: bool
    date: datetime  # when the request was made


@dataclass(frozen=True, slots=True)
class Brought:
    """The records from an archive, redirects first and then the page, and the address of each."""

    records: tuple[Record, ...]
    via: tuple[str, ...]


class Pace(NamedTuple):
    """How an archive's host is asked.

    Attributes:
        delay_s: Seconds between the end of a request and the next.
        pause_s: The first pause in seconds, where the host asks for one and does not tell its length.
        busy: The statuses by which it asks for a pause.
    """

    delay_s: float
    pause_s: float
    busy: frozenset[int]


class Archive(Protocol[C]):
    """An archive on the web: what it has of a URL, and a capture's record with the address it came from."""

    @property
    def name(self) -> str:
        """As in the settings."""

    async def captures(self, url: urls.Url, created: datetime | None) -> list[C] | Refusal:
        """Its captures of a URL that are pages or redirects, near a time."""

    async def record(self, capture: C) -> tuple[Record, str] | Refusal:
        """A capture's record, and the address it came from."""


class Line:
    """The line to one of an archive's hosts: one request at a time, ``delay_s`` after the one before.

    A host that asks for a pause (HTTP 429, say) is left alone for as long as it says. Where it does not say,
    and where it has not answered ``dead_after`` times in a row, the pause is ``pause_s``, twice that the next
    time, and so on. A pause beyond ``max_pause_s``, or too many in a row, ends the asking: every request is
    then refused.

    Args:
        client: Makes the requests.
        settings: The stage's settings.
        pace: How the host is asked.
    """

    def __init__(self, client: Client, settings: FetchSettings, pace: Pace) -> None:
        self._client = client
        self._settings = settings
        self._pace = pace
        self._pause_s = pace.pause_s
        self._lock = asyncio.Lock()
        self._not_before = 0.0
        self._num_silent = 0
        self._num_busy = 0
        self._closed: Refusal | None = None

    async def get(
        self,
        address: str,
        bytes_wanted: BytesWanted,
        *,
        headers: Mapping[str, str] | None = None,
        is_own: Callable[[Headers], bool] = lambda _: True,
    ) -> Answer | Refusal:
        """Asks for an address when its turn has come.

        Args:
            address: A URL of the host that this is the line to.
            bytes_wanted: As :meth:`pipeline.fetch.client.Client.get` wants it.
            headers: Fields besides the usual ones.
            is_own: Whether an answer with this header is the host's own, and no capture that it plays back.
        """
        url = urls.parse(address)
        if url is None:
            return Refusal(Reason.BAD_URL, address[:_MAX_WORDS])
        barred = guard(url, self._settings)
        if barred:
            return barred
        for _ in range(_TRIES):
            async with self._lock:
                if self._closed:
                    return self._closed
                answer = await self._ask(url, bytes_wanted, headers)
                if isinstance(answer, Failure):
                    self._note_failure(answer.refusal)
                    return answer.refusal
                self._num_silent = 0
                if answer.status not in self._pace.busy or not is_own(answer.headers):
                    self._num_busy = 0
                    return answer
                self._num_busy += 1
                self._pause(f"HTTP {answer.status}", retry_after_s(answer.headers, answer.date))
        return self._closed or Refusal(Reason.RATE_LIMITED, f"put off {_TRIES} times")

    async def _ask(
        self, url: urls.Url, bytes_wanted: BytesWanted, headers: Mapping[str, str] | None
    ) -> Answer | Failure:
        """One request, when its time has come; the caller holds the lock."""
        clock = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._not_before - clock.time()))
        seen = Headers(())

        def wanted(status: int, fields: Headers) -> int:
            nonlocal seen
            seen = fields  # the client renames some of them
            return bytes_wanted(status, fields)

        try:
            got = await self._client.get(url, wanted, headers=headers)
        finally:
            self._not_before = clock.time() + self._pace.delay_s
        if isinstance(got, Failure):
            return got
        return Answer(got.response.status, seen, got.response.body, got.response.truncated, got.date)

    def _note_failure(self, failure: Refusal) -> None:
        if failure.reason not in _NO_ANSWER:
            return
        self._num_silent += 1
        if self._num_silent >= self._settings.dead_after:
            self._num_silent = 0
            self._pause(f"{self._settings.dead_after} requests in a row without an answer", None)

    def _pause(self, why: str, asked_s: float | None) -> None:
        """Leaves the host alone for what it asks, or else for longer each time."""
        pause_s = self._pause_s if asked_s is None else asked_s
        if asked_s is None:
            self._pause_s *= 2
        if pause_s > self._settings.max_pause_s or self._num_busy >= MAX_THROTTLED:
            detail = f"given up for the rest of this crawl: {why}, a pause of {pause_s:,.0f} s"
            self._closed = Refusal(Reason.RATE_LIMITED, detail)
        clock = asyncio.get_running_loop()
        self._not_before = max(self._not_before, clock.time() + pause_s)


async def bring(
    archive: Archive[C], address: str, created: datetime | None, settings: FetchSettings
) -> Brought | Refusal:
    """A link's page from an archive, with the captured redirects that lead to it.

    Each capture is the nearest to ``created``, a page before a redirect; where a redirect leads is read in
    its record, as an archive's index does not tell.
    """
    known: dict[bytes, list[C]] = {}
    brought: list[tuple[Record, str]] = []
    key = b""
    while True:
        step = follow(address, created, known, settings.max_redirects)
        if isinstance(step, urls.Url):
            key = step.key
            found = await archive.captures(step, created)
            if isinstance(found, Refusal):
                return found
            known[key] = found
            continue
        last = step.captures[-1] if step.captures else None
        unread = last is not None and (last.may_be_page or (last.is_redirect and last.location is None))
        if last is None or not unread:
            return _without_page(step)
        got = await archive.record(last)
        if isinstance(got, Refusal):
            return got
        brought.append(got)
        if last.may_be_page:
            break
        known[key] = [replace(last, location=got[0].response.headers.get("location") or "")]
    refused = judge(brought[-1][0], settings.robots_tags)
    if refused:
        return refused
    return Brought(tuple(record for record, _ in brought), tuple(via for _, via in brought))


def _without_page(trail: Trail[C]) -> Refusal:
    refused = trail.refusal or Refusal(Reason.NOT_IN_WARC)
    if refused.reason is Reason.NOT_IN_WARC:
        return replace(refused, detail="; ".join(filter(None, ["no capture", refused.detail])))
    return refused


def query(url: urls.Url, **further: str) -> str:
    """What an index server of the CDX API is asked about a URL, as the query of an address."""
    asked = {
        "url": url.href.partition("#")[0],
        "matchType": "exact",  # else a * in the URL stands for anything
        "output": "json",
        "limit": str(_NUM_CAPTURES),
    }
    return urlencode(asked | further)


def index_bytes(status: int, _: Headers) -> int:
    """How much of an index server's answer is taken."""
    return MAX_INDEX_BYTES if status == 200 else _MAX_WORDS_BYTES


def words_bytes(_: int, __: Headers) -> int:
    """How much is taken of an answer that says what went wrong."""
    return _MAX_WORDS_BYTES


def unusable(answer: Answer) -> Refusal:
    """An archive's answer that is not what was asked for, in its own words where it has some."""
    told = answer.headers.get("x-archive-wayback-runtime-error") or ""
    if not told and media_type(answer.headers.get("content-type")) != "text/html":
        told = answer.body[:_MAX_WORDS_BYTES].decode(errors="replace")
    told = " ".join(told.split())[:_MAX_WORDS]
    words = f": {told}" if told and told.isprintable() else ""
    strange = ", which cannot be understood" if answer.status == 200 else ""
    detail = f"the archive answers HTTP {answer.status}{strange}{words}"
    by_status = refusal(answer.status, Headers(()), ())
    return Refusal(by_status.reason if by_status else Reason.PROTOCOL, detail, answer.status)
