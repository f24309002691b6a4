"""Submissions are dealt to parts by their registrable domain, so that one part has all there is of a domain.

Dealing is a shuffle through files. Neighbouring parts form a group, and each table of submissions is written
anew as an Arrow file in which every group's rows can be read by themselves. The local runner's own shuffle
holds all of its input in memory several times over: 370 bytes a row in one process and 560 in several, of
blocks that took 55, were measured. Through files memory depends on the size of a group alone.
"""

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.damage import damage_named
from pipeline.records import SUBMISSIONS
from pipeline.runs import Folder, PartWriter
from pipeline.stages import Job, Planned

DEALT = "dealt"  # the step whose parts hold submissions by group
ROWS_AT_ONCE = 250_000  # submissions of a table that are dealt together

_IPC = pa.ipc.IpcWriteOptions(compression="zstd")
_DOMAIN_HASH = SUBMISSIONS.get_field_index("domain_hash")


def parts_of(domain_hashes: NDArray[np.uint64], num_parts: int) -> NDArray[np.int64]:
    """The part of each domain: the hashes' range [0, 2**64) cut into equal, contiguous pieces.

    >>> parts_of(np.array([0, 1 << 62, (1 << 64) - 1], np.uint64), 4).tolist()
    [0, 1, 3]
    """
    high = domain_hashes >> np.uint64(32)
    return ((high * np.uint64(num_parts)) >> np.uint64(32)).astype(np.int64)


def group_bounds(num_parts: int, num_groups: int) -> NDArray[np.int64]:
    """The first part of each group, and at the end the number of parts.

    >>> group_bounds(7, 3).tolist()
    [0, 2, 4, 7]
    """
    return np.arange(num_groups + 1) * num_parts // num_groups


def deal(job: Job, part: Planned) -> None:
    """Writes one table of submissions anew, by groups: for each ROWS_AT_ONCE one batch a group, in order.

    Within a batch rows are in the order of their domains' hashes, and of one domain in the table's.
    """
    started = time.monotonic()
    bounds = group_bounds(part.spec["num_parts"], part.spec["num_groups"])
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    num_rows = 0
    with (
        writer.open("arrow") as sink,
        pa.ipc.new_file(sink, SUBMISSIONS, options=_IPC) as file,
    ):
        for table in _tables(job.folder_of("collect"), part.spec["source"]):
            num_rows += table.num_rows
            for batch in _divided(table, part.spec["num_parts"], bounds):
                file.write_batch(batch)
    writer.rows(num_rows)
    writer.commit(None, seconds=time.monotonic() - started)


def _tables(folder: Folder, name: str) -> Iterator[pa.Table]:
    """A Parquet file in pieces of about ROWS_AT_ONCE."""
    batches: list[pa.RecordBatch] = []
    with folder.open(name) as source, damage_named(f"{folder.uri}/{name}"):
        for batch in pq.ParquetFile(source).iter_batches(batch_size=ROWS_AT_ONCE // 8):
            batches.append(batch)
            if sum(map(len, batches)) >= ROWS_AT_ONCE:
                yield pa.Table.from_batches(batches, SUBMISSIONS)
                batches.clear()
    if batches:
        yield pa.Table.from_batches(batches, SUBMISSIONS)


def _divided(table: pa.Table, num_parts: int, bounds: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
    """The rows of each group; every group has a batch, though it be empty."""
    hashes = table["domain_hash"].to_numpy()
    order = np.argsort(hashes, kind="stable")
    firsts = np.searchsorted(parts_of(hashes[order], num_parts), bounds)
    (batch,) = table.combine_chunks().to_batches()
    batch = batch.take(pa.array(order))
    for first, last in pairwise(firsts.tolist()):
        yield batch.slice(first, last - first)


def count_rows(folder: Folder, names: Sequence[str], group: int, num_groups: int) -> int:
    """How many rows a group has in the Arrow files of these names."""
    return sum(map(len, _batches(folder, names, group, num_groups, [_DOMAIN_HASH])))


def read_rows(
    folder: Folder, names: Sequence[str], group: int, num_groups: int, keys: tuple[int, int] | None = None
) -> pa.Table:
    """A group's rows in the order of the names, and of one file's in the order of the file.

    With ``keys`` only those whose key's first 64 bits are from the first number up to, without, the second.
    """
    batches = _batches(folder, names, group, num_groups)
    if keys is not None:
        batches = (_with_keys(batch, *keys) for batch in batches)
    return pa.Table.from_batches(batches, SUBMISSIONS).combine_chunks()


def _with_keys(batch: pa.RecordBatch, first: int, last: int) -> pa.RecordBatch:
    high = binary_halves(batch["key"])[0]
    return batch.filter(pa.array((high >= np.uint64(first)) & (high <= np.uint64(last - 1))))


def _batches(
    folder: Folder, names: Sequence[str], group: int, num_groups: int, fields: list[int] | None = None
) -> Iterator[pa.RecordBatch]:
    options = pa.ipc.IpcReadOptions(included_fields=fields)
    for name in names:
        with folder.open(name) as stream, pa.ipc.open_file(stream, options=options) as reader:
            for number in range(group, reader.num_record_batches, num_groups):
                yield reader.get_batch(number)


def binary_halves(keys: pa.Array) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Keys of 16 bytes as two numbers each, the more significant first: they compare as the bytes do."""
    data = np.frombuffer(keys.buffers()[1], ">u8", 2 * len(keys), keys.offset * 16).reshape(-1, 2)
    return data[:, 0].astype(np.uint64), data[:, 1].astype(np.uint64)
