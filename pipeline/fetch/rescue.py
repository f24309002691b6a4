"""A second source for dead links: archives, asked for the capture nearest to the first submission."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.config import FetchSettings
from pipeline.fetch.archives import Archive, bring
from pipeline.fetch.client import Client
from pipeline.fetch.commoncrawl import CommonCrawl
from pipeline.fetch.containers import Record
from pipeline.fetch.exchange import Refusal
from pipeline.fetch.trails import Wanted
from pipeline.fetch.wayback import Wayback
from pipeline.records import Reason

DEAD = frozenset(
    [
        Reason.DNS,
        Reason.CONNECT,
        Reason.CERTIFICATE,
        Reason.TLS,
        Reason.TIMEOUT,
        Reason.DEAD_HOST,
    ]
)
_GONE = frozenset([404, 410])

_ARCHIVES: Mapping[str, Callable[[Client, FetchSettings], Archive[Any]]] = {
    Wayback.name: Wayback,
    CommonCrawl.name: CommonCrawl,
}


@dataclass(frozen=True, slots=True)
class Rescued:
    """What the archives have of a dead link.

    Attributes:
        source: Which archive brought the page, or refused it; empty where none was asked.
        records: The redirects and then the page; empty where there is none.
        via: The address that each record came from.
        refusal: Why there is no page, with what each archive said.
    """

    source: str
    records: tuple[Record, ...]
    via: tuple[str, ...]
    refusal: Refusal | None


def is_dead(outcome: str, status: int | None) -> bool:
    """Whether a link's outcome says that its page is gone, and not that its owner keeps it to himself.

    Args:
        outcome: As in the ledger.
        status: The HTTP status of the last response, where one came.
    """
    return outcome in DEAD or (outcome == Reason.HTTP_4XX and status in _GONE)


class Rescuer:
    """Asks the archives of the settings, in their order, at their own pace.

    It holds what is known of them (pauses, the list of crawls): one serves a whole crawl.
    """

    def __init__(self, client: Client, settings: FetchSettings) -> None:
        self._settings = settings
        self._archives = [_ARCHIVES[name](client, settings) for name in settings.rescue]

    async def rescue(self, link: Wanted) -> Rescued:
        """The page of a dead link from the first archive that has one; never raises for what they answer."""
        refusals: list[tuple[str, Refusal]] = []
        for archive in self._archives:
            brought = await bring(archive, link.url, link.created, self._settings)
            if not isinstance(brought, Refusal):
                return Rescued(archive.name, brought.records, brought.via, None)
            refusals.append((archive.name, brought))
        return _refused(refusals)


def _refused(refusals: list[tuple[str, Refusal]]) -> Rescued:
    """No archive has a page: the reason of the first that may have one, with the words of all."""
    if not refusals:
        return Rescued("", (), (), Refusal(Reason.NOT_IN_WARC, "fetch.rescue names no archive"))
    source, first = next(
        (one for one in refusals if one[1].reason is not Reason.NOT_IN_WARC),
        refusals[0],
    )
    words = "; ".join(f"{name}: {one.detail or one.reason}" for name, one in refusals)
    return Rescued(source, (), (), Refusal(first.reason, words, first.status, first.content_type))
