"""Links that ended at the same URL become one document."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.records import DOCUMENTS, REJECTED, Reason
from pipeline.urls import parse

NUM_PARTITIONS = 64

# What finds documents with the same final URL and says what the one that stays takes over.
ENDS = pa.schema(
    [
        pa.field("key", pa.binary(16), nullable=False),  # hash of the final URL's canonical form
        pa.field("part", pa.int32(), nullable=False),
        *(DOCUMENTS.field(name) for name in ("id", "karma", "submissions", "subreddits", "created")),
    ]
)

# The first of these stays; a document that tells no time comes behind those that do.
_ORDER = [("key", "ascending"), ("karma", "descending"), ("created", "ascending"), ("id", "ascending")]


class Absorbed(NamedTuple):
    """A document that goes, and the one that it becomes a part of."""

    id: str
    survivor: str


class Joined(NamedTuple):
    """A document that stays, and what it has from all that ended at its URL."""

    id: str
    karma: int
    submissions: list[str]
    subreddits: list[str]
    created: datetime | None  # the earliest that any of them tells


def ends(documents: pa.Table, part: int) -> Iterator[tuple[int, pa.Table]]:
    """The documents' rows of ENDS, one table for each partition of the keys that has any."""
    if documents.num_rows == 0:
        return
    ids, final_urls = documents["id"].to_pylist(), documents["final_url"].to_pylist()
    keys = [_key(*row) for row in zip(ids, final_urls, strict=True)]
    table = pa.table(
        [
            pa.array(keys, pa.binary(16)),
            pa.array(np.full(len(keys), part, np.int32)),
            *(documents[name] for name in ENDS.names[2:]),
        ],
        schema=ENDS,
    )
    partitions = np.array([key[0] % NUM_PARTITIONS for key in keys])
    for partition in np.unique(partitions).tolist():
        yield partition, table.take(np.flatnonzero(partitions == partition))


def _key(document_id: str, final_url: str) -> bytes:
    url = parse(final_url)
    return bytes.fromhex(document_id) if url is None else url.key


def find_same_pages(table: pa.Table) -> Iterator[tuple[int, Absorbed | Joined]]:
    """What changes in which part, given all rows of ENDS of some keys, in any order."""
    ordered = table.sort_by(_ORDER)
    keys = ordered["key"].combine_chunks()
    is_next = np.zeros(len(keys) + 1, bool)  # whether a row has the key of the row before it
    is_next[1:-1] = pc.equal(keys[1:], keys[:-1]).to_numpy(zero_copy_only=False)
    shared = ordered.take(np.flatnonzero(is_next[:-1] | is_next[1:]))
    for _, rows in groupby(shared.to_pylist(), key=itemgetter("key")):
        survivor, *others = rows
        yield survivor["part"], _join(survivor, others)
        for other in others:
            yield other["part"], Absorbed(other["id"], survivor["id"])


def _join(survivor: Mapping[str, Any], others: list[dict[str, Any]]) -> Joined:
    every = [survivor, *others]
    return Joined(
        id=survivor["id"],
        karma=survivor["karma"],  # the highest
        submissions=list(dict.fromkeys(one for row in every for one in row["submissions"])),
        subreddits=sorted({one for row in every for one in row["subreddits"]}),
        created=min((row["created"] for row in every if row["created"] is not None), default=None),
    )


def settle(
    documents: pa.Table, rejected: pa.Table, changes: Iterable[Absorbed | Joined]
) -> tuple[pa.Table, pa.Table]:
    """A part's documents and rejected after the changes; the documents that go are SAME_PAGE."""
    by_id = {change.id: change for change in changes}
    if not by_id:
        return documents, rejected
    kept, absorbed = [], []
    for row in documents.to_pylist():
        change = by_id.get(row["id"])
        if isinstance(change, Absorbed):
            absorbed.append(
                {"id": row["id"], "url": row["url"], "reason": Reason.SAME_PAGE, "value": change.survivor}
            )
        else:
            kept.append(row if change is None else row | change._asdict())
    return (
        pa.Table.from_pylist(kept, DOCUMENTS),
        pa.concat_tables([rejected, pa.Table.from_pylist(absorbed, REJECTED)]),
    )
