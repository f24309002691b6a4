"""Words and phrases of a list, counted in texts: C4's rule against what it calls bad words.

Source: Raffel et al., Exploring the Limits of Transfer Learning (https://arxiv.org/abs/1910.10683), section
2.2. C4 drops a page with any of them.
"""

import re
from collections.abc import Iterable


def bad_words(words: Iterable[str]) -> re.Pattern[str] | None:
    """A pattern for a list of words and phrases, or None for an empty list.

    They are found as whole words, whatever their case: no letter, digit or underscore stands at either side.
    In scripts that put no spaces between words they are found anywhere.
    """
    wanted = sorted({word.strip().lower() for word in words} - {""}, key=lambda word: (-len(word), word))
    if not wanted:
        return None
    return re.compile("|".join(map(_bounded, wanted)))


def _bounded(word: str) -> str:
    escaped = re.escape(word)
    if _UNSPACED.search(word):
        return escaped
    return rf"(?<!\w){escaped}(?!\w)"


_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")


def count_bad_words(text: str, pattern: re.Pattern[str]) -> int:
    """How often the text has a word of the pattern's list."""
    return sum(1 for _ in pattern.finditer(text.lower()))
