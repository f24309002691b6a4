"""Where a text's sentences end."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sentencex import segment

# sentencex 1.0.32 panics on an initial behind a space that is longer than one byte ("\u00a0J."). It is
# shown a text with plain ones in their place, character for character, and so with the same offsets.
_PLAIN_SPACES = {
    **dict.fromkeys(map(ord, "\x85\xa0\u1680\u202f\u205f\u3000"), " "),
    **dict.fromkeys(range(0x2000, 0x200B), " "),
    **dict.fromkeys(map(ord, "\u2028\u2029"), "\n"),
}


def sentence_ends(text: str, language: str) -> npt.NDArray[np.int64]:
    """Byte offsets in UTF-8 behind each sentence, ascending; the last is the text's end. Empty for no text.

    The white space behind a sentence belongs to it, that before the first one to the first. A text of white
    space alone is one sentence. A language that sentencex does not know is cut by the rules for English.
    """
    ends: list[int] = []
    at = num_bytes = 0
    shown = text.translate(_PLAIN_SPACES)
    for piece in _segment(shown, language):
        # What it leaves out between two pieces is white space, and belongs to the sentence before.
        start = shown.find(piece, at)
        if start < 0:
            return np.array([len(text.encode())])
        gap, original = text[at:start], text[start : start + len(piece)]
        at = start + len(piece)
        if ends and gap:
            ends[-1] += _num_bytes(gap)
        num_bytes += _num_bytes(gap) + _num_bytes(original)
        if not piece.isspace():
            ends.append(num_bytes)
        elif ends:
            ends[-1] = num_bytes
    if at < len(text):
        num_bytes += _num_bytes(text[at:])
        ends[-1:] = [num_bytes]
    if num_bytes and not ends:
        ends = [num_bytes]
    return np.array(ends, dtype=np.int64)


def _num_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _segment(text: str, language: str) -> Sequence[str]:
    try:
        pieces: Sequence[str] = segment(language, text)
    except BaseException as error:
        # A panic in Rust is no Exception. No text of the web may end a run: this one stays uncut.
        if type(error).__name__ != "PanicException":
            raise
        return [text]
    return pieces
