"""The source "web": the links of a group of parts asked of their servers, politely, on one event loop.

A group is what one process crawls: all domains of all its parts take turns with each other. What has been
fetched is in the open parts at once (:mod:`pipeline.fetch.spool`), and a crawl that is killed goes on there.
Redirects into a domain of another process's group, and they alone, are not counted together with its own.
"""

import asyncio
import gc
import json
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import uvloop

from pipeline.config import FetchSettings
from pipeline.errors import RunError
from pipeline.fetch import politeness, progress, spool
from pipeline.fetch.backlog import Backlog
from pipeline.fetch.client import Address, Client, user_agent
from pipeline.fetch.dead_links import DeadLinks
from pipeline.fetch.fetcher import Fetcher
from pipeline.fetch.finish import finish
from pipeline.fetch.frontier import Frontier
from pipeline.fetch.meter import Meter
from pipeline.fetch.opted_out import opted_out_of
from pipeline.fetch.pauses import Pauses
from pipeline.fetch.spool import OpenPart
from pipeline.fetch.tries import Settled
from pipeline.fetch.writer import Writer, in_words
from pipeline.hosts import is_global_address
from pipeline.runs import Folder
from pipeline.stages import Job, Planned

_OPEN_DOMAINS_A_CONNECTION = 8  # a connection asks many in turn: each rests most of the time
_FILES_BESIDES = 768  # descriptors for kept connections and files
_PROGRESS_S = 1.0


@dataclass(frozen=True, slots=True)
class Group:
    """Parts that one process crawls."""

    number: int
    parts: tuple[Planned, ...]


def groups(job: Job, todo: Sequence[Planned]) -> list[Group]:
    """The parts dealt to the processes of the settings."""
    num = min(job.settings.processes, len(todo))
    return [Group(number, tuple(todo[number::num])) for number in range(num)]


