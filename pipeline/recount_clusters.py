"""What dedupe says of its documents, told again from its tables: for verify.

Each document that was removed names a survivor, with which it stands in the table of clusters; each survivor
is in the corpus; and what is in no cluster is in one of its own. A document that was taken out of the run on
request afterwards is in no table: as a survivor, or as what a cluster is named after, it may be missing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dedupe.figures import cluster_figures
from pipeline.records import CLUSTERS, CORPUS, REJECTED, Reason
from pipeline.runs import MANIFEST, Folder, Manifest

CLUSTERS_PARQUET = "clusters.parquet"

_CORPUS_COLUMNS = ["id", "created", "cluster", "cluster_domain", "cluster_created"]
_REJECTED_COLUMNS = ["id", "reason", "value"]
_DUPLICATES = [str(one) for one in (Reason.EXACT_DUPLICATE, Reason.NEAR_DUPLICATE, Reason.OPT_OUT)]
_VALUE = r"(?s)^(?P<survivor>\S+) (?P<similarity>\d+(?:\.\d+)?)(?: (?P<run>.+))?$"
_ROUNDED = 0.000501  # half of the last digit of the similarity in a rejection's value

Wrong = tuple[str, str]  # a file's name, and what is wrong with it


@dataclass(frozen=True, slots=True)
class _Rows:
    """A table of several files: ``part`` is the file that a row is of, by its place in ``files``."""

    table: pa.Table
    files: Sequence[str]

    @classmethod
    def read(cls, folder: Folder, files: Sequence[str], columns: list[str], schema: pa.Schema) -> "_Rows":
        tables = [pa.schema([schema.field(name) for name in columns]).empty_table()]
        tables += [folder.read_table(name, columns) for name in files]
        sizes = np.array([table.num_rows for table in tables[1:]], dtype=np.int64)
        places = np.repeat(np.arange(len(files), dtype=np.int32), sizes)
        return cls(pa.concat_tables(tables).append_column("part", pa.array(places)), files)

    def __getitem__(self, column: str) -> pa.ChunkedArray:
        return self.table[column]

    def where(self, mask: pa.ChunkedArray) -> "_Rows":
        return _Rows(self.table.filter(mask), self.files)

    def wrong(self, mask: pa.ChunkedArray, what: str) -> Iterator[Wrong]:
        """A sentence for each file of which rows are wrong: how many, and one of them; null is not wrong."""
        found = self.table.select(["part", "id"]).filter(mask)
        by_file = found.group_by("part").aggregate([([], "count_all"), ("id", "min")])
        for row in by_file.sort_by("part").to_pylist():
            yield self.files[row["part"]], f"{row['count_all']:,} documents {what}, as {row['id_min']}"


def recount_clusters(folder: Folder, manifest: Manifest, gone: pa.Array) -> Iterator[Wrong]:
    """What is wrong with a corpus and its clusters: a file's name, and what is wrong with it in words.

    All is done by columns, and the ids of all documents are in memory: some hundred bytes a document.

    Args:
        folder: The stage's.
        manifest: The stage's.
        gone: The ids of documents that were taken out of the run on request.
    """
    names = [part.name for part in manifest.counted()]
    corpus = _Rows.read(folder, [f"{name}.parquet" for name in names], _CORPUS_COLUMNS, CORPUS)
    files = [f"{name}.rejected.parquet" for name in names]
    removed = _Rows.read(folder, files, _REJECTED_COLUMNS, REJECTED)
    clusters = _Rows.read(folder, [CLUSTERS_PARQUET] if names else [], CLUSTERS.names, CLUSTERS)
    removed_ids = _whole(removed["id"])
    yield from corpus.wrong(_among(corpus["id"], removed_ids), "were removed as well")
    for ids, where in ((corpus["id"], "in the corpus"), (removed["id"], "removed")):
        num = pc.count_distinct(ids).as_py()
        if num != len(ids):
            yield MANIFEST, f"the {len(ids):,} documents {where} have only {num:,} different ids"
    yield from _wrong_corpus(corpus, clusters, removed_ids, gone)
    yield from _wrong_removals(removed, clusters, manifest.settings["threshold"], gone)
    kept_ids = _whole(corpus.where(_among(corpus["id"], _whole(clusters["id"])))["id"])
    yield from _wrong_clusters(clusters, kept_ids, removed_ids, gone)
    yield from _wrong_names(clusters, removed_ids, gone)
    for name, expected in cluster_figures(clusters.table).facts().items() if names else ():
        if manifest.facts.get(name) != expected:
            yield MANIFEST, f"its {name} is not that of {CLUSTERS_PARQUET}"


def _wrong_corpus(corpus: _Rows, clusters: _Rows, removed_ids: pa.Array, gone: pa.Array) -> Iterator[Wrong]:
    """The corpus against the table of clusters, and what divides it into splits."""
    ids, cluster = corpus["id"], corpus["cluster"]
    rows = _look_up(ids, clusters, ["kept", "cluster"])
    yield from corpus.wrong(pc.invert(rows["kept"]), f"stand as removed in {CLUSTERS_PARQUET}")
    other = pc.not_equal(rows["cluster"], cluster)
    yield from corpus.wrong(other, f"are in another cluster in {CLUSTERS_PARQUET}")
    strange = pc.and_(
        pc.not_equal(cluster, ids), pc.invert(_may_be_gone(cluster, clusters, removed_ids, gone))
    )
    alone = pc.and_(pc.is_null(rows["kept"]), strange)
    yield from corpus.wrong(alone, f"name another's cluster, and are not in {CLUSTERS_PARQUET}")
    late = pc.fill_null(pc.greater(corpus["cluster_created"], corpus["created"]), False)
    untold = pc.and_(pc.is_null(corpus["cluster_created"]), pc.is_valid(corpus["created"]))
    yield from corpus.wrong(pc.or_(late, untold), "are older than their cluster_created")
    yield from _wrong_keys(corpus.where(pc.is_valid(rows["kept"])))


def _wrong_keys(clustered: _Rows) -> Iterator[Wrong]:
    """What divides a cluster into splits is the same for all of it that is kept."""
    columns = ["cluster_domain", "cluster_created"]
    by_cluster = clustered.table.group_by("cluster", use_threads=False)  # the first of a group needs an order
    first = by_cluster.aggregate([(name, "first") for name in columns])
    firsts = first.take(pc.index_in(clustered["cluster"], value_set=_whole(first["cluster"])))
    for name in columns:
        own, theirs = clustered[name], firsts[f"{name}_first"]
        same = pc.or_(
            pc.fill_null(pc.equal(own, theirs), False), pc.and_(pc.is_null(own), pc.is_null(theirs))
        )
        yield from clustered.wrong(pc.invert(same), f"have another {name} than others of their cluster")


def _wrong_removals(removed: _Rows, clusters: _Rows, threshold: float, gone: pa.Array) -> Iterator[Wrong]:
    """The removed documents against the table of clusters."""
    removed = removed.where(_among(removed["reason"], pa.array(_DUPLICATES)))
    told = pc.extract_regex(removed["value"], _VALUE)
    yield from removed.wrong(pc.is_null(told), "have a value that is not SURVIVOR SIMILARITY [RUN]")
    removed, told = removed.where(pc.is_valid(told)), told.filter(pc.is_valid(told))
    survivor, similarity, run = (pc.struct_field(told, name) for name in ("survivor", "similarity", "run"))
    rows = _look_up(removed["id"], clusters, ["survivor", "run", "similarity", "kept"])
    # What was alone with a survivor that was taken out has lost its row.
    missing = pc.and_(pc.is_null(rows["kept"]), pc.invert(_among(survivor, gone)))
    yield from removed.wrong(missing, f"are not in {CLUSTERS_PARQUET}")
    yield from removed.wrong(rows["kept"], f"stand as kept in {CLUSTERS_PARQUET}")
    elsewhere = pc.not_equal(pc.fill_null(rows["run"], ""), run)
    other = pc.or_(pc.not_equal(rows["survivor"], survivor), elsewhere)
    yield from removed.wrong(other, f"have another survivor in {CLUSTERS_PARQUET}")
    said, decided = pc.cast(similarity, pa.float64()), pc.cast(rows["similarity"], pa.float64())
    off = pc.greater(pc.abs(pc.subtract(said, decided)), _ROUNDED)
    yield from removed.wrong(off, f"have another similarity in {CLUSTERS_PARQUET}")
    exact = pc.equal(removed["reason"], Reason.EXACT_DUPLICATE.value)
    low = pc.less(rows["similarity"], pa.scalar(threshold, pa.float32()))
    what = f"were removed with a similarity under {threshold}"
    yield from removed.wrong(pc.and_(pc.invert(exact), low), what)
    unlike = pc.not_equal(rows["similarity"], pa.scalar(1, pa.float32()))
    yield from removed.wrong(pc.and_(exact, unlike), "are exact duplicates with a similarity that is not 1")


def _wrong_clusters(
    clusters: _Rows, kept_ids: pa.Array, removed_ids: pa.Array, gone: pa.Array
) -> Iterator[Wrong]:
    """The table of clusters in itself, and against those of its ids that the corpus has, and the removed."""
    ids, kept, survivor = clusters["id"], clusters["kept"], clusters["survivor"]
    num = pc.count_distinct(ids).as_py()
    if num != len(ids):
        yield CLUSTERS_PARQUET, f"its {len(ids):,} rows are of only {num:,} documents"
    absent = pc.and_(kept, pc.invert(_among(ids, kept_ids)))
    yield from clusters.wrong(absent, "are kept, but not in the corpus")
    present = pc.and_(pc.invert(kept), pc.invert(_among(ids, removed_ids)))
    yield from clusters.wrong(present, "are removed, but not among the rejected")
    for_itself = pc.and_(pc.equal(survivor, ids), pc.is_null(clusters["run"]))
    yield from clusters.wrong(pc.xor(kept, for_itself), "are kept for another, or removed for themselves")
    here = pc.and_(pc.is_null(clusters["run"]), pc.invert(_among(survivor, gone)))
    lost = pc.and_(here, pc.invert(_among(survivor, kept_ids)))
    yield from clusters.wrong(lost, "have a survivor that was not kept")
    theirs = _look_up(survivor, clusters, ["cluster"])["cluster"]
    apart = pc.fill_null(pc.not_equal(theirs, clusters["cluster"]), True)
    yield from clusters.wrong(pc.and_(here, apart), "are in another cluster than their survivor")


def _wrong_names(clusters: _Rows, removed_ids: pa.Array, gone: pa.Array) -> Iterator[Wrong]:
    """A cluster has the name of its smallest id; one that is joined to another run's, has that one's."""
    least = clusters.table.group_by("cluster").aggregate([("id", "min"), ("run", "count")])
    names = least["cluster"]
    wrong = pc.and_(pc.not_equal(names, least["id_min"]), pc.equal(least["run_count"], 0))
    wrong = pc.and_(wrong, pc.invert(_may_be_gone(names, clusters, removed_ids, gone)))
    of_clusters = _among(clusters["cluster"], _whole(names.filter(wrong)))
    yield from clusters.wrong(of_clusters, "are in a cluster that is not named after its smallest id")


def _may_be_gone(
    names: pa.ChunkedArray, clusters: _Rows, removed_ids: pa.Array, gone: pa.Array
) -> pa.ChunkedArray:
    """Whether a name may be of what was taken out, or of what that had joined a cluster to in another run."""
    if not len(gone):
        return pc.is_null(names)
    present = pc.or_(_among(names, _whole(clusters["id"])), _among(names, removed_ids))
    return pc.or_(_among(names, gone), pc.invert(present))


def _look_up(ids: pa.ChunkedArray, clusters: _Rows, columns: list[str]) -> pa.Table:
    """What the table of clusters says of these documents, in their order; nulls where it has none."""
    return clusters.table.select(columns).take(pc.index_in(ids, value_set=_whole(clusters["id"])))


def _among(values: pa.ChunkedArray, these: pa.Array) -> pa.ChunkedArray:
    return pc.is_in(values, value_set=these)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
