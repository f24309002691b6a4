"""Facts about names in URLs, in text files that anyone can read and extend, and what reads them."""

from functools import lru_cache
from importlib.resources import files


@lru_cache
def read_list(name: str) -> tuple[tuple[str, ...], ...]:
    """The entries of a list: the words of each line. Blank lines, and what follows a ``#``, are remarks."""
    text = files("pipeline.url_lists").joinpath(name).read_text("utf-8")
    lines = (line.partition("#")[0].split() for line in text.split("\n"))
    return tuple(tuple(words) for words in lines if words)


@lru_cache
def read_words(name: str) -> frozenset[str]:
    """All words of a list of which only the words matter."""
    return frozenset(word for words in read_list(name) for word in words)
