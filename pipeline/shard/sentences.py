"""Where a text's sentences end: where BlingFire says so, at other scripts' full stops, and at line ends.

Why it was chosen, and how well it does, is in docs/sentences.md.
"""

import re

import numpy as np
import numpy.typing as npt
import regex
from livekit import blingfire

# A line of an extracted text is a block of its page: a heading or a list's item ends without a full stop.
_LINE_END = re.compile(r"\n\s*")
_RARE_LINE_ENDS = "\v\f\r\x85\u2028\u2029"
_ANY_LINE_END = re.compile(rf"[\n{_RARE_LINE_ENDS}]\s*")  # takes three times as long


def _full_stops(more: str = "") -> "regex.Pattern[str]":
    """Signs that end a sentence whatever follows, with the closing quotes and white space behind them."""
    signs = rf"[\p{{Sentence_Terminal}}{more}--[!?.]]++(?<!．(?=\p{{Nd}}))"  # and no decimal point
    return regex.compile(rf"(?V1){signs}[\p{{Pe}}\p{{Pf}}\"']*+[\s\x1c-\x1f]*+")  # what str.isspace takes


_FULL_STOP = _full_stops()
_GREEK_FULL_STOP = _full_stops(";\u037e")  # Greek asks with a semicolon


# In UTF-8 these signs have other lead bytes, but for a few that begin as quotes do.
_OTHER_BYTES = bytes([*range(0xD4), 0xE2])
_LIKE_QUOTES = re.compile(rb"\xe2(?:\x80[\xa4\xbc\xbd]|\x81[\x87-\x89]|[\xb3\xb8\xb9])")

# What BlingFire takes for the beginning of the next sentence: closing quotes, brackets and further full stops
# that are glued to what is before them, or followed by white space (else they open: »Ja.«, ”Ja.”); and white
# space of rarer kinds.
_LEFT_OVER = regex.compile(
    r"(?V1)(?:(?:(?<=\S)|(?=.(?!\S)))[\p{Pe}\p{Pf}\p{Sentence_Terminal}]++)?[\s\x1c-\x1f]*+"
)


def sentence_ends(text: str, language: str) -> npt.NDArray[np.int64]:
    r"""Byte offsets in UTF-8 behind each sentence, ascending; the last is the text's end. Empty for no text.

    The white space behind a sentence belongs to it, that before the first one to the first. A text of white
    space alone is one sentence.

    >>> sentence_ends("A heading\nBy J. K. Rowling. “Is it? Yes.”", "en")
    array([10, 28, 38, 45])

    Args:
        text: Any text without lone surrogates.
        language: An ISO 639-1 code; of all languages only Greek ("el") has a full stop that others use within
            their sentences.

    Returns:
        int64 [sentences].
    """
    if not text:
        return np.array([], dtype=np.int64)
    first = len(text) - len(text.lstrip())
    starts = [start for start, _ in blingfire.text_to_sentences_with_offsets(text)[1]]
    ends = [start if text[start].isalnum() else _begin(text, start) for start in starts if start > first]
    line_end = _ANY_LINE_END if any(sign in text for sign in _RARE_LINE_ENDS) else _LINE_END
    ends += [match.end() for match in line_end.finditer(text, first)]
    data = b"" if text.isascii() else text.encode()
    if language == "el" or _may_have_full_stops(data):
        full_stop = _GREEK_FULL_STOP if language == "el" else _FULL_STOP
        ends += [match.end() for match in full_stop.finditer(text, first)]
    ends.append(len(text))
    offsets = np.array(sorted(set(ends)), dtype=np.int64)
    return _byte_offsets(data, offsets) if data else offsets


def _begin(text: str, start: int) -> int:
    """Where the sentence begins that BlingFire lets begin at ``start``."""
    left_over = _LEFT_OVER.match(text, start)
    return left_over.end() if left_over else start


def _may_have_full_stops(data: bytes) -> bool:
    """Whether UTF-8 may hold other scripts' full stops: a quick no for Latin, Greek and Cyrillic ones."""
    return bool(data.translate(None, _OTHER_BYTES)) or _LIKE_QUOTES.search(data) is not None


def _byte_offsets(data: bytes, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Offsets in characters of a text, as offsets in its UTF-8."""
    # A character's other bytes are 0x80 to 0xBF: -128 to -65.
    continued = np.flatnonzero(np.frombuffer(data, dtype=np.int8) < -64)
    characters = continued - np.arange(1, len(continued) + 1)  # which character each of them belongs to
    return offsets + np.searchsorted(characters, offsets)
