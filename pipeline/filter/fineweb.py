"""The measures of FineWeb's own rules: how lines end, how short they are, and how often they repeat.

Source: Penedo et al., The FineWeb Datasets (https://arxiv.org/abs/2406.17557), section 3.5; details as in
datatrove 0.10. FineWeb applies them to what C4's rules leave of a text.
"""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.filter.gopher import duplicates
from pipeline.filter.words import sentence_terminals

_SHORT = 30  # characters


class FineWeb(NamedTuple):
    """What was measured: shares from 0 to 1, but for the last. Of a text without words all are 0."""

    fineweb_punctuated_lines: float  # of lines that are not blank: end in a sign that ends a sentence
    fineweb_short_lines: float  # of lines that are not blank: have 30 characters at most
    fineweb_duplicate_characters: float  # of characters besides line breaks: in lines said before
    fineweb_lines_a_word: float  # line breaks a word or sign


def measure_fineweb(text: str, words: Sequence[str]) -> FineWeb:
    """A text's measures.

    Args:
        text: the text.
        words: its words and signs, as ``split_words`` gives them.
    """
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    if not lines or not words:
        return FineWeb(0.0, 0.0, 0.0, 0.0)
    terminals = sentence_terminals()
    num_breaks = text.count("\n")
    return FineWeb(
        sum(line[-1] in terminals for line in lines) / len(lines),
        sum(len(line) <= _SHORT for line in lines) / len(lines),
        duplicates(lines, len(text) - num_breaks)[1],
        num_breaks / len(words),
    )
