"""A language model small enough to be worked out by hand: each byte's probability follows from the last one.

What it answers is exact, and the probability of a text is that of its parts: an oracle for tasks of choices.
"""

from collections.abc import Sequence

import numpy as np

from model.evaluate.requests import Likelihood, Likely, Request

_END_OF_TEXT = 256
_WEIGHTS = np.random.default_rng(17).integers(1, 1000, (257, 256))
_LOG_PROBABILITIES = np.log(_WEIGHTS / _WEIGHTS.sum(1, keepdims=True))  # (last byte, next byte)


def log_probability(text: str, before: str = "") -> float:
    """Of the bytes of `text` behind `before`, or behind the end of a text."""
    following = list(text.encode())
    last = [before.encode()[-1] if before else _END_OF_TEXT, *following[:-1]]
    return float(_LOG_PROBABILITIES[last, following].sum())


def answer(requests: Sequence[Request]) -> list[Likely]:
    """Replies to likelihoods; tokens are bytes."""
    replies = []
    for request in requests:
        assert isinstance(request, Likelihood)
        assert request.continuation
        assert not request.context.endswith(" ")
        total = log_probability(request.continuation, request.context)
        replies.append(Likely(total, len(request.continuation.encode()), is_likeliest=False))
    return replies
