"""All batches' verdicts together: the table of clusters, and what each part of the corpus needs to know.

``clusters.parquet`` is for people: every document whose cluster has company. ``concluded.verdicts.parquet``
and ``concluded.gathered.parquet`` are for finishing the parts, one row group each: what becomes of the part's
documents, and what its survivors take over from those removed in their favour.

Strings are read only of the documents whose cluster has company.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dedupe.figures import cluster_figures
from pipeline.dedupe.groups import write_groups
from pipeline.dedupe.known import known_schema
from pipeline.dedupe.ranking import Ranks, read_all_ranks
from pipeline.records import CLUSTERS, TIME
from pipeline.runs import PartWriter
from pipeline.stages import Job, Planned

FINISHING = pa.schema(
    [
        pa.field("row", pa.int32(), nullable=False),  # in the filtered part
        pa.field("exact", pa.bool_(), nullable=False),  # removed, and its survivor has the very text
        pa.field("cluster_domain", pa.string(), nullable=False),
        pa.field("cluster_created", TIME),
        *(CLUSTERS.field(name) for name in ("cluster", "survivor", "run", "similarity", "kept")),
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


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What became of every document, by rank; the first ``num_known`` are those of other corpora.

    Attributes:
        originals: uint32 [documents], the best rank with the same text.
        survivor: uint32 [documents], the rank of the document that stays for it; its own where it is kept.
        similarity: float32 [documents], to that survivor; 1 where it is itself or a copy.
        estimate: float32 [documents], the same, by the signatures.
        root: uint32 [documents], the best rank in its cluster.
    """

    num_known: int
    originals: Ranks
    survivor: Ranks
    similarity: npt.NDArray[np.float32]
    estimate: npt.NDArray[np.float32]
    root: Ranks

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Whether a document stays: bool [documents]."""
        stays: npt.NDArray[np.bool_] = self.survivor == np.arange(len(self.survivor), dtype=np.uint32)
        return stays

    @property
    def exact(self) -> npt.NDArray[np.bool_]:
        """Whether a document was removed and has the very text of its survivor: bool [documents]."""
        copies: npt.NDArray[np.bool_] = (self.survivor == self.originals) & ~self.kept
        return copies

    @property
    def in_company(self) -> npt.NDArray[np.bool_]:
        """Whether a document's cluster has another one: bool [documents]."""
        sizes = np.bincount(self.root, minlength=len(self.root))
        shared: npt.NDArray[np.bool_] = sizes[self.root] > 1
        return shared

    def most_texts(self) -> int:
        """How many different texts the cluster has that has most."""
        everyone = np.arange(len(self.root), dtype=np.uint32)
        return int(np.bincount(self.root[self.originals == everyone]).max(initial=0))


def pass_verdicts(originals: Ranks, num_known: int, batches: Iterable[pa.Table]) -> Verdicts:
    """The verdicts on all documents, from those on the batches (VERDICTS).

    A copy shares the fate of its original, whose text is its own.
    """
    everyone = np.arange(len(originals), dtype=np.uint32)
    survivor, root = everyone.copy(), everyone.copy()
    similarity = np.ones(len(originals), dtype=np.float32)
    estimate = similarity.copy()
    for table in batches:
        ranks = table["rank"].to_numpy()
        for values, name in (
            (survivor, "survivor"),
            (similarity, "similarity"),
            (estimate, "estimate"),
            (root, "root"),
        ):
            values[ranks] = table[name].to_numpy()
    verdicts = Verdicts(
        num_known, originals, survivor[originals], similarity[originals], estimate[originals], root[originals]
    )
    # Of another corpus everything stays, a copy of its own too.
    verdicts.survivor[:num_known] = everyone[:num_known]
    return verdicts


def guarded(verdicts: Verdicts) -> dict[str, Any]:
    """What the guard looks at, as it stands in the facts of the part ``concluded``."""
    return {"removed": int((~verdicts.kept).sum()), "most_texts": verdicts.most_texts()}


