"""The source "warc": each link's nearest capture, copied into the part's own WARC."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pipeline import urls
from pipeline.config import FetchSettings
from pipeline.fetch import ledger
from pipeline.fetch.captures import FileCapture, look_up
from pipeline.fetch.client import user_agent
from pipeline.fetch.containers import Reader, Record
from pipeline.fetch.exchange import Refusal
from pipeline.fetch.opted_out import OptedOut, opted_out_of
from pipeline.fetch.trails import Trail, Wanted, follow, is_of, judge
from pipeline.fetch.warc import Place, WarcSink, payload_digest
from pipeline.records import Reason
from pipeline.runs import PartWriter
from pipeline.stages import Job, Planned

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def copy_part(job: Job, part: Planned, warcs: Sequence[str]) -> None:
    """Copies the captures of a part's links and writes its WARC, its index and its ledger.

    Args:
        job: The stage.
        part: The part.
        warcs: The WARC files and CDXJ indexes, in the order of their tables.
    """
    started = time.monotonic()
    settings: FetchSettings = job.settings
    table = job.folder_of("link").read_table(part.spec["links"], columns=["id", "url", "created"])
    links = [Wanted(**row) for row in table.to_pylist()]
    trails = _trails(job, warcs, links, settings.max_redirects)
    dates = [capture.date for trail in trails for capture in trail.captures]
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    filename = f"{part.name}.warc.gz"
    info = {"software": user_agent(""), "format": "WARC File Format 1.1", "description": "Copied captures"}
    with writer.open("warc.gz") as stream, Reader() as reader:
        # Dated by what is in it, so that the same input gives the same bytes.
        sink = WarcSink(stream, filename, date=max(dates, default=_EPOCH), info=info)
        copier = Copier(reader, sink, filename, settings, opted_out_of(job))
        entries = [copier.copy(link, trail) for link, trail in zip(links, trails, strict=True)]
    writer.rows(sink.num_records)
    with writer.open("cdxj") as stream:
        stream.write(sink.cdxj())
    writer.rows(sink.num_responses)
    writer.table("ledger.parquet", ledger.table(entries))
    writer.commit(
        ledger.counts(entries),
        seconds=time.monotonic() - started,
        facts=ledger.facts(entries),
    )


class Copier:
    """Copies records into a sink, each once, however many links lead to it."""

    def __init__(
        self, reader: Reader, sink: WarcSink, filename: str, settings: FetchSettings, opted_out: OptedOut
    ) -> None:
        self._reader = reader
        self._sink = sink
        self._filename = filename
        self._settings = settings
        self._opted_out = opted_out
        self._places: dict[tuple[str, int, str | None], Place] = {}

    def copy(self, link: Wanted, trail: Trail[FileCapture]) -> ledger.Entry:
        """Copies a link's page with the redirects to it; of a link without a page, only the ledger tells."""
        if not trail.captures:
            nothing = trail.refusal or Refusal(Reason.NOT_IN_WARC)
            return ledger.refused(link.id, link.url, nothing, source="warc")
        last = trail.captures[-1]
        known: dict[str, Any] = {
            "source": "warc",
            "final_url": last.url,
            "redirects": len(trail.captures) - 1,
            "fetched": last.date,
        }
        refusal = self._barred(trail) or trail.refusal
        if refusal:
            return ledger.refused(link.id, link.url, refusal, **known)
        record = self._read(last)
        if record is None:
            return ledger.refused(link.id, link.url, _DAMAGED, **known)
        refusal = judge(record, self._settings.robots_tags)
        if refusal:
            return ledger.refused(link.id, link.url, refusal, **known)
        for capture in trail.captures[:-1]:
            hop = self._read(capture)
            if hop is not None:
                self._place(capture, hop)
        place = self._place(last, record)
        entry = ledger.fetched(link.id, link.url, record.response, **known)
        return ledger.placed(entry, self._filename, place)

    def _barred(self, trail: Trail[FileCapture]) -> Refusal | None:
        """The refusal of a trail that leads to where nobody may look."""
        for capture in trail.captures[1:]:
            url = urls.parse(capture.url)
            if url is not None and self._opted_out.covers(url):
                return Refusal(Reason.OPT_OUT, f"redirected to {url.href}")
        return None

    def _read(self, capture: FileCapture) -> Record | None:
        """The record of a capture; None where it is damaged, or not the one that an index tells of."""
        record = self._reader.read(
            capture.path, capture.packing, capture.offset, capture.length, self._settings.max_bytes
        )
        if record is None or not is_of(record, capture.record_url or capture.url):
            return None
        if capture.record_url is None:
            return record
        # A revisit: the body stands in another URL's record, and gets one of its own here.
        return replace(record, url=capture.url, date=capture.date, member=None)

    def _place(self, capture: FileCapture, record: Record) -> Place:
        where = (capture.path, capture.offset, capture.record_url and capture.url)
        if where not in self._places:
            self._places[where] = write_record(self._sink, record)
        return self._places[where]


def write_record(sink: WarcSink, record: Record) -> Place:
    """Writes a record as a response record: its gzip member as it is, where it has one."""
    got = record.response
    if record.member is None:
        return sink.response(record.url, record.date, got)
    return sink.member(
        record.member,
        url=record.url,
        date=record.date,
        status=got.status,
        headers=got.headers,
        digest=record.digest or payload_digest(got.body),
    )


_DAMAGED = Refusal(Reason.BAD_RECORD, "the capture is damaged")


def _trails(
    job: Job, warcs: Sequence[str], links: Sequence[Wanted], max_redirects: int
) -> list[Trail[FileCapture]]:
    """Every link's trail. Each round looks up where the redirects of the round before lead."""
    known: dict[bytes, list[FileCapture]] = {}
    while True:
        followed = [follow(link.url, link.created, known, max_redirects) for link in links]
        wanted = {one.key: urls.domain_hash(one.domain) for one in followed if isinstance(one, urls.Url)}
        if not wanted:
            return [one for one in followed if isinstance(one, Trail)]
        found = look_up(job.folder, warcs, wanted)
        known.update({key: found[key] for key in wanted})
