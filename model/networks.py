"""Either architecture, built from its configuration."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from model.albert import Albert
from model.config import AlbertConfig, Architecture, Config, GPT2Config
from model.gpt2 import GPT2

Network = GPT2 | Albert


def build_network(config: Config) -> Network:
    """The network that `config` describes, its weights drawn from torch's global generator."""
    return GPT2(config) if isinstance(config, GPT2Config) else Albert(config)


def architecture_of(config: Config) -> Architecture:
    """The name of the architecture that `config` describes."""
    return "gpt2" if isinstance(config, GPT2Config) else "albert"


def parse_config(architecture: str, values: Mapping[str, Any]) -> Config:
    """The configuration of `architecture` with the fields `values`.

    Raises:
        ValueError: There is no such architecture, or a field is wrong.
        TypeError: A field is missing or unknown.
    """
    if architecture == "gpt2":
        return GPT2Config(**values)
    if architecture == "albert":
        return AlbertConfig(**values)
    raise ValueError(f"architecture must be gpt2 or albert, got {architecture!r}")


def num_parameters(network: nn.Module) -> int:
    """Weights of `network`, each counted once, however often it is used."""
    return sum(parameter.numel() for parameter in network.parameters())