class Company(NamedTuple):
    """The documents whose cluster has company, in the order of rank: this run's, and those of others."""

    own: pa.Table  # _OWN, with rank, table and row
    known: pa.Table  # _KNOWN, with rank; only those that a cluster begins with, or that stay for one of ours


_OF_CLUSTERS = ["cluster", "cluster_domain", "cluster_created"]
_OWN = ["id", "url", "domain", "created"]
_KNOWN = ["id", "run", *_OF_CLUSTERS]


def conclude(job: Job, parts: Sequence[Planned]) -> None:
    """Writes the parts ``clusters`` and ``concluded``, or the one of them that is missing."""
    started = time.monotonic()
    spec = parts[0].spec
    ranked = read_all_ranks(job, parts[0])
    num_own = len(spec["signed"])
    own_ranks = [ranks for ranks, _ in ranked[:num_own]]
    originals = np.concatenate([one for _, one in ranked])
    originals = originals[np.argsort(np.concatenate([ranks for ranks, _ in ranked]))]
    num_known = sum(len(ranks) for ranks, _ in ranked[num_own:])
    batches = (job.folder.read_table(name) for name in spec["verdicts"])
    verdicts = pass_verdicts(originals, num_known, batches)
    company = _read_company(job, spec["signed"], spec["known"], own_ranks, verdicts)
    rows = _describe(company, verdicts)
    del company
    for part in parts:
        writer = PartWriter(job.folder, part.name, part.fingerprint)
        if part.scratch:
            facts = guarded(verdicts)
            write_groups(writer, "verdicts.parquet", FINISHING, _of_tables(rows, FINISHING, num_own))
            gathered = _gather(job, spec["signed"], own_ranks, verdicts)
            write_groups(writer, "gathered.parquet", GATHERED, _of_tables(gathered, GATHERED, num_own))
        else:
            clusters = rows.select(CLUSTERS.names).sort_by([("cluster", "ascending"), ("id", "ascending")])
            clusters = clusters.cast(CLUSTERS)
            writer.table("parquet", clusters)
            facts = cluster_figures(clusters).facts()
        writer.commit(None, seconds=time.monotonic() - started, facts=facts)


def _read_company(
    job: Job, signed: Sequence[str], known: Sequence[str], own_ranks: Sequence[Ranks], verdicts: Verdicts
) -> Company:
    in_company = verdicts.in_company
    own = []
    for number, (name, ranks) in enumerate(zip(signed, own_ranks, strict=True)):
        rows = np.flatnonzero(in_company[ranks])
        table = job.folder.read_table(name, _OWN).take(pa.array(rows))
        table = table.append_column("rank", pa.array(ranks[rows]))
        table = table.append_column("table", pa.array(np.full(len(rows), number, dtype=np.int32)))
        own.append(table.append_column("row", pa.array(rows, pa.int32())))
    wanted = np.zeros(verdicts.num_known, dtype=np.bool_)
    for ranks in (verdicts.survivor[verdicts.num_known :], verdicts.root[verdicts.num_known :]):
        wanted[ranks[ranks < verdicts.num_known]] = True
    others, start = [], 0
    for name in known:
        table = job.folder.read_table(name, _KNOWN)
        places = np.flatnonzero(wanted[start : start + table.num_rows])
        ranks = (places + start).astype(np.uint32)
        others.append(table.take(pa.array(places)).append_column("rank", pa.array(ranks)))
        start += table.num_rows
    none = known_schema(job.settings.num_perm).empty_table().select(_KNOWN)
    none = none.append_column("rank", pa.array([], pa.uint32()))
    return Company(pa.concat_tables(own).sort_by("rank"), pa.concat_tables(others or [none]))


