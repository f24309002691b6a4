"""What the texts are like, and what of their pages' frames is still in them."""

from pipeline.report.queries.query import Query, Shared

# The width of each measure's classes: twenty of them hold nearly all documents.
_WIDTHS = {
    "language_score": 0.05,
    "gopher_word_length": 0.5,
    "gopher_alphabetic_words": 0.05,
    "gopher_duplicate_line_characters": 0.05,
    "gopher_duplicate_5_grams": 0.05,
    "fineweb_punctuated_lines": 0.05,
    "fineweb_short_lines": 0.05,
    "fineweb_lines_a_word": 0.01,
}
_NUM_CLASSES = 20

_LINES_OF = 20_000  # documents
_RUNS_OF = 5_000
_MOST_CHARACTERS = 10_000  # of a document: memory is to be bounded

_widths = ",\n         ".join(f"('{name}', {width})" for name, width in _WIDTHS.items())

# Ids are hashes: the smallest are a fair choice. Their bound comes first, for texts are not to be sorted.
_SAMPLE = Shared(
    "sample",
    f"""\
SELECT id, left(text, {_MOST_CHARACTERS}) AS text FROM corpus
WHERE id <= (SELECT max(id) FROM (SELECT id FROM corpus ORDER BY id LIMIT {_LINES_OF}))""",  # noqa: S608
)

QUERIES = (
    Query(
        "texts",
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
        "texts",
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
        "texts",
        "quality",
        "Quality measures",
        "Of each measure of the filter, the value that 1 %, 10 %, a half, 90 % and 99 % of the corpus's "
        "documents do not exceed, to three places. The settings file, at [filter.rules], says what each "
        "measures: most are shares from 0 to 1; gopher_word_length is characters; gopher_hashes, "
        "gopher_ellipses and fineweb_lines_a_word are numbers for each word; gopher_words, "
        "gopher_stop_words, c4_… and pii_… are numbers of things.",
        ("corpus",),
        """\
WITH counted AS (
    SELECT measure, round(value, 3) AS value, count(*) AS documents
    FROM (UNPIVOT (SELECT COLUMNS('^(language_score|(gopher|c4|fineweb|pii)_.*)$')::DOUBLE FROM corpus)
          ON * INTO NAME measure VALUE value)
    GROUP BY ALL
), placed AS (
    SELECT measure, value, sum(documents) OVER (PARTITION BY measure ORDER BY value)
                           / sum(documents) OVER (PARTITION BY measure) AS share
    FROM counted
)
SELECT measure,
       min(value) FILTER (share >= 0.01) AS p1,
       min(value) FILTER (share >= 0.1) AS p10,
       min(value) FILTER (share >= 0.5) AS half,
       min(value) FILTER (share >= 0.9) AS p90,
       min(value) FILTER (share >= 0.99) AS p99
FROM placed
GROUP BY measure ORDER BY measure""",
    ),
    Query(
        "texts",
        "quality_shapes",
        "Shapes of quality measures",
        f"Documents of the corpus by the value of a measure, in {_NUM_CLASSES} classes of the same width, "
        "the last with all that are higher. Values are shares from 0 to 1, but for gopher_word_length "
        "(characters of a word, the mean) and fineweb_lines_a_word (lines over words).",
        ("corpus",),
        f"""\
WITH widths (measure, width) AS (
    VALUES {_widths}
), counted AS (
    SELECT measure, least(floor(round(value / width, 6)), {_NUM_CLASSES - 1})::BIGINT AS class,
           count(*) AS documents
    FROM (UNPIVOT (SELECT COLUMNS('^(language_score|(gopher|fineweb)_.*)$')::DOUBLE FROM corpus)
          ON * INTO NAME measure VALUE value)
         JOIN widths USING (measure)
    GROUP BY measure, class
)
SELECT measure, round(class * width, 2)::DOUBLE AS value_from, coalesce(documents, 0) AS documents
FROM widths CROSS JOIN range({_NUM_CLASSES}) AS classes (class) LEFT JOIN counted USING (measure, class)
WHERE EXISTS (FROM corpus)
ORDER BY list_position(['{"', '".join(_WIDTHS)}'], measure), class""",  # noqa: S608 - our own measures
    ),
    Query(
        "texts",
        "frequent_lines",
        "The most frequent lines",
        f"What got through of pages' frames: of a sample, the {_LINES_OF:,} documents of the corpus with the "
        "smallest ids (hashes of their URLs; all documents, where there are fewer), the 30 lines that are in "
        "the most of them, in two at least, and how many times they are there. Of each document the first "
        f"{_MOST_CHARACTERS:,} characters count, of a line the first 200, without the spaces around it.",
        ("corpus",),
        """\
WITH lines AS (
    SELECT id, left(trim(unnest(string_split(text, chr(10)))), 200) AS line FROM sample
), counted AS (
    SELECT id, line, count(*) AS times FROM lines WHERE line <> '' GROUP BY ALL
)
SELECT line, count(*) AS documents, sum(times)::BIGINT AS times
FROM counted
GROUP BY line HAVING documents > 1
ORDER BY documents DESC, times DESC, line LIMIT 30""",
        shared=(_SAMPLE,),
    ),
    Query(
        "texts",
        "frequent_ngrams",
        "The most frequent runs of five words",
        f"Of a sample, the {_RUNS_OF:,} documents of the corpus with the smallest ids (hashes of their "
        "URLs; all documents, where there are fewer), the 30 runs of five words that are in the most of "
        "them, in two at least, and how many times they are there. Words are runs of characters that are no "
        f"space; of each document the first {_MOST_CHARACTERS:,} characters count, of a run the first 200.",
        ("corpus",),
        f"""\
WITH documents AS (
    SELECT row_number() OVER () AS document,
           regexp_extract_all(text, '[^\\s\\pZ]+') AS words
    FROM (FROM sample ORDER BY id LIMIT {_RUNS_OF})
), runs AS (
    SELECT document, unnest(words) AS first, unnest(words[2:]) AS second, unnest(words[3:]) AS third,
           unnest(words[4:]) AS fourth, unnest(words[5:]) AS fifth
    FROM documents
), counted AS (
    SELECT document, left(concat_ws(' ', first, second, third, fourth, fifth), 200) AS words,
           count(*) AS times
    FROM runs
    WHERE fifth IS NOT NULL
    GROUP BY ALL
)
SELECT words, count(*) AS documents, sum(times)::BIGINT AS times
FROM counted
GROUP BY words HAVING documents > 1
ORDER BY documents DESC, times DESC, words LIMIT 30""",  # noqa: S608 - our own numbers
        shared=(_SAMPLE,),
    ),
)
