"""The measures of Gopher's rules: of what words and lines a text is made, and how much of it repeats.

Source: Rae et al., Scaling Language Models: Methods, Analysis & Insights from Training Gopher
(https://arxiv.org/abs/2112.11446), appendix A.1.1 and table A1. What the paper leaves open (what a word and
a line are, and how overlapping repetitions count) is as in datatrove 0.10.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import regex

STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})

_BULLETS = ("•", "-")
_ELLIPSES = ("...", "…")
_PARAGRAPH_BREAK = re.compile(r"\n{2,}")
_LINE_BREAK = re.compile(r"\n+")
# The bullet and the left single quote stand for words in datatrove, and so they do here.
_MORE_THAN_PUNCTUATION = regex.compile(r"[^\p{P}\p{Cc}$+<=>^`|~´►∶]|[•‘]")
_TOP = (2, 3, 4)
_DUPLICATED = (5, 6, 7, 8, 9, 10)

Numbers = npt.NDArray[np.int64]


class Gopher(NamedTuple):
    """What was measured. All are shares, from 0 to 1, unless they say otherwise; of an empty text all are 0.

    Shares of characters are of all the text's characters. Occurrences of a commonest n-gram may overlap, so
    that its share may exceed 1: "a a a a" has three times "a a".
    """

    gopher_words: int  # words with something besides punctuation
    gopher_word_length: float  # characters, the mean of those words
    gopher_hashes: float  # "#" a word or sign
    gopher_ellipses: float  # "..." and "…" a word or sign
    gopher_bullet_lines: float  # of lines: begin with a bullet
    gopher_ellipsis_lines: float  # of lines: end in an ellipsis
    gopher_alphabetic_words: float  # of words and signs: have a letter
    gopher_stop_words: int  # how many different ones of STOP_WORDS
    gopher_duplicate_lines: float  # of lines: said before
    gopher_duplicate_line_characters: float
    gopher_duplicate_paragraphs: float  # of paragraphs: said before
    gopher_duplicate_paragraph_characters: float
    gopher_top_2_grams: float  # of characters: in the commonest n-gram of words
    gopher_top_3_grams: float
    gopher_top_4_grams: float
    gopher_duplicate_5_grams: float  # of characters: in n-grams of words that were said before
    gopher_duplicate_6_grams: float
    gopher_duplicate_7_grams: float
    gopher_duplicate_8_grams: float
    gopher_duplicate_9_grams: float
    gopher_duplicate_10_grams: float


class _Words(NamedTuple):
    """A text's words as numbers."""

    vocabulary: list[str]
    ids: Numbers  # [words]: places in the vocabulary
    lengths: Numbers  # [vocabulary]: characters
    counts: Numbers  # [vocabulary]: occurrences
    others: list[tuple[int, str]]  # place and word of those of the vocabulary that are not all letters


class _Repeated(NamedTuple):
    """The n-grams that a text has more than once."""

    starts: list[int]  # [occurrences]: ascending
    groups: list[int]  # [occurrences]: which n-gram


def measure_gopher(text: str, words: Sequence[str]) -> Gopher:
    """A text's measures.

    Args:
        text: the text.
        words: its words and signs, as ``split_words`` gives them.
    """
    numbered = _number(words)
    return Gopher(
        *_of_words(text, numbered),
        *_of_lines(text),
        *_letters_and_stop_words(numbered),
        *duplicates(_LINE_BREAK.split(text), len(text)),
        *duplicates(_PARAGRAPH_BREAK.split(text.strip()), len(text)),
        *_n_grams(numbered, len(text)),
    )


def duplicates(pieces: Sequence[str], num_characters: int) -> tuple[float, float]:
    """The share of pieces that were said before, and the share of a text's characters that are in them."""
    if num_characters == 0 or not pieces:
        return 0.0, 0.0
    once = set(pieces)
    if len(once) == len(pieces):
        return 0.0, 0.0
    num_repeated = sum(map(len, pieces)) - sum(map(len, once))
    return (len(pieces) - len(once)) / len(pieces), num_repeated / num_characters


# --- words and lines --------------------------------------------------------------------------------------


def _number(words: Sequence[str]) -> _Words:
    places = {word: place for place, word in enumerate(dict.fromkeys(words))}
    ids = np.fromiter(map(places.__getitem__, words), np.int64, len(words))
    vocabulary = list(places)
    lengths = np.fromiter(map(len, vocabulary), np.int64, len(vocabulary))
    others = [(place, word) for word, place in places.items() if not word.isalpha()]
    return _Words(vocabulary, ids, lengths, np.bincount(ids, minlength=len(vocabulary)), others)