def _describe(company: Company, verdicts: Verdicts) -> pa.Table:
    """A row for each document of this run that is in company, by rank: all of CLUSTERS and FINISHING."""
    own, known = company
    ranks = own["rank"].to_numpy()
    roots, survivors = verdicts.root[ranks], verdicts.survivor[ranks]
    clusters = _clusters(company, roots)
    place = pa.array(np.searchsorted(clusters["root"].to_numpy(), roots))
    known_survivor = known.select(["id", "run"]).take(_places(known["rank"].to_numpy(), survivors))
    own_survivor = own.select(["id"]).take(_places(ranks, survivors))
    return pa.table(
        {
            **{name: clusters[name].take(place) for name in _OF_CLUSTERS},
            **{name: own[name] for name in ("id", "url", "table", "row")},
            "survivor": pc.coalesce(known_survivor["id"], own_survivor["id"]),
            "run": known_survivor["run"],
            "similarity": pa.array(verdicts.similarity[ranks]),
            "estimate": pa.array(verdicts.estimate[ranks]),
            "kept": pa.array(verdicts.kept[ranks]),
            "exact": pa.array(verdicts.exact[ranks]),
        }
    )


def _places(among: Ranks, ranks: Ranks) -> pa.Array:
    """Where each rank stands among ascending ones; null where it does not."""
    places = np.searchsorted(among, ranks)
    found = np.zeros(len(ranks), dtype=np.bool_)
    inside = places < len(among)
    found[inside] = among[places[inside]] == ranks[inside]
    return pa.array(places, pa.int64(), mask=~found)


def _clusters(company: Company, roots: Ranks) -> pa.Table:
    """The clusters, ascending by their root: its name, its best document's domain, and its first submission.

    A cluster that begins with a document of another corpus goes by that one's name and domain, so that both
    are on one side of every split.
    """
    own, known = company
    by_root = own.select(["id", "created", "rank"]).append_column("root", pa.array(roots))
    least = [(name, "min") for name in ("id", "created", "rank")]
    grouped = by_root.group_by("root", use_threads=False).aggregate(least).sort_by("root")
    among_known = _places(known["rank"].to_numpy(), grouped["root"].to_numpy())
    among_own = _places(own["rank"].to_numpy(), grouped["rank_min"].to_numpy())
    times = grouped["created_min"], known["cluster_created"].take(among_known)
    created = pc.min_element_wise(*(one.cast(pa.int64()) for one in times), skip_nulls=True).cast(TIME)
    return pa.table(
        {
            "root": grouped["root"],
            "cluster": pc.coalesce(known["cluster"].take(among_known), grouped["id_min"]),
            "cluster_domain": pc.coalesce(
                known["cluster_domain"].take(among_known), own["domain"].take(among_own)
            ),
            "cluster_created": created,
        }
    )


def _gather(job: Job, signed: Sequence[str], own_ranks: Sequence[Ranks], verdicts: Verdicts) -> pa.Table:
    """What this run's survivors take over, by the removed document's rank: GATHERED and the table."""
    columns = ["submissions", "subreddits", "created"]
    goes = ~verdicts.kept & (verdicts.survivor >= verdicts.num_known)
    homes = np.empty(len(goes), dtype=np.int64)  # table and row of each document
    taken = []
    for number, (name, ranks) in enumerate(zip(signed, own_ranks, strict=True)):
        homes[ranks] = (number << 32) + np.arange(len(ranks))
        rows = np.flatnonzero(goes[ranks])
        table = job.folder.read_table(name, columns).take(pa.array(rows))
        taken.append(table.append_column("rank", pa.array(ranks[rows])))
    gathered = pa.concat_tables(taken).sort_by("rank")
    survivors = homes[verdicts.survivor[gathered["rank"].to_numpy()]]
    gathered = gathered.append_column("table", pa.array(survivors >> 32))
    return gathered.append_column("row", pa.array(survivors & 0xFFFFFFFF))


def _of_tables(rows: pa.Table, schema: pa.Schema, num_tables: int) -> Iterator[pa.Table]:
    """The rows of each table, by its own rows, and then as they are."""
    tables, own_rows = rows["table"].to_numpy(), rows["row"].to_numpy()
    order = np.lexsort((own_rows, tables))
    bounds = np.searchsorted(tables[order], np.arange(num_tables + 1))
    sorted_rows = rows.select(schema.names).take(pa.array(order)).cast(schema)
    for start, stop in pairwise(bounds.tolist()):
        yield sorted_rows.slice(start, stop - start)
