"""GPT-2's alphabet: a printable character for each of the 256 bytes.

Vocabulary files are text, and some bytes are spaces, control characters or no UTF-8 at all. GPT-2
writes the 188 bytes that are printable in Latin-1 as that character, and the other 68, in order,
as U+0100 and up: a space becomes "Ġ", a line feed "Ċ". The ids 0 to 255 are the bytes in the order
of these characters.

Source: `bytes_to_unicode` in https://github.com/openai/gpt-2/blob/master/src/encoder.py.
"""

from collections.abc import Mapping
from typing import Final

from tokenizer.errors import TokenizerError


def _characters() -> dict[int, str]:
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = sorted(set(range(256)) - set(printable))
    return {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + i) for i, byte in enumerate(others)}


CHARACTERS: Final[Mapping[int, str]] = _characters()
"""Byte → character, in the order of ids."""

BYTES: Final[Mapping[str, int]] = {character: byte for byte, character in CHARACTERS.items()}
"""Character → byte, in the order of ids."""


def spell(token: bytes) -> str:
    """Write a token's bytes in the alphabet: `spell(b" the") == "Ġthe"`."""
    return "".join([CHARACTERS[byte] for byte in token])


def unspell(written: str) -> bytes:
    """Read a token back: `unspell("Ġthe") == b" the"`.

    Raises:
        TokenizerError: A character stands for no byte.
    """
    try:
        return bytes([BYTES[character] for character in written])
    except KeyError as error:
        raise TokenizerError(
            f"{written!r} has a character that stands for no byte in GPT-2's alphabet: {error}"
        ) from error
