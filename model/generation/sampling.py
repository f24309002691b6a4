"""How the next token is drawn from a network's logits."""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What of a distribution is drawn from.

    Attributes:
        temperature: Divides the logits; 0 always takes the most likely token.
        top_k: Draw from this many most likely tokens only; None for all.
        top_p: Draw from the fewest most likely tokens whose probabilities reach this sum; None for
            all. Where `top_k` is set too, from what it leaves.

    Raises:
        ModelError: One is out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ModelError(f"temperature must be a number of at least 0, got {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ModelError(f"top_k must be at least 1, got {self.top_k}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ModelError(f"top_p must be above 0 and at most 1, got {self.top_p}")

    def draw(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """Draws a token for each row.

        Args:
            logits: float (B, V), of which at least one a row is above -inf.
            uniform: float64 (B,), numbers of at least 0 and under 1: where in each row's distribution its
                token lies. So the same number gives the same token whatever the other rows are.

        Returns:
            int64 (B,) token ids.
        """
        if self.temperature == 0:
            return logits.argmax(-1)
        logits, ids = self._likeliest(logits.double())
        # From the largest, so that a small temperature makes zeros and no overflow.
        probabilities = ((logits - logits.amax(-1, keepdim=True)) / self.temperature).softmax(-1)
        if self.top_p is not None:
            # A token stays if those before it do not reach the sum; the first always does.
            before = probabilities.cumsum(-1) - probabilities
            probabilities = probabilities.where(before < self.top_p, 0.0)
        sums = probabilities.cumsum(-1)
        # A little less than the whole, which rounding could make of the largest numbers.
        aims = uniform[:, None] * sums[:, -1:] * (1 - 1e-15)
        drawn = torch.searchsorted(sums, aims, right=True)  # (B, 1): the first whose sum is beyond
        return (drawn if ids is None else ids.gather(-1, drawn))[:, 0]

    def _likeliest(self, logits: Tensor) -> tuple[Tensor, Tensor | None]:
        """The `logits` to draw from, the largest first, with their ids; None where all stand at theirs."""
        if self.top_k is not None:
            return logits.topk(min(self.top_k, logits.size(-1)))
        if self.top_p is not None:
            return logits.sort(descending=True)
        return logits, None
