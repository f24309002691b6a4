"""What the shards hold."""

from pipeline.report.queries.corpus import SIZES
from pipeline.report.queries.query import Query

# The frequencies at chosen ranks, and the line through them.
_FITTED = """\
WITH ranked AS (
    SELECT row_number() OVER (ORDER BY times DESC, id) AS rank, times, token, count(*) OVER () AS last
    FROM token_counts
    WHERE times > 0 AND NOT special
), points AS (
    SELECT rank, times, token
    FROM ranked
    WHERE rank = last OR rank IN (SELECT round(10 ** (n / 50))::BIGINT FROM range(500) AS steps (n))
), line AS (
    SELECT CASE WHEN count(*) > 1 THEN -regr_slope(ln(times), ln(rank) ORDER BY rank) END AS exponent,
           CASE WHEN count(*) > 1 THEN exp(regr_intercept(ln(times), ln(rank) ORDER BY rank)) END AS constant
    FROM points
)"""

_LINE = (
    "Zipf's line is constant / rank ** exponent, fitted to the logarithms of these ranks and times by least "
    "squares."
)

QUERIES = (
    Query(
        "tokens",
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
        "tokens",
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
    Query(
        "tokens",
        "document_tokens",
        "Document length in tokens",
        "Documents of the shards by their number of tokens, with end-of-text; each class reaches to twice "
        "where it begins.",
        ("shard_documents",),
        """\
SELECT (2 ** floor(log2(greatest(num_tokens, 1))))::BIGINT AS tokens_from, count(*) AS documents
FROM shard_documents
GROUP BY tokens_from ORDER BY tokens_from""",
    ),
    Query(
        "tokens",
        "bytes_a_token",
        "Bytes a token",
        "Documents by the bytes of UTF-8 of their text over its tokens, without end-of-text, in classes of a "
        "quarter of a byte; the last has all from 10 on.",
        ("corpus", "shard_documents"),
        """\
SELECT least(floor(4 * num_bytes / (num_tokens - 1)) / 4, 10) AS bytes_a_token_from,
       count(*) AS documents
FROM sizes JOIN shard_documents USING (id)
WHERE num_tokens > 1
GROUP BY bytes_a_token_from ORDER BY bytes_a_token_from""",
        shared=(SIZES,),
    ),
    Query(
        "tokens",
        "token_frequencies",
        "Token frequencies",
        "How often the shards have the most frequent token, the second, and so on, at ranks that are evenly "
        "spaced on a logarithmic axis, 50 to each factor of ten; special tokens, and those that are never "
        f"used, are left out. {_LINE} A token is shown with ␣ for a space, \\n for a line's end, and \\xe2 "
        "for a byte that is no character by itself.",
        ("token_counts",),
        f"""\
{_FITTED}
SELECT rank, times, token, round(constant / rank ** exponent, 1) AS zipf
FROM points CROSS JOIN line
ORDER BY rank""",  # noqa: S608 - our own SQL
    ),
    Query(
        "tokens",
        "zipf",
        "Zipf's law",
        f"The line that fits the tokens' frequencies. {_LINE}",
        ("token_counts",),
        f"""\
{_FITTED}
SELECT round(exponent, 4) AS exponent, round(constant, 1) AS constant
FROM line
WHERE exponent IS NOT NULL""",  # noqa: S608 - our own SQL
    ),
)
