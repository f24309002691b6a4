"""transformers' AlbertForPreTraining in our shape, and our batches as it takes them."""

import torch
import transformers
from torch import Tensor, nn

from model.config import AlbertConfig
from model.data.masked import NO_TARGET, AlbertBatch
from tests.in_transformers import albert_config


def build_transformers(config: AlbertConfig) -> nn.Module:
    """The network of the same shape, without dropout, its weights drawn from torch's global generator."""
    network: nn.Module = transformers.AlbertForPreTraining(
        albert_config(
            config,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            classifier_dropout_prob=0.0,
            attn_implementation="sdpa",
        )
    )
    return network


def inputs_of(batch: AlbertBatch) -> dict[str, Tensor]:
    """The arguments of its call. It wants a label at each place; places of 0 stand for none."""
    return {
        "input_ids": batch.tokens,
        "attention_mask": batch.present.long(),
        "token_type_ids": batch.segments,
        "labels": torch.full_like(batch.tokens, NO_TARGET).scatter(1, batch.positions, batch.labels),
        "sentence_order_label": batch.swapped,
    }
