"""Writes tries into the open parts: their records into the WARC files, a line each into the journals."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import xxhash

from pipeline.fetch import ledger
from pipeline.fetch.copies import write_record
from pipeline.fetch.exchange import Exchange
from pipeline.fetch.ledger import Entry
from pipeline.fetch.spool import Line, OpenPart, checksum
from pipeline.fetch.tries import Rescue, Settled, Try
from pipeline.fetch.warc import Original, WarcSink, payload_digest

_BODIES_REMEMBERED = 1 << 14  # for revisit records; the same body comes again soon, or never


@dataclass(slots=True)
class _Buffer:
    """The end of a WARC file, before it is written."""

    num_bytes: int
    pieces: list[bytes] = field(default_factory=list)

    def write(self, data: bytes) -> int:
        self.pieces.append(data)
        self.num_bytes += len(data)
        return len(data)


class Appender:
    """Appends to open parts.

    Args:
        parts: They, by their numbers.
        info: The fields of new files' warcinfo records.
    """

    def __init__(self, parts: Sequence[OpenPart], info: Mapping[str, str]) -> None:
        self._parts = parts
        self._info = info
        self._seen: OrderedDict[tuple[int, int], Original] = OrderedDict()

    def append(self, tries: Sequence[Try]) -> list[int]:
        """Appends tries to their parts; returns the parts of which none is left to be settled now."""
        by_part: dict[int, list[Try]] = {}
        for one in tries:
            by_part.setdefault(one.link.part if isinstance(one, Settled) else one.part, []).append(one)
        complete = []
        for number, of_part in by_part.items():
            part = self._parts[number]
            buffer = _Buffer(part.num_bytes)
            part.append([self._recorded(number, part, one, buffer) for one in of_part])
            settled = sum(isinstance(one, Settled) and one.final for one in of_part)
            part.num_left -= settled
            if settled and not part.num_left:
                complete.append(number)
        return complete

    def _recorded(self, number: int, part: OpenPart, one: Try, buffer: _Buffer) -> tuple[bytes, Line]:
        """A try's records, and the line about them."""
        before = len(buffer.pieces)
        keeps = bool(one.records) if isinstance(one, Rescue) else one.outcome.refusal is None
        sink = WarcSink(
            buffer,
            part.warc,
            date=datetime.now(UTC) if keeps and not buffer.num_bytes else None,
            info={**self._info, "isPartOf": part.name},
        )
        entry = (
            _rescued(sink, part, one) if isinstance(one, Rescue) else self._settled(sink, number, part, one)
        )
        records = b"".join(buffer.pieces[before:])
        return records, Line(
            entry=entry,
            final=isinstance(one, Rescue) or one.final,
            end=buffer.num_bytes,
            checksum=checksum(records),
            num_records=sink.num_records,
            cdxj=sink.lines,
        )

    def _settled(self, sink: WarcSink, number: int, part: OpenPart, one: Settled) -> Entry:
        link, way = one.link, one.outcome.way
        if one.outcome.refusal is not None:
            return ledger.entry(link.id, link.url, one.attempt, one.outcome)
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
        sink.metadata(page.url, page.date, record_id, _about(one))
        return ledger.entry(
            link.id,
            link.url,
            one.attempt,
            one.outcome,
            warc=part.warc,
            offset=original.place.offset,
            length=original.place.length,
            revisit=earlier is not None,
        )

    def _earlier(self, key: tuple[int, int], page: Exchange) -> Original | None:
        """The record of the same body, if there is one."""
        found = self._seen.get(key) if page.response.body and not page.response.truncated else None
        return found if found and found.digest == payload_digest(page.response.body) else None


def _rescued(sink: WarcSink, part: OpenPart, one: Rescue) -> Entry:
    place = None
    for record, via in zip(one.records, one.via, strict=True):
        place = write_record(sink, record)
        sink.metadata(record.url, record.date, None, [("via", via)])
    return one.entry if place is None else ledger.placed(one.entry, part.warc, place)


def _about(one: Settled) -> list[tuple[str, str]]:
    """A page's metadata, in the words of Heritrix (its WARC writer processor) where there are such."""
    way = one.outcome.way
    fields = [("fetchTimeMs", f"{1000 * way[-1].timings.total_s:.0f}")]
    if len(way) > 1:
        fields += [("via", way[-2].url), ("hopsFromSeed", "R" * (len(way) - 1))]
    return [*fields, ("linkId", one.link.id), ("robots", one.outcome.robots or "")]
