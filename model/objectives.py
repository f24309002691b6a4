"""What is minimised: next-token prediction for GPT-2, masked tokens and segment order for ALBERT.

A step's batch may pass through the network in pieces. Each piece's losses are sums, divided by what the
*whole* step holds, so that their gradients add up to the gradient of the step's mean however it is cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from model.albert import Albert
from model.data import GPT2Batch
from model.gpt2 import GPT2
from model.masked import NO_TARGET, AlbertBatch
from model.networks import Network

Batch = GPT2Batch | AlbertBatch


@dataclass(frozen=True)
class Totals:
    """What a whole step holds: the denominators of its losses.

    Attributes:
        targets: Tokens to predict.
        sequences: Sequences.
    """

    targets: int
    sequences: int

    @classmethod
    def of(cls, batches: Sequence[Batch]) -> Self:
        """The totals over all pieces of a step."""
        return cls(sum(b.num_targets for b in batches), sum(b.num_sequences for b in batches))


def losses(network: Network, batch: Batch, totals: Totals) -> dict[str, Tensor]:
    """The batch's share of each loss, in nats, as scalars; what is minimised is their sum.

    Returns:
        `lm` for GPT-2; `mlm` (masked tokens) and `sop` (segment order) for ALBERT.
    """
    if isinstance(network, GPT2) and isinstance(batch, GPT2Batch):
        logits = network(batch.tokens)  # (B, T, V)
        summed = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="sum")
        return {"lm": summed / totals.targets}
    if isinstance(network, Albert) and isinstance(batch, AlbertBatch):
        masked, order = network(batch.tokens, batch.segments, batch.present, batch.positions)
        mlm = F.cross_entropy(
            masked.flatten(0, 1), batch.labels.flatten(), ignore_index=NO_TARGET, reduction="sum"
        )
        sop = F.cross_entropy(order, batch.swapped, reduction="sum")
        return {"mlm": mlm / totals.targets, "sop": sop / totals.sequences}
    raise TypeError(f"a {type(batch).__name__} is not for a {type(network).__name__}")
