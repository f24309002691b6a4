"""Whether a run that was drilled is what an undisturbed one is."""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.fetch.ledger import LEDGER_SUFFIX, last_tries
from pipeline.runs import Folder, Part, read_manifest
from pipeline.stages import STAGES
from tests.drill.web import Answer
from tests.test_build_realweb import digests

# What two crawls of the same web cannot have alike, by column, and why. Nothing else is left out.
LEFT_OUT: Mapping[str, str] = {
    "fetched": "when a page was asked for",
    "warc": "a retry's pages stand in a second file",
    "offset": "pages stand in a WARC file as they happened to arrive",
    "length": "a record says when it was made, and is packed with that",
    "revisit": "of two equal pages the later one refers to the earlier",
    "attempt": "a network that fails has links tried again",
    "detail": "how a natural failure was worded, such as how long a page without end was waited for",
    "address": "of a link that fails: whether it came as far as a connection",
    "dns_s": "a duration",
    "connect_s": "a duration",
    "first_byte_s": "a duration",
    "seconds": "a duration",
}

# These are the same bytes, as nothing of the crawl is in them.
_WHOLLY = ("collect", "link", "tokenizer", "shard")


def differences(drilled: Path, undisturbed: Path) -> Iterator[str]:
    """What is not alike in two runs over the same web: files, tables, counts."""
    for stage in STAGES:
        ours, theirs = Folder(str(drilled / stage.folder)), Folder(str(undisturbed / stage.folder))
        one, other = read_manifest(ours), read_manifest(theirs)
        if one is None or other is None:
            yield f"{stage.name}: not finished"
            continue
        if one.counts != other.counts:
            yield f"{stage.name}: {one.counts.to_json()} is not {other.counts.to_json()}"
        if stage.name in _WHOLLY:
            yield from _other_files(stage.name, one.parts, other.parts)
        if [part.name for part in one.parts] != [part.name for part in other.parts]:
            yield f"{stage.name}: not the same parts"
            continue
        for part, right in zip(one.parts, other.parts, strict=True):
            if part.counts != right.counts:
                yield f"{stage.name}: {part.name} counts {part.counts}, not {right.counts}"
            yield from _other_rows(ours, part, theirs, right)


def _other_rows(ours: Folder, part: Part, theirs: Folder, right: Part) -> Iterator[str]:
    tables, expected = _tables(part), _tables(right)
    if tables.keys() != expected.keys():
        yield f"{ours.uri}/{part.name} has the tables {sorted(tables)}, not {sorted(expected)}"
    for kind in sorted(tables.keys() & expected.keys()):
        if not _table(ours, tables[kind]).equals(_table(theirs, expected[kind])):
            yield f"{ours.uri}/{tables[kind]} has other rows"


def _tables(part: Part) -> dict[str, str]:
    return {part.kind(file): file.name for file in part.files if file.name.endswith(".parquet")}


def _other_files(stage: str, parts: Iterable[Part], others: Iterable[Part]) -> Iterator[str]:
    different = _files(parts) ^ _files(others)
    if different:
        yield f"{stage}: not the same bytes in {sorted(name for name, _ in different)}"


def _files(parts: Iterable[Part]) -> set[tuple[str, str]]:
    return {(file.name, file.sha256) for part in parts for file in part.files}


def _table(folder: Folder, name: str) -> pa.Table:
    """A table's rows without the columns that are left out; of a ledger the last try of each link."""
    table = pq.read_table(folder.path(name))
    if name.endswith(LEDGER_SUFFIX):
        table = last_tries(table).sort_by("id")
    return table.drop_columns([column for column in table.column_names if column in LEFT_OUT])


def build_from_its_pages(drilled: Path, run: Path) -> None:
    """Makes a run that has the drilled one's pages, and what comes before them, and nothing else."""
    for stage in STAGES[:3]:
        shutil.copytree(drilled / stage.folder, run / stage.folder)


def other_bytes(run: Path, other: Path) -> list[str]:
    """The files that are not alike in two runs over the same pages, or are in one alone."""
    ours, theirs = digests(run), digests(other)
    names = {
        name for name in ours.keys() | theirs.keys() if "/" in name
    }  # beside the folders: failures' traces
    return sorted(name for name in names if ours.get(name) != theirs.get(name))


def times_answered(answers: list[Answer]) -> Counter[tuple[str, str]]:
    """How often each page came through whole, by host and path."""
    return Counter((one.host, one.path) for one in answers if one.status == 200)
