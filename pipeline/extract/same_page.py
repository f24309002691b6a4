"""Links whose pages have the same URL, in the end or by their own word, become one document."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.extract.sketch import are_alike, sketch
from pipeline.records import DOCUMENTS, REJECTED, Reason
from pipeline.urls import Url, parse

NUM_PARTITIONS = 64

# A document's places: the URL at which it was found, and the one that it declares, where that is another.
PLACES = pa.schema(
    [
        pa.field("key", pa.binary(16), nullable=False),  # hash of the URL's canonical form
        pa.field("found", pa.bool_(), nullable=False),  # there, and not only declared
        pa.field("part", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
    ]
)

_TAKEN_OVER = ["id", "karma", "submissions", "subreddits", "created"]
MEMBER_COLUMNS = [*_TAKEN_OVER, "text"]  # of documents, of which members are made

# What tells whether documents that share a place are one, and what the one that stays takes over.
MEMBERS = pa.schema(
    [
        *PLACES,
        *(DOCUMENTS.field(name) for name in _TAKEN_OVER),
        pa.field("sketch", pa.binary(), nullable=False),  # of the text
    ]
)


class Absorbed(NamedTuple):
    """A document that goes, and the one that it becomes a part of."""

    id: str
    survivor: str


class Joined(NamedTuple):
    """A document that stays, and what it has from all that are the same page."""

    id: str
    karma: int
    submissions: list[str]
    subreddits: list[str]
    created: datetime | None  # the earliest that any of them tells


def places(documents: pa.Table, part: int) -> Iterator[tuple[int, pa.Table]]:
    """The documents' rows of PLACES, one table for each partition of the keys that has any."""
    rows = []
    told = (documents[name].to_pylist() for name in ("id", "final_url", "canonical_url"))
    for row, (document_id, final_url, canonical_url) in enumerate(zip(*told, strict=True)):
        final = parse(final_url)
        key = bytes.fromhex(document_id) if final is None else final.key
        rows.append((key, True, part, row))
        declared = _declared(canonical_url, final)
        if declared is not None and declared != key:
            rows.append((declared, False, part, row))
    if not rows:
        return
    columns = zip(PLACES, zip(*rows, strict=True), strict=True)
    table = pa.table([pa.array(values, field.type) for field, values in columns], schema=PLACES)
    partitions = np.array([row[0][0] % NUM_PARTITIONS for row in rows])
    for partition in np.unique(partitions).tolist():
        yield partition, table.take(np.flatnonzero(partitions == partition))


def _declared(canonical_url: str | None, final: Url | None) -> bytes | None:
    """The key of the URL that a page declares; None where it declares none that can be believed.

    Sites that get it wrong name their front page on every page.
    """
    declared = parse(canonical_url) if canonical_url else None
    if declared is None or (_is_front(declared) and not (final and _is_front(final))):
        return None
    return declared.key


def _is_front(url: Url) -> bool:
    return url.path in ("", "/") and not url.query


def shared(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """Of all rows of PLACES of some keys those whose key others have too, by their parts."""
    ordered = table.sort_by([("key", "ascending")])
    keys = ordered["key"].combine_chunks()
    is_next = np.zeros(len(keys) + 1, bool)  # whether a row has the key of the row before it
    is_next[1:-1] = pc.equal(keys[1:], keys[:-1]).to_numpy(zero_copy_only=False)
    several = ordered.take(np.flatnonzero(is_next[:-1] | is_next[1:]))
    for part in several["part"].unique().to_pylist():
        yield part, several.filter(pc.equal(several["part"], part))


def members(documents: pa.Table, rows: pa.Table) -> pa.Table:
    """Rows of MEMBERS for rows of PLACES, given the documents of their part."""
    of_documents = documents.take(rows["row"])
    sketches = [sketch(text) for text in of_documents["text"].to_pylist()]
    taken = [of_documents[name] for name in _TAKEN_OVER]
    return pa.table([*rows.columns, *taken, pa.array(sketches, pa.binary())], schema=MEMBERS)


def find_same_pages(table: pa.Table, karma: str) -> Iterator[tuple[int, Absorbed | Joined]]:
    """What changes in which part, given all rows of MEMBERS, in any order.

    Documents found at one URL are one. One that only declares the URL is another's too where their texts are
    alike: a site that declares one URL on pages that differ is in error.

    Args:
        table: The rows.
        karma: How a link's karma comes from its submissions: "max" or "sum".
    """
    rows = sorted(table.to_pylist(), key=lambda row: (row["key"], *_rank(row)))
    leader: dict[str, str] = {row["id"]: row["id"] for row in rows}
    for _, group in groupby(rows, key=itemgetter("key")):
        first, *others = sorted(group, key=lambda row: not row["found"])
        for other in others:
            if other["found"] or are_alike(first["sketch"], other["sketch"]):
                leader[_root(leader, other["id"])] = _root(leader, first["id"])
    by_root: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_root.setdefault(_root(leader, row["id"]), {})[row["id"]] = row
    for one in by_root.values():
        if len(one) > 1:
            survivor, *absorbed = sorted(one.values(), key=_rank)
            yield survivor["part"], _join(survivor, absorbed, karma)
            for other in absorbed:
                yield other["part"], Absorbed(other["id"], survivor["id"])


def _root(leader: dict[str, str], name: str) -> str:
    while leader[name] != name:
        leader[name] = name = leader[leader[name]]
    return name


def _rank(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The first by this stays: the highest karma, then the oldest that tells its time, then the least id."""
    created = row["created"]
    return (-row["karma"], created is None, created, row["id"])


def _join(survivor: Mapping[str, Any], others: list[dict[str, Any]], karma: str) -> Joined:
    every = [survivor, *others]
    return Joined(
        id=survivor["id"],
        karma=sum(row["karma"] for row in every) if karma == "sum" else survivor["karma"],
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
