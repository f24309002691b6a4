"""The corpus as a whole."""

from pipeline.report.queries.query import Query, Shared

SIZES = Shared("sizes", "SELECT id, num_words, strlen(text) AS num_bytes FROM corpus")

QUERIES = (
    Query(
        "corpus",
        "corpus",
        "Corpus",
        "What is left after deduplication: documents, words (runs of non-space), bytes of UTF-8 text.",
        ("corpus",),
        """\
SELECT count(*) AS documents,
       coalesce(sum(num_words), 0)::BIGINT AS words,
       coalesce(sum(num_bytes), 0)::BIGINT AS bytes
FROM sizes""",
        shared=(SIZES,),
    ),
)
