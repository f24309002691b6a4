"""The n-grams of texts as 64-bit hashes, many texts at once: what an overlap is found by.

A text's words are what stands between whitespace, in lower case and without punctuation: GPT-3's grams (Brown
et al. 2020, appendix C). By Unicode's categories:

- Whitespace is what ``str.isspace`` says (a no-break space too) and control characters.
- Punctuation (P: ASCII's, general, CJK), symbols (S: ``$``, ``€``, emoji) and what is not seen (Cf: soft
  hyphens, joiners, byte order marks; variation selectors) are dropped where they stand: ``don't`` and
  ``don’t`` are ``dont``, and a word that is nothing else vanishes.
- Letters are lower-cased one by one, in all scripts, where that leaves the length in UTF-8 as it is. About
  30 letters stay (``İ``, ``ẞ``, ``Ⱥ``, the Kelvin sign).

All of that for the first two planes (code points under 0x20000); above are Han characters, which belong to
words. Scripts without spaces have few and very long words: there only texts that agree over n whole clauses
that stand between spaces or line ends have a gram in common.

The work is done on UTF-8 bytes in numpy, 128 KiB of texts at a time, so that it stays in a core's cache.
A word of up to 64 bytes is hashed eight bytes at a time, all words of a piece at once.
"""

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

Hashes: TypeAlias = npt.NDArray[np.uint64]
Integers: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Texts: TypeAlias = Sequence[str] | pa.Array | pa.ChunkedArray

_PIECE_BYTES = 1 << 17  # with more, the arrays are so large that each is mapped anew
_SHORT_BYTES = 64  # of a word whose eights of bytes are hashed together with those of the others

_PLANES = 0x20000  # code points whose kind is looked up
_WORD, _DROPPED, _SPACE = range(3)
_SIZES = ((2, 0xC2, 0xE0), (3, 0xE0, 0xF0), (4, 0xF0, 0xF8))  # of a character in UTF-8, by its first byte
_NUM_EIGHTS_BYTES = 8
_PADDING = b"\0" * _NUM_EIGHTS_BYTES  # the last word's eight bytes can be read

_WORD_MULTIPLIER = np.uint64(0xBF58476D1CE4E5B9)  # of SplitMix64's finaliser
_GRAM_MULTIPLIER = 0x9E3779B97F4A7C15  # odd; 2^64 / golden ratio
_MASKS = np.array([(1 << 8 * num) - 1 for num in range(_NUM_EIGHTS_BYTES + 1)], np.uint64)


class Grams(NamedTuple):
    """The n-grams of some texts for one n, in the order in which they stand there."""

    rows: Integers
    """The number of the text that a gram is of, not falling."""
    hashes: Hashes


class Spans(NamedTuple):
    """Where the words of a text are, in characters: from the first that is not dropped to after the last."""

    starts: Integers
    ends: Integers


def hash_grams(texts: Texts, ns: Sequence[int]) -> Iterator[tuple[Grams, ...]]:
    """The grams of every text, for each n in the order of ``ns``: piece by piece, each of whole texts.

    A gram never goes from one text into the next, and a text of fewer than n words has none. Nulls of an
    Arrow column are empty texts. Two grams of the same words have the same hash, on every machine.
    """
    first = 0
    for piece in _pieces(_utf8(texts)):
        words, rows = _hash_words(piece)
        yield tuple(_grams(words, rows, ns, first))
        first += len(piece)


def find_words(text: str) -> Spans:
    """Where the words are that ``hash_grams`` makes its grams of, in order."""
    points = np.frombuffer(f" {text} ".encode("utf-32-le", "surrogatepass"), "<u4")
    kinds = _characters().kinds[np.minimum(points, _PLANES - 1)]
    kept = np.flatnonzero(kinds != _DROPPED)
    edges = _edges(kinds[kept] == _WORD)
    return Spans(kept[edges[::2]] - 1, kept[edges[1::2] - 1])


