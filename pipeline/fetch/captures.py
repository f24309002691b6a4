"""An index of the captures that WARC files hold, a table for each file or CDXJ index that is given."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import urls
from pipeline.fetch import indexes
from pipeline.fetch.containers import Found, Packing, Reader, packing_of, scan
from pipeline.fetch.plan import INDEX
from pipeline.fetch.response import REDIRECTS
from pipeline.fetch.trails import Capture
from pipeline.records import TIME
from pipeline.remove.tombstones import read_removed
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
        pa.field("filename", pa.string()),  # as a CDXJ index names it; null in a WARC file's own table
        pa.field("record_url", pa.string()),  # of the record, where it is another URL's with the same body
        pa.field("packing", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("length", pa.int64(), nullable=False),
    ]
)
_ROWS_PER_GROUP = 8192


@dataclass(frozen=True, slots=True)
class FileCapture(Capture):
    """A response in one of the WARC files."""

    path: str
    record_url: str | None  # of the record, where it is another URL's with the same body
    packing: Packing
    offset: int
    length: int


def index_part(job: Job, part: Planned) -> None:
    """Makes the table of one WARC file or CDXJ index: where each response stands, under its URL's key."""
    started = time.monotonic()
    path = part.spec["warc"]
    rows, num_damaged = _indexed_rows(path) if indexes.is_index(path) else _scanned_rows(path)
    removed = read_removed(job.run)
    rows = [row for row in rows if not removed.covers(row["key"], row["url"])]
    rows.sort(key=lambda row: (row["domain_hash"], row["key"], row["filename"] or "", row["offset"]))
    table = pa.Table.from_pylist(rows, schema=CAPTURES)
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    with writer.open("parquet") as stream:
        pq.write_table(table, stream, compression="zstd", row_group_size=_ROWS_PER_GROUP)
    writer.rows(table.num_rows)
    facts = {"captures": table.num_rows, "damaged_records": num_damaged}
    writer.commit(None, seconds=time.monotonic() - started, facts=facts)


def _scanned_rows(path: str) -> tuple[list[dict[str, Any]], int]:
    """The rows of a WARC file, and how often damage was met."""
    result = scan(path)
    rows = [row for one in result.found for row in _row(one, None, None)]
    return rows, result.num_damaged


def _indexed_rows(path: str) -> tuple[list[dict[str, Any]], int]:
    """The rows of a CDXJ index, and how many lines are rubbish or lead to a redirect that cannot be read.

    The WARC files are opened for redirects alone: an index does not tell where those lead.
    """
    rows: list[dict[str, Any]] = []
    num_damaged = 0
    originals = _originals(path)
    files: dict[str, tuple[str, Packing]] = {}
    with Reader() as reader:
        for line in indexes.read_index(path):
            if line is None:
                num_damaged += 1
                continue
            kept = originals.get(line.digest) if line.is_revisit else line
            if kept is None or kept.status is None or (line.is_revisit and line.status not in (None, 200)):
                continue
            if kept.filename not in files:
                file = indexes.locate(path, kept.filename)
                files[kept.filename] = (file, packing_of(file))
            found = _found(replace(kept, url=line.url, date=line.date), *files[kept.filename], reader)
            if found is None:
                num_damaged += 1
                continue
            rows += _row(found, kept.filename, kept.url if line.is_revisit else None)
    return rows, num_damaged


def _originals(path: str) -> dict[str, indexes.Indexed]:
    """The pages that an index's revisits repeat, by their digest."""
    repeated = {line.digest for line in indexes.read_index(path) if line is not None and line.is_revisit}
    if not repeated:
        return {}
    return {
        line.digest: line
        for line in indexes.read_index(path)
        if line is not None and line.status == 200 and not line.is_revisit and line.digest in repeated
    }


def _found(line: indexes.Indexed, path: str, packing: Packing, reader: Reader) -> Found | None:
    """An index's line as a scan of the file would have found it; None for a redirect that is damaged."""
    location = None
    if line.status in REDIRECTS:
        record = reader.read(path, packing, line.offset, line.length, 0)
        if record is None:
            return None
        location = record.response.headers.get("location")
    return Found(
        url=line.url,
        date=line.date,
        status=line.status or 0,
        content_type=line.content_type,
        location=location,
        packing=packing,
        offset=line.offset,
        length=line.length,
    )


def _row(found: Found, filename: str | None, record_url: str | None) -> Iterator[dict[str, Any]]:
    """The row of a response; none for dns: and metadata: records, and for what is no web address."""
    url = urls.parse(found.url)
    if url is None:
        return
    yield {
        "domain_hash": urls.domain_hash(url.domain),
        "key": url.key,
        "url": found.url,
        "date": found.date.replace(microsecond=0),
        "status": found.status,
        "content_type": found.content_type,
        "location": found.location,
        "filename": filename,
        "record_url": record_url,
        "packing": str(found.packing),
        "offset": found.offset,
        "length": found.length,
    }


def look_up(
    folder: Folder, warcs: Sequence[str], wanted: Mapping[bytes, int]
) -> defaultdict[bytes, list[FileCapture]]:
    """The captures of the wanted URLs (key → their domain's hash), in the order of the files.

    Args:
        folder: Where the tables are.
        warcs: The WARC files and CDXJ indexes, in the order of their tables.
        wanted: The domain's hash of each wanted key.
    """
    captures: defaultdict[bytes, list[FileCapture]] = defaultdict(list)
    if not wanted:
        return captures
    low, high = (pa.scalar(bound(wanted.values()), pa.uint64()) for bound in (min, max))
    column = pc.field("domain_hash")
    keys = pa.array(wanted, pa.binary(16))
    for number, path in enumerate(warcs):
        with folder.open(f"{part_name(number, INDEX)}.parquet") as stream:
            table = pq.read_table(stream, filters=(column >= low) & (column <= high))
        for row in table.filter(pc.is_in(table["key"], keys)).to_pylist():
            key, filename = row.pop("key"), row.pop("filename")
            del row["domain_hash"]
            file = path if filename is None else indexes.locate(path, filename)
            captures[key].append(FileCapture(**{**row, "packing": Packing(row["packing"])}, path=file))
    return captures
