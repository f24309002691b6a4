"""What is measured: each statistic with its title, its definition, and the SQL that is all of it."""

from dataclasses import dataclass

from pipeline.collect.months import DEFINITION
from pipeline.dedupe.figures import SIZES
from pipeline.fetch.figures import CLASSES

_CLASSES = "\n".join(
    "            WHEN outcome IN ({}) THEN '{}'".format(
        ", ".join(f"'{reason}'" for reason, of in CLASSES.items() if of == name), name
    )
    for name in dict.fromkeys(CLASSES.values())
)

_SIZES = "\n".join(
    f"            WHEN num >= {least} THEN '{name}'" for name, least in reversed(list(SIZES.items()))
)


@dataclass(frozen=True, slots=True)
class Query:
    """A statistic: a name, how people call it, what it is in one line, and the SQL (DuckDB's) for it.

    ``tables`` are the run's tables that it reads: where one is not there yet, it is left out.
    """

    name: str
    title: str
    definition: str
    tables: tuple[str, ...]
    sql: str


QUERIES = (
    Query(
        "corpus",
        "Corpus",
        "What is left after deduplication: documents, words (runs of non-space), bytes of UTF-8 text.",
        ("corpus",),
        """\
SELECT count(*) AS documents,
       coalesce(sum(num_words), 0)::BIGINT AS words,
       coalesce(sum(strlen(text)), 0)::BIGINT AS bytes
FROM corpus""",
    ),
    Query(
        "tokens",
        "Tokens",
        "What the shards hold, by split: documents, sentences, and tokens with each document's end-of-text.",
        ("shard_documents",),
        """\
SELECT split, count(*) AS documents,
       sum(num_sentences)::BIGINT AS sentences,
       sum(num_tokens)::BIGINT AS tokens
FROM shard_documents
GROUP BY split ORDER BY list_position(['train', 'val', 'test'], split)""",
    ),
    Query(
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
        "document_lengths",
        "Document length",
        "Documents of the corpus by their number of words; each class reaches to twice where it begins.",
        ("corpus",),
        """\
SELECT (2 ** floor(log2(greatest(num_words, 1))))::BIGINT AS words_from, count(*) AS documents
FROM corpus
GROUP BY words_from ORDER BY words_from""",
    ),
    Query(
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
    Query(
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
        "languages",
        "Languages",
        "Documents of the corpus by the language that the detector sees in them, the 20 most frequent.",
        ("corpus",),
        """\
SELECT language, count(*) AS documents, sum(num_words)::BIGINT AS words
FROM corpus
GROUP BY language ORDER BY documents DESC, language LIMIT 20""",
    ),
    Query(
        "domains",
        "Domains",
        "The 20 registrable domains with the most documents in the corpus, by the URL that was linked.",
        ("corpus", "links"),
        """\
SELECT domain, count(*) AS documents, sum(num_words)::BIGINT AS words
FROM corpus JOIN links USING (id)
GROUP BY domain ORDER BY documents DESC, domain LIMIT 20""",
    ),
    Query(
        "subreddits",
        "Subreddits",
        "The 20 subreddits that submitted the most documents of the corpus; "
        "a document of several counts in each.",
        ("corpus",),
        """\
SELECT subreddit, count(*) AS documents
FROM (SELECT unnest(subreddits) AS subreddit FROM corpus)
GROUP BY subreddit ORDER BY documents DESC, subreddit LIMIT 20""",
    ),
    Query(
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
    Query(
        "shards",
        "Shards",
        "Each shard's documents, sentences and tokens.",
        ("shard_documents",),
        """\
SELECT split, shard, count(*) AS documents,
       sum(num_sentences)::BIGINT AS sentences,
       sum(num_tokens)::BIGINT AS tokens
FROM shard_documents
GROUP BY split, shard ORDER BY list_position(['train', 'val', 'test'], split), shard""",
    ),
)
