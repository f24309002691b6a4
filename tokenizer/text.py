"""What is done to a text before it is tokenised, and how it is cut into words.

Both training and encoding take text through here, so that they see the same words; and neither
fails, or takes time without end, on what a web page may hold.
"""

import re
from collections.abc import Iterator
from typing import Final

WORDS: Final = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+"
"""GPT-2's words in a text that `cut_space_runs` has cut: a contraction, letters, digits or other signs
with the space before them, or white space. Merges never cross words.

GPT-2's own pattern has `\\s+(?!\\S)` too, white space up to the last of a run, which goes to the word
behind it. Without looking ahead a pattern needs no backtracking: it takes half the time, and cannot run
out of stack on a long run.

Source: `pat` in https://github.com/openai/gpt-2/blob/master/src/encoder.py."""

# Unicode's White_Space, which is what \s is to tiktoken; Python's \s has U+001C to U+001F besides.
_WHITE_SPACE: Final = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_LAST_BUT_ONE: Final = re.compile(f"[{_WHITE_SPACE}](?=[{_WHITE_SPACE}][^{_WHITE_SPACE}])")
_TO_SPACES: Final = bytes.maketrans(b"\t\n\v\f\r", b"     ")
# The wider ones in UTF-8: those that begin as curly quotes do, and what the others begin with.
_WIDE_LIKE_QUOTES: Final = re.compile(rb"\xe2(?:\x80[\x80-\x8a\xa8\xa9\xaf]|\x81\x9f)")
_WIDE_LEADS: Final = (b"\xc2", b"\xe1", b"\xe3")

_LONGEST_TRAINED: Final = 1_000
_RUN: Final = re.compile(f"[{_WHITE_SPACE}]++|[^{_WHITE_SPACE}]++")
_BLOCK: Final = _LONGEST_TRAINED // 2
_FULL_BLOCK: Final = re.compile(rf"[{_WHITE_SPACE}]{{{_BLOCK}}}|[^{_WHITE_SPACE}]{{{_BLOCK}}}")


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


def cut_space_runs(text: str) -> Iterator[str]:
    r"""Cut a text in front of the last white space of each run that a word follows, as `WORDS` needs.

    >>> list(cut_space_runs("a   b\n\nc d "))
    ['a  ', ' b\n', '\nc d ']
    """
    start = 0
    if _may_have_runs(text):
        for space in _LAST_BUT_ONE.finditer(text):
            yield text[start : space.end()]
            start = space.end()
    yield text[start:]


def _may_have_runs(text: str) -> bool:
    """Whether two white spaces may stand side by side: a quick no for most texts."""
    data = text.encode()
    if b"  " in data.translate(_TO_SPACES):
        return True
    wide = not text.isascii() and any(lead in data for lead in _WIDE_LEADS)
    return wide or _WIDE_LIKE_QUOTES.search(data) is not None


def cut_long_words(text: str) -> Iterator[str]:
    """Cut a text for training after each 1,000 characters without, or of nothing but, white space.

    The trainer's time grows with the square of a word's length, to minutes for one of a megabyte.
    Shorter words are left alone, a longer one loses the pairs at its cuts. Encoding cuts nothing.
    """
    start = 0
    if _may_have_long_words(text):
        for run in _RUN.finditer(text):
            for cut in range(run.start() + _LONGEST_TRAINED, run.end(), _LONGEST_TRAINED):
                yield text[start:cut]
                start = cut
    yield text[start:]


def _may_have_long_words(text: str) -> bool:
    """Whether an aligned block of 500 characters is of one kind: a run of over 1,000 has one inside.

    A block is left at its first change of kind, so of prose some ten characters in 500 are looked at.
    """
    return len(text) > _LONGEST_TRAINED and any(
        _FULL_BLOCK.match(text, at) for at in range(0, len(text) - _BLOCK + 1, _BLOCK)
    )
