"""A text's shingles, as hashes: its n-grams of words, or of characters where words are not set apart.

Texts are compared with case folded and every run of white space as one space. Words are what white space
divides; a text shorter than n is one shingle as a whole, and an empty text has none.

All words of a text are hashed at once: the bytes b0 … bk of one to (b0+1) + (b1+1)·m + … (modulo 2^64), mixed
by MurmurHash3's finaliser. A shingle of the hashes h0 … hn is h0·m + h1·m² + …: of equal shingles equal, and
of 10^9 different ones hardly two.
"""

import re
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Octets = npt.NDArray[np.uint8]

_MULTIPLIER = 0x9E3779B97F4A7C15  # odd; 2^64 / golden ratio
_SPACE = 0x20
# What str.split takes for white space: in ASCII, and beyond.
_SPACES = bytes.maketrans(b"\t\n\v\f\r\x1c\x1d\x1e\x1f", b" " * 9)
_WIDE_SPACES = re.compile("[\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")


class Shingled(NamedTuple):
    """A text as dedupe sees it."""

    normalised: bytes  # in UTF-8
    shingles: Hashes  # in their order, repeated where the text repeats itself


class Shingler:
    """Texts to shingles."""

    def __init__(self, kind: Literal["words", "characters"], ngram: int) -> None:
        self._hash = _hash_words if kind == "words" else _hash_characters
        self._multipliers = _powers(ngram + 1)[0][1:]

    def shingle(self, text: str) -> Shingled:
        """The text's normalised form and the hashes of its shingles: uint64 [shingles]."""
        normalised = _normalise(text)
        return Shingled(normalised.tobytes(), self._combined(self._hash(normalised)))

    def _combined(self, hashes: Hashes) -> Hashes:
        if len(hashes) == 0:
            return hashes
        multipliers = self._multipliers[: len(hashes)]
        num_shingles = len(hashes) - len(multipliers) + 1
        total = np.zeros(num_shingles, dtype=np.uint64)
        for i, multiplier in enumerate(multipliers):
            total += hashes[i : i + num_shingles] * multiplier
        return total


def _normalise(text: str) -> Octets:
    """A text's words with one space between them, case folded, in UTF-8."""
    folded = text.casefold()
    if not folded.isascii():
        folded = _WIDE_SPACES.sub(" ", folded)
    # A lone surrogate is a character like another.
    octets = np.frombuffer(folded.encode("utf-8", "surrogatepass").translate(_SPACES), np.uint8)
    wanted = octets != _SPACE
    wanted[1:] |= wanted[:-1]  # the space behind each word too
    packed: Octets = octets[wanted]
    return packed[:-1] if len(packed) and packed[-1] == _SPACE else packed


def _hash_words(normalised: Octets) -> Hashes:
    """The hash of each word: uint64 [words].

    Each byte is weighed by the multiplier's power of its place in the text, so that a difference of two sums
    is a word's hash but for the power of the word's own place.
    """
    num = len(normalised)
    if num == 0:
        return np.empty(0, np.uint64)
    powers, inverses = _powers(num)
    sums = np.zeros(num + 1, dtype=np.uint64)
    np.cumsum(np.add(normalised, np.uint64(1), dtype=np.uint64) * powers, out=sums[1:])
    ends = np.append(np.flatnonzero(normalised == _SPACE), num)
    starts = np.concatenate(([0], ends[:-1] + 1))
    return _mixed((sums[ends] - sums[starts]) * inverses[starts])


def _hash_characters(normalised: Octets) -> Hashes:
    """The hash of each character: uint64 [characters]."""
    text = normalised.tobytes().decode("utf-8", "surrogatepass")
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    return _mixed(points.astype(np.uint64) + np.uint64(1))


def _powers(num: int) -> tuple[Hashes, Hashes]:
    """The powers of the multiplier from 0 on, and those of its inverse: each uint64 [num]."""
    powers, inverses = _FIRST_POWERS if num <= len(_FIRST_POWERS[0]) else _make_powers(num)
    return powers[:num], inverses[:num]


def _make_powers(num: int) -> tuple[Hashes, Hashes]:
    made = []
    for base in (_MULTIPLIER, pow(_MULTIPLIER, -1, 1 << 64)):
        factors = np.full(num, base, dtype=np.uint64)
        factors[:1] = 1
        made.append(np.multiply.accumulate(factors))
    return made[0], made[1]


_FIRST_POWERS = _make_powers(1 << 15)  # few texts are longer


def _mixed(hashes: Hashes) -> Hashes:
    """MurmurHash3's 64-bit finaliser, in place."""
    hashes ^= hashes >> np.uint64(33)
    hashes *= np.uint64(0xFF51AFD7ED558CCD)
    hashes ^= hashes >> np.uint64(33)
    hashes *= np.uint64(0xC4CEB9FE1A85EC53)
    hashes ^= hashes >> np.uint64(33)
    return hashes


def jaccard(one: Hashes, other: Hashes) -> float:
    """The Jaccard similarity of two sets of shingles, each ascending and without repetition.

    Two texts without shingles are equal.
    """
    if len(one) == len(other) == 0:
        return 1.0
    places = np.searchsorted(one, other)
    places[places == len(one)] = 0
    shared = int((one[places] == other).sum()) if len(one) else 0
    return shared / (len(one) + len(other) - shared)
