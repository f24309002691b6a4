"""Two texts side by side: what they share, and by words what only one of them has."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import NamedTuple

MOST_CHARACTERS = 100_000
"""Of each text: what follows is not compared."""

_MOST_LINES = 10_000  # likewise; so a second or two is the most that a comparison takes

_WORD = re.compile(r"\S+\s*|\s+")


class Piece(NamedTuple):
    """Some characters, and whether the other text lacks them."""

    text: str
    is_marked: bool


@dataclass(frozen=True, slots=True)
class Row:
    """Lines of the one text beside those of the other; where both are the same, ``left`` alone has them."""

    is_same: bool
    left: tuple[Piece, ...]
    right: tuple[Piece, ...]
    num_lines: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two texts compared.

    Attributes:
        rows: From the first lines on.
        num_left: Words that only the left text has, as far as it was compared.
        num_right: The same of the right one.
        num_shared: Words that both have, in the same order.
        is_cut: One of them goes on behind what was compared.
    """

    rows: tuple[Row, ...]
    num_left: int
    num_right: int
    num_shared: int
    is_cut: bool


def compare(left: str, right: str) -> Comparison:
    r"""Compares the beginnings of two texts: first whole lines, then the words of those that differ.

    >>> compare("same\none two", "same\none four").rows[1].right
    (Piece(text='one ', is_marked=False), Piece(text='four', is_marked=True))
    """
    lines = [text[:MOST_CHARACTERS].splitlines(keepends=True)[:_MOST_LINES] for text in (left, right)]
    rows = tuple(_rows(*lines))
    return Comparison(
        rows,
        num_left=sum(_num_words(row.left, is_marked=True) for row in rows),
        num_right=sum(_num_words(row.right, is_marked=True) for row in rows),
        num_shared=sum(_num_words(row.left, is_marked=False) for row in rows),
        is_cut=any(sum(map(len, own)) < len(text) for own, text in zip(lines, (left, right), strict=True)),
    )


def _rows(left: list[str], right: list[str]) -> Iterator[Row]:
    for is_same, a, b in _blocks(_stripped(left), _stripped(right)):
        ours, theirs = "".join(left[a]), "".join(right[b])
        num_lines = max(a.stop - a.start, b.stop - b.start)
        if is_same:
            yield Row(True, (Piece(ours, False),), (), num_lines)
        else:
            yield Row(False, *_by_words(_WORD.findall(ours), _WORD.findall(theirs)), num_lines)


def _by_words(left: list[str], right: list[str]) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    sides: tuple[list[Piece], list[Piece]] = ([], [])
    for is_same, a, b in _blocks(_stripped(left), _stripped(right)):
        sides[0].extend(_pieces("".join(left[a]), is_same=is_same))
        sides[1].extend(_pieces("".join(right[b]), is_same=is_same))
    return tuple(sides[0]), tuple(sides[1])


def _blocks(left: Sequence[str], right: Sequence[str]) -> Iterator[tuple[bool, slice, slice]]:
    """What two sequences share and what not, in turn, from their beginnings on."""
    shorter = min(len(left), len(right))
    first = next((at for at in range(shorter) if left[at] != right[at]), shorter)
    most = shorter - first
    last = next((at for at in range(most) if left[-1 - at] != right[-1 - at]), most)
    if first:
        yield True, slice(0, first), slice(0, first)
    inner = left[first : len(left) - last], right[first : len(right) - last]
    # That it passes over what is frequent keeps the time in bounds, and costs a little of what is shared.
    for kind, *bounds in SequenceMatcher(None, *inner).get_opcodes():
        a, behind_a, b, behind_b = (first + bound for bound in bounds)
        yield kind == "equal", slice(a, behind_a), slice(b, behind_b)
    if last:
        yield True, slice(len(left) - last, len(left)), slice(len(right) - last, len(right))


def _stripped(pieces: Sequence[str]) -> list[str]:
    """What is compared: how much space there is between words and lines is no difference to look at."""
    return [piece.strip() for piece in pieces]


def _pieces(text: str, *, is_same: bool) -> Iterator[Piece]:
    """A text as what it is, but the space at its end, which is never marked."""
    end = len(text) if is_same else len(text.rstrip())
    if end:
        yield Piece(text[:end], not is_same)
    if end < len(text):
        yield Piece(text[end:], False)


def _num_words(pieces: Sequence[Piece], *, is_marked: bool) -> int:
    return sum(len(piece.text.split()) for piece in pieces if piece.is_marked == is_marked)
