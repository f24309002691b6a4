"""The source "warc": each link's nearest capture, copied into the part's own WARC."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline import urls
from pipeline.config import FetchSettings
from pipeline.fetch import ledger, response
from pipeline.fetch.captures import Capture, look_up, nearest
from pipeline.fetch.client import user_agent
from pipeline.fetch.containers import Reader, Record
from pipeline.fetch.exchange import Headers, Refusal
from pipeline.fetch.warc import Place, WarcSink, payload_digest
from pipeline.records import Reason
from pipeline.runs import PartWriter
from pipeline.stages import Job, Planned

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Link:
    """What the choice of a capture needs of a link."""

    id: str
    url: str
    created: datetime | None


@dataclass(frozen=True, slots=True)
class Trail:
    """A link's captures, from its own through redirects to the last; a refusal where they bring no page."""

    captures: tuple[Capture, ...]
    refusal: Refusal | None


def copy_part(job: Job, part: Planned) -> None:
    """Copies the captures of a part's links and writes its WARC, its index and its ledger."""
    started = time.monotonic()
    settings: FetchSettings = job.settings
    table = job.folder_of("link").read_table(part.spec["links"], columns=["id", "url", "created"])
    links = [Link(**row) for row in table.to_pylist()]
    trails = _trails(job, part.spec["warcs"], links, settings.max_redirects)
    dates = [capture.date for trail in trails for capture in trail.captures]
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    filename = f"{part.name}.warc.gz"
    info = {"software": user_agent(""), "format": "WARC File Format 1.1", "description": "Copied captures"}
    with writer.open("warc.gz") as stream, Reader() as reader:
        # Dated by what is in it, so that the same input gives the same bytes.
        sink = WarcSink(stream, filename, date=max(dates, default=_EPOCH), info=info)
        copier = Copier(reader, sink, filename, settings.max_bytes)
        entries = [copier.copy(link, trail) for link, trail in zip(links, trails, strict=True)]
    writer.rows(sink.num_records)
    with writer.open("cdxj") as stream:
        stream.write(sink.cdxj())
    writer.rows(sink.num_responses)
    writer.table("ledger.parquet", ledger.table(entries))
    writer.commit(ledger.counts(entries), seconds=time.monotonic() - started, facts=ledger.facts(entries))


class Copier:
    """Copies records into a sink, each once, however many links lead to it."""

    def __init__(self, reader: Reader, sink: WarcSink, filename: str, max_bytes: int) -> None:
        self._reader = reader
        self._sink = sink
        self._filename = filename
        self._max_bytes = max_bytes
        self._places: dict[tuple[int, int], Place] = {}

    def copy(self, link: Link, trail: Trail) -> ledger.Entry:
        """Copies a link's page with the redirects to it; of a link without a page, only the ledger tells."""
        if not trail.captures:
            return ledger.refused(link.id, link.url, trail.refusal or Refusal(Reason.NOT_IN_WARC))
        last = trail.captures[-1]
        known = {"final_url": last.url, "fetched": last.date}
        if trail.refusal:
            return ledger.refused(link.id, link.url, trail.refusal, **known)
        record = self._read(last)
        refusal = _judge(record)
        if record is None or refusal:
            return ledger.refused(link.id, link.url, refusal or _DAMAGED, **known)
        for capture in trail.captures[:-1]:
            hop = self._read(capture)
            if hop is not None:
                self._place(capture, hop)
        place = self._place(last, record)
        return ledger.Entry(
            link.id,
            link.url,
            ledger.FETCHED,
            status=record.response.status,
            content_type=record.response.headers.get("content-type"),
            bytes=len(record.response.body),
            truncated=record.response.truncated,
            warc=self._filename,
            offset=place.offset,
            length=place.length,
            final_url=last.url,
            fetched=last.date,
        )

    def _read(self, capture: Capture) -> Record | None:
        return self._reader.read(
            capture.path, capture.packing, capture.offset, capture.length, self._max_bytes
        )

    def _place(self, capture: Capture, record: Record) -> Place:
        where = (capture.warc, capture.offset)
        if where not in self._places:
            self._places[where] = self._write(record)
        return self._places[where]

    def _write(self, record: Record) -> Place:
        got = record.response
        if record.member is None:
            return self._sink.response(record.url, record.date, got)
        return self._sink.member(
            record.member,
            url=record.url,
            date=record.date,
            status=got.status,
            headers=got.headers,
            digest=record.digest or payload_digest(got.body),
        )


_DAMAGED = Refusal(Reason.BAD_RECORD, "the capture is damaged")


def _judge(record: Record | None) -> Refusal | None:
    if record is None:
        return _DAMAGED
    got = record.response
    return response.refusal(got.status, got.headers) or response.refusal_of_body(
        got.status, got.headers, got.body
    )


def _trails(job: Job, warcs: Sequence[str], links: Sequence[Link], max_redirects: int) -> list[Trail]:
    """Every link's trail. Each round looks up where the redirects of the round before lead."""
    known: dict[bytes, list[Capture]] = {}
    while True:
        followed = [follow(link, known, max_redirects) for link in links]
        wanted = {one.key: urls.domain_hash(one.domain) for one in followed if isinstance(one, urls.Url)}
        if not wanted:
            return [one for one in followed if isinstance(one, Trail)]
        found = look_up(job.folder, warcs, wanted)
        known.update({key: found[key] for key in wanted})


def follow(link: Link, known: Mapping[bytes, Sequence[Capture]], max_redirects: int) -> Trail | urls.Url:
    """A link's trail through the captures that are known; the URL to look up, where it leads beyond them."""
    captures: list[Capture] = []
    seen: set[bytes] = set()
    url = urls.parse(link.url)
    if url is None:
        return Trail((), Refusal(Reason.BAD_URL))
    while True:
        if url.key in seen or len(captures) > max_redirects:
            return Trail(tuple(captures), Refusal(Reason.REDIRECT_LOOP, f"at {url.href}"))
        if url.key not in known:
            return url
        seen.add(url.key)
        capture = nearest(known[url.key], link.created)
        if capture is None:
            detail = f"redirected to {url.href}" if captures else ""
            return Trail(tuple(captures), Refusal(Reason.NOT_IN_WARC, detail))
        captures.append(capture)
        if capture.may_be_page:
            return Trail(tuple(captures), None)
        if not capture.is_redirect:
            fields = (("content-type", capture.content_type),) if capture.content_type else ()
            return Trail(tuple(captures), response.refusal(capture.status, Headers(fields)))
        url = response.redirect_target(capture.url, capture.location)
        if url is None:
            refusal = Refusal(Reason.BAD_REDIRECT, capture.location or "no location", capture.status)
            return Trail(tuple(captures), refusal)
