"""What was linked, and how it was voted for."""

from pipeline.collect.months import DEFINITION
from pipeline.report.queries.query import Query

QUERIES = (
    Query(
        "links",
        "month_shares",
        "Scores by month",
        "Of each month's (UTC) submissions that collect kept, those of lists left out, the share with a "
        f"score of 3 or more. {DEFINITION}",
        ("posts_by_month",),
        """\
SELECT month, posts, posts_3, round(posts_3 / posts, 4) AS share_3, out_of_line
FROM posts_by_month
ORDER BY month""",
    ),
    Query(
        "links",
        "karma_threshold",
        "Links by least karma",
        "How many links each least karma would let through, a link's karma being its best submission's score "
        "(max) or that of all its submissions together (sum); what owners asked to leave out is not counted.",
        ("links_by_karma",),
        """\
SELECT least_karma, links_by_max, links_by_sum
FROM links_by_karma
ORDER BY least_karma""",
    ),
    Query(
        "links",
        "karma",
        "Karma",
        "Documents of the corpus by their link's karma; each class reaches to twice where it begins, "
        "and the first has all below 2.",
        ("corpus",),
        """\
SELECT (2 ** floor(log2(greatest(karma, 1))))::BIGINT AS karma_from, count(*) AS documents
FROM corpus
GROUP BY karma_from ORDER BY karma_from""",
    ),
)
