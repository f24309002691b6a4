"""What a person types into the search box, read: words, "phrases", -exclusions, OR, and fields.

Read here and not by the index's own parser, which takes a colon in a sentence for a field, says little of
what is wrong, and lets a few thousand brackets end the process.
"""

import re
from dataclasses import dataclass

from pipeline.errors import InputError

FIELDS = ("title", "text", "url", "domain")
EVERYWHERE = ("title", "text")  # where a word without a field is looked for

MAX_CHARS = 1_000
_MAX_TERMS = 50

_PIECE = re.compile(
    r"""(?P<excluded>-)?
        (?:(?P<field>[a-z]+):(?=[^\s/]))?
        (?:"(?P<phrase>[^"]*)(?P<closed>")?|(?P<word>\S+))""",
    re.VERBOSE,
)
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Term:
    """A word or phrase as it was typed, and the fields in one of which it must stand."""

    text: str
    fields: tuple[str, ...] = EVERYWHERE


@dataclass(frozen=True, slots=True)
class Query:
    """What a document must have: of each group one term, and none of those that are excluded."""

    groups: tuple[tuple[Term, ...], ...]
    excluded: tuple[Term, ...] = ()


def parse_query(typed: str) -> Query:
    """Reads what was typed.

    >>> parse_query('cats "big dogs" OR title:wolf -mice').groups[1]
    (Term(text='big dogs', fields=('title', 'text')), Term(text='wolf', fields=('title',)))

    Raises:
        InputError: It cannot be understood; the message is for who typed it.
    """
    if len(typed) > MAX_CHARS:
        raise InputError(f"A search has at most {MAX_CHARS:,} characters; this one has {len(typed):,}.")
    groups: list[list[Term]] = []
    excluded: list[Term] = []
    joins = False  # an OR waits for what stands behind it
    after = False  # something stands before, to which OR can join
    for piece in _PIECE.finditer(typed):
        if piece["word"] == "OR" and not piece["excluded"] and not piece["field"]:
            if joins or not after:
                raise InputError("OR stands between two words or phrases: cats OR dogs.")
            joins = True
            continue
        term = _term(piece)
        if piece["excluded"] and joins:
            raise InputError("OR cannot stand before an exclusion: write -word beside the other words.")
        if piece["excluded"]:
            excluded.append(term)
        elif joins:
            groups[-1].append(term)
        else:
            groups.append([term])
        joins, after = False, not piece["excluded"]
    if joins:
        raise InputError("Something is missing behind the last OR.")
    if len(excluded) + sum(map(len, groups)) > _MAX_TERMS:
        raise InputError(f"A search has at most {_MAX_TERMS} words and phrases.")
    return Query(tuple(map(tuple, groups)), tuple(excluded))


def _term(piece: re.Match[str]) -> Term:
    """A piece with its fields; one that only looks as if it had a field (``12:30``) is a phrase."""
    if piece["phrase"] is not None and not piece["closed"]:
        raise InputError('A quotation mark is not closed: a phrase is written "like this".')
    text = piece["phrase"] if piece["phrase"] is not None else piece["word"]
    field = piece["field"]
    if field in FIELDS:
        return Term(text, (field,))
    if field is not None:
        text = f"{field}:{text}"
    if piece["phrase"] is None and _ADDRESS.match(text):
        return Term(text, ("url",))
    return Term(text)
