"""Groups of documents that are alike."""

from pipeline.dedupe.figures import SIZES
from pipeline.report.queries.query import Query

_SIZES = "\n".join(
    f"            WHEN num >= {least} THEN '{name}'" for name, least in reversed(list(SIZES.items()))
)

QUERIES = (
    Query(
        "duplicates",
        "cluster_sizes",
        "Clusters of duplicates",
        "Groups of documents that are alike by the number of documents in them; with those of other runs in "
        "whose favour some were removed.",
        ("clusters",),
        f"""\
SELECT CASE
{_SIZES}
       END AS documents, count(*) AS clusters
FROM (SELECT count(*) + count(DISTINCT CASE WHEN run IS NOT NULL THEN run || ' ' || survivor END) AS num
      FROM clusters GROUP BY cluster)
WHERE num > 1
GROUP BY documents ORDER BY min(num)""",  # noqa: S608 - our own classes
    ),
    Query(
        "duplicates",
        "similarities",
        "Similarity of duplicates",
        "Documents removed as duplicates by their Jaccard similarity to the one kept; 1 where equal.",
        ("clusters",),
        """\
SELECT floor(round(similarity::DOUBLE, 3) * 20) / 20 AS similarity_from, count(*) AS documents
FROM clusters
WHERE NOT kept
GROUP BY similarity_from ORDER BY similarity_from""",
    ),
)
