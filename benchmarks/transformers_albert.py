"""transformers' AlbertForPreTraining in our shape, and our batches as it takes them."""

from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from model.config import AlbertConfig
from model.masked import NO_TARGET, AlbertBatch


def build_transformers(config: AlbertConfig) -> nn.Module:
    """The network of the same shape, without dropout, its weights drawn from torch's global generator."""
    build_config: Callable[..., Any] = transformers.AlbertConfig
    network: nn.Module = transformers.AlbertForPreTraining(
        build_config(
            vocab_size=config.vocab_size,
            embedding_size=config.embedding,
            hidden_size=config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.ffn,
            max_position_embeddings=config.context,
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
