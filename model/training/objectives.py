"""What is minimised: next-token prediction for GPT-2, masked tokens and segment order for ALBERT.

A step's batch may pass through the network in pieces, in several processes. Each piece's losses are sums,
divided by what the *whole* step holds, so that their gradients add up to the gradient of the step's mean
however it is cut.

Where it is compiled, the matrix that gives logits is lengthened to a multiple of 64 rows, which is what
matrix products on GPUs are fast at: 50,304 for 50,257. The logits of the rows that were added are cut off
before the loss, so that nothing else is changed, neither numbers nor weights. Where it is not, on a CPU, the
loss takes the logits a few rows at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from model.albert import Albert
from model.data.masked import NO_TARGET, AlbertBatch
from model.data.sequences import GPT2Batch
from model.gpt2 import GPT2
from model.linear_cross_entropy import linear_cross_entropy
from model.networks import Network

Batch = GPT2Batch | AlbertBatch

_ROWS = 64


@dataclass(frozen=True)
class Totals:
    """What a whole step holds: the denominators of its losses.

    Attributes:
        targets: Tokens to predict.
        sequences: Sequences.
    """

    targets: float | Tensor
    sequences: float | Tensor

    @classmethod
    def of(cls, batches: Sequence[Batch]) -> Self:
        """The totals over all pieces of a step."""
        return cls(sum(b.num_targets for b in batches), sum(b.num_sequences for b in batches))

    def means(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each loss as its share of the step's mean; segment order counts once a sequence."""
        return {
            name: value / (self.sequences if name == "sop" else self.targets) for name, value in sums.items()
        }


class Objective(nn.Module):
    """A network with its losses, so that both can be compiled, and wrapped for several processes, as one.

    Args:
        network: What is trained.
        pad_head: Whether to lengthen the matrix that gives logits.
    """

    def __init__(self, network: Network, *, pad_head: bool = False) -> None:
        super().__init__()
        self.network = network
        self._pad_head = pad_head

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The sum of each loss over a batch, in nats, as scalars.

        Returns:
            `lm` for GPT-2; `mlm` (masked tokens) and `sop` (segment order) for ALBERT.
        """
        network = self.network
        if isinstance(network, GPT2) and isinstance(batch, GPT2Batch):
            encoded = network.encode(batch.tokens, documents=batch.documents).flatten(0, 1)  # (B x T, D)
            return {"lm": self._next_tokens(network, encoded, batch.targets.flatten())}
        if isinstance(network, Albert) and isinstance(batch, AlbertBatch):
            masked, order = network(batch.tokens, batch.segments, batch.present, batch.positions)
            mlm = F.cross_entropy(
                masked.flatten(0, 1), batch.labels.flatten(), ignore_index=NO_TARGET, reduction="sum"
            )
            return {"mlm": mlm, "sop": F.cross_entropy(order, batch.swapped, reduction="sum")}
        raise TypeError(f"a {type(batch).__name__} is not for a {type(network).__name__}")

    def _next_tokens(self, network: GPT2, encoded: Tensor, targets: Tensor) -> Tensor:
        matrix = network.tokens.weight
        if self._pad_head:
            logits = F.linear(encoded, _lengthened(matrix))[:, : network.config.vocab_size]
        elif encoded.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            return linear_cross_entropy(encoded, matrix, targets)
        else:
            logits = network.logits(encoded)
        return F.cross_entropy(logits, targets, reduction="sum")


def _lengthened(matrix: Tensor) -> Tensor:
    """The matrix (V, D) with rows of zeros up to a multiple of `_ROWS`."""
    return F.pad(matrix, (0, 0, 0, -matrix.size(0) % _ROWS))