def _of_words(text: str, words: _Words) -> tuple[int, float, float, float]:
    """Words, their mean length, hashes a word, ellipses a word."""
    if not len(words.ids):
        return 0, 0.0, 0.0, 0.0
    signs = [place for place, word in words.others if not _MORE_THAN_PUNCTUATION.search(word)]
    counts = words.counts.copy()
    counts[signs] = 0
    num_words = int(counts.sum())
    length = float(counts @ words.lengths) / num_words if num_words else 0.0
    num_ellipses = sum(map(text.count, _ELLIPSES))
    return num_words, length, text.count("#") / len(words.ids), num_ellipses / len(words.ids)


def _of_lines(text: str) -> tuple[float, float]:
    """The shares of lines that begin with a bullet and that end in an ellipsis."""
    lines = [line.strip() for line in text.splitlines()]
    if not lines:
        return 0.0, 0.0
    num_bullets = sum(line.startswith(_BULLETS) for line in lines)
    return num_bullets / len(lines), sum(line.endswith(_ELLIPSES) for line in lines) / len(lines)


def _letters_and_stop_words(words: _Words) -> tuple[float, int]:
    """The share of words with a letter, and how many different stop words there are."""
    if not len(words.ids):
        return 0.0, 0
    without = [place for place, word in words.others if not any(map(str.isalpha, word))]
    num_without = int(words.counts[without].sum())
    return (len(words.ids) - num_without) / len(words.ids), len(STOP_WORDS.intersection(words.vocabulary))


# --- n-grams ----------------------------------------------------------------------------------------------


def _n_grams(words: _Words, num_characters: int) -> Iterator[float]:
    """The shares of characters in the commonest 2- to 4-grams and in repeated 5- to 10-grams.

    An n-gram is only said twice where its first n-1 words are: so at each n fewer places are left to look at.
    """
    ends = [0, *np.cumsum(words.lengths[words.ids]).tolist()]  # characters before each word, without spaces
    ids = words.ids.tolist()
    repeated = _repeated_pairs(words)
    for n in range(_TOP[0], _DUPLICATED[-1] + 1):
        if n > _TOP[0]:
            repeated = _lengthen(repeated, ids, n)
        num = (_in_commonest if n in _TOP else _in_repeated)(repeated, ends, n)
        yield num / num_characters if num_characters else 0.0


def _repeated_pairs(words: _Words) -> _Repeated:
    """The repeated 2-grams: the only ones that are looked for among all of a text's."""
    keys = words.ids[:-1] * len(words.vocabulary) + words.ids[1:]
    order = np.argsort(keys, kind="stable")
    is_next = np.zeros(len(keys) + 1, np.bool_)  # whether a key is that before it, in order
    is_next[1:-1] = keys[order[1:]] == keys[order[:-1]]
    again = is_next[1:] | is_next[:-1]
    groups = np.empty(len(keys), np.int64)
    groups[order] = np.cumsum(~is_next[:-1])
    starts = np.sort(order[again])
    return _Repeated(starts.tolist(), groups[starts].tolist())


def _lengthen(repeated: _Repeated, ids: list[int], n: int) -> _Repeated:
    """The repeated n-grams, from the repeated (n-1)-grams."""
    last = len(ids) - n
    occurrences: dict[tuple[int, int], list[int]] = {}
    for start, group in zip(*repeated, strict=True):
        if start <= last:
            occurrences.setdefault((group, ids[start + n - 1]), []).append(start)
    several = [starts for starts in occurrences.values() if len(starts) > 1]
    found = sorted((start, group) for group, starts in enumerate(several) for start in starts)
    return _Repeated([start for start, _ in found], [group for _, group in found])


def _in_commonest(repeated: _Repeated, ends: list[int], n: int) -> int:
    """Characters in all occurrences of the commonest n-gram, spaces between its words counted.

    Of several that are as common it is the first; where none is repeated, that is the text's first.
    """
    if len(ends) <= n:
        return 0
    start, count = 0, 1
    if repeated.starts:
        group, count = Counter(repeated.groups).most_common(1)[0]
        start = repeated.starts[repeated.groups.index(group)]
    return (ends[start + n] - ends[start] + n - 1) * count


def _in_repeated(repeated: _Repeated, ends: list[int], n: int) -> int:
    """Characters in n-grams that were said before, without spaces; what is counted once is passed over."""
    said: set[int] = set()
    after = num = 0
    for start, group in zip(*repeated, strict=True):
        if start < after:
            continue
        if group in said:
            num += ends[start + n] - ends[start]
            after = start + n
        else:
            said.add(group)
    return num
