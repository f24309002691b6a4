"""The part ``clusters``: gathers the candidates, has the verdicts passed, and writes them down.

``clusters.parquet`` is for people: every document whose cluster holds more than one.
``clusters.verdicts.parquet`` and ``clusters.gathered.parquet`` are for finishing the parts, one row group
each: what becomes of the part's documents, and what its survivors take over from those removed in their
favour.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.dedupe.candidates import distinct
from pipeline.dedupe.clusters import Verdicts, decide
from pipeline.dedupe.ranking import Ranks, read_ranks
from pipeline.dedupe.signatures import Signature, fixed_width
from pipeline.records import CLUSTERS, TIME
from pipeline.runs import PartWriter
from pipeline.stages import Job, Planned

VERDICTS = pa.schema(
    [
        pa.field("row", pa.int32(), nullable=False),  # in the filtered part
        pa.field("cluster", pa.string(), nullable=False),
        pa.field("survivor", pa.string(), nullable=False),
        pa.field("similarity", pa.float32(), nullable=False),
        pa.field("kept", pa.bool_(), nullable=False),
        pa.field("exact", pa.bool_(), nullable=False),
    ]
)

GATHERED = pa.schema(
    [
        pa.field("row", pa.int32(), nullable=False),  # the survivor's, in its filtered part
        pa.field("submissions", pa.list_(pa.string()), nullable=False),
        pa.field("subreddits", pa.list_(pa.string()), nullable=False),
        pa.field("created", TIME),
    ]
)


def decide_all(job: Job, part: Planned, blocks: Iterable[bytes]) -> None:
    """Decides on all documents, from the packed candidate pairs of all bands."""
    started = time.monotonic()
    names: Sequence[str] = [f"{name}.parquet" for name in part.spec["signatures"]]
    ranked = [read_ranks(job, index) for index in range(len(names))]
    ranks = [one for one, _ in ranked]
    originals = np.concatenate([one for _, one in ranked])[np.argsort(np.concatenate(ranks))]
    found = [np.frombuffer(block, "<u4").reshape(-1, 2) for block in blocks]
    pairs = distinct(np.concatenate([np.empty((0, 2), np.uint32), *found]))
    compared = np.unique(pairs)
    signatures = _signatures(job, names, ranks, compared)
    verdicts = decide(originals, pairs, compared, signatures, job.settings.threshold)

    writer = PartWriter(job.folder, part.name, part.fingerprint)
    rows = _verdict_rows(_ids(job, names, ranks), verdicts)
    clusters = rows.select(CLUSTERS.names).cast(CLUSTERS)
    writer.table("parquet", clusters.sort_by([("cluster", "ascending"), ("id", "ascending")]))
    _write_groups(writer, "verdicts.parquet", VERDICTS, _verdict_groups(rows, verdicts, ranks))
    _write_groups(writer, "gathered.parquet", GATHERED, _gathered_groups(job, names, ranks, verdicts))
    writer.commit(None, seconds=time.monotonic() - started)


def read_group(job: Job, kind: str, index: int) -> pa.Table:
    """What ``clusters.KIND.parquet`` says of one part, by its place among the parts."""
    with job.folder.open(f"clusters.{kind}.parquet") as stream:
        return pq.ParquetFile(stream).read_row_group(index)


def _signatures(job: Job, names: Sequence[str], ranks: Sequence[Ranks], compared: Ranks) -> Signature:
    """The signatures of the documents that stand in pairs, by rank; those of all would not fit in memory."""
    signatures = np.empty((len(compared), job.settings.num_perm), dtype=np.uint32)
    is_compared = np.zeros(sum(map(len, ranks)), dtype=np.bool_)
    is_compared[compared] = True
    for name, own in zip(names, ranks, strict=True):
        wanted = is_compared[own]
        if wanted.any():
            column = job.folder.read_table(name, ["signature"])["signature"]
            places = np.searchsorted(compared, own[wanted])
            signatures[places] = fixed_width(column, "<u4", job.settings.num_perm)[wanted]
    return signatures


def _ids(job: Job, names: Sequence[str], ranks: Sequence[Ranks]) -> pa.ChunkedArray:
    """The documents' ids by rank."""
    tables = [job.folder.read_table(name, ["id"]) for name in names]
    return pa.concat_tables(tables)["id"].take(pa.array(np.argsort(np.concatenate(ranks))))


def _verdict_rows(ids: pa.ChunkedArray, verdicts: Verdicts) -> pa.Table:
    """A row for each document that is not alone in its cluster, in the order of rank."""
    members = np.flatnonzero(verdicts.clustered)
    own = ids.take(pa.array(members))
    roots = verdicts.root[members]
    order = pc.sort_indices(
        pa.table({"root": roots, "id": own}), sort_keys=[("root", "ascending"), ("id", "ascending")]
    ).to_numpy()
    _, heads, cluster = np.unique(roots[order], return_index=True, return_inverse=True)
    smallest = np.empty_like(members)
    smallest[order] = order[heads][cluster]
    return pa.table(
        {
            "cluster": own.take(pa.array(smallest)),
            "id": own,
            "survivor": ids.take(pa.array(verdicts.survivor[members])),
            "similarity": pa.array(verdicts.similarity[members]),
            "kept": pa.array(verdicts.kept[members]),
            "exact": pa.array(verdicts.exact[members]),
        }
    )


def _verdict_groups(rows: pa.Table, verdicts: Verdicts, ranks: Sequence[Ranks]) -> Iterator[pa.Table]:
    place = np.cumsum(verdicts.clustered) - 1  # of a clustered document in rows
    for own in ranks:
        clustered = np.flatnonzero(verdicts.clustered[own])
        group = rows.take(pa.array(place[own[clustered]]))
        yield group.append_column("row", pa.array(clustered, pa.int32()))


def _gathered_groups(
    job: Job, names: Sequence[str], ranks: Sequence[Ranks], verdicts: Verdicts
) -> Iterator[pa.Table]:
    """What survivors take over, by the survivor's part and row, then by the removed document's rank."""
    columns = [field.name for field in GATHERED if field.name != "row"]
    removed = ~verdicts.kept
    tables = []
    for name, own in zip(names, ranks, strict=True):
        rows = np.flatnonzero(removed[own])
        tables.append(job.folder.read_table(name, columns).take(pa.array(rows)))
    taken = np.concatenate([own[removed[own]] for own in ranks])
    by_rank = pa.concat_tables(tables).take(pa.array(np.argsort(taken)))
    homes = np.empty(len(removed), dtype=np.int64)  # part and row of each document
    for index, own in enumerate(ranks):
        homes[own] = (index << 32) + np.arange(len(own))
    goals = homes[verdicts.survivor[removed]]
    order = np.argsort(goals, kind="stable")
    gathered = by_rank.take(pa.array(order)).append_column("row", pa.array(goals[order] & 0xFFFFFFFF))
    bounds = np.searchsorted(goals[order], np.arange(len(ranks) + 1) << 32)
    for start, stop in pairwise(bounds.tolist()):
        yield gathered.slice(start, stop - start)


def _write_groups(writer: PartWriter, suffix: str, schema: pa.Schema, groups: Iterable[pa.Table]) -> None:
    """Writes a table of one row group each."""
    num_rows = 0
    with writer.open(suffix) as sink, pq.ParquetWriter(sink, schema, compression="zstd") as file:
        for group in groups:
            file.write_table(group.select(schema.names).cast(schema), row_group_size=max(1, group.num_rows))
            num_rows += group.num_rows
    writer.rows(num_rows)
