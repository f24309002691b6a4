"""How a GPT-2 goes on from token sequences: many at once, each as it would alone."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model.cache import KeyValueCache
from model.errors import ModelError
from model.generation.sampling import Sampling
from model.gpt2 import GPT2
from tokenizer.encode import Tokenizer

Seed = tuple[int, ...]


class Start(NamedTuple):
    """What to go on from.

    Attributes:
        tokens: At least one token id; the last ones that the context holds are read.
        seed: Numbers of at least 0 that the draws follow from, and that alone.
    """

    tokens: Sequence[int]
    seed: Seed


class Drawn(NamedTuple):
    """A token that was drawn.

    Attributes:
        start: Which start it goes on from, counted from 0.
        token: Its id.
        is_last: Whether nothing follows it.
    """

    start: int
    token: int
    is_last: bool


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Where a continuation ends, and what it holds.

    Attributes:
        max_tokens: The most tokens to draw.
        end: A token that ends the continuation; None for none.
        never: Tokens that are not drawn.
        rows: The most sequences to compute at once: it decides the memory and the speed, not the tokens.
    """

    max_tokens: int
    end: int | None = None
    never: Collection[int] = ()
    rows: int = 1


@dataclass(slots=True)
class _Sequence:
    """A sequence on its way: what it has read and drawn, and how it goes on."""

    start: int
    tokens: list[int]
    rng: np.random.Generator
    num_left: int

    def take(self, token: int, end: int | None) -> Drawn:
        self.tokens.append(token)
        self.num_left -= 1
        if token == end:
            self.num_left = 0
        return Drawn(self.start, token, is_last=self.num_left == 0)


def continue_tokens(
    network: GPT2, starts: Sequence[Start], sampling: Sampling, limits: Limits
) -> Iterator[Drawn]:
    """Yields the tokens that follow each start as they are drawn, of `limits.rows` starts at a time.

    Where one is at its end, the next start takes its row. Where the context is full, a sequence starts
    anew from its last half, as learned positions cannot slide; each does so at its own length.

    Raises:
        ModelError: The network's answers are no numbers.
    """
    context = network.config.context
    waiting = _sequences(starts, limits.max_tokens, context)
    cache, banned = _empty_cache(network, starts, limits), _banned(network, limits.never)
    active: list[_Sequence] = []
    full: list[_Sequence] = []
    while True:
        entering = [*full, *islice(waiting, limits.rows - len(active) - len(full))]
        if not active and not entering:
            return
        with torch.inference_mode():
            logits = _next_logits(network, active, entering, cache)
            active += entering
            tokens = _draw(logits.float() + banned, active, sampling)
        for sequence, token in zip(active, tokens, strict=True):
            yield sequence.take(token, limits.end)
        full = _take_out(active, cache, context)


def ids_without_text(network: GPT2, tokenizer: Tokenizer) -> set[int]:
    """Rows of the network's vocabulary that no text has: ALBERT's special tokens, and those without an id.

    The end of a text is not among them.
    """
    vocab_size = network.config.vocab_size
    specials = {i for i in tokenizer.specials.values() if i < vocab_size} - {tokenizer.eot_id}
    return specials.union(range(tokenizer.vocab_size, vocab_size))


def _take_out(active: list[_Sequence], cache: KeyValueCache, context: int) -> list[_Sequence]:
    """Takes out what is at its end and what fills the context; returns the latter, to start anew."""
    full = []
    for row in reversed(range(len(active))):  # so that what takes the place of a row was looked at
        sequence = active[row]
        if sequence.num_left and cache.lengths[row] < context:
            continue
        if sequence.num_left:
            sequence.tokens = sequence.tokens[-max(1, context // 2) :]
            full.append(sequence)
        active[row] = active[-1]
        active.pop()
        cache.drop(row)
    return full


def _sequences(starts: Sequence[Start], max_tokens: int, context: int) -> Iterator[_Sequence]:
    for number, start in enumerate(starts):
        rng = np.random.default_rng(np.random.SeedSequence(start.seed))
        yield _Sequence(number, list(start.tokens[-context:]), rng, max_tokens)


def _empty_cache(network: GPT2, starts: Sequence[Start], limits: Limits) -> KeyValueCache:
    rows = min(limits.rows, len(starts))
    longest = max((len(start.tokens) for start in starts), default=0) + limits.max_tokens
    weight, context = network.tokens.weight, network.config.context
    cache = KeyValueCache(network.config, rows, weight.device, weight.dtype, min(longest, context))
    cache.lengths.clear()
    return cache


def _banned(network: GPT2, never: Collection[int]) -> Tensor:
    """What to add to logits: float (V,), -inf at the tokens in `never`, else 0."""
    banned = torch.zeros(network.config.vocab_size)
    banned[sorted(never)] = -torch.inf
    return banned.to(network.tokens.weight.device)


def _next_logits(
    network: GPT2, active: Sequence[_Sequence], entering: Sequence[_Sequence], cache: KeyValueCache
) -> Tensor:
    """Logits (B, V) of the next token: of `active`, whose last token is not cached, then of `entering`."""
    device = network.tokens.weight.device
    encoded = []
    if active:
        last = torch.tensor([sequence.tokens[-1:] for sequence in active], device=device)
        encoded.append(network.encode(last, cache)[:, -1])  # (B, D)
    if entering:
        lengths = [len(sequence.tokens) for sequence in entering]
        longest = max(lengths)
        # What stands behind the end of a shorter one is read by none of its tokens.
        padded = [s.tokens + [0] * (longest - len(s.tokens)) for s in entering]
        room = KeyValueCache(network.config, len(entering), device, cache.keys.dtype, longest)
        hidden = network.encode(torch.tensor(padded, device=device), room)  # (B, T, D)
        room.lengths = lengths
        cache.append(room)
        encoded.append(hidden[torch.arange(len(lengths)), torch.tensor(lengths) - 1])
    return network.logits(torch.cat(encoded))


def _draw(logits: Tensor, sequences: Sequence[_Sequence], sampling: Sampling) -> list[int]:
    """Draws a token from each row of float `logits` (B, V)."""
    if not logits.amax().isfinite():
        raise ModelError(
            "the network answers with NaN or infinity: its training has failed; use an earlier checkpoint"
        )
    uniform = torch.tensor([s.rng.random() for s in sequences], dtype=torch.float64, device=logits.device)
    tokens: list[int] = sampling.draw(logits, uniform).tolist()
    return tokens
