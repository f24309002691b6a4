"""The Wayback Machine as an archive: its CDX server for captures, its playback for their bytes.

Sources: the CDX server's API (github.com/internetarchive/wayback, wayback-cdx-server/README.md; ``closest``
works with ``sort=closest``, issue 237 there), and playback with the flag ``id_``, which gives a capture as it
was, its header's fields under ``X-Archive-Orig-``. ``Memento-Datetime`` (RFC 7089) tells a capture from what
the archive says itself.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urljoin

import msgspec

from pipeline import urls
from pipeline.config import FetchSettings
from pipeline.fetch.archives import STATUSES, Answer, Line, Pace, index_bytes, query, unusable, words_bytes
from pipeline.fetch.cdxj import stamp
from pipeline.fetch.client import Client
from pipeline.fetch.coding import CodingError, Decoder
from pipeline.fetch.containers import Record
from pipeline.fetch.exchange import Headers, Refusal, Response
from pipeline.fetch.indexes import read_stamp, told_type
from pipeline.fetch.trails import Capture
from pipeline.fetch.warc import payload_digest, stored_headers
from pipeline.records import Reason

_FIELDS = ("timestamp", "original", "mimetype", "statuscode", "digest")
_PAUSE_S = 3600.0  # an address that goes on after HTTP 429 is blocked for an hour, then for two
_BUSY = frozenset([429, 503, 509])  # 509 is its word for too much bandwidth
_ORIGINAL = "x-archive-orig-"
_PLAYED_BACK = re.compile(r"https?://[^/]+/web/[0-9]{1,14}(?:[a-z]{2}_)?/(.+)", re.DOTALL)
_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
_GZIP = b"\x1f\x8b\x08"

_decoder = msgspec.json.Decoder(list[list[str]])


@dataclass(frozen=True, slots=True)
class WaybackCapture(Capture):
    """A capture of the Wayback Machine, as its CDX server tells of it."""

    stamp: str  # 14 digits
    original: str  # the URL in its index
    digest: str  # SHA-1 in base 32


class Wayback:
    """The Wayback Machine, behind one line."""

    name = "wayback"

    def __init__(self, client: Client, settings: FetchSettings) -> None:
        self._url = settings.wayback.url.rstrip("/")
        self._max_bytes = settings.max_bytes
        pace = Pace(settings.wayback.delay_s, _PAUSE_S, _BUSY)
        self._line = Line(client, settings, pace)

    async def captures(self, url: urls.Url, created: datetime | None) -> list[WaybackCapture] | Refusal:
        """Its captures of a URL that are pages or redirects: those nearest to a time, or the earliest."""
        asked = query(
            url,
            closest=stamp(created or _EARLIEST),
            sort="closest",
            filter=f"statuscode:{STATUSES}",
            fl=",".join(_FIELDS),
        )
        answer = await self._line.get(f"{self._url}/cdx/search/cdx?{asked}", index_bytes)
        if isinstance(answer, Refusal):
            return answer
        found = _read_index(answer) if answer.status == 200 else None
        return unusable(answer) if found is None else found

    async def record(self, capture: WaybackCapture) -> tuple[Record, str] | Refusal:
        """A capture's record with the header that it had, and the address of its playback."""
        address = f"{self._url}/web/{capture.stamp}id_/{capture.original.replace('#', '%23')}"
        answer = await self._line.get(address, self._bytes_wanted, is_own=_is_own)
        if isinstance(answer, Refusal):
            return answer
        if _is_own(answer.headers):
            return unusable(answer)
        if answer.status != capture.status:
            detail = f"played back with HTTP {answer.status}, in the index with {capture.status}"
            return Refusal(Reason.BAD_RECORD, detail)
        record = _record(capture, answer, self._url, self._max_bytes)
        return record if isinstance(record, Refusal) else (record, address)

    def _bytes_wanted(self, status: int, headers: Headers) -> int:
        return words_bytes(status, headers) if _is_own(headers) else self._max_bytes


def _is_own(headers: Headers) -> bool:
    """Whether an answer is the archive's own word."""
    return headers.get("memento-datetime") is None


