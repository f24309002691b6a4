"""How fetching went."""

from pipeline.fetch.figures import CLASSES
from pipeline.report.queries.query import Query

_CLASSES = "\n".join(
    "            WHEN outcome IN ({}) THEN '{}'".format(
        ", ".join(f"'{reason}'" for reason, of in CLASSES.items() if of == name), name
    )
    for name in dict.fromkeys(CLASSES.values())
)

QUERIES = (
    Query(
        "fetch",
        "fetch_outcomes",
        "Fetch outcomes",
        "What became of each link, at its last try.",
        ("ledger",),
        """\
SELECT outcome, count(*) AS links
FROM (SELECT arg_max(outcome, attempt) AS outcome FROM ledger GROUP BY id)
GROUP BY outcome ORDER BY links DESC, outcome""",
    ),
    Query(
        "fetch",
        "fetch_failures",
        "Fetch failures by class",
        "Links that brought no page at their last try, by what went wrong.",
        ("ledger",),
        f"""\
SELECT CASE
{_CLASSES}
            ELSE 'other'
       END AS failure, count(*) AS links
FROM (SELECT arg_max(outcome, attempt) AS outcome FROM ledger GROUP BY id)
WHERE outcome <> 'fetched'
GROUP BY failure ORDER BY links DESC, failure""",  # noqa: S608 - our own classes
    ),
    Query(
        "fetch",
        "fetch_sources",
        "Sources of pages",
        "Pages and the bytes of their bodies by where they are from: the web, WARC files at hand, or "
        "an archive's capture of a link that is dead.",
        ("ledger",),
        """\
SELECT source, count(*) AS pages, coalesce(sum(bytes), 0)::BIGINT AS bytes
FROM ledger
WHERE outcome = 'fetched'
GROUP BY source ORDER BY pages DESC, source""",
    ),
    Query(
        "fetch",
        "fetch_seconds",
        "How long requests took",
        "Milliseconds of a request to the web until its host was looked up, was connected to, and began to "
        "answer (each where it came so far), and of a whole try with its redirects: a half, 90 % and 99 % of "
        "them took no longer.",
        ("ledger",),
        """\
SELECT step, count(*) AS tries,
       round(1000 * quantile_disc(s, 0.5)::DOUBLE, 2) AS half,
       round(1000 * quantile_disc(s, 0.9)::DOUBLE, 2) AS "90 %",
       round(1000 * quantile_disc(s, 0.99)::DOUBLE, 2) AS "99 %",
       round(1000 * max(s)::DOUBLE, 2) AS longest
FROM (UNPIVOT (SELECT dns_s AS look_up, connect_s AS connection, first_byte_s AS first_byte, seconds AS whole
               FROM ledger WHERE source = 'web')
      ON look_up, connection, first_byte, whole INTO NAME step VALUE s)
GROUP BY step ORDER BY list_position(['look_up', 'connection', 'first_byte', 'whole'], step)""",
    ),
    Query(
        "fetch",
        "latencies",
        "Latency",
        "Tries on the web by the milliseconds until the host that was asked last began to answer, where it "
        "did; each class reaches to twice where it begins, and the first has all below 2.",
        ("ledger",),
        """\
SELECT (2 ** floor(log2(greatest(1000 * first_byte_s::DOUBLE, 1))))::BIGINT AS first_byte_ms_from,
       count(*) AS tries
FROM ledger
WHERE source = 'web' AND first_byte_s IS NOT NULL
GROUP BY first_byte_ms_from ORDER BY first_byte_ms_from""",
    ),
    Query(
        "fetch",
        "host_latency",
        "Latency by domain",
        "The 20 registrable domains (of the URL that was linked) with the most tries on the web that came to "
        "an answer, and the milliseconds within which a half and 90 % of these answers began.",
        ("ledger", "links"),
        """\
SELECT domain, count(*) AS tries,
       round(1000 * quantile_disc(first_byte_s, 0.5)::DOUBLE, 2) AS half_ms,
       round(1000 * quantile_disc(first_byte_s, 0.9)::DOUBLE, 2) AS p90_ms
FROM ledger JOIN links USING (id)
WHERE source = 'web' AND first_byte_s IS NOT NULL
GROUP BY domain ORDER BY tries DESC, domain LIMIT 20""",
    ),
    Query(
        "fetch",
        "link_rot",
        "Link rot",
        "What became of links at their last try on the web, by their age: the whole years (of 365.25 days) "
        "from their first submission to that try. Links that no submission dates are left out; where no "
        "request could be made, the age is that at the crawl's last request. Shares, from 0 to 1, are of the "
        "links of the same age.",
        ("ledger", "links"),
        f"""\
WITH tries AS (
    SELECT id, arg_max(outcome, attempt) AS outcome, arg_max(fetched, attempt) AS fetched
    FROM ledger
    WHERE source = 'web'
    GROUP BY id
), aged AS (
    SELECT greatest(floor((epoch(coalesce(fetched, (SELECT max(fetched) FROM tries))) - epoch(created))
                          / (365.25 * 86400)), 0)::BIGINT AS age_years,
           CASE
            WHEN outcome = 'fetched' THEN 'fetched'
{_CLASSES}
            ELSE 'other'
           END AS outcome
    FROM tries JOIN links USING (id)
    WHERE created IS NOT NULL
)
SELECT age_years, outcome, count(*) AS links,
       round(count(*) / sum(count(*)) OVER (PARTITION BY age_years), 6) AS share
FROM aged
WHERE age_years IS NOT NULL
GROUP BY age_years, outcome ORDER BY age_years, links DESC, outcome""",  # noqa: S608 - our own classes
    ),
)
