"""A network that learns: gradients of a step, however many passes and processes it is spread over.

Weights, gradients and the optimizer's state are fp32. In bf16, products and what is kept for the backward
pass are bf16 (autocast). Network and losses are compiled as one, so that the loss is fused with the matrix
that gives logits; with sharded weights each block is compiled by itself, as what gathers its weights cannot
be.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from model.config import TrainSettings
from model.gpt2 import GPT2
from model.networks import Network
from model.training.objectives import Batch, Objective, Totals
from model.training.optim import build_optimizer
from model.training.processes import Processes
from model.training.recipe import Recipe


class Learner:
    """A network and its optimizer on this process's device.

    Args:
        network: With its first weights, the same in all processes; moved to the device, in place.
        recipe: Says which optimizer.
        settings: Say how to compute.
        processes: Who else learns.

    Attributes:
        network: The network, sharded in place where settings ask for it.
        optimizer: The optimizer, over the network's own parameters.
    """

    def __init__(
        self, network: Network, recipe: Recipe, settings: TrainSettings, processes: Processes
    ) -> None:
        self._processes = processes
        self._clip = settings.clip
        on_gpu = processes.device.type == "cuda"
        self._bf16 = settings.precision == "bf16" or (settings.precision == "auto" and on_gpu)
        compiled = settings.compile == "on" or (settings.compile == "auto" and on_gpu)
        sharded = processes.count > 1 and settings.parallel == "fsdp"
        self.network = network.to(processes.device)
        if settings.activation_checkpointing:
            recompute_activations(network)
        objective = Objective(network, pad_head=compiled and not sharded)
        if sharded:
            _shard(objective, processes, bf16=self._bf16, compiled=compiled)
        self.optimizer = build_optimizer(network, recipe)
        if compiled and not sharded:
            objective.compile()
        self._measure = objective
        self._replica: DistributedDataParallel | None = None
        if processes.count > 1 and not sharded:
            self._replica = DistributedDataParallel(self._measure)

    def learn(self, batches: Sequence[Batch], totals: Totals) -> tuple[dict[str, Tensor], Tensor]:
        """Gradients of a step, clipped, for `update` to use.

        Args:
            batches: This process's pieces of the step's batch, on any device.
            totals: What the whole step holds, in all processes.

        Returns:
            This process's shares of the step's mean losses; and the L2 norm of the whole step's gradients
            before clipping, the same in all processes. Scalars on the device, still being computed.
        """
        self.network.train()
        self.optimizer.zero_grad()
        measure = self._replica or self._measure
        found: dict[str, Tensor] = {}
        for number, batch in enumerate(batches, 1):
            with self._apart(number < len(batches)):
                means = totals.means(self._sums(measure, batch))
                # Gradients are averaged over processes, whose losses are shares of one sum.
                torch.autograd.backward([self._processes.count * mean for mean in means.values()])
            _add(found, means)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self._clip)
        return found, norm.full_tensor() if isinstance(norm, DTensor) else norm

    def update(self, rate: float) -> None:
        """Moves the weights along the gradients that `learn` found, at learning rate `rate`."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()

    def measure(self, batches: Sequence[Batch], totals: Totals) -> dict[str, Tensor]:
        """This process's shares of the mean losses over `batches`, without learning from them."""
        self.network.eval()
        found: dict[str, Tensor] = {}
        with torch.no_grad():
            for batch in batches:
                _add(found, totals.means(self._sums(self._measure, batch)))
        return found

    def held_bytes(self) -> int:
        """Bytes of weights and of what the optimizer remembers, in this process."""
        tensors = list(self.network.parameters())
        tensors += [t for state in self.optimizer.state.values() for t in state.values()]
        return sum((t.to_local() if isinstance(t, DTensor) else t).nbytes for t in tensors)

    def _sums(self, measure: nn.Module, batch: Batch) -> dict[str, Tensor]:
        device = self._processes.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self._bf16):
            return measure(batch.to(device))  # type: ignore[no-any-return]

    def _apart(self, apart: bool) -> AbstractContextManager[Any]:
        """Where `apart`, gradients stay in this process, to be added to before they are exchanged."""
        return self._replica.no_sync() if self._replica is not None and apart else nullcontext()


def blocks(network: Network) -> list[nn.Module]:
    """The parts that make up the network's depth."""
    if isinstance(network, GPT2):
        return list(network.blocks)
    return list(chain(network.attentions, network.ffns))


def recompute_activations(network: Network) -> None:
    """Has each block keep its input alone and compute the rest anew in the backward pass, in place."""
    for block in blocks(network):
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def _shard(objective: Objective, processes: Processes, *, bf16: bool, compiled: bool) -> None:
    """Spreads weights over the processes, in place; a GPT-2 block's are gathered while it works.

    An ALBERT's few shared weights are used in every layer, and so are gathered once a pass.
    """
    mesh = init_device_mesh(processes.device.type, (processes.count,))
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if bf16 else None, reduce_dtype=torch.float32 if bf16 else None
    )
    network = objective.network
    for block in blocks(network):
        if compiled:
            block.compile()
        if isinstance(network, GPT2):
            fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(objective, mesh=mesh, mp_policy=policy)


def _add(sums: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + value.detach()