def _read_index(answer: Answer) -> list[WaybackCapture] | None:
    """The captures of a CDX server's answer; None where that cannot be understood."""
    if answer.truncated:
        return None
    if not answer.body.strip():
        return []
    try:
        rows = _decoder.decode(answer.body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if not rows:
        return []
    if tuple(rows[0]) != _FIELDS:
        return None
    found = [_capture(row) for row in rows[1:]]
    captures = [one for one in found if one is not None]
    return None if found and not captures else captures


def _capture(row: Sequence[str]) -> WaybackCapture | None:
    """A row's capture; None where it is rubbish, or leads to no web address."""
    if len(row) != len(_FIELDS):
        return None
    when, original, mime, status, digest = row
    date, url = read_stamp(when), urls.parse(original)
    if date is None or url is None or not re.fullmatch(STATUSES, status):
        return None
    return WaybackCapture(
        url=url.href,
        date=date,
        status=int(status),
        content_type=told_type(mime),
        location=None,
        stamp=when,
        original=original,
        digest=digest,
    )


def _record(capture: WaybackCapture, answer: Answer, base: str, max_bytes: int) -> Record | Refusal:
    """The record that a capture was played back from, as far as it can be made again."""
    fields = _original_fields(answer.headers, base)
    body = _unpacked(answer, fields, max_bytes)
    if isinstance(body, Refusal):
        return body
    data, truncated = body
    if not truncated and not _is_whole(capture, answer, fields, data):
        return Refusal(Reason.BAD_RECORD, "the body is not the one of the archive's digest")
    response = Response(
        status_line=f"HTTP/1.1 {capture.status} {HTTPStatus(capture.status).phrase}",
        status=capture.status,
        headers=stored_headers(fields, len(data), decoded=True),
        body=data,
        truncated=truncated,
    )
    return Record(capture.url, capture.date, response, None, None)


def _original_fields(headers: Headers, base: str) -> Headers:
    """The header that the capture had.

    Its content type and location have no prefix, as a browser needs them to play it back; the location leads
    to the archive's own address of where it led.
    """
    kept = [
        (name[len(_ORIGINAL) :], value)
        for name, value in headers.fields
        if name.lower().startswith(_ORIGINAL) and len(name) > len(_ORIGINAL)
    ]
    names = {name.lower() for name, _ in kept}
    content_type, location = headers.get("content-type"), headers.get("location")
    if content_type and "content-type" not in names:
        kept.append(("Content-Type", content_type))
    if location and "location" not in names:
        played = _PLAYED_BACK.fullmatch(_joined(base, location))
        kept.append(("Location", played[1] if played else location))
    return Headers(tuple(kept))


def _joined(base: str, location: str) -> str:
    try:
        return urljoin(base, location.strip())
    except ValueError:
        return location


def _unpacked(answer: Answer, fields: Headers, max_bytes: int) -> tuple[bytes, bool] | Refusal:
    """The body without its content coding, and whether it is cut.

    Playback sends a coded body as it was captured, sometimes without saying so.
    """
    coding = (fields.get("content-encoding") or "").strip().lower()
    if answer.headers.get("content-encoding") or coding not in ("gzip", "x-gzip"):
        return answer.body, answer.truncated
    if not answer.body.startswith(_GZIP):
        return answer.body, answer.truncated
    decoder = Decoder(coding, max_bytes)
    try:
        decoder.feed(answer.body)
    except CodingError as error:
        return Refusal(Reason.BAD_ENCODING, str(error))
    cut = answer.truncated or decoder.truncated
    if not decoder.ended and not cut:
        return Refusal(Reason.CUT_SHORT, "the gzip stream does not end")
    return bytes(decoder.body), cut


def _is_whole(capture: WaybackCapture, answer: Answer, fields: Headers, body: bytes) -> bool:
    """Whether the body is the one that the index has the digest of, where that can be told.

    Archives take the digest of a body as it came: of its chunks, and of its coded bytes.
    """
    came_otherwise = fields.get("transfer-encoding") or fields.get("content-encoding")
    if came_otherwise or answer.headers.get("content-encoding") or capture.status != 200:
        return True
    return payload_digest(body) == f"sha1:{capture.digest}"
