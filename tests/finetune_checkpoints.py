"""Checkpoints of tiny networks with random weights, to be fine-tuned."""

from pathlib import Path

import torch

from model.checkpoint import Metadata, Progress
from model.config import AlbertConfig, Config, GPT2Config
from model.networks import build_network
from model.training.saving import save_checkpoint
from tests.test_model_networks import sharpen
from tests.test_model_shards import make_vocabulary
from tokenizer.encode import Tokenizer
from tokenizer.files import TOKENIZER_JSON, write_tokenizer


def tiny_configs(vocab_size: int) -> dict[str, Config]:
    return {
        "albert": AlbertConfig(
            vocab_size=vocab_size, context=64, embedding=32, layers=2, width=48, heads=4, ffn=96, dropout=0.0
        ),
        "gpt2": GPT2Config(vocab_size=vocab_size, context=64, layers=2, width=48, heads=4),
    }


def write_checkpoints(folder: Path) -> dict[str, Path]:
    """A checkpoint of each architecture, by its name."""
    write_tokenizer(make_vocabulary(), folder / "tokenizer")
    vocab_size = Tokenizer.load(folder / "tokenizer").vocab_size
    tokenizer_json = (folder / "tokenizer" / TOKENIZER_JSON).read_bytes()
    found = {}
    for name, config in tiny_configs(vocab_size).items():
        torch.manual_seed(0)
        network = build_network(config)
        sharpen(network)  # Else attention is near even, and a small ALBERT needs long to learn where to look.
        metadata = Metadata(
            progress=Progress(), preset="tiny", config=config, tokenizer="", shards="", training={}
        )
        optimizer = torch.optim.AdamW(network.parameters())
        found[name] = save_checkpoint(folder / name, metadata, network, optimizer, tokenizer_json, 1)
    return found
