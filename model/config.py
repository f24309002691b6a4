"""What a model is and how it is trained: settings, presets and architecture configurations.

Settings (`ModelSettings`, `TrainSettings`) are what a user writes: pydantic, every field described.
Configurations (`GPT2Config`, `AlbertConfig`) are what a network is built from: plain dataclasses with
nothing left open. `ModelSettings.resolve` leads from the one to the other. Nothing here needs torch.

Sources of the presets: Radford et al. 2019 (GPT-2) with the sizes of the released models;
Brown et al. 2020, table 2.1 (GPT-3), where the 1.3B row's heads and the 13B row's width are what
heads x head size make them, not what the table prints; Lan et al. 2020 (ALBERT) with the released
configurations, version 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Architecture = Literal["gpt2", "albert"]
Sharing = Literal["all", "attention", "ffn", "none"]

DEFAULT_PRESETS: Mapping[Architecture, str] = MappingProxyType({"gpt2": "124M", "albert": "base"})


def _require_positive(config: object, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def _require_probability(name: str, value: float) -> None:
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{name} must be at least 0 and under 1, got {value}")


def _require_whole_heads(width: int, heads: int) -> None:
    if width % heads:
        raise ValueError(f"heads must divide width: {heads} heads, width {width}")


@dataclass(frozen=True, kw_only=True)
class GPT2Config:
    """The shape of a GPT-2: all that is needed to build the network.

    Attributes:
        vocab_size: Token ids, special tokens included.
        context: The most tokens that one sequence holds, and the learned positions.
        layers: Transformer blocks.
        width: Features of the residual stream; the feed-forward layer is four times as wide.
        heads: Attention heads a block.
        dropout: Probability of dropping a feature, while training.
    """

    vocab_size: int = 50_257
    context: int = 1024
    layers: int
    width: int
    heads: int
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _require_positive(self, "vocab_size", "context", "layers", "width", "heads")
        _require_whole_heads(self.width, self.heads)
        _require_probability("dropout", self.dropout)


@dataclass(frozen=True, kw_only=True)
class AlbertConfig:
    """The shape of an ALBERT: all that is needed to build the network.

    Attributes:
        vocab_size: Token ids, special tokens included.
        context: The most tokens that one sequence holds, and the learned positions.
        embedding: Features of a token's embedding before it is projected to `width`.
        layers: Times that a transformer block is applied.
        width: Features of the hidden states.
        heads: Attention heads a block.
        ffn: Features inside the feed-forward layer.
        dropout: Probability of dropping a feature, while training.
        sharing: Which weights the layers of a group have in common.
        groups: Groups of consecutive layers; weights are shared within a group.
    """

    vocab_size: int = 30_000
    context: int = 512
    embedding: int = 128
    layers: int
    width: int
    heads: int
    ffn: int
    dropout: float = 0.1
    sharing: Sharing = "all"
    groups: int = 1

    def __post_init__(self) -> None:
        sizes = ("vocab_size", "context", "embedding", "layers", "width", "heads", "ffn", "groups")
        _require_positive(self, *sizes)
        _require_whole_heads(self.width, self.heads)
        _require_probability("dropout", self.dropout)
        if self.groups > self.layers:
            raise ValueError(f"groups must be at most layers ({self.layers}), got {self.groups}")


Config = GPT2Config | AlbertConfig


def _gpt3(layers: int, width: int, heads: int) -> GPT2Config:
    return GPT2Config(context=2048, layers=layers, width=width, heads=heads)


GPT2_PRESETS: Mapping[str, GPT2Config] = MappingProxyType(
    {
        "tiny": GPT2Config(context=128, layers=4, width=128, heads=4),
        "124M": GPT2Config(layers=12, width=768, heads=12),
        "355M": GPT2Config(layers=24, width=1024, heads=16),
        "774M": GPT2Config(layers=36, width=1280, heads=20),
        "1.5B": GPT2Config(layers=48, width=1600, heads=25),
        "gpt3-125M": _gpt3(layers=12, width=768, heads=12),
        "gpt3-350M": _gpt3(layers=24, width=1024, heads=16),
        "gpt3-760M": _gpt3(layers=24, width=1536, heads=16),
        "gpt3-1.3B": _gpt3(layers=24, width=2048, heads=16),
        "gpt3-2.7B": _gpt3(layers=32, width=2560, heads=32),
        "gpt3-6.7B": _gpt3(layers=32, width=4096, heads=32),
        "gpt3-13B": _gpt3(layers=40, width=5120, heads=40),
        "gpt3-175B": _gpt3(layers=96, width=12_288, heads=96),
    }
)

ALBERT_PRESETS: Mapping[str, AlbertConfig] = MappingProxyType(
    {
        "tiny": AlbertConfig(context=128, embedding=64, layers=3, width=192, heads=4, ffn=768, dropout=0.0),
        "base": AlbertConfig(layers=12, width=768, heads=12, ffn=3072),
        "large": AlbertConfig(layers=24, width=1024, heads=16, ffn=4096),
        "xlarge": AlbertConfig(layers=24, width=2048, heads=16, ffn=8192),
        "xxlarge": AlbertConfig(layers=12, width=4096, heads=64, ffn=16_384, dropout=0.0),
    }
)


class _Settings(BaseModel):
    """A section of the settings: immutable, with unknown keys refused and fields documented."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ModelSettings(_Settings):
    """Which network to build; what is left out is the preset's own."""

    architecture: Architecture = "gpt2"
    """Kind of network: gpt2 continues text, albert fills in masked tokens."""

    preset: str | None = None
    """Named size, such as 124M, gpt3-1.3B or tiny (gpt2), base or tiny (albert).
    Left out: 124M for gpt2, base for albert."""

    context: Annotated[int, Field(ge=8)] | None = None
    """Most tokens in one sequence, at most the preset's; left out: the preset's."""

    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Probability of dropping a feature while training; left out: the preset's."""

    sharing: Sharing | None = None
    """Weights that ALBERT's layers have in common (albert only); left out: all."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        presets = self._presets()
        if self.preset_name not in presets:
            raise ValueError(
                f"preset: {self.architecture} has no preset {self.preset!r};"
                f" choose one of {', '.join(presets)}"
            )
        longest = presets[self.preset_name].context
        if self.context is not None and self.context > longest:
            raise ValueError(
                f"context: {self.context} tokens are more than the {longest} of preset"
                f" {self.preset_name}; lower context or choose another preset"
            )
        if self.sharing is not None and self.architecture != "albert":
            raise ValueError("sharing: only albert shares weights across layers; leave it out")
        return self

    @property
    def preset_name(self) -> str:
        """The preset's name, the architecture's own where none is set."""
        return self.preset or DEFAULT_PRESETS[self.architecture]

    def resolve(self, vocab_size: int) -> Config:
        """The configuration to build: the preset, with the overrides and `vocab_size` put in."""
        overrides = self.model_dump(include={"context", "dropout", "sharing"}, exclude_none=True)
        return replace(self._presets()[self.preset_name], vocab_size=vocab_size, **overrides)

    def _presets(self) -> Mapping[str, Config]:
        return GPT2_PRESETS if self.architecture == "gpt2" else ALBERT_PRESETS


class TrainSettings(_Settings):
    """How to train it; what is left out follows from the model (see `model.recipe`)."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Number that the initial weights, the order of the data and dropout follow from."""

    steps: Annotated[int, Field(ge=1)] | None = None
    """Optimizer steps in all, those of earlier runs that this one resumes included.
    Left out: the model's own (gpt2: 300 billion tokens; albert: 125,000; tiny: 300)."""

    max_minutes: Annotated[float, Field(gt=0)] | None = None
    """Minutes after which to stop early, with a checkpoint to resume from; left out: no limit."""

    batch_tokens: Annotated[int, Field(ge=1)] | None = None
    """Tokens an optimizer step, rounded down to whole sequences; left out: the model's own."""

    micro_batch: Annotated[int, Field(ge=1)] | None = None
    """Sequences in one forward pass; gradients accumulate over the step's passes.
    Lower it when memory runs out: the result stays the same. Left out: the model's own."""

    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Highest learning rate, reached after the warm-up; left out: the model's own."""

    min_learning_rate_fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    """Learning rate at the last step, as a fraction of the highest.
    Left out: 0.1 for gpt2 (cosine), 0 for albert (linear)."""

    warmup: Annotated[int, Field(ge=0)] | None = None
    """Steps in which the learning rate rises from 0; left out: the model's own,
    but at most a tenth of the steps."""

    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Decoupled weight decay of matrices and embeddings; left out: 0.1 gpt2, 0.01 albert."""

    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest L2 norm of all gradients together; longer ones are scaled down to it."""

    optimizer: Literal["adamw", "lamb"] | None = None
    """Optimizer; left out: adamw for gpt2, lamb for albert."""

    eval_every: Annotated[int, Field(ge=1)] = 250
    """Steps between two measurements of the validation loss (also measured at the end)."""

    eval_batches: Annotated[int, Field(ge=1)] = 20
    """Micro-batches of the validation split that one measurement reads, always the same."""

    checkpoint_every: Annotated[int, Field(ge=1)] = 1000
    """Steps between two checkpoints (one is also written at the end)."""

    keep_checkpoints: Annotated[int, Field(ge=1)] = 2
    """Newest checkpoints that are kept; older ones are deleted."""

    device: str = "auto"
    """Where to compute: auto, cpu, cuda or cuda:N; auto takes a GPU where there is one."""

    dir: Path | None = None
    """Folder for checkpoints and logs; left out: RUN/checkpoints/ARCHITECTURE-PRESET."""
