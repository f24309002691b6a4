"""What is done to a text before it is tokenised, and how it is cut into words.

Both training and encoding take text through here, so that they see the same words; and neither
fails, or takes time without end, on what a web page may hold.
"""

import re
from collections.abc import Iterator
from typing import Final

WORDS: Final = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
"""GPT-2's words, as a pattern of Rust's fancy-regex: a contraction, letters, digits or other
signs with the space before them, or white space up to the last of it. Merges never cross words.

Source: `pat` in https://github.com/openai/gpt-2/blob/master/src/encoder.py; possessive where
that changes nothing but the time."""

# Unicode's White_Space, which is what \s is to fancy-regex; Python's \s has U+001C to U+001F besides.
_WHITE_SPACE: Final = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_SPACE_RUN: Final = re.compile(f"[{_WHITE_SPACE}]++")
_LONG_SPACE_RUN: Final = 100_000

_LONGEST_TRAINED: Final = 1_000
_LONG_WORD: Final = re.compile(
    rf"(?<!\S)\S{{{_LONGEST_TRAINED + 1},}}+|(?<!\s)\s{{{_LONGEST_TRAINED + 1},}}+"
)


def well_formed(text: str) -> str:
    """The text without lone surrogates, which no UTF-8 can hold: each becomes U+FFFD.

    A high surrogate followed by a low one becomes the character that the two stand for. Any other
    text comes back as it is.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def cut_long_spaces(text: str) -> Iterator[str]:
    r"""Cut a text so that encoding it piece by piece gives the same ids, and always can.

    fancy-regex runs out of its stack in `\s+(?!\S)` on somewhat more than 500,000 white spaces in a
    row that something follows. Such a run is one word up to its last character, so the text is cut
    before that one.
    """
    start = 0
    if len(text) > _LONG_SPACE_RUN:
        for run in _SPACE_RUN.finditer(text):
            if run.end() - run.start() > _LONG_SPACE_RUN and run.end() < len(text):
                yield text[start : run.end() - 1]
                start = run.end() - 1
    yield text[start:]


def cut_long_words(text: str) -> Iterator[str]:
    """Cut a text for training after each 1,000 characters without, or of nothing but, white space.

    The trainer's time grows with the square of a word's length, to minutes for one of a megabyte.
    Shorter words are left alone, a longer one loses the pairs at its cuts.
    """
    start = 0
    for run in _LONG_WORD.finditer(text):
        for cut in range(run.start() + _LONGEST_TRAINED, run.end(), _LONGEST_TRAINED):
            yield text[start:cut]
            start = cut
    yield text[start:]
