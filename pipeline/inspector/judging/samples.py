"""Random documents to read: the same ones for the same seed, whoever asks.

Ids are hashes, so that documents whose ids follow each other have nothing else in common: a sample is what
follows a random id, and no more than the ids has to be looked at.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal, get_args

import duckdb

By = Literal["documents", "words", "domains"]
WAYS: tuple[By, ...] = get_args(By)

MAX_DOCUMENTS = 100

_CANDIDATES = 4_096  # documents of which words are drawn: enough that their lengths are those of all


@dataclass(frozen=True, slots=True)
class Draw:
    """What to draw.

    Attributes:
        seed: Another one draws others.
        num_documents: How many.
        by: ``documents``: each is as likely as any other; ``words``: a word is, so that longer ones come more
            often; ``domains``: a domain is, and of each comes one document.
        language: Only documents of this language, by the detector; empty: of any.
    """

    seed: int = 1
    num_documents: int = 10
    by: By = "documents"
    language: str = ""


def draw(cursor: duckdb.DuckDBPyConnection, asked: Draw) -> list[str]:
    """The ids of documents drawn at random without replacement, in the order in which they are drawn.

    What is drawn follows from the seed and the documents: one that is new or gone changes little of the rest.
    Without the measures of filter, which counts words, bytes stand for words.
    """
    weight = "num_words" if "num_words" in _columns(cursor) else "num_bytes"
    sql = _DRAWS[asked.by].replace("{weight}", weight)
    if asked.language:
        sql = sql.replace("FROM documents", "FROM (SELECT * FROM documents WHERE language = $language)")
    pivot = hashlib.md5(str(asked.seed).encode(), usedforsecurity=False).hexdigest()
    given = {"pivot": pivot, "n": asked.num_documents, "candidates": _CANDIDATES, "language": asked.language}
    rows = cursor.execute(sql, {name: one for name, one in given.items() if f"${name}" in sql}).fetchall()
    return [row[0] for row in rows]


_DRAWS = {
    "documents": "SELECT id FROM documents ORDER BY id < $pivot, id LIMIT $n",
    # Weights by Efraimidis and Spirakis (2006): the smallest of -ln(u) / weight come first.
    "words": """
WITH near AS (
    SELECT id, {weight} AS weight FROM documents ORDER BY id < $pivot, id LIMIT $candidates
)
SELECT id FROM near WHERE weight > 0
ORDER BY -ln((md5_number_lower($pivot || id) + 1.0::DOUBLE) / 18446744073709551617::DOUBLE) / weight, id
LIMIT $n""",
    "domains": """
WITH domains AS (SELECT DISTINCT domain FROM documents),
drawn AS (SELECT domain, md5($pivot || domain) AS place FROM domains ORDER BY place, domain LIMIT $n)
SELECT coalesce(min(id) FILTER (id >= $pivot), min(id)) FROM documents JOIN drawn USING (domain)
GROUP BY domain, place ORDER BY place, domain""",
}


def languages(cursor: duckdb.DuckDBPyConnection) -> list[tuple[str, int]]:
    """The documents' languages with how many documents each has, the most frequent first."""
    if "language" not in _columns(cursor):
        return []
    return cursor.execute(
        "SELECT language, count(*) AS num FROM documents GROUP BY language ORDER BY num DESC, language"
    ).fetchall()


def _columns(cursor: duckdb.DuckDBPyConnection) -> set[str]:
    return {name for name, *_ in cursor.execute("SELECT * FROM documents LIMIT 0").description}
