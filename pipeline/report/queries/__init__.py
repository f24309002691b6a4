"""What is measured: each statistic with its title, its definition, and the SQL that is all of it."""

from pipeline.report.queries import (
    corpus,
    duplicates,
    evaluation,
    extraction,
    fetch,
    links,
    places,
    texts,
    tokens,
)
from pipeline.report.queries.query import Query

__all__ = ["QUERIES", "SECTIONS", "Query"]

QUERIES: tuple[Query, ...] = (
    *corpus.QUERIES,
    *texts.QUERIES,
    *places.QUERIES,
    *links.QUERIES,
    *fetch.QUERIES,
    *extraction.QUERIES,
    *duplicates.QUERIES,
    *tokens.QUERIES,
    *evaluation.QUERIES,
)

SECTIONS = tuple(dict.fromkeys(query.section for query in QUERIES))
