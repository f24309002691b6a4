"""What other thresholds of link and dedupe would change, as far as what is stored tells.

Those of filter are tried by pipeline/filter/what_if.py, on the measures of every document.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import duckdb

from pipeline.runs import Manifest

_KARMA = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
_SIMILARITY = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)

NUM_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class KarmaLevel:
    """What a least karma would leave; None where nothing stored tells."""

    least: int
    links: int | None
    documents: int | None
    words: int | None
    in_force: bool


@dataclass(frozen=True, slots=True)
class SimilarityLevel:
    """What would come back into the corpus if near-duplicates had to be so similar; None: not known."""

    threshold: float
    documents: int | None
    words: int | None
    in_force: bool


@dataclass(frozen=True, slots=True)
class Removed:
    """A document that dedupe removed, with the one that it kept in its place."""

    id: str
    url: str
    survivor: str
    similarity: float


def karma_levels(
    cursor: duckdb.DuckDBPyConnection, link: Manifest, tables: Collection[str], asked: int | None = None
) -> list[KarmaLevel]:
    """What each least karma would leave of the run's links and of its furthest documents.

    Below the threshold in force only link's own counts tell, of a few levels; their pages were never fetched.

    Args:
        cursor: Of the catalogue.
        link: The manifest of link.
        tables: The tables that there are.
        asked: A level besides the usual ones.
    """
    now = int(link.settings["min_karma"])
    counted = {int(least): num for least, num in link.facts[f"links_by_{link.settings['karma']}"].items()}
    columns = _columns(cursor, "documents") if "documents" in tables else set()
    tried = {now, *([] if asked is None else [asked])}
    levels = sorted({*_KARMA, *tried})
    known = [least for least in levels if least >= now]
    links = _at_least(cursor, "links", "NULL", known)
    levels = [least for least in levels if least in tried or links.get(least, (1, None))[0]]
    words = "num_words" if "num_words" in columns else "NULL"
    documents = _at_least(cursor, "documents", words, known) if columns else {}
    return [
        KarmaLevel(
            least,
            links[least][0] if least in links else counted.get(least),
            documents[least][0] if least in documents else None,
            documents[least][1] if least in documents else None,
            least == now,
        )
        for least in levels
    ]


def _at_least(
    cursor: duckdb.DuckDBPyConnection, table: str, words: str, levels: list[int]
) -> dict[int, tuple[int, int | None]]:
    """Of a table the rows with at least each karma, and the sum of their words."""
    rows = cursor.execute(
        f"SELECT karma, count(*), CAST(sum({words}) AS BIGINT) FROM {table} GROUP BY karma"  # noqa: S608 - ours
    ).fetchall()
    return {
        least: (
            sum(num for karma, num, _ in rows if karma >= least),
            None if words == "NULL" else sum(total for karma, _, total in rows if karma >= least),
        )
        for least in levels
    }


def similarity_levels(
    cursor: duckdb.DuckDBPyConnection, threshold: float, asked: float | None = None
) -> list[SimilarityLevel]:
    """How many removed documents are less similar than each threshold to the one kept in their place.

    Args:
        cursor: Of the catalogue; it has the clusters.
        threshold: The one in force.
        asked: A level besides the usual ones.
    """
    levels = sorted({*_SIMILARITY, threshold, *([] if asked is None else [asked])})
    found = {
        level: (num, words)
        for level, num, words in cursor.execute(
            """
            WITH gone AS (
                SELECT similarity, count(*) AS num, sum(num_words) AS words
                FROM clusters JOIN measured USING (id) WHERE NOT kept GROUP BY similarity
            )
            SELECT level, coalesce(sum(num), 0)::BIGINT, coalesce(sum(words), 0)::BIGINT
            FROM unnest($levels) levels(level) LEFT JOIN gone ON similarity < level::FLOAT GROUP BY level
            """,
            {"levels": [level for level in levels if level >= threshold]},
        ).fetchall()
    }
    return [SimilarityLevel(level, *found.get(level, (None, None)), level == threshold) for level in levels]


def coming_back(cursor: duckdb.DuckDBPyConnection, threshold: float) -> list[Removed]:
    """Some of the removed documents that are less similar than a threshold, the least similar first."""
    rows: list[tuple[Any, ...]] = cursor.execute(
        "SELECT id, url, survivor, similarity FROM clusters "
        "WHERE NOT kept AND similarity < $threshold::FLOAT ORDER BY similarity, id LIMIT $num",
        {"threshold": threshold, "num": NUM_EXAMPLES},
    ).fetchall()
    return [Removed(*row) for row in rows]


def _columns(cursor: duckdb.DuckDBPyConnection, table: str) -> set[str]:
    found = cursor.execute(f"SELECT * FROM {table} LIMIT 0").description  # noqa: S608 - ours
    return {name for name, *_ in found}
