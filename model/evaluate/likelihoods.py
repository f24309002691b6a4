"""How likely a GPT-2 holds tokens to be, in windows where they are more than its context.

Windows of any texts are computed together, a batch of them at a time, each as it would be alone. Only the
places whose next token is asked for go through the output matrix, which is a third of a small GPT-2.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.errors import ModelError
from model.evaluate.requests import Likelihood, Likely, TextLikelihood
from model.gpt2 import GPT2
from tokenizer.encode import Tokenizer
from tokenizer.text import well_formed

Tokens = npt.NDArray[np.uint32]

_PLACES = 256
"""Places whose logits are held at once: 50 MB of a GPT-2's."""


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens that are read at once.

    Attributes:
        tokens: uint32, at most one more than the context: the last one is asked for, and not read.
        num_asked: How many of them, from the end, are asked for.
    """

    tokens: Tokens
    num_asked: int


def windows_of(
    request: Likelihood | TextLikelihood, tokenizer: Tokenizer, context: int, stride: int
) -> list[Window]:
    """The windows that a request is answered from: together they ask for each of its tokens once."""
    if isinstance(request, TextLikelihood):
        tokens, first = tokenizer.encode_array(request.text), 0
    else:
        tokens, first = _split_jointly(request, tokenizer)
    if first == 0:
        # Nothing stands before the first token: that a text begins is told by the end of the one before.
        tokens, first = np.concatenate([np.array([tokenizer.eot_id], np.uint32), tokens]), 1
    return list(_windows(tokens, first, context, stride))


def score(network: GPT2, windows: Sequence[Window], rows: int) -> Iterator[tuple[int, Likely]]:
    """Yields each window's place in `windows` and what was asked for in it, the longest windows first.

    Raises:
        ModelError: The network's answers are no numbers.
    """
    # Windows of one length waste the least padding; where memory is short, the first batch tells.
    order = sorted(range(len(windows)), key=lambda place: -len(windows[place].tokens))
    for start in range(0, len(order), rows):
        places = order[start : start + rows]
        yield from zip(places, _score_batch(network, [windows[place] for place in places]), strict=True)


def log_probabilities(logits: Tensor) -> Tensor:
    """Log-probabilities float32 (..., V) from logits of any dtype.

    Raises:
        ModelError: They are no numbers.
    """
    logits = logits.float()
    if not logits.amax(-1).isfinite().all():
        raise ModelError(
            "the network answers with NaN or infinity: its training has failed; use an earlier checkpoint"
        )
    return logits.log_softmax(-1)


def _split_jointly(request: Likelihood, tokenizer: Tokenizer) -> tuple[Tokens, int]:
    """The tokens of both texts as one, and the first that ends in the continuation."""
    context, continuation = well_formed(request.context), well_formed(request.continuation)
    tokens = tokenizer.encode_array(context + continuation)
    ends = tokenizer.token_lengths[tokens].cumsum()
    return tokens, int(ends.searchsorted(len(context.encode()), side="right"))


def _windows(tokens: Tokens, first: int, context: int, stride: int) -> Iterator[Window]:
    """Windows that ask for `tokens` from `first` (at least 1) on.

    One window, the last that fits, where it reaches what is asked for. Else the first one has
    `context - stride` tokens before `first`, if there are as many, and each later one ends `stride` tokens
    behind the one before, or at the end: so `stride` is the most that it asks for.
    """
    # A place is a token that is read; it asks for the one behind it.
    place, end = first - 1, len(tokens) - 1
    stop = end if end - place <= context else max(place - (context - stride), 0) + context
    while place < end:
        yield Window(tokens[max(stop - context, 0) : stop + 1], stop - place)
        place, stop = stop, min(stop + stride, end)


@torch.inference_mode()
def _score_batch(network: GPT2, windows: Sequence[Window]) -> list[Likely]:
    device = network.tokens.weight.device
    # What stands behind the end of a shorter one is read by none of its tokens.
    read = np.zeros((len(windows), max(len(window.tokens) for window in windows) - 1), np.int64)
    for row, window in zip(read, windows, strict=True):
        row[: len(window.tokens) - 1] = window.tokens[:-1]
    sizes = [window.num_asked for window in windows]
    rows = np.repeat(np.arange(len(windows)), sizes)
    places = np.concatenate([np.arange(len(w.tokens) - 1 - w.num_asked, len(w.tokens) - 1) for w in windows])
    asked = np.concatenate([window.tokens[-window.num_asked :] for window in windows]).astype(np.int64)
    encoded = network.encode(torch.from_numpy(read).to(device))  # (B, T, D)
    encoded = encoded[torch.from_numpy(rows).to(device), torch.from_numpy(places).to(device)]  # (P, D)
    found, likeliest = _look_up(network, encoded, torch.from_numpy(asked).to(device))
    return [
        Likely(float(log_probabilities.sum()), len(log_probabilities), bool(hits.all()))
        for log_probabilities, hits in zip(
            torch.split(found, sizes), torch.split(likeliest, sizes), strict=True
        )
    ]


def _look_up(network: GPT2, encoded: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities, float64 (P,), of tokens int64 (P,) behind `encoded` (P, D); which are likeliest."""
    found, likeliest = [], []
    for some, tokens in zip(torch.split(encoded, _PLACES), torch.split(asked, _PLACES), strict=True):
        every = log_probabilities(network.logits(some))  # (P, V)
        found.append(every.gather(-1, tokens[:, None])[:, 0].double())
        likeliest.append(every.argmax(-1) == tokens)
    return torch.cat(found).cpu(), torch.cat(likeliest).cpu()