def crawl(job: Job, group: Group, is_allowed: Callable[[Address], bool] = is_global_address) -> None:
    """Fetches the links of a group's parts; leaves each part with its sidecar.

    Raises:
        RunError: The disk is full, or another of this machine's means is at its end.
    """
    folder = spool.directory(job.folder)
    settings: FetchSettings = job.settings
    lock = spool.lock(folder)
    try:
        spool.recall(job.folder, [part.name for part in group.parts])
        opened = [spool.open_part(folder, part) for part in group.parts]
        path = folder / f"backlog-{group.number:05d}.ndjson"
        with Backlog(path, lambda name: politeness.delay_s(name, settings)) as backlog:
            num_links, resumed = _fill(backlog, job, group, opened)
            one = _Crawl(job, group, opened, backlog, Meter(num_links, num_links - backlog.num_links))
            with _collecting_rarely(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(one.run(resumed, is_allowed, lock))
    except OSError as error:
        raise in_words(error) from error
    except BaseExceptionGroup as several:
        raise _first(several) from several
    finally:
        os.close(lock)


@contextmanager
def _collecting_rarely() -> Iterator[None]:
    """A crawl makes many objects and few cycles: looking for these takes a tenth of its time otherwise."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _fill(backlog: Backlog, job: Job, group: Group, opened: Sequence[OpenPart]) -> tuple[int, bool]:
    """Puts what is due into the backlog; how many links there are, and whether any had been tried already."""
    links, resumed, num_links = job.folder_of("link"), False, 0
    for number, (planned, part) in enumerate(zip(group.parts, opened, strict=True)):
        tried = {line.entry.id: 0 if line.final else line.entry.attempt + 1 for line in part.lines()}
        resumed = resumed or bool(tried) or part.header.base is not None
        table = links.read_table(planned.spec["links"], columns=["id", "url", "domain"])
        num_links += table.num_rows if part.header.due is None else len(part.header.due)
        if part.header.source == "web":
            part.num_left = backlog.add(number, table, part.header.due, tried)
    backlog.order()
    return num_links, resumed


class _Crawl:
    """One process's crawl, from its first request to its last sidecar."""

    def __init__(
        self, job: Job, group: Group, opened: Sequence[OpenPart], backlog: Backlog, meter: Meter
    ) -> None:
        self._job = job
        self._settings: FetchSettings = job.settings
        self._group = group
        self._opened = opened
        self._backlog = backlog
        self._meter = meter
        self._started = time.monotonic()
        self._complete: asyncio.Queue[int] = asyncio.Queue()

    async def run(self, resumed: bool, is_allowed: Callable[[Address], bool], lock: int) -> None:
        """Fetches, writes and finishes; whatever fails ends all of it."""
        frontier = Frontier(
            self._backlog.starts(),
            self._backlog.open,
            lambda name: politeness.delay_s(name, self._settings),
            num_links=self._backlog.num_links,
            max_open=self._settings.connections * _OPEN_DOMAINS_A_CONNECTION,
            resumed=resumed,
        )
        frontier.begin()
        for number, part in enumerate(self._opened):
            if not part.num_left:
                self._complete.put_nowait(number)
        try:
            async with (
                Writer(self._opened, _warcinfo(self._settings), self._complete.put_nowait, lock) as writer,
                Client(self._settings, is_allowed) as client,
                asyncio.TaskGroup() as tasks,
            ):
                watching = [
                    tasks.create_task(writer.watch()),
                    tasks.create_task(self._tell(frontier)),
                ]
                self._start_fetching(tasks, client, frontier, writer)
                await self._finish_parts(client, writer)
                for task in watching:
                    task.cancel()
        finally:
            self._progress_folder().remove([progress.file_name(self._group.number)])

    def _start_fetching(
        self, tasks: asyncio.TaskGroup, client: Client, frontier: Frontier, writer: Writer
    ) -> None:
        async def settle(one: Settled) -> None:
            self._meter.count(one)
            await writer.put(one)

        pauses = Pauses(spool.directory(self._job.folder) / "pauses.ndjson")
        fetcher = Fetcher(client, self._settings, frontier, opted_out_of(self._job), pauses, settle)
        fetcher.keep_pauses()
        for _ in range(_num_connections(self._settings.connections)):
            tasks.create_task(fetcher.work())

    async def _finish_parts(self, client: Client, writer: Writer) -> None:
        """Brings each part to its sidecar when its links are settled; ends with the last."""
        dead_links = DeadLinks(self._job, client, writer.put)
        async with asyncio.TaskGroup() as tasks:
            room = asyncio.Semaphore(1)  # of the finishing: it reads and writes much at once
            for _ in self._opened:
                number = await self._complete.get()
                tasks.create_task(self._finish(number, dead_links, writer, room))

    async def _finish(
        self, number: int, dead_links: DeadLinks, writer: Writer, room: asyncio.Semaphore
    ) -> None:
        planned, part = self._group.parts[number], self._opened[number]
        await dead_links.rescue(number, planned, part)
        await writer.flush()
        async with room:
            seconds = (time.monotonic() - self._started) / len(self._opened)  # its share
            await asyncio.to_thread(finish, self._job, part, seconds)

    async def _tell(self, frontier: Frontier) -> None:
        """Leaves the figures where those who look on find them."""
        folder, name = self._progress_folder(), progress.file_name(self._group.number)
        while True:
            figures = self._meter.figures(frontier)
            # Nothing else goes to a store between parts: one that is away for some seconds must not end a
            # crawl of days.
            with suppress(RunError, OSError):
                await asyncio.to_thread(folder.write, name, json.dumps(figures.to_json()).encode())
            await asyncio.sleep(_PROGRESS_S)

    def _progress_folder(self) -> Folder:
        return self._job.folder / progress.OPEN


def _first(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception to show of those that ended a crawl together: one with words for the user, if any."""
    flat = [_first(one) if isinstance(one, BaseExceptionGroup) else one for one in several.exceptions]
    found = next((one for one in flat if isinstance(one, (RunError, OSError))), flat[0])
    return in_words(found) if isinstance(found, OSError) else found


def _num_connections(wanted: int) -> int:
    """As many connections as the limit on open files allows, which is raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _FILES_BESIDES
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(wanted, soft - _FILES_BESIDES)) if soft > _FILES_BESIDES else max(1, soft // 4)


def _warcinfo(settings: FetchSettings) -> Mapping[str, str]:
    return {
        "software": user_agent(""),
        "format": "WARC File Format 1.1",
        "http-header-user-agent": user_agent(settings.contact),
        "robots": "RFC 9309",
        "operator": settings.contact,
    }
