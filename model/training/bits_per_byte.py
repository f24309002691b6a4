"""The validation loss in bits a byte of text, which compares models whatever their tokens are."""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from model.errors import ModelError
from tokenizer.encode import Tokenizer
from tokenizer.tokenfile import TokenFile

_TOKENS_AT_ONCE: Final = 1 << 24


def bytes_per_token(files: Sequence[TokenFile], tokenizer: Tokenizer) -> float | None:
    """Bytes of text that a token of `files` stands for on average; None where they hold no text.

    End-of-text is a token that is predicted like any other, but no text: it counts with no bytes.

    Raises:
        ModelError: A file holds ids that are not the tokenizer's.
    """
    counts = np.zeros(tokenizer.vocab_size, np.int64)
    for file in files:
        for start in range(0, len(file.tokens), _TOKENS_AT_ONCE):
            piece = file.tokens[start : start + _TOKENS_AT_ONCE]
            if piece.min() < 0 or piece.max() >= tokenizer.vocab_size:
                bad = int(piece.min() if piece.min() < 0 else piece.max())
                raise ModelError(
                    f"{file.path} holds the id {bad:,}, but the tokenizer's ids end at"
                    f" {tokenizer.vocab_size - 1:,}; run the shard stage again"
                )
            counts += np.bincount(piece, minlength=tokenizer.vocab_size)
    lengths = tokenizer.token_lengths.astype(np.int64)
    lengths[list(tokenizer.specials.values())] = 0
    num_bytes = int(counts @ lengths)
    return num_bytes / int(counts.sum()) if num_bytes else None


def bits_per_byte(loss: float, bytes_per_token: float) -> float:
    """A loss in nats a token as bits a byte.

    >>> bits_per_byte(math.log(256), 1.0)
    8.0
    """
    return loss / math.log(2) / bytes_per_token
