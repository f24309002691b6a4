"""How fast texts were taken from pages."""

from pipeline.report.queries.query import Query

QUERIES = (
    Query(
        "extraction",
        "extractor_speed",
        "Speed of the extractor",
        "Pages that were fetched and the bytes of their bodies (megabytes: millions), over the seconds that "
        "extract took for each of its parts, added up: what one worker does, however many were at it. "
        "Reading the WARC files and joining links to the same page are in it.",
        ("extraction", "ledger"),
        """\
SELECT extractor, pages, round(seconds, 1) AS seconds,
       round(pages / nullif(seconds, 0), 2) AS pages_a_second,
       round(bytes / 1e6 / nullif(seconds, 0), 3) AS megabytes_a_second
FROM (SELECT extractor, sum(seconds ORDER BY part) AS seconds
      FROM extraction
      GROUP BY extractor HAVING count(seconds) = count(*))
     CROSS JOIN (SELECT count(*) AS pages, sum(bytes)::BIGINT AS bytes FROM ledger WHERE outcome = 'fetched')
WHERE pages > 0""",
    ),
)
