"""Training on: a few epochs of AdamW over examples, as BERT and GPT-1 were fine-tuned.

Sources: Devlin et al. 2019, appendix A.3, and optimization.py of the released BERT (weight decay
0.01, eps 1e-6, gradients of norm 1 at most, a tenth of the steps to warm up); Lan et al. 2020, appendix A.4.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from model.data.permutation import Permutation
from model.errors import ModelError
from model.training.optim import build_adamw

OnStep = Callable[[int, int, float], None]
"""Told of each step: its number from 1 on, of how many, and its loss."""

_WARMUP = 0.1
_WEIGHT_DECAY = 0.01
_CLIP = 1.0
_ORDER = 3  # What the order of examples is for, as a key; pretraining's are 1 and 2.


@dataclass(frozen=True, kw_only=True)
class FineTuneSettings:
    """How to fine-tune.

    Attributes:
        learning_rate: The highest, reached after a tenth of the steps; from there on it falls to 0.
        epochs: Times that each example is read.
        batch: Examples (of long texts: windows) a step.
        max_length: Tokens of a sequence; None for 128 of a classifier and 384 where answers are read, or the
            network's context if that is less.
        seed: What the head's first weights, the order of examples and dropout follow from.
        device: Where to compute (see `model.devices`).
    """

    learning_rate: float = 5e-5
    epochs: int = 3
    batch: int = 32
    max_length: int | None = None
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise ModelError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.seed < 0:
            raise ModelError(f"seed must be at least 0, got {self.seed}")
        if not 0 < self.learning_rate < math.inf:
            raise ModelError(f"learning_rate must be a number above 0, got {self.learning_rate}")


def train(
    module: nn.Module,
    items: Sequence[Any],
    loss: Callable[[Sequence[Any]], Tensor],
    settings: FineTuneSettings,
    on_step: OnStep | None = None,
) -> float:
    """Trains `module`, in place, to make `loss` small; dropout draws from torch's global generator.

    Returns:
        The mean loss of the last epoch.

    Raises:
        ModelError: The loss is no number any more.
    """
    optimizer = build_adamw(
        module.parameters(), settings.learning_rate, _WEIGHT_DECAY, betas=(0.9, 0.999), eps=1e-6
    )
    per_epoch = math.ceil(len(items) / settings.batch)
    steps = settings.epochs * per_epoch
    losses: list[float] = []
    module.train()
    for step in range(steps):
        epoch, place = divmod(step, per_epoch)
        numbers = np.arange(place * settings.batch, min((place + 1) * settings.batch, len(items)))
        order = Permutation(len(items), settings.seed, epoch, _ORDER)(numbers)
        found = loss([items[number] for number in order.tolist()])
        losses.append(float(found.detach()))
        if not math.isfinite(losses[-1]):
            raise ModelError(f"the loss is no number in step {step + 1:,}; lower the learning rate")
        optimizer.zero_grad()
        found.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), _CLIP)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate_share(step, steps)
        optimizer.step()
        if on_step is not None:
            on_step(step + 1, steps, losses[-1])
    module.eval()
    return sum(losses[-per_epoch:]) / per_epoch


def rate_share(step: int, steps: int) -> float:
    """The share of the highest learning rate in a step, counted from 0: a line up and a line down.

    >>> [rate_share(step, steps=20) for step in (0, 1, 2, 11, 19)]
    [0.5, 1.0, 1.0, 0.5, 0.05555555555555555]
    """
    warmup = math.ceil(_WARMUP * steps)
    return min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))
