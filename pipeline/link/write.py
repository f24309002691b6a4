"""The links of a group of parts: its submissions gathered from all dealt files, grouped, and written."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.link.deal import DEALT, count_rows, group_bounds, parts_of, read_rows
from pipeline.link.group import Grouped, group
from pipeline.link.opt_out import OptOuts
from pipeline.link.plan import url_rules
from pipeline.runs import Counts, PartWriter
from pipeline.stages import Job, Planned, part_name

# A group of more rows (it has a domain of many links) is read in several passes, each by a range of keys.
ROWS_IN_MEMORY = 600_000

# Columns that a dictionary makes smaller; it costs a third of the writing to try it on the others.
REPEATED = ["domain", "submissions.list.element.subreddit", "submissions.list.element.score"]


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbouring parts, and where their submissions are: in every dealt file the same batches."""

    number: int
    num_groups: int
    num_parts: int
    dealt: tuple[str, ...]  # names of files
    todo: Mapping[int, str]  # the parts to be done, and their fingerprints


def groups(job: Job, todo: Sequence[Planned]) -> list[Group]:
    """The groups that have any part of links to be done."""
    dealt = tuple(f"{part_name(i, DEALT)}.arrow" for i in range(len(job.inputs["collect"].counted())))
    parts = [part for part in todo if "index" in part.spec]
    if not parts:
        return []
    num_parts, num_groups = parts[0].spec["num_parts"], parts[0].spec["num_groups"]
    bounds = group_bounds(num_parts, num_groups)
    by_group: defaultdict[int, dict[int, str]] = defaultdict(dict)
    for part in parts:
        index = part.spec["index"]
        by_group[int(np.searchsorted(bounds, index, side="right")) - 1][index] = part.fingerprint
    return [Group(number, num_groups, num_parts, dealt, of) for number, of in by_group.items()]


def write_group(job: Job, gathered: Group, opt_outs: OptOuts) -> None:
    """Groups the submissions of those parts of a group that are to be done, and writes the parts."""
    started = time.monotonic()
    rules = url_rules(job)
    found = defaultdict(list)
    for submissions in _passes(job, gathered):
        for index, rows in _of_parts(submissions, gathered):
            found[index].append(group(rows, job.settings, opt_outs, rules))
    share_s = (time.monotonic() - started) / len(found)
    for index, grouped in found.items():
        _write(PartWriter(job.folder, part_name(index), gathered.todo[index]), grouped, share_s)


def _passes(job: Job, gathered: Group) -> Iterator[pa.Table]:
    """The group's submissions, as many at once as memory may hold: ranges of keys in their order."""
    where = (job.folder, gathered.dealt, gathered.number, gathered.num_groups)
    num_passes = 1 + count_rows(*where) // ROWS_IN_MEMORY
    for number in range(num_passes):
        keys = (number << 64) // num_passes, (number + 1 << 64) // num_passes
        yield read_rows(*where, None if num_passes == 1 else keys)


def _of_parts(submissions: pa.Table, gathered: Group) -> Iterator[tuple[int, pa.Table]]:
    """Each part's submissions, in the order in which they come."""
    first, last = group_bounds(gathered.num_parts, gathered.num_groups)[gathered.number :][:2].tolist()
    parts = parts_of(submissions["domain_hash"].to_numpy(), gathered.num_parts) - first
    order = np.argsort(parts.astype(np.uint16) if last - first < 1 << 16 else parts, kind="stable")
    bounds = np.searchsorted(parts[order], np.arange(last - first + 1))
    for index in gathered.todo:
        yield index, submissions.take(pa.array(order[bounds[index - first] : bounds[index - first + 1]]))


def _write(writer: PartWriter, grouped: Sequence[Grouped], share_s: float) -> None:
    started = time.monotonic()
    # One chunk, so that the number of passes does not show in the file.
    links = pa.concat_tables([one.links for one in grouped]).combine_chunks()
    with writer.open("parquet") as sink:
        pq.write_table(links, sink, compression="zstd", use_dictionary=REPEATED)
    writer.rows(links.num_rows)
    writer.commit(
        Counts.total(one.counts for one in grouped),
        seconds=share_s + time.monotonic() - started,
        facts={
            "links_by_max": _added([one.by_max for one in grouped]),
            "links_by_sum": _added([one.by_sum for one in grouped]),
        },
    )


def _added(tables: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {threshold: sum(table[threshold] for table in tables) for threshold in tables[0]}
