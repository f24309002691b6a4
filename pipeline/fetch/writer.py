"""Writes what tries have brought, on a thread of its own: packing and disks never hold the network."""

import asyncio
import errno
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import SimpleQueue

import xxhash

from pipeline.errors import RunError
from pipeline.fetch import ledger
from pipeline.fetch.containers import Record
from pipeline.fetch.copies import write_record
from pipeline.fetch.exchange import Exchange
from pipeline.fetch.fetcher import Settled
from pipeline.fetch.ledger import Entry
from pipeline.fetch.spool import Line, OpenPart, checksum
from pipeline.fetch.warc import Original, WarcSink, payload_digest

_MAX_UNWRITTEN_BYTES = 32 << 20
_MAX_UNWRITTEN = 512  # tries
_BODIES_REMEMBERED = 1 << 14  # for revisit records; the same body comes again soon, or never


@dataclass(frozen=True, slots=True)
class Rescue:
    """What an archive had of a dead link: its records (redirects, then the page), or only a row."""

    part: int
    records: Sequence[Record]
    via: Sequence[str]  # where each came from
    entry: Entry

    @property
    def num_bytes(self) -> int:
        """Of bodies, in memory."""
        return sum(len(record.response.body) for record in self.records)


@dataclass(slots=True)
class _Buffer:
    """The end of a WARC file, before it is written."""

    num_bytes: int
    pieces: list[bytes] = field(default_factory=list)

    def write(self, data: bytes) -> int:
        self.pieces.append(data)
        self.num_bytes += len(data)
        return len(data)


