"""An index of the captures that WARC files hold, a table a file, and the choice between captures."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import urls
from pipeline.fetch.containers import Found, Packing, scan
from pipeline.fetch.plan import INDEX
from pipeline.fetch.response import PAGE_TYPES, REDIRECTS, media_type
from pipeline.records import TIME
from pipeline.runs import Folder, PartWriter
from pipeline.stages import Job, Planned, part_name

# Sorted by domain: a links part has whole domains, and finds them in few row groups.
CAPTURES = pa.schema(
    [
        pa.field("domain_hash", pa.uint64(), nullable=False),
        pa.field("key", pa.binary(16), nullable=False),
        pa.field("url", pa.string(), nullable=False),
        pa.field("date", TIME, nullable=False),
        pa.field("status", pa.int32(), nullable=False),
        pa.field("content_type", pa.string()),
        pa.field("location", pa.string()),
        pa.field("packing", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
    ]
)
_ROWS_PER_GROUP = 8192


@dataclass(frozen=True, slots=True)
class Capture:
    """A response in one of the WARC files (``warc`` is its number in the plan)."""

    warc: int
    path: str
    url: str
    date: datetime
    status: int
    content_type: str | None
    location: str | None
    packing: Packing
    offset: int
    length: int

    @property
    def is_redirect(self) -> bool:
        """Whether it leads on."""
        return self.status in REDIRECTS

    @property
    def may_be_page(self) -> bool:
        """Whether its status and type are a page's."""
        kind = media_type(self.content_type)
        return self.status == 200 and (not kind or kind in PAGE_TYPES)


def index_part(job: Job, part: Planned) -> None:
    """Indexes one WARC file: where each response stands, under its URL's key."""
    started = time.monotonic()
    result = scan(part.spec["warc"])
    table = _table(result.found)
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    with writer.open("parquet") as stream:
        pq.write_table(table, stream, compression="zstd", row_group_size=_ROWS_PER_GROUP)
    writer.rows(table.num_rows)
    facts = {"captures": table.num_rows, "damaged_records": result.num_damaged}
    writer.commit(None, seconds=time.monotonic() - started, facts=facts)


def _table(found: Iterable[Found]) -> pa.Table:
    rows = []
    for one in found:
        url = urls.parse(one.url)
        if url is None:
            continue  # dns: and metadata: records, and what is no web address
        rows.append(
            {
                "domain_hash": urls.domain_hash(url.domain),
                "key": url.key,
                "url": one.url,
                "date": one.date.replace(microsecond=0),
                "status": one.status,
                "content_type": one.content_type,
                "location": one.location,
                "packing": str(one.packing),
                "offset": one.offset,
                "length": one.length,
            }
        )
    rows.sort(key=lambda row: (row["domain_hash"], row["key"], row["offset"]))
    return pa.Table.from_pylist(rows, schema=CAPTURES)


def look_up(
    folder: Folder, warcs: Sequence[str], wanted: Mapping[bytes, int]
) -> defaultdict[bytes, list[Capture]]:
    """The captures of the wanted URLs (key → their domain's hash), in the order of the files."""
    captures: defaultdict[bytes, list[Capture]] = defaultdict(list)
    if not wanted:
        return captures
    low, high = (pa.scalar(bound(wanted.values()), pa.uint64()) for bound in (min, max))
    column = pc.field("domain_hash")
    keys = pa.array(wanted, pa.binary(16))
    for warc, path in enumerate(warcs):
        with folder.open(f"{part_name(warc, INDEX)}.parquet") as stream:
            table = pq.read_table(stream, filters=(column >= low) & (column <= high))
        for row in table.filter(pc.is_in(table["key"], keys)).to_pylist():
            key = row.pop("key")
            del row["domain_hash"]
            captures[key].append(Capture(warc=warc, path=path, **{**row, "packing": Packing(row["packing"])}))
    return captures


def nearest(captures: Iterable[Capture], created: datetime | None) -> Capture | None:
    """The capture to take: pages before redirects before the rest, then the nearest in time.

    Where the link tells no time, the earliest is taken.
    """
    return min(
        captures,
        key=lambda one: (
            not one.may_be_page,
            not one.is_redirect,
            abs((one.date - created).total_seconds()) if created is not None else 0.0,
            one.date,
            one.warc,
            one.offset,
        ),
        default=None,
    )
