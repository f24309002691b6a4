"""When the documents were first submitted, by whom, and where they are from."""

from pipeline.report.queries.query import Query

QUERIES = (
    Query(
        "time and place",
        "years",
        "Years",
        "Documents of the corpus and their words by the year (UTC) of their first submission, those that "
        "tell no time left out.",
        ("corpus",),
        """\
SELECT year(make_timestamp(epoch_us(created))) AS year, count(*) AS documents,
       sum(num_words)::BIGINT AS words
FROM corpus
WHERE created IS NOT NULL
GROUP BY year ORDER BY year""",
    ),
    Query(
        "time and place",
        "months",
        "Months",
        "Documents of the corpus by the month (UTC) of their first submission, those that tell no time left "
        "out.",
        ("corpus",),
        """\
SELECT strftime(make_timestamp(epoch_us(created)), '%Y-%m') AS month, count(*) AS documents
FROM corpus
WHERE created IS NOT NULL
GROUP BY month ORDER BY month""",
    ),
    Query(
        "time and place",
        "domains",
        "Domains",
        "The 50 registrable domains with the most documents in the corpus, by the URL that was linked, and "
        "the words in these.",
        ("corpus", "links"),
        """\
SELECT domain, count(*) AS documents, sum(num_words)::BIGINT AS words
FROM corpus JOIN links USING (id)
GROUP BY domain ORDER BY documents DESC, domain LIMIT 50""",
    ),
    Query(
        "time and place",
        "domain_concentration",
        "Concentration on domains",
        "What share of the corpus's documents, from 0 to 1, the so many registrable domains with the most "
        "documents have together, by the URL that was linked; the last row has all domains.",
        ("corpus", "links"),
        """\
WITH ranked AS (
    SELECT row_number() OVER (ORDER BY count(*) DESC, domain) AS domains, count(*) AS documents
    FROM corpus JOIN links USING (id)
    GROUP BY domain
), summed AS (
    SELECT domains, sum(documents) OVER (ORDER BY domains) / sum(documents) OVER () AS share,
           max(domains) OVER () AS last
    FROM ranked
)
SELECT domains, round(share, 6) AS share
FROM summed
WHERE domains = last OR domains IN (SELECT round(10 ** (n / 10))::BIGINT FROM range(100) AS steps (n))
ORDER BY domains""",
    ),
    Query(
        "time and place",
        "top_level_domains",
        "Top-level domains",
        "Documents of the corpus and their words by the last label of the registrable domain that was linked "
        "(uk of bbc.co.uk), the 20 most frequent; addresses without a name are one row.",
        ("corpus", "links"),
        """\
SELECT CASE
            WHEN regexp_matches(domain, '(^|\\.)[0-9]+$|:') THEN 'IP address'
            ELSE regexp_extract(domain, '[^.]*$')
       END AS tld, count(*) AS documents, sum(num_words)::BIGINT AS words
FROM corpus JOIN links USING (id)
GROUP BY tld ORDER BY documents DESC, tld LIMIT 20""",
    ),
    Query(
        "time and place",
        "subreddits",
        "Subreddits",
        "The 50 subreddits that submitted the most documents of the corpus; a document of several counts in "
        "each.",
        ("corpus",),
        """\
SELECT subreddit, count(*) AS documents
FROM (SELECT unnest(subreddits) AS subreddit FROM corpus)
GROUP BY subreddit ORDER BY documents DESC, subreddit LIMIT 50""",
    ),
)
