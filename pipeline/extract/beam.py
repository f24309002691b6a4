"""extract in Beam: pages to documents part by part, then a shuffle of their URLs' keys.

Keys alone go through the shuffle; of the few documents that share one the rest is read from their parts.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.beam import DoParts
from pipeline.columns import pack, unpack
from pipeline.extract.documents import extract_pages
from pipeline.extract.plan import EXTRACTED, plan
from pipeline.extract.same_page import (
    MEMBER_COLUMNS,
    Absorbed,
    Joined,
    find_same_pages,
    members,
    places,
    settle,
    shared,
)
from pipeline.runs import Counts, PartWriter
from pipeline.stages import Job, Planned, part_name

_REJECTED = "rejected.parquet"


class ExtractText(beam.PTransform):
    """Parts of pages to parts of documents, links to the same page joined."""

    def __init__(self, job: Job, todo: Sequence[Planned]) -> None:
        super().__init__()
        self._job = job
        self._todo = {part.name: part for part in todo}

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Extract what is not extracted, compare the URLs of all, settle each part."""
        extracted = [part for part in plan(self._job).parts if part.name.startswith(EXTRACTED)]
        missing = [part for part in extracted if part.name in self._todo]
        present = [part for part in extracted if part.name not in self._todo]
        final = [
            (part.spec["index"], part) for name, part in self._todo.items() if not name.startswith(EXTRACTED)
        ]
        job = self._job.for_workers()
        changes = (
            (
                pbegin | "Extract" >> DoParts(job, missing, _extract),
                pbegin | "Reread" >> DoParts(job, present, _places),
            )
            | "Places" >> beam.Flatten()
            | "GatherByUrl" >> beam.GroupByKey()
            | "FindShared" >> beam.FlatMap(_shared)
            | "GatherSharedByPart" >> beam.GroupByKey()
            | "ReadMembers" >> beam.Map(_members, job)
            | "GatherMembers" >> beam.GroupByKey()
            | "FindSamePages" >> beam.FlatMap(_find, job)
        )
        return (
            {"parts": pbegin | "Parts" >> beam.Create(final, reshuffle=False), "changes": changes}
            | "GatherByPart" >> beam.CoGroupByKey()
            | "Settle" >> beam.FlatMap(_settle, job)
        )


def transform(job: Job, todo: Sequence[Planned]) -> beam.PTransform:
    """Pages to documents."""
    return ExtractText(job, todo)


def _extract(job: Job, part: Planned) -> Iterator[tuple[int, bytes]]:
    started = time.monotonic()
    pages = job.folder_of("fetch")
    ledger = pages.read_table(part.spec["ledger"])
    links = job.folder_of("link").read_table(part.spec["links"])
    documents, rejected = extract_pages(pages, ledger, links, job.settings)
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    writer.table("parquet", documents)
    writer.table(_REJECTED, rejected)
    writer.commit(None, seconds=time.monotonic() - started)
    return _places(job, part, documents)


def _places(job: Job, part: Planned, documents: pa.Table | None = None) -> Iterator[tuple[int, bytes]]:
    if documents is None:
        columns = ["id", "final_url", "canonical_url"]
        documents = job.folder.read_table(f"{part.name}.parquet", columns)
    for partition, table in places(documents, part.spec["index"]):
        yield partition, pack(table)


def _shared(gathered: tuple[int, Iterable[bytes]]) -> Iterator[tuple[int, bytes]]:
    _, blocks = gathered
    for part, rows in shared(_concatenated(blocks)):
        yield part, pack(rows)


def _members(gathered: tuple[int, Iterable[bytes]], job: Job) -> tuple[None, bytes]:
    index, blocks = gathered
    documents = job.folder.read_table(f"{part_name(index, EXTRACTED)}.parquet", MEMBER_COLUMNS)
    return None, pack(members(documents, _concatenated(blocks)))


def _find(gathered: tuple[None, Iterable[bytes]], job: Job) -> Iterator[tuple[int, Absorbed | Joined]]:
    _, blocks = gathered
    yield from find_same_pages(_concatenated(blocks), job.inputs["link"].settings.get("karma", "max"))


def _concatenated(blocks: Iterable[bytes]) -> pa.Table:
    return pa.concat_tables([unpack(block) for block in blocks])


def _settle(gathered: tuple[int, Mapping[str, Iterable[Any]]], job: Job) -> Iterator[None]:
    index, found = gathered
    for part in found["parts"]:  # none where the part was settled by an earlier run
        started = time.monotonic()
        before = part_name(index, EXTRACTED)
        extracted = job.folder.read_table(f"{before}.parquet")
        documents, rejected = settle(
            extracted, job.folder.read_table(f"{before}.{_REJECTED}"), found["changes"]
        )
        writer = PartWriter(job.folder, part.name, part.fingerprint)
        writer.table("parquet", documents)
        writer.table(_REJECTED, rejected)
        writer.commit(
            Counts(
                documents.num_rows + rejected.num_rows,
                documents.num_rows,
                Counter(rejected["reason"].to_pylist()),
            ),
            seconds=time.monotonic() - started,
            facts={
                "words": sum(len(text.as_py().split()) for text in documents["text"]),
                "text_bytes": pc.sum(pc.binary_length(documents["text"])).as_py() or 0,
            },
        )
    yield from ()
