"""A GPT-2 that answers what tasks ask."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import torch

from model.devices import find_device
from model.errors import ModelError
from model.evaluate.generation import write
from model.evaluate.likelihoods import score, windows_of
from model.evaluate.requests import Generation, Likely, Reply, Request
from model.gpt2 import GPT2
from tokenizer.encode import Tokenizer


class LanguageModel:
    """A GPT-2 network with its tokenizer, asked by `answer`.

    Attributes:
        network: The network, in evaluation mode.
        tokenizer: The tokenizer that it was trained with.
        context: The most tokens that it reads at once.
    """

    def __init__(
        self,
        network: GPT2,
        tokenizer: Tokenizer,
        *,
        rows: int = 8,
        stride: int | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        """Moves `network` to `device`; its dtype is left as it is.

        Args:
            network: A GPT-2.
            tokenizer: Its tokenizer.
            rows: Most windows or texts that are computed at once, which takes memory.
            stride: Tokens by which each window of a text that is longer than the context lies behind the
                one before; None for half the context.
            device: Where to compute; see `find_device`.

        Raises:
            ModelError: An argument is out of range, or there is no such device.
        """
        self.network = network.to(find_device(str(device))).eval()
        self.tokenizer = tokenizer
        self.context = network.config.context
        if rows < 1:
            raise ModelError(f"rows must be at least 1, got {rows}")
        if stride is not None and not 1 <= stride <= self.context:
            raise ModelError(f"stride must be from 1 to the model's context ({self.context}), got {stride}")
        self._rows = rows
        self._stride = stride or max(1, self.context // 2)

    def answer(
        self, requests: Sequence[Request], on_progress: Callable[[int, int], None] | None = None
    ) -> list[Reply]:
        """Answers requests of any kinds, in their order; equal ones are computed once.

        A reply hangs on its request alone: neither the others nor `rows` change it, but for rounding
        (below 1e-5 in float32).

        `Likelihood`: context and continuation are split into tokens as one text, and a token that ends in
        the continuation is the continuation's. Where nothing stands before the first of these, the end of a
        text does. Of a context that is too long the end is read. A continuation that is longer than the
        model's context is read in windows as a long text is, the first of them with `context - stride` tokens
        before it.

        `TextLikelihood`: a text behind the end of another, so that its first token is asked for too. The
        first window asks for all its tokens, each later one lies `stride` tokens further, or less at the
        text's end, and asks for the tokens that the one before has not read.

        `Generation`: see `model.evaluate.generation.write`.

        Args:
            requests: What is asked.
            on_progress: Called with how many of how many pieces of work are done: windows to score and
                texts to write.

        Raises:
            ModelError: A request is out of range, or the network's answers are no numbers.
        """
        likelihoods = dict.fromkeys(one for one in requests if not isinstance(one, Generation))
        windows = [
            (request, window)
            for request in likelihoods
            for window in windows_of(request, self.tokenizer, self.context, self._stride)
        ]
        generations = list(dict.fromkeys(one for one in requests if isinstance(one, Generation)))
        scored = score(self.network, [window for _, window in windows], self._rows)
        written = write(self.network, self.tokenizer, generations, self._rows)
        pieces: Iterator[tuple[Request, Reply]] = chain(
            ((windows[place][0], likely) for place, likely in scored),
            ((generations[place], text) for place, text in written),
        )
        replies: dict[Request, Reply] = {request: Likely(0.0, 0, True) for request in likelihoods}
        for num_done, (request, reply) in enumerate(pieces, start=1):
            replies[request] = _join(replies.get(request), reply)
            if on_progress is not None:
                on_progress(num_done, len(windows) + len(generations))
        return [replies[request] for request in requests]


def _join(before: Reply | None, reply: Reply) -> Reply:
    """What a request's next window adds to those before it; a text is the whole reply."""
    if not isinstance(before, Likely) or not isinstance(reply, Likely):
        return reply
    return Likely(
        before.log_probability + reply.log_probability,
        before.num_tokens + reply.num_tokens,
        before.is_likeliest and reply.is_likeliest,
    )
