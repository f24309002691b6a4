"""Pieces of long texts."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A piece of a text: documents have up to millions of characters, and a page shows some thousand."""

    text: str
    start: int  # characters before it
    total: int
    size: int  # of a whole piece

    @property
    def end(self) -> int:
        """Characters of the text up to its end."""
        return self.start + len(self.text)

    @property
    def before(self) -> int | None:
        """Where the piece before it starts; None for the first one."""
        return max(0, self.start - self.size) if self.start else None

    @property
    def after(self) -> int | None:
        """Where the piece after it starts; None for the last one."""
        return self.end if self.end < self.total else None


def excerpt(text: str, start: int, size: int) -> Excerpt:
    """The piece of a text from a character on, or from the last piece's first where that is behind its end.

    >>> excerpt("abcdefgh", 3, 3)
    Excerpt(text='def', start=3, total=8, size=3)
    """
    if start >= len(text):
        start = max(0, len(text) - 1) // size * size
    return Excerpt(text[start : start + size], start, len(text), size)
