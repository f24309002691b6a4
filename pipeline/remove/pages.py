"""Which records of a part's WARC files are a removed link's, and the files without them.

A page on the web brought a chain of exchanges and then a metadata record that names its link. What was copied
from archives and WARC files is found by its place, and the redirects to it by their addresses.
"""

import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from pipeline import urls
from pipeline.errors import RunError
from pipeline.fetch.response import REDIRECTS, redirect_target
from pipeline.remove.filler import fill
from pipeline.runs import Folder

_CHUNK = 1 << 22
_METADATA_BYTES = 1 << 16  # of a metadata record that are read
_MAX_HOPS = 64


@dataclass(frozen=True, slots=True)
class Found:
    """A record of a WARC file, and its place."""

    offset: int
    length: int
    kind: WarcRecordType
    record_id: str
    concurrent_to: str | None
    date: str
    url: str
    location: str | None  # where a redirect leads
    link: str | None  # of a metadata record: the id of the link that it is about


@dataclass(frozen=True, slots=True)
class Way:
    """How a link came to its page: the address as linked, and the offset of the page's record."""

    id: str
    url: str
    offset: int
    redirects: int


def read_records(folder: Folder, name: str) -> list[Found]:
    """The records of a WARC file in their order.

    Raises RunError where the file cannot be read to its end.
    """
    found: list[Found] = []
    with folder.open(name) as stream, io.BufferedReader(stream, _CHUNK) as buffered:
        records = ArchiveIterator(buffered, parse_http=False)
        heads = [_head(record) for record in records]
        size = stream.size()
    ends = [*(head["offset"] for head in heads[1:]), size]
    for head, end in zip(heads, ends, strict=True):
        found.append(Found(length=end - head["offset"], **head))
    if (found[0].offset if found else size) != 0:
        raise RunError(
            f"{folder.uri}/{name} cannot be read as a WARC file: `webtext verify` tells what is wrong."
        )
    return found


def _head(record: WarcRecord) -> dict[str, Any]:
    headers = record.headers
    location = link = None
    offset = record.stream_pos
    if record.record_type == WarcRecordType.response:
        location = _location(record)
    elif record.record_type == WarcRecordType.metadata:
        link = _link(record.reader.read(_METADATA_BYTES))
    return {
        "offset": offset,
        "kind": record.record_type,
        "record_id": headers.get("WARC-Record-ID", ""),
        "concurrent_to": headers.get("WARC-Concurrent-To"),
        "date": headers.get("WARC-Date", "1970-01-01T00:00:00Z"),
        "url": (headers.get("WARC-Target-URI") or "").strip("<>"),
        "location": location,
        "link": link,
    }


def _location(record: WarcRecord) -> str | None:
    record.parse_http()
    http = record.http_headers
    return http.get("Location") if http is not None and http.status_code in REDIRECTS else None


def _link(block: bytes) -> str | None:
    for line in block.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(": ")
        if name == "linkId":
            return value
    return None


def find_removed(
    records: Sequence[Found], gone: Sequence[Way], kept: Sequence[Way], ids: Collection[str]
) -> list[Found]:
    """The records that are of no link but removed ones.

    Args:
        records: All of a file.
        gone: The removed links whose page is in the file.
        kept: The others.
        ids: Of the removed links.
    """
    own: list[Found] = []
    free: list[Found] = []
    for group, link in _groups(records):
        if link in ids:
            own += group
        elif link is None:
            free += group
    places = {way.offset for way in gone} - {way.offset for way in kept}
    responses = places | (_hops(free, gone) - _hops(free, kept))
    return sorted([*own, *_with_companions(free, responses)], key=lambda one: one.offset)


def _groups(records: Sequence[Found]) -> Iterator[tuple[list[Found], str | None]]:
    """Records up to a metadata record, and the link that it names; the others without one."""
    group: list[Found] = []
    for record in records:
        if record.kind == WarcRecordType.warcinfo:
            continue
        group.append(record)
        if record.kind == WarcRecordType.metadata:
            yield group, record.link
            group = []
    yield group, None


def _with_companions(records: Sequence[Found], responses: Collection[int]) -> Iterator[Found]:
    """The responses at these offsets, their requests, and the metadata that follow them."""
    ids = {one.record_id for one in records if one.offset in responses}
    follows = False  # whether the response before is taken
    for record in records:
        if record.kind == WarcRecordType.response:
            follows = record.offset in responses
            taken = follows
        else:
            taken = follows if record.concurrent_to is None else record.concurrent_to in ids
        if taken:
            yield record


def _hops(records: Sequence[Found], ways: Sequence[Way]) -> set[int]:
    """The offsets of the redirects on these ways."""
    by_key: dict[bytes, list[Found]] = {}
    for record in records:
        if record.location is not None and (url := urls.parse(record.url)) is not None:
            by_key.setdefault(url.key, []).append(record)
    passed: set[int] = set()
    for way in ways if by_key else ():
        url = urls.parse(way.url)
        for _ in range(_MAX_HOPS if way.redirects else 0):
            here = by_key.get(url.key, []) if url is not None else []
            if not here or here[0].offset in passed:
                break
            passed |= {one.offset for one in here}
            url = redirect_target(here[0].url, here[0].location)
    return passed


def write_without(source: Folder, name: str, removed: Sequence[Found], sink: Any) -> None:
    """Copies a WARC file, with a record of the same length in the place of each that is removed.

    Raises RunError where a record is shorter than any that could stand there.
    """
    at = 0
    with source.open(name) as stream:
        for record in removed:
            _copy(stream, at, record.offset, sink)
            try:
                sink.write(fill(record.length, f"{name} {record.offset}", record.date))
            except ValueError as error:
                raise RunError(
                    f"{source.uri}/{name}: the record at byte {record.offset:,} cannot be replaced: {error}. "
                    "This is a defect: please report it."
                ) from error
            at = record.offset + record.length
        _copy(stream, at, stream.size(), sink)


def _copy(stream: Any, start: int, end: int, sink: Any) -> None:
    for at in range(start, end, _CHUNK):
        sink.write(stream.read_at(min(_CHUNK, end - at), at))


def index_without(data: bytes, removed: Mapping[str, Collection[int]]) -> tuple[bytes, int]:
    """A CDXJ index without the records of some offsets (by file), and how many lines it has then."""
    lines = [line for line in data.splitlines(keepends=True) if not _is_of(line, removed)]
    return b"".join(lines), len(lines)


def _is_of(line: bytes, removed: Mapping[str, Collection[int]]) -> bool:
    told = json.loads(line.split(b" ", 2)[2])
    return int(told["offset"]) in removed.get(told["filename"], ())
