"""The ledger: what became of every link of a part, one row a try."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from pipeline.fetch.exchange import Refusal
from pipeline.records import LEDGER
from pipeline.runs import Counts

FETCHED = "fetched"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: the columns of :data:`pipeline.records.LEDGER` by name."""

    id: str
    url: str
    outcome: str
    attempt: int = 1
    detail: str = ""
    status: int | None = None
    final_url: str | None = None
    content_type: str | None = None
    fetched: datetime | None = None
    seconds: float | None = None
    bytes: int | None = None
    truncated: bool = False
    warc: str | None = None
    offset: int | None = None
    length: int | None = None


def refused(link_id: str, url: str, refusal: Refusal, **known: Any) -> Entry:
    """The row of a link without a page."""
    return Entry(
        link_id,
        url,
        str(refusal.reason),
        detail=refusal.detail,
        status=refusal.status,
        content_type=refusal.content_type,
        **known,
    )


def table(entries: Sequence[Entry]) -> pa.Table:
    """The part's ledger, in the order of its links."""
    return pa.Table.from_pylist([asdict(entry) for entry in entries], schema=LEDGER)


def counts(entries: Sequence[Entry]) -> Counts:
    """What became of the part's links, by reason."""
    outcomes = Counter(entry.outcome for entry in entries)
    kept = outcomes.pop(FETCHED, 0)
    return Counts(len(entries), kept, dict(sorted(outcomes.items())))


def facts(entries: Sequence[Entry]) -> dict[str, int]:
    """Pages kept, and the bytes of their bodies."""
    pages = [entry for entry in entries if entry.outcome == FETCHED]
    return {"pages": len(pages), "bytes": sum(entry.bytes or 0 for entry in pages)}
