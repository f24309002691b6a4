"""Networks with a new output: classes of the whole, or the first and last token of an answer.

Sources: Devlin et al. 2019 (BERT) and the code released with ALBERT; Radford et al. 2018 (GPT-1), which reads
classes off its last token.

Shapes: B sequences, T tokens, D width, C classes.
"""

from typing import Final

import torch
from torch import Tensor, nn

from model.albert import Albert
from model.finetune.framing import FramedBatch
from model.networks import Network

DROPOUT: Final = 0.1


class Classifier(nn.Module):
    """A linear layer on what the network tells of the whole sequence: an ALBERT's by its pooler.

    Args:
        network: The pretrained network, used as it is.
        num_outputs: Classes, or 1 for a score.
    """

    def __init__(self, network: Network, num_outputs: int) -> None:
        super().__init__()
        self.network = network
        self.dropout = nn.Dropout(DROPOUT)
        self.head = _new_head(network.config.width, num_outputs)

    def forward(self, batch: FramedBatch) -> Tensor:
        """Logits (B, C) in float32."""
        with _bf16_on_gpus(batch.tokens.device):
            hidden = _encode(self.network, batch)
            whole = hidden[torch.arange(hidden.size(0), device=hidden.device), batch.whole]  # (B, D)
            if isinstance(self.network, Albert):
                whole = torch.tanh(self.network.pooler(whole))
            return self.head(self.dropout(whole)).float()  # type: ignore[no-any-return]


class SpanReader(nn.Module):
    """Two vectors with which each token is compared: how like an answer's first one it is, and its last.

    Args:
        network: The pretrained network, used as it is.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.head = _new_head(network.config.width, 2)

    def forward(self, batch: FramedBatch) -> Tensor:
        """Logits (B, 2, T) of the first and the last token in float32, -inf at padding."""
        with _bf16_on_gpus(batch.tokens.device):
            logits = self.head(_encode(self.network, batch)).float().transpose(1, 2)
        return logits.masked_fill(~batch.present[:, None], -torch.inf)  # type: ignore[no-any-return]


def _new_head(width: int, num_outputs: int) -> nn.Linear:
    """Starts as the networks' own layers do; drawn from torch's global generator."""
    head = nn.Linear(width, num_outputs)
    nn.init.trunc_normal_(head.weight, std=0.02, a=-0.04, b=0.04)
    nn.init.zeros_(head.bias)
    return head


def _encode(network: Network, batch: FramedBatch) -> Tensor:
    """Hidden states (B, T, D); those of padding mean nothing."""
    if isinstance(network, Albert):
        return network.encode(batch.tokens, batch.segments, batch.present)
    return network.encode(batch.tokens)  # Padding stands behind, where nothing reads it.


def _bf16_on_gpus(device: torch.device) -> torch.autocast:
    """Products in bf16 on a GPU; the weights stay fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