def as_hashes(hashes: Collection[int] | Hashes) -> Hashes:
    """Hashes of whatever collection as an array, sorted and each once."""
    array = hashes if isinstance(hashes, np.ndarray) else np.array(list(hashes), np.uint64)
    in_order = np.sort(array.astype(np.uint64, copy=False))
    is_new = np.diff(in_order, prepend=~in_order[:1]) != 0
    return np.asarray(in_order[is_new])  # np.unique, without counts, takes 50 times as long


def _utf8(texts: Texts) -> Iterator[bytes]:
    if isinstance(texts, pa.Array | pa.ChunkedArray):
        for chunk in texts.chunks if isinstance(texts, pa.ChunkedArray) else [texts]:
            for start in range(0, len(chunk), 64):
                for text in chunk.slice(start, 64).cast(pa.large_binary()).to_pylist():
                    yield text or b""
        return
    for text in texts:
        yield text.encode("utf-8", "surrogatepass")


def _pieces(texts: Iterable[bytes]) -> Iterator[list[bytes]]:
    piece: list[bytes] = []
    num_bytes = 0
    for text in texts:
        if piece and num_bytes + len(text) > _PIECE_BYTES:
            yield piece
            piece, num_bytes = [], 0
        piece.append(text)
        num_bytes += len(text) + 1
    if piece:
        yield piece


class _Characters(NamedTuple):
    """What becomes of each code point, and of bytes."""

    kinds: Bytes
    is_replaced: npt.NDArray[np.bool_]
    """Whether a code point of two bytes or more becomes others."""
    replacements: Bytes
    """Which, of the same number: [code points, 4]. Spaces, or "!" for what is dropped."""
    ascii: bytes
    """For each byte, itself, its lower case or a space; but NUL, which ends a text, stays."""
    dropped: bytes
    """The ASCII characters that are."""


@lru_cache(maxsize=1)
def _characters() -> _Characters:
    characters = [chr(point) for point in range(_PLANES)]
    kinds = [_kind(character) for character in characters]
    replacements = np.zeros((_PLANES, 4), np.uint8)
    is_replaced = np.zeros(_PLANES, np.bool_)
    ascii_table = bytearray(range(256))
    for point, (character, kind) in enumerate(zip(characters, kinds, strict=True)):
        if kind == _WORD and not character.isupper() and not character.istitle():
            continue
        replaced = _replaced(character, kind)
        if point < 0x80:
            ascii_table[point] = replaced[0] if point else 0
        elif replaced != character.encode("utf-8", "surrogatepass"):
            is_replaced[point] = True
            replacements[point, : len(replaced)] = np.frombuffer(replaced, np.uint8)
    return _Characters(
        kinds=np.array(kinds, np.uint8),
        is_replaced=is_replaced,
        replacements=replacements,
        ascii=bytes(ascii_table),
        dropped=bytes(point for point in range(0x80) if kinds[point] == _DROPPED),
    )


def _kind(character: str) -> int:
    category = unicodedata.category(character)
    if category == "Cc" or character.isspace():
        return _SPACE
    if category[0] in "PS" or category == "Cf" or "\ufe00" <= character <= "\ufe0f":
        return _DROPPED
    return _WORD


def _replaced(character: str, kind: int) -> bytes:
    """What stands for a character, in as many bytes."""
    encoded = character.encode("utf-8", "surrogatepass")
    if kind != _WORD:
        return (b" " if kind == _SPACE else b"!") * len(encoded)
    lower = character.lower().encode()
    return lower if len(lower) == len(encoded) and len(character.lower()) == 1 else encoded


def _hash_words(texts: Sequence[bytes]) -> tuple[Hashes, Integers]:
    """The hashes of the words of all texts, in order, and the place of each word's text."""
    clean = np.frombuffer(_clean(texts), np.uint8)
    edges = _edges(clean > 0x20)
    starts, ends = edges[::2], edges[1::2]
    text_ends = np.flatnonzero(clean == 0)[1 : len(texts) + 1]
    num_words = np.diff(np.searchsorted(starts, text_ends), prepend=0)
    return _hash_runs(clean, starts, ends - starts), np.repeat(np.arange(len(texts)), num_words)


