"""How much of evaluation sets was in what was to be trained on."""

from pipeline.report.queries.query import Query

QUERIES = (
    Query(
        "evaluation sets",
        "contamination",
        "Contamination by evaluation sets",
        "Of each evaluation set that the filter looked for: how many of its distinct runs of n words (grams) "
        "were found in the documents that passed the other rules, before anything was cut out of them; and "
        "how many of its examples have such a run. Shares are from 0 to 1.",
        ("evaluation_sets",),
        """\
SELECT evaluation_set, n, grams, found, coalesce(round(found / nullif(grams, 0), 6), 0) AS share,
       examples, examples_hit, coalesce(round(examples_hit / nullif(examples, 0), 6), 0) AS example_share
FROM evaluation_sets
ORDER BY evaluation_set, n""",
    ),
)
