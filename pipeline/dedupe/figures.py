"""What the table of clusters comes to: how many there are by size, and the largest of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

# Sizes as they are counted: the class and the fewest documents in it.
SIZES: Mapping[str, int] = {
    "2": 2,
    "3": 3,
    "4": 4,
    "5-9": 5,
    "10-99": 10,
    "100-999": 100,
    "1000+": 1000,
}

NUM_LARGEST = 10


@dataclass(frozen=True, slots=True)
class Cluster:
    """Documents that are alike: its name, how many, how many of them were removed, and for whom most were.

    The survivor may be another run's, which alone knows its URL: ``url`` is then empty.
    """

    name: str
    num_documents: int
    num_removed: int
    survivor: str
    url: str

    def to_json(self) -> dict[str, Any]:
        """As it stands in dedupe's manifest and in ``webtext status --json``."""
        return {
            "cluster": self.name,
            "documents": self.num_documents,
            "removed": self.num_removed,
            "survivor": self.survivor,
            "url": self.url,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Cluster":
        """The inverse of to_json."""
        return cls(*(value[key] for key in ("cluster", "documents", "removed", "survivor", "url")))


@dataclass(frozen=True, slots=True)
class ClusterFigures:
    """Clusters by the class of their size, each class of SIZES in its order; the largest, largest first."""

    sizes: Mapping[str, int]
    largest: Sequence[Cluster]

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``webtext status --json``."""
        return {"sizes": dict(self.sizes), "largest": [one.to_json() for one in self.largest]}

    def facts(self) -> dict[str, Any]:
        """As it stands in the facts of the part ``clusters``, and so in dedupe's."""
        value = self.to_json()
        return {"cluster_sizes": value["sizes"], "largest_clusters": value["largest"]}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "ClusterFigures | None":
        """The inverse of facts; None where they say nothing of clusters."""
        if "cluster_sizes" not in facts:
            return None
        sizes = {name: facts["cluster_sizes"].get(name, 0) for name in SIZES}
        return cls(sizes, tuple(Cluster.from_json(one) for one in facts.get("largest_clusters", ())))


def cluster_figures(clusters: pa.Table) -> ClusterFigures:
    """The figures of a table of CLUSTERS, counted by columns.

    A survivor of another run counts as a document of the cluster, though it has no row.
    """
    sizes = _sizes(clusters)
    least = pa.array(SIZES.values())
    by_class = {
        name: pc.sum(pc.and_(pc.greater_equal(sizes["documents"], low), pc.less(sizes["documents"], high)))
        for (name, low), high in zip(SIZES.items(), [*least.to_pylist()[1:], 1 << 62], strict=True)
    }
    order = [("documents", "descending"), ("cluster", "ascending")]
    first = sizes.sort_by(order).slice(0, NUM_LARGEST)
    members = clusters.filter(pc.is_in(clusters["cluster"], value_set=first["cluster"].combine_chunks()))
    return ClusterFigures(
        {name: num.as_py() or 0 for name, num in by_class.items()},
        tuple(_describe(members, row["cluster"], row["documents"]) for row in first.to_pylist()),
    )


def _sizes(clusters: pa.Table) -> pa.Table:
    """Each cluster and its number of documents: cluster, documents."""
    elsewhere = clusters.filter(pc.is_valid(clusters["run"])).select(["cluster", "run", "survivor"])
    others = elsewhere.group_by(["cluster", "run", "survivor"]).aggregate([])
    names = pa.concat_tables([clusters.select(["cluster"]), others.select(["cluster"])])
    return names.group_by("cluster").aggregate([([], "count_all")]).rename_columns(["cluster", "documents"])


def _describe(members: pa.Table, name: str, num_documents: int) -> Cluster:
    own = members.filter(pc.equal(members["cluster"], name))
    removed = own.filter(pc.invert(own["kept"]))
    counted = removed.group_by("survivor").aggregate([([], "count_all")])
    order = [("count_all", "descending"), ("survivor", "ascending")]
    survivor = counted.sort_by(order)["survivor"][0].as_py() if counted.num_rows else own["id"][0].as_py()
    urls = own.filter(pc.equal(own["id"], survivor))["url"]
    return Cluster(name, num_documents, removed.num_rows, survivor, urls[0].as_py() if len(urls) else "")
