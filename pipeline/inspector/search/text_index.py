"""The index of a corpus's words, by tantivy: how it is made, and what is found in it.

A word is a run of letters and digits, whatever its script, in lower case; nothing is stemmed, no accent is
dropped, no word is left out for being common. So a language that writes without spaces (Chinese, Japanese,
Thai) is found by what stands between two marks of punctuation. Words of more than 40 bytes are not indexed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tantivy

from pipeline.errors import InputError
from pipeline.inspector.search.query import FIELDS, Query, Term

MAX_WORD_BYTES = 40

_HEAP_BYTES = 300_000_000
_THREADS = 2
_TITLE_COUNTS = 2.0  # as much as in a text
_REMEMBERED = 4  # searches whose every document is kept: 12 bytes each


class Indexed(NamedTuple):
    """A document as it is indexed; its number is its row in the catalogue."""

    number: int
    title: str
    text: str
    url: str
    domain: str


@dataclass(frozen=True, slots=True)
class Found:
    """Documents by their numbers, the best first, with their scores; ``total`` counts those left out too."""

    numbers: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    total: int


class Index:
    """The index of a corpus, opened to be searched, by several threads at once."""

    def __init__(self, index: tantivy.Index) -> None:
        self._index = index
        self._searcher = self._index.searcher()
        self._remember = lru_cache(maxsize=_REMEMBERED)(self._search)

    def best(self, query: Query, limit: int, offset: int = 0) -> Found:
        """The documents that have what is asked for, from the ``offset``-th best on.

        Raises:
            InputError: Something asked for has no letter or digit, and so cannot be found.
        """
        return self._search(query, limit, offset)

    def all(self, query: Query, limit: int) -> Found:
        """As ``best`` from the first; the last few answers are remembered, for what follows on the same."""
        return self._remember(query, limit, 0)

    def _search(self, query: Query, limit: int, offset: int) -> Found:
        result = self._searcher.search(self._query(query), limit, offset=offset)
        hits = result.hits
        numbers = self._searcher.fast_field_values("number", [address for _, address in hits])
        scores = np.fromiter((score for score, _ in hits), np.float32, len(hits))
        return Found(np.array(numbers, np.int64), scores, result.count)  # type: ignore[attr-defined]

    def _query(self, query: Query) -> tantivy.Query:
        must, must_not = tantivy.Occur.Must, tantivy.Occur.MustNot
        clauses = [(must, self._any_of(group)) for group in query.groups] or [
            (must, tantivy.Query.all_query())
        ]
        clauses += [(must_not, self._any_of((term,))) for term in query.excluded]
        return tantivy.Query.boolean_query(clauses)

    def _any_of(self, terms: Iterable[Term]) -> tantivy.Query:
        should = tantivy.Occur.Should
        return tantivy.Query.boolean_query(
            [(should, self._in_field(field, term.text)) for term in terms for field in term.fields]
        )

    def _in_field(self, field: str, text: str) -> tantivy.Query:
        schema = self._index.schema
        if field == "domain":
            return tantivy.Query.term_query(schema, field, text.lower(), "basic")
        tokens = words(text)
        if not tokens:
            raise InputError(
                f"“{text}” has no word to look for: letters or digits, at most {MAX_WORD_BYTES} bytes."
            )
        if len(tokens) == 1:
            query = tantivy.Query.term_query(schema, field, tokens[0][1])
        else:
            query = tantivy.Query.phrase_query(schema, field, list(tokens))
        return tantivy.Query.boost_query(query, _TITLE_COUNTS) if field == "title" else query


def open_index(path: Path) -> Index | None:
    """An index that :func:`write_index` wrote; None where it is damaged, or another version's."""
    try:
        return Index(tantivy.Index.open(str(path)))
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=1)
def _analyzer() -> tantivy.TextAnalyzer:
    """What tantivy does by default, of which queries need their own."""
    return (
        tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
        .filter(tantivy.Filter.remove_long(MAX_WORD_BYTES))
        .filter(tantivy.Filter.lowercase())
        .build()
    )


def words(text: str) -> list[tuple[int, str]]:
    """A text's words as they are indexed, each with its position; those too long leave a gap.

    >>> words("Don't Panic!")
    [(0, 'don'), (1, 't'), (2, 'panic')]
    """
    tokens = _analyzer().pre_tokenize(text).tokens
    return [(token.position, token.text) for token in tokens]


def write_index(path: Path, documents: Iterable[Indexed]) -> None:
    """Writes an index of documents into a new folder; it is whole when this returns."""
    path.mkdir()
    builder = tantivy.SchemaBuilder()
    builder.add_integer_field("number", fast=True)
    for field in FIELDS:
        if field == "domain":
            builder.add_text_field(field, tokenizer_name="raw", index_option="basic")
        else:
            builder.add_text_field(field)
    writer = tantivy.Index(builder.build(), str(path)).writer(_HEAP_BYTES, _THREADS)
    for document in documents:
        writer.add_document(tantivy.Document(**document._asdict()))
    writer.commit()
    writer.wait_merging_threads()
