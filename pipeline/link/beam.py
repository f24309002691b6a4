"""link in Beam: packed columns, keyed by the part that their domain is dealt to."""

import time
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipeline.columns import pack, unpack
from pipeline.link.deal import parts_of
from pipeline.link.group import DEALT, group
from pipeline.runs import PartWriter
from pipeline.stages import Job, Planned


class GroupByUrl(beam.PTransform):
    """Tables of submissions to tables of links."""

    def __init__(self, job: Job, todo: Sequence[Planned]) -> None:
        super().__init__()
        self._job = job
        self._todo = todo

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Deal each dump's submissions to parts, gather a part's, group them."""
        names = [part.file(".parquet").name for part in self._job.inputs["collect"].counted()]
        return (
            pbegin
            | "Dumps" >> beam.Create(list(enumerate(names)), reshuffle=False)
            | "Spread" >> beam.Reshuffle()
            | "Deal" >> beam.FlatMap(_deal, self._job, self._todo)
            | "Gather" >> beam.GroupByKey()
            | "Group" >> beam.FlatMap(_group, self._job, {part.spec["index"]: part for part in self._todo})
        )


def transform(job: Job, todo: Sequence[Planned]) -> beam.PTransform:
    """Submissions to links."""
    return GroupByUrl(job, todo)


def _deal(numbered: tuple[int, str], job: Job, todo: Sequence[Planned]) -> Iterator[tuple[int, bytes]]:
    """A dump's submissions in one block of columns for each part; every part gets one, though empty."""
    dump, name = numbered
    table = job.folder_of("collect").read_table(name)
    table = table.append_column(DEALT.field("dump"), pa.array(np.full(table.num_rows, dump, np.int32)))
    num_parts = todo[0].spec["num_parts"]
    parts = parts_of(table["domain_hash"].to_numpy(), num_parts)
    order = np.argsort(parts, kind="stable")
    table = table.take(pa.array(order))
    bounds = np.searchsorted(parts[order], np.arange(num_parts + 1))
    for part in todo:
        index = part.spec["index"]
        yield index, pack(table.slice(bounds[index], bounds[index + 1] - bounds[index]))


def _group(gathered: tuple[int, Iterable[bytes]], job: Job, todo: dict[int, Planned]) -> Iterator[None]:
    index, blocks = gathered
    started = time.monotonic()
    submissions = pa.concat_tables([unpack(block) for block in blocks])
    links, counts = group(submissions, job.settings)
    part = todo[index]
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    writer.table("parquet", links)
    writer.commit(counts, seconds=time.monotonic() - started)
    yield from ()