def _clean(texts: Sequence[bytes]) -> bytearray:
    """The texts in lower case and without punctuation, with a NUL before the first and after each."""
    whole = (text.replace(b"\0", b" ") for text in texts)
    joined = bytearray(b"\0".join((b"", *whole, _PADDING)))
    if not joined.isascii():
        _replace(np.frombuffer(joined, np.uint8))
    return joined.translate(_characters().ascii, _characters().dropped)


def _replace(buffer: Bytes) -> None:
    """Replaces what is not ASCII in place: upper case, whitespace, and what is dropped."""
    leads = np.flatnonzero(buffer >= 0xC2)
    first = buffer.take(leads)
    table = _characters()
    for size, low, high in _SIZES:
        at = leads[(first >= low) & (first < high)]
        if len(at) == 0:
            continue
        points = (buffer.take(at) & (0x7F >> size)).astype(np.int64)
        for i in range(1, size):
            points = points << 6 | buffer.take(at + i) & 0x3F
        points = np.minimum(points, _PLANES - 1)  # the last of them is no character
        is_replaced = table.is_replaced.take(points)
        at, replacements = at[is_replaced], table.replacements[points[is_replaced]]
        for i in range(size):
            buffer[at + i] = replacements[:, i]


def _edges(is_word: npt.NDArray[np.bool_]) -> Integers:
    """Where words begin and, in turn, where they have ended; neither the first nor the last is a word's."""
    return np.flatnonzero(is_word[1:] != is_word[:-1]) + 1


def _hash_runs(buffer: Bytes, starts: Integers, lengths: Integers) -> Hashes:
    """A hash of each run of bytes. None of them is NUL, so that those of up to eight never collide."""
    eights: Any = np.ndarray(len(buffer) - _NUM_EIGHTS_BYTES + 1, "<u8", buffer, strides=(1,))
    hashes: Hashes = eights[starts] & _MASKS.take(np.minimum(lengths, _NUM_EIGHTS_BYTES))
    more = np.flatnonzero(lengths > _NUM_EIGHTS_BYTES)
    for offset in range(_NUM_EIGHTS_BYTES, _SHORT_BYTES, _NUM_EIGHTS_BYTES):
        if len(more) == 0:
            break
        rest = lengths[more] - offset
        masks = _MASKS.take(np.minimum(rest, _NUM_EIGHTS_BYTES))
        hashes[more] = _mix(hashes[more]) + (eights[starts[more] + offset] & masks)
        more = more[rest > _NUM_EIGHTS_BYTES]
    for i in more.tolist():
        hashes[i] = xxhash.xxh3_64_intdigest(buffer[starts[i] : starts[i] + lengths[i]].tobytes())
    return _mix(hashes)


def _mix(hashes: Hashes) -> Hashes:
    """A bijection after which every bit of the input weighs upon all higher ones, and on many lower ones."""
    mixed = hashes ^ (hashes >> np.uint64(32))
    mixed *= _WORD_MULTIPLIER
    mixed ^= mixed >> np.uint64(29)
    mixed *= _WORD_MULTIPLIER
    mixed ^= mixed >> np.uint64(32)
    return mixed


def _grams(words: Hashes, rows: Integers, ns: Sequence[int], first: int) -> Iterator[Grams]:
    known = {1: words}
    for n in ns:
        hashes = _combine(known, n)
        within = rows[: len(hashes)] == rows[n - 1 :] if len(hashes) else np.empty(0, np.bool_)
        yield Grams(rows[: len(hashes)][within] + first, hashes[within])


def _combine(known: dict[int, Hashes], n: int) -> Hashes:
    """The hashes of all runs of n words: of w0, w1, … it is w0 + w1·m + w2·m² + … (modulo 2^64).

    A run is put together of two shorter ones, which are remembered in ``known``.
    """
    num = max(0, len(known[1]) - n + 1)
    if n not in known:
        left = 1 << (n - 1).bit_length() - 1  # the greatest power of two under n
        multiplier = np.uint64(pow(_GRAM_MULTIPLIER, left, 1 << 64))
        heads, tails = _combine(known, left), _combine(known, n - left)
        known[n] = heads[:num] + tails[left : left + num] * multiplier
    return known[n]
