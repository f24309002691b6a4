"""Clusters of near-duplicates: all of them, and the members of one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pipeline.inspector.catalogue.catalogue import Catalogue

CLUSTERS_A_PAGE = 50

Order = Literal["documents", "removed", "least", "most"]
ORDERS: tuple[Order, ...] = get_args(Order)

_ORDER_BY: Mapping[Order, str] = {
    "documents": "documents DESC",
    "removed": "removed DESC",
    "least": "least NULLS LAST",
    "most": "most DESC NULLS LAST",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster: how many documents it has and how many were removed, and the one that most stand for.

    ``least`` and ``most`` are the similarities of those removed to the documents kept in their place; None
    where none was removed. ``run`` names the run that has the survivor, where it is another.
    """

    id: str
    documents: int
    removed: int
    least: float | None
    most: float | None
    survivor: str
    url: str
    title: str | None
    run: str | None


@dataclass(frozen=True, slots=True)
class Member:
    """A document of a cluster; ``karma`` is None where this run does not know it."""

    id: str
    url: str
    survivor: str
    run: str | None
    similarity: float
    estimate: float
    kept: bool
    karma: int | None


def count_clusters(catalogue: Catalogue) -> int | None:
    """How many clusters have company; None where dedupe is not finished."""
    if "clusters" not in catalogue.contents.tables:
        return None
    return int(catalogue.rows("SELECT count(DISTINCT cluster) AS num FROM clusters")[0]["num"])


def list_clusters(catalogue: Catalogue, order: Order, page: int) -> list[Cluster]:
    """A page of the clusters, from 0."""
    rows = catalogue.rows(
        f"""
        SELECT cluster AS id, count(*) AS documents, count(*) FILTER (NOT kept) AS removed,
            min(similarity) FILTER (NOT kept) AS least, max(similarity) FILTER (NOT kept) AS most,
            mode(survivor) AS survivor, any_value(run) AS run, min(url) AS url
        FROM clusters GROUP BY cluster ORDER BY {_ORDER_BY[order]}, cluster LIMIT ? OFFSET ?
        """,  # noqa: S608 - our own pieces
        [CLUSTERS_A_PAGE, page * CLUSTERS_A_PAGE],
    )
    known = _documents(catalogue, [row["survivor"] for row in rows])
    return [Cluster(**{**row, "title": None, **known.get(row["survivor"], {})}) for row in rows]


def _documents(catalogue: Catalogue, ids: list[str]) -> dict[str, dict[str, Any]]:
    """Addresses and titles of documents by id."""
    rows = catalogue.rows("SELECT id, url, title FROM documents WHERE list_contains(?, id)", [ids])
    return {row["id"]: {"url": row["url"], "title": row["title"]} for row in rows}


def read_members(catalogue: Catalogue, cluster: str) -> list[Member]:
    """A cluster's documents, those that were kept first, then the most similar ones."""
    if "clusters" not in catalogue.contents.tables:
        return []
    karma = "links.karma" if "links" in catalogue.contents.tables else "NULL"
    join = "LEFT JOIN links USING (id)" if "links" in catalogue.contents.tables else ""
    rows = catalogue.rows(
        f"""
        SELECT id, members.url, survivor, run, similarity, estimate, kept, {karma} AS karma
        FROM (SELECT * FROM clusters WHERE cluster = ?) members {join}
        ORDER BY kept DESC, similarity DESC, id
        """,  # noqa: S608 - our own pieces
        [cluster],
    )
    return [Member(**row) for row in rows]


def cluster_of(catalogue: Catalogue, document_id: str) -> str | None:
    """The name of the cluster that a document shares with others."""
    if "clusters" not in catalogue.contents.tables:
        return None
    rows = catalogue.rows("SELECT cluster FROM clusters WHERE id = ? LIMIT 1", [document_id])
    return rows[0]["cluster"] if rows else None
