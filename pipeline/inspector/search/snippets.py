"""The piece of a text that shows best why it was found, with what was looked for marked in it."""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

_AROUND = 70  # characters before the first marked one
_SPACE = re.compile(r"\s+")
_MATCHES_SEEN = 200  # a long text is not searched to its end where it has plenty


class Piece(NamedTuple):
    """A run of characters, marked or not."""

    text: str
    is_marked: bool


def snippet(text: str, phrases: Sequence[Sequence[str]], max_chars: int = 260) -> tuple[Piece, ...]:
    """The part of a text with the most of the phrases (each its words in lower case) marked, or its start.

    >>> [piece.text for piece in snippet("A cat and a big, big dog.", [["big", "dog"]])]
    ['A cat and a big, ', 'big dog', '.']
    """
    pattern = _pattern(phrases) if phrases else None
    start = 0 if pattern is None else _best(text, pattern, max_chars - _AROUND)
    begin = 0 if start < _AROUND else _behind_space(text, start - _AROUND, start)
    end = begin + max_chars
    if end < len(text) and (space := text.rfind(" ", start, end)) > start:
        end = space
    cut = " ".join(text[begin:end].split())
    before = (Piece("… ", is_marked=False),) if begin else ()
    behind = (Piece(" …", is_marked=False),) if end < len(text) else ()
    return (*before, *(piece for piece in _pieces(cut, pattern) if piece.text), *behind)


def _pattern(phrases: Sequence[Sequence[str]]) -> re.Pattern[str]:
    """Any of the phrases, as whole words, with whatever stands between words."""
    longest_first = sorted(phrases, key=lambda phrase: -sum(map(len, phrase)))
    joined = "|".join(r"[\W_]+".join(map(re.escape, phrase)) for phrase in longest_first)
    return re.compile(rf"(?<![^\W_])(?:{joined})(?![^\W_])", re.IGNORECASE)


def _best(text: str, pattern: re.Pattern[str], num_chars: int) -> int:
    """Where the first of the stretches begins that have the most different matches."""

    def different(start: int) -> int:
        matches = pattern.finditer(text, start, start + num_chars)
        return len({match.group().lower() for match in matches})

    starts = [match.start() for match in islice(pattern.finditer(text), _MATCHES_SEEN)]
    return max(starts, key=different, default=0)


def _behind_space(text: str, begin: int, end: int) -> int:
    """Where the first word behind ``begin`` starts; ``begin`` itself where there is none before ``end``."""
    space = _SPACE.search(text, begin, end)
    return space.end() if space else begin


def _pieces(text: str, pattern: re.Pattern[str] | None) -> Iterator[Piece]:
    end = 0
    for match in pattern.finditer(text) if pattern is not None else ():
        yield Piece(text[end : match.start()], is_marked=False)
        yield Piece(match.group(), is_marked=True)
        end = match.end()
    yield Piece(text[end:], is_marked=False)
