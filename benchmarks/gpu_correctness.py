"""Is a network right on the GPU: bf16 there, with what is timed, against float64 on the CPU."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from model.config import Config, GPT2Config
from model.data.masked import MASKED_FRACTION, NO_TARGET, AlbertBatch
from model.data.sequences import GPT2Batch
from model.gpt2 import GPT2
from model.networks import Network, build_network
from model.training.objectives import Batch
from model.training.objectives import Objective as Losses

# ‖found − exact‖ / ‖exact‖. bf16 keeps 8 bits, so that a product's operands are off by up to 0.4 %.
LOGITS_BOUND = 2e-2
LOSS_BOUND = 1e-3
GRADIENTS_BOUND = 5e-2

Objective = Callable[[Batch], tuple[Tensor, Tensor]]


def build_objective(network: Network, *, compiled: bool, autocast: bool = True) -> Objective:
    """Sums of the losses over a batch: of each target, and of each sequence (ALBERT's second loss).

    Both are sums, so that the numbers they are divided by, new in each step, are no part of what is compiled.
    """
    losses = Losses(network)

    def measure(batch: Batch) -> tuple[Tensor, Tensor]:
        parts = losses(batch)
        of_tokens = parts["lm"] if "lm" in parts else parts["mlm"]
        return of_tokens, parts.get("sop", torch.zeros_like(of_tokens))

    inner = torch.compile(measure, dynamic=False) if compiled else measure

    def objective(batch: Batch) -> tuple[Tensor, Tensor]:
        with torch.autocast("cuda", torch.bfloat16) if autocast else nullcontext():
            result: tuple[Tensor, Tensor] = inner(batch)
        return result

    return objective


def relative_errors(config: Config, *, compiled: bool) -> dict[str, tuple[float, float]]:
    """Relative errors and their bounds, by what they are of: logits, loss and gradients."""
    network = build_network(config)
    for parameter in network.parameters():
        if parameter.dim() == 1:  # Biases of 0 and norms of 1 would hide errors.
            nn.init.normal_(parameter, mean=float(parameter.detach().mean()), std=0.02)
    batch = _random_batch(config)
    exact_logits, exact_loss, exact_gradients = _evaluate(
        network.double(), batch, build_objective(network, compiled=False, autocast=False)
    )
    network = network.float().cuda()
    objective = build_objective(network, compiled=compiled)
    logits, loss, gradients = _evaluate(network, batch.to(torch.device("cuda")), objective)
    return {
        "logits": (_relative(logits, exact_logits), LOGITS_BOUND),
        "loss": (_relative(loss, exact_loss), LOSS_BOUND),
        "gradients": (_relative(gradients, exact_gradients), GRADIENTS_BOUND),
    }


def _evaluate(network: Network, batch: Batch, objective: Objective) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, mean loss and gradients, each as one float64 vector on the CPU."""
    autocast = torch.autocast("cuda", torch.bfloat16, enabled=next(network.parameters()).is_cuda)
    with torch.no_grad(), autocast:
        logits = _logits(network, batch)
    network.zero_grad()
    first, second = objective(batch)
    loss = first / batch.num_targets + second / batch.num_sequences
    torch.autograd.backward(loss)
    gradients = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
    together = (logits.flatten(), loss.detach().flatten(), torch.cat(gradients))
    first, last, rest = (vector.double().cpu() for vector in together)
    return first, last, rest


def _logits(network: Network, batch: Batch) -> Tensor:
    if isinstance(network, GPT2):
        return network(batch.tokens)  # type: ignore[no-any-return]
    assert isinstance(batch, AlbertBatch)
    masked, order = network(batch.tokens, batch.segments, batch.present, batch.positions)
    # Places that stand for nothing take no part.
    return torch.cat([masked[batch.labels != NO_TARGET].flatten(), order.flatten()])


def _relative(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


def _random_batch(config: Config) -> Batch:
    """Two sequences of the full context; ALBERT's second is padded."""
    tokens = torch.randint(config.vocab_size, (2, config.context + 1))
    if isinstance(config, GPT2Config):
        return GPT2Batch(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
    tokens = tokens[:, :-1].contiguous()
    present = torch.arange(config.context) < torch.tensor([[config.context], [config.context // 3]])
    predicted = round(MASKED_FRACTION * config.context)
    positions = torch.stack([torch.randperm(config.context // 3)[:predicted].sort().values for _ in range(2)])
    labels = torch.randint(config.vocab_size, (2, predicted))
    labels[1, predicted // 3 :] = NO_TARGET
    segments = (torch.arange(config.context) > config.context // 6).long().expand(2, -1) * present
    return AlbertBatch(tokens, segments, present, positions, labels, torch.tensor([0, 1]))
