"""The ledger: what became of every link of a part, a row a try."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.fetch.exchange import Exchange, Failure, Outcome, Refusal, Response
from pipeline.fetch.warc import Place
from pipeline.records import LEDGER
from pipeline.runs import Counts

FETCHED = "fetched"
LEDGER_SUFFIX = ".ledger.parquet"  # of the file, one a part, that ends so


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: the columns of :data:`pipeline.records.LEDGER` by name."""

    id: str
    url: str
    outcome: str
    attempt: int = 1
    detail: str = ""
    source: str = "web"
    status: int | None = None
    final_url: str | None = None
    redirects: int = 0
    content_type: str | None = None
    robots: str | None = None
    address: str | None = None
    fetched: datetime | None = None
    dns_s: float | None = None
    connect_s: float | None = None
    first_byte_s: float | None = None
    seconds: float | None = None
    bytes: int | None = None
    truncated: bool = False
    revisit: bool = False
    warc: str | None = None
    offset: int | None = None
    length: int | None = None


def refused(link_id: str, url: str, refusal: Refusal, **known: Any) -> Entry:
    """The row of a try that brought no page."""
    return Entry(
        id=link_id,
        url=url,
        outcome=str(refusal.reason),
        detail=refusal.detail,
        status=refusal.status,
        content_type=_text(refusal.content_type),
        **known,
    )


def entry(link_id: str, url: str, attempt: int, outcome: Outcome, **place: Any) -> Entry:
    """The row of a try on the web.

    Args:
        link_id: The link's.
        url: As submitted.
        attempt: The try's number, from 1.
        outcome: What became of it.
        place: Where its page is kept (warc, offset, length, revisit), if it brought one.
    """
    last: Exchange | Failure | None = outcome.failure or (outcome.way[-1] if outcome.way else None)
    known: dict[str, Any] = {"attempt": attempt, "robots": outcome.robots}
    if last is not None:
        known |= {
            "final_url": last.url,
            "redirects": len(outcome.way) - (outcome.failure is None),
            "address": last.address,
            "fetched": last.date.replace(microsecond=last.date.microsecond // 1000 * 1000),
            "dns_s": last.timings.dns_s,
            "connect_s": last.timings.connect_s,
            "first_byte_s": last.timings.first_byte_s,
            "seconds": sum(one.timings.total_s for one in outcome.way)
            + (outcome.failure.timings.total_s if outcome.failure else 0.0),
        }
    if outcome.refusal:
        return refused(link_id, url, outcome.refusal, **known)
    return fetched(link_id, url, outcome.way[-1].response, **known, **place)


def fetched(link_id: str, url: str, page: Response, **known: Any) -> Entry:
    """The row of a try that brought a page."""
    return Entry(
        id=link_id,
        url=url,
        outcome=FETCHED,
        status=page.status,
        content_type=_text(page.headers.get("content-type")),
        bytes=len(page.body),
        truncated=page.truncated,
        **known,
    )


def placed(entry: Entry, warc: str, place: Place) -> Entry:
    """A row with where its page is kept."""
    return replace(entry, warc=warc, offset=place.offset, length=place.length)


def table(entries: Sequence[Entry]) -> pa.Table:
    """The ledger of these rows."""
    columns = [pa.array(map(attrgetter(field.name), entries), field.type) for field in LEDGER]
    return pa.Table.from_arrays(columns, schema=LEDGER)


def last_tries(rows: pa.Table) -> pa.Table:
    """The rows of each link's greatest attempt, of a table with the columns id and attempt."""
    again = rows.filter(pc.greater(rows["attempt"], 1))["id"].unique()
    is_again = pc.is_in(rows["id"], value_set=again)
    tries = rows.filter(is_again)
    greatest = tries.group_by("id").aggregate([("attempt", "max")]).rename_columns({"attempt_max": "attempt"})
    last = tries.join(greatest, ["id", "attempt"], join_type="inner")
    return pa.concat_tables([rows.filter(pc.invert(is_again)), last.cast(rows.schema)])


def counts(entries: Iterable[Entry]) -> Counts:
    """What became of the links, given the last try of each."""
    by_reason = Counter(one.outcome for one in entries)
    num_in = by_reason.total()
    kept = by_reason.pop(FETCHED, 0)
    return Counts(num_in, kept, dict(sorted(by_reason.items())))


def facts(entries: Iterable[Entry]) -> dict[str, int]:
    """Pages kept, and the bytes of their bodies, given the last try of each link."""
    sizes = [one.bytes or 0 for one in entries if one.outcome == FETCHED]
    return {"pages": len(sizes), "bytes": sum(sizes)}


def _text(value: str | None) -> str | None:
    """A header's value as a table can hold it."""
    return None if value is None else value.encode("utf-8", "replace").decode()
