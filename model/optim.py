"""Optimizers and learning rates.

AdamW (Loshchilov and Hutter 2019) with GPT-3's constants, and LAMB (You et al. 2020) as the released
ALBERT has it: no bias correction, and biases and norms take part neither in weight decay nor in the
trust ratio.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn

from model.recipe import Recipe


class Lamb(torch.optim.Optimizer):
    """Adam's direction, scaled for each matrix to the length of the matrix itself.

    Args:
        params: Parameters or groups. A group with `adapt=False` gets no trust ratio.
        lr: Learning rate.
        betas: Decay of the running mean of gradients, and of their squares.
        eps: Added to the root of the second; without bias correction it also damps the first steps.
        weight_decay: Decoupled weight decay, part of the direction whose length is adapted.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**defaults, "adapt": True})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Takes one step; `closure`, where given, is called first and its loss returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        mean, square = state["mean"], state["square"]
        beta1, beta2 = group["betas"]
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        direction = mean / (square.sqrt() + group["eps"])
        direction.add_(parameter, alpha=group["weight_decay"])
        if group["adapt"]:
            length, reach = parameter.norm(), direction.norm()
            # A matrix that is all zeros, or has no gradient, moves as with Adam.
            trust = torch.where((length > 0) & (reach > 0), length / reach, 1.0)
            direction.mul_(trust)
        parameter.sub_(direction, alpha=group["lr"])


def build_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over `network`: matrices and embeddings decay, vectors do not."""
    parameters = list(network.parameters())
    matrices = [p for p in parameters if p.dim() >= 2]
    vectors = [p for p in parameters if p.dim() < 2]
    decay = {"params": matrices, "weight_decay": recipe.weight_decay}
    plain: dict[str, Any] = {"params": vectors, "weight_decay": 0.0}
    if recipe.optimizer == "lamb":
        return Lamb([decay, {**plain, "adapt": False}], lr=recipe.learning_rate)
    return torch.optim.AdamW([decay, plain], lr=recipe.learning_rate, betas=(0.9, 0.95), eps=1e-8)


def learning_rate(step: int, recipe: Recipe) -> float:
    """The learning rate of step `step`, counted from 0.

    Linear from 0 (exclusive) to the peak over the warm-up, then down to the smallest after the last
    step along half a cosine or a line.
    """
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    done = min(1.0, (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup))
    left = (1 + math.cos(math.pi * done)) / 2 if recipe.schedule == "cosine" else 1 - done
    low = recipe.min_learning_rate_fraction
    return recipe.learning_rate * (low + (1 - low) * left)
