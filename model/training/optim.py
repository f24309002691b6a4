"""Optimizers and learning rates.

AdamW (Loshchilov and Hutter 2019) with GPT-3's constants; LAMB (You et al. 2020) as the released ALBERT
has it: no bias correction, and biases and norms take part neither in weight decay nor in the trust ratio;
and Muon (Jordan et al. 2024), which makes a matrix's step orthogonal.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn

from model.training.recipe import Recipe


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


class MuonAndAdamW(torch.optim.Optimizer):
    """Muon for some parameters and AdamW for the rest, as one optimizer.

    Args:
        muon: The one; it takes matrices only.
        adamw: The other, over other parameters.
    """

    def __init__(self, muon: torch.optim.Muon, adamw: torch.optim.AdamW) -> None:
        self._parts: tuple[torch.optim.Optimizer, torch.optim.Optimizer] = (muon, adamw)
        super().__init__([*muon.param_groups, *adamw.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Lets both parts work on this optimizer's own groups and states."""
        muon, adamw = self._parts
        count = len(muon.param_groups)
        muon.param_groups, adamw.param_groups = self.param_groups[:count], self.param_groups[count:]
        muon.state = adamw.state = self.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Puts groups and states in place, as any optimizer does."""
        super().load_state_dict(state_dict)
        self._share()

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Takes one step; `closure`, where given, is called first and its loss returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss


def build_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over `network`: matrices and embeddings decay, vectors do not."""
    parameters = list(network.parameters())
    matrices = [p for p in parameters if p.dim() >= 2]
    vectors = [p for p in parameters if p.dim() < 2]
    decay = recipe.weight_decay
    if recipe.optimizer == "lamb":
        groups = [
            {"params": matrices, "weight_decay": decay},
            {"params": vectors, "weight_decay": 0.0, "adapt": False},
        ]
        return Lamb(groups, lr=recipe.learning_rate)
    if recipe.optimizer == "adamw":
        return _adamw(parameters, recipe)
    embeddings = {id(m.weight) for m in network.modules() if isinstance(m, nn.Embedding)}
    hidden = [p for p in matrices if id(p) not in embeddings]
    rest = [p for p in parameters if p.dim() < 2 or id(p) in embeddings]
    # Scaled to the length of AdamW's steps, so that one learning rate serves both (Liu et al. 2025).
    muon = torch.optim.Muon(
        hidden, lr=recipe.learning_rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"
    )
    return MuonAndAdamW(muon, _adamw(rest, recipe))


def _adamw(parameters: Iterable[nn.Parameter], recipe: Recipe) -> torch.optim.AdamW:
    return build_adamw(parameters, recipe.learning_rate, recipe.weight_decay, betas=(0.9, 0.95), eps=1e-8)


def build_adamw(
    parameters: Iterable[nn.Parameter], rate: float, decay: float, *, betas: tuple[float, float], eps: float
) -> torch.optim.AdamW:
    """AdamW in which matrices and embeddings decay, vectors do not; fused where the device can do it."""
    parameters = list(parameters)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    fused = all(p.device.type in ("cpu", "cuda") for p in parameters)
    return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=eps, fused=fused)


def learning_rate(read: int, batch: int, recipe: Recipe) -> float:
    """The learning rate of a step.

    Linear from 0 (exclusive) to the peak over the warm-up, then down to the smallest along half a cosine
    or a line, or not at all.

    Args:
        read: Tokens read before the step.
        batch: Tokens that the step reads.
        recipe: The peak and the lengths.
    """
    if read < recipe.warmup_tokens:
        return recipe.learning_rate * min(1.0, (read + batch) / recipe.warmup_tokens)
    if recipe.schedule == "constant":
        return recipe.learning_rate
    done = min(1.0, (read - recipe.warmup_tokens) / max(1, recipe.decay_tokens - recipe.warmup_tokens))
    left = (1 + math.cos(math.pi * done)) / 2 if recipe.schedule == "cosine" else 1 - done
    low = recipe.min_learning_rate_fraction
    return recipe.learning_rate * (low + (1 - low) * left)