class Writer:
    """Appends to the open parts; its methods belong to the event loop, its thread to nobody else.

    Args:
        parts: The open parts, by their numbers.
        info: The fields of new files' warcinfo records.
        complete: Told, on the loop, of a part whose links are all settled and written.
    """

    def __init__(
        self, parts: Sequence[OpenPart], info: Mapping[str, str], complete: Callable[[int], None]
    ) -> None:
        self._parts = parts
        self._info = info
        self._complete = complete
        self._loop = asyncio.get_running_loop()
        self._items: SimpleQueue[Settled | Rescue | asyncio.Future[None] | None] = SimpleQueue()
        self._seen: OrderedDict[tuple[int, int], Original] = OrderedDict()
        self._num_unwritten = self._bytes_unwritten = 0
        self._room = asyncio.Event()
        self._room.set()
        self._failed: BaseException | None = None
        self._failure: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    async def put(self, item: Settled | Rescue) -> None:
        """Hands over a try; waits while too much is unwritten.

        Raises:
            RunError: Writing has failed: the disk is full, for example.
        """
        while not self._room.is_set():
            await self._room.wait()
        if self._failed:
            raise self._failed
        self._num_unwritten += 1
        self._bytes_unwritten += _num_bytes(item)
        if self._num_unwritten >= _MAX_UNWRITTEN or self._bytes_unwritten >= _MAX_UNWRITTEN_BYTES:
            self._room.clear()
        self._items.put(item)

    async def flush(self) -> None:
        """Waits until what has been handed over is written."""
        written = self._loop.create_future()
        self._items.put(written)
        await written

    async def watch(self) -> None:
        """Never ends, but raises what writing has failed with."""
        await self._failure

    async def close(self) -> None:
        """Ends the thread, once all is written."""
        self._items.put(None)
        await asyncio.to_thread(self._thread.join)
        self._failure.cancel()

    def _run(self) -> None:
        failed = False
        while True:
            batch = [self._items.get()]
            while not self._items.empty():
                batch.append(self._items.get())
            items = [item for item in batch if isinstance(item, (Settled, Rescue))]
            marks = [item for item in batch if isinstance(item, asyncio.Future)]
            complete: Sequence[int] = ()
            error: BaseException | None = None
            if not failed:
                try:
                    complete = self._write(items)
                except BaseException as problem:
                    failed, error = True, problem
            num_bytes = sum(map(_num_bytes, items))
            self._loop.call_soon_threadsafe(self._written, len(items), num_bytes, complete, marks, error)
            if None in batch:
                return

    def _written(
        self,
        num: int,
        num_bytes: int,
        complete: Sequence[int],
        marks: Sequence[asyncio.Future[None]],
        error: BaseException | None,
    ) -> None:
        self._num_unwritten -= num
        self._bytes_unwritten -= num_bytes
        if error is not None:
            self._failed = in_words(error) if isinstance(error, OSError) else error
            if not self._failure.done():
                self._failure.set_exception(self._failed)
        for mark in marks:
            if not mark.done():
                mark.set_result(None)
        if self._failed or (
            self._num_unwritten < _MAX_UNWRITTEN and self._bytes_unwritten < _MAX_UNWRITTEN_BYTES
        ):
            self._room.set()
        for part in complete:
            self._complete(part)

    def _write(self, items: Sequence[Settled | Rescue]) -> list[int]:
        """Appends tries to their parts; returns the parts that are complete now."""
        by_part: dict[int, list[Settled | Rescue]] = {}
        for item in items:
            by_part.setdefault(item.link.part if isinstance(item, Settled) else item.part, []).append(item)
        complete = []
        for number, of_part in by_part.items():
            part = self._parts[number]
            buffer = _Buffer(part.num_bytes)
            lines = [self._line(number, part, item, buffer) for item in of_part]
            part.append(b"".join(buffer.pieces), lines)
            settled = sum(isinstance(item, Settled) and item.final for item in of_part)
            part.num_left -= settled
            if settled and not part.num_left:
                complete.append(number)
        return complete

    def _line(self, number: int, part: OpenPart, item: Settled | Rescue, buffer: _Buffer) -> Line:
        before = len(buffer.pieces)
        keeps = bool(item.records) if isinstance(item, Rescue) else item.outcome.refusal is None
        sink = WarcSink(
            buffer,
            part.warc,
            date=datetime.now(UTC) if keeps and not buffer.num_bytes else None,
            info={**self._info, "isPartOf": part.name},
        )
        if isinstance(item, Rescue):
            entry = _rescued(sink, part, item)
        else:
            entry = self._fetched(sink, number, part, item)
        return Line(
            entry=entry,
            final=isinstance(item, Rescue) or item.final,
            end=buffer.num_bytes,
            checksum=checksum(b"".join(buffer.pieces[before:])),
            num_records=sink.num_records,
            cdxj=sink.lines,
        )

    def _fetched(self, sink: WarcSink, number: int, part: OpenPart, item: Settled) -> Entry:
        link, way = item.link, item.outcome.way
        if item.outcome.refusal is not None:
            return ledger.entry(link.id, link.url, item.attempt, item.outcome)
        for exchange in way[:-1]:
            sink.exchange(exchange)
        page = way[-1]
        key = (number, xxhash.xxh3_64_intdigest(page.response.body))
        earlier = self._earlier(key, page)
        original, record_id = sink.exchange(page, earlier)
        if not page.response.truncated:  # what follows the cut may differ
            self._seen[key] = original
        if len(self._seen) > _BODIES_REMEMBERED:
            self._seen.popitem(last=False)
        sink.metadata(page.url, page.date, record_id, _about(item))
        return ledger.entry(
            link.id,
            link.url,
            item.attempt,
            item.outcome,
            warc=part.warc,
            offset=original.place.offset,
            length=original.place.length,
            revisit=earlier is not None,
        )

    def _earlier(self, key: tuple[int, int], page: Exchange) -> Original | None:
        """The record of the same body, if there is one."""
        found = self._seen.get(key) if page.response.body and not page.response.truncated else None
        return found if found and found.digest == payload_digest(page.response.body) else None


def _rescued(sink: WarcSink, part: OpenPart, item: Rescue) -> Entry:
    place = None
    for record, via in zip(item.records, item.via, strict=True):
        place = write_record(sink, record)
        sink.metadata(record.url, record.date, None, [("via", via)])
    if place is None:
        return item.entry
    return ledger.placed(item.entry, part.warc, place)


def _about(item: Settled) -> list[tuple[str, str]]:
    """A page's metadata, in the words of Heritrix (its WARC writer processor) where there are such."""
    way = item.outcome.way
    fields = [("fetchTimeMs", f"{1000 * way[-1].timings.total_s:.0f}")]
    if len(way) > 1:
        fields += [("via", way[-2].url), ("hopsFromSeed", "R" * (len(way) - 1))]
    return [*fields, ("linkId", item.link.id), ("robots", item.outcome.robots or "")]


def _num_bytes(item: Settled | Rescue) -> int:
    if isinstance(item, Rescue):
        return item.num_bytes
    return sum(len(exchange.response.body) for exchange in item.outcome.way)


def in_words(error: OSError) -> RunError:
    """What a disk that refuses comes down to for whoever runs the build."""
    where = f" ({error.filename})" if error.filename else ""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    todo = "Make room" if full else "Mend it"
    return RunError(
        f"fetch stopped: {error.strerror}{where}. {todo}, and run the same build again: it goes on from "
        "what is written."
    )
