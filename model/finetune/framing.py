"""How texts stand in a sequence that a fine-tuned network reads.

    ALBERT   [CLS] A [SEP]                    [CLS] A [SEP] B [SEP]
    GPT-2    <|endoftext|> A <|endoftext|>    <|endoftext|> A (line break) B <|endoftext|>

Each has one place where the network tells of the whole: ALBERT's first one, as it was trained, and GPT-2's
last one, the only one that has read everything. GPT-1 put tokens of its own at the ends and between; a
GPT-2's vocabulary has no others.

Sources: Devlin et al. 2019 (BERT), Lan et al. 2020 (ALBERT), Radford et al. 2018 (GPT-1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.config import AlbertConfig, Config
from model.data.pairs import excess
from model.errors import ModelError
from tokenizer.encode import Tokenizer
from tokenizer.vocabulary import CLS, PAD, SEP

Tokens = npt.NDArray[np.integer]

_SHORTEST = 16


@dataclass(frozen=True, slots=True)
class Framed:
    """One sequence.

    Attributes:
        tokens: int32 (T,), its ids.
        num_first: Those before the second segment.
        whole: The place that tells of the whole.
    """

    tokens: npt.NDArray[np.int32]
    num_first: int
    whole: int


@dataclass(frozen=True, slots=True)
class FramedBatch:
    """Sequences side by side.

    Attributes:
        tokens: int64 (B, T), as long as the longest.
        segments: int64 (B, T), 1 in the second segment.
        present: bool (B, T), false where there is only padding.
        whole: int64 (B,), the places that tell of the whole.
    """

    tokens: Tensor
    segments: Tensor
    present: Tensor
    whole: Tensor


class Framing:
    """Frames texts for one network.

    Args:
        config: The network's shape.
        tokenizer: Its tokenizer.
        max_length: Tokens of a sequence, those around the texts included.

    Raises:
        ModelError: `max_length` is more than the network reads, or too little to hold anything.
    """

    def __init__(self, config: Config, tokenizer: Tokenizer, max_length: int) -> None:
        if not _SHORTEST <= max_length <= config.context:
            raise ModelError(
                f"max_length must be from {_SHORTEST} to {config.context:,}, the most tokens that the network"
                f" reads, got {max_length}"
            )
        self.tokenizer = tokenizer
        self.max_length = max_length
        self._is_albert = isinstance(config, AlbertConfig)
        if self._is_albert:
            self._start, self._end, self._padding = (tokenizer.specials[name] for name in (CLS, SEP, PAD))
            self._between: Tokens = np.array([self._end])
        else:
            self._start = self._end = self._padding = tokenizer.eot_id
            self._between = tokenizer.encode_array("\n")

    def room(self, *, for_two: bool) -> int:
        """Tokens that one text has, or two have together."""
        return self.max_length - 2 - for_two * len(self._between)

    def frame(self, first: Tokens, second: Tokens | None = None) -> Framed:
        """Frames one text's tokens or two texts', which must fit."""
        parts = [np.array([self._start]), first]
        if second is not None:
            parts += [self._between, second]
        tokens = np.concatenate([*parts, [self._end]]).astype(np.int32)
        num_first = len(tokens) if second is None else len(tokens) - len(second) - 1
        return Framed(tokens, num_first, 0 if self._is_albert else len(tokens) - 1)

    def frame_texts(self, first: str, second: str | None = None) -> Framed:
        """Frames texts, of which the ends are cut that do not fit: those of the longer one first."""
        encode = self.tokenizer.encode_array
        if second is None:
            return self.frame(encode(first)[: self.room(for_two=False)])
        a, b = encode(first), encode(second)
        dropped = excess(np.array([len(a)]), np.array([len(b)]), self.room(for_two=True))
        drop_a, drop_b = (int(each[0]) for each in dropped)
        return self.frame(a[: len(a) - drop_a], b[: len(b) - drop_b])

    def batch(self, framed: Sequence[Framed], device: torch.device) -> FramedBatch:
        """Sequences side by side, padded at their ends, on `device`."""
        longest = max(len(one.tokens) for one in framed)
        tokens = np.full((len(framed), longest), self._padding, np.int64)
        lengths = np.array([len(one.tokens) for one in framed])
        for row, one in zip(tokens, framed, strict=True):
            row[: len(one.tokens)] = one.tokens
        places = np.arange(longest)
        present = places < lengths[:, None]
        in_second = present & (places >= np.array([one.num_first for one in framed])[:, None])
        arrays = (tokens, in_second.astype(np.int64), present, np.array([one.whole for one in framed]))
        return FramedBatch(*(torch.from_numpy(array).to(device) for array in arrays))
