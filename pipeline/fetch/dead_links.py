"""A part's dead links, once all of its links are settled: archives are asked for their pages."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import urls
from pipeline.config import FetchSettings
from pipeline.fetch import ledger
from pipeline.fetch.client import Client
from pipeline.fetch.exchange import Refusal
from pipeline.fetch.finish import entries_of, last_of
from pipeline.fetch.ledger import FETCHED, Entry
from pipeline.fetch.opted_out import opted_out_of
from pipeline.fetch.rescue import Rescued, Rescuer, is_dead
from pipeline.fetch.spool import OpenPart
from pipeline.fetch.trails import Wanted
from pipeline.fetch.tries import Rescue
from pipeline.records import Reason
from pipeline.stages import Job, Planned

_AT_ONCE = 4  # links; an archive takes one request at a time, whoever asks


class DeadLinks:
    """Asks archives for what is dead; one for a crawl.

    Args:
        job: The stage.
        client: Makes the requests.
        put: Takes what was found to be written.
    """

    def __init__(self, job: Job, client: Client, put: Callable[[Rescue], Awaitable[None]]) -> None:
        self._job = job
        self._client = client
        self._put = put
        self._opted_out = opted_out_of(job)
        self._rescuers: dict[str, Rescuer] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def rescue(self, number: int, planned: Planned, part: OpenPart) -> None:
        """Asks for the dead links of a part, or of one that is tried again from an archive for those due."""
        settings: FetchSettings = self._job.settings
        source = part.header.source
        archives = settings.rescue if source == "web" else (source,)
        if not archives:
            return
        key = ",".join(archives)
        if key not in self._rescuers:
            wanted = settings.model_copy(update={"rescue": archives})
            self._rescuers[key] = Rescuer(self._client, wanted)
        due = list(self._due(part, frozenset(archives)))
        created = self._created(planned, [entry.id for entry in due]) if due else {}
        async with asyncio.TaskGroup() as tasks:
            for entry in due:
                await self._room.acquire()
                link = Wanted(entry.id, entry.url, created.get(entry.id))
                task = tasks.create_task(self._ask(number, link, entry, self._rescuers[key]))
                task.add_done_callback(lambda _: self._room.release())

    def _due(self, part: OpenPart, archives: frozenset[str]) -> Iterator[Entry]:
        """The last tries of links that are worth asking for, and have not been asked for yet."""
        tries = list(part.lines())
        asked = {line.entry.id for line in tries if line.entry.source in archives}
        for entry in last_of(entries_of(self._job, part, tries)):
            if entry.id in asked or entry.outcome == FETCHED:
                continue
            if part.header.source != "web":
                if part.header.due and entry.id in part.header.due:
                    yield entry
            elif (part.header.due is None or entry.id in part.header.due) and is_dead(
                entry.outcome, entry.status
            ):
                yield entry

    def _created(self, planned: Planned, ids: list[str]) -> Mapping[str, datetime | None]:
        links = self._job.folder_of("link").read_table(planned.spec["links"], columns=["id", "created"])
        wanted = links.filter(pc.is_in(links["id"], value_set=pa.array(ids, pa.string())))
        return dict(zip(wanted["id"].to_pylist(), wanted["created"].to_pylist(), strict=True))

    async def _ask(self, number: int, link: Wanted, last: Entry, rescuer: Rescuer) -> None:
        rescued = self._unless_opted_out(await rescuer.rescue(link))
        await self._put(Rescue(number, rescued.records, rescued.via, _entry(last, rescued)))

    def _unless_opted_out(self, rescued: Rescued) -> Rescued:
        """An archive's answer, if its redirects do not lead to where nobody may look."""
        for record in rescued.records[1:]:
            url = urls.parse(record.url)
            if url is not None and self._opted_out.covers(url):
                return Rescued(rescued.source, (), (), Refusal(Reason.OPT_OUT, f"redirected to {url.href}"))
        return rescued


def _entry(last: Entry, rescued: Rescued) -> Entry:
    """The row of an archive's answer: where it has none, the link's outcome stays what it was."""
    tried: dict[str, Any] = {"attempt": last.attempt + 1, "source": rescued.source}
    if rescued.refusal is not None:
        return Entry(
            last.id,
            last.url,
            last.outcome,
            detail=rescued.refusal.detail,
            status=last.status,
            content_type=last.content_type,
            **tried,
        )
    record = rescued.records[-1]
    return ledger.fetched(
        last.id,
        last.url,
        record.response,
        final_url=record.url,
        redirects=len(rescued.records) - 1,
        fetched=record.date,
        **tried,
    )
