"""What a model is and how it is trained: settings, presets and architecture configurations.

Settings (`ModelSettings`, `TrainSettings`) are what a user writes: pydantic, every field described.
Configurations (`GPT2Config`, `AlbertConfig`) are what a network is built from: plain dataclasses with
nothing left open. `ModelSettings.resolve` leads from the one to the other. Nothing here needs torch.

Sources of the presets: Radford et al. 2019 (GPT-2) with the sizes of the released models;
Brown et al. 2020, table 2.1 (GPT-3), where the 1.3B row's heads and the 13B row's width are what
heads x head size make them, not what the table prints; Lan et al. 2020 (ALBERT) with the released
configurations: version 1, and version 2 (`base-v2`, ...), which differs in dropout alone. ALBERT xlarge
has the 16 heads of the release, where the paper's rule of 64 features a head would make 32.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Architecture = Literal["gpt2", "albert"]
Sharing = Literal["all", "attention", "ffn", "none"]
AttentionPattern = Literal["dense", "alternating"]

DEFAULT_PRESETS: Mapping[Architecture, str] = MappingProxyType({"gpt2": "124M", "albert": "base"})

BAND = 256
"""Tokens that a banded layer reads where attention alternates (see `model.gpt2`)."""


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
        band: Tokens that layers 1, 3, 5, ... read, each token itself included; None where all layers
            read all tokens so far.
    """

    vocab_size: int = 50_257
    context: int = 1024
    layers: int
    width: int
    heads: int
    dropout: float = 0.0
    band: int | None = None

    def __post_init__(self) -> None:
        _require_positive(self, "vocab_size", "context", "layers", "width", "heads")
        if self.band is not None:
            _require_positive(self, "band")
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

_ALBERT_V1 = {
    "base": AlbertConfig(layers=12, width=768, heads=12, ffn=3072),
    "large": AlbertConfig(layers=24, width=1024, heads=16, ffn=4096),
    "xlarge": AlbertConfig(layers=24, width=2048, heads=16, ffn=8192),
    "xxlarge": AlbertConfig(layers=12, width=4096, heads=64, ffn=16_384, dropout=0.0),
}

ALBERT_PRESETS: Mapping[str, AlbertConfig] = MappingProxyType(
    {
        "tiny": AlbertConfig(context=128, embedding=64, layers=3, width=192, heads=4, ffn=768, dropout=0.0),
        **_ALBERT_V1,
        **{f"{name}-v2": replace(config, dropout=0.0) for name, config in _ALBERT_V1.items()},
    }
)


class _Settings(BaseModel):
    """A section of the settings: immutable, with unknown keys refused and fields documented."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


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

    attention: AttentionPattern | None = None
    """What gpt2's layers read (gpt2 only): dense, all tokens so far; alternating, as GPT-3 has it,
    every second layer the last 256 only. Left out: dense."""

    sharing: Sharing | None = None
    """Weights that ALBERT's layers have in common (albert only); left out: all."""

    groups: Annotated[int, Field(ge=1)] | None = None
    """Groups of consecutive layers, within which weights are shared (albert only); left out: 1."""

    embedding: Annotated[int, Field(ge=1)] | None = None
    """Features of a token's embedding before it is projected to the layers' width (albert only);
    left out: the preset's, 128 but for tiny."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        presets = self._presets()
        if self.preset_name not in presets:
            raise ValueError(
                f"preset: {self.architecture} has no preset {self.preset!r};"
                f" choose one of {', '.join(presets)}"
            )
        self._check_architecture()
        preset = presets[self.preset_name]
        if self.context is not None and self.context > preset.context:
            raise ValueError(
                f"context: {self.context} tokens are more than the {preset.context} of preset"
                f" {self.preset_name}; lower context or choose another preset"
            )
        if self.groups is not None and self.groups > preset.layers:
            raise ValueError(
                f"groups: {self.groups} are more than the {preset.layers} layers of preset"
                f" {self.preset_name}; lower groups"
            )
        if self.groups is not None and self.sharing == "none":
            raise ValueError("groups: no layers share weights with sharing none; leave groups out")
        return self

    def _check_architecture(self) -> None:
        """Raises ValueError where a setting belongs to the other architecture."""
        if self.attention is not None and self.architecture != "gpt2":
            raise ValueError("attention: only gpt2 has banded layers; leave it out")
        if self.architecture == "albert":
            return
        if self.sharing is not None:
            raise ValueError("sharing: only albert shares weights across layers; leave it out")
        if self.groups is not None:
            raise ValueError("groups: only albert shares weights within groups of layers; leave it out")
        if self.embedding is not None:
            raise ValueError("embedding: only albert's embeddings have a width of their own; leave it out")

    @property
    def preset_name(self) -> str:
        """The preset's name, the architecture's own where none is set."""
        return self.preset or DEFAULT_PRESETS[self.architecture]

    def resolve(self, vocab_size: int) -> Config:
        """The configuration to build: the preset, with the overrides and `vocab_size` put in."""
        names = {"context", "dropout", "sharing", "groups", "embedding"}
        overrides = self.model_dump(include=names, exclude_none=True)
        if self.attention == "alternating":
            overrides["band"] = BAND
        return replace(self._presets()[self.preset_name], vocab_size=vocab_size, **overrides)

    def _presets(self) -> Mapping[str, Config]:
        return GPT2_PRESETS if self.architecture == "gpt2" else ALBERT_PRESETS


_WANDB_KEY = re.compile(r"(?:local-)?[0-9a-f]{40}|wandb_v\d+_\w+")


class TrainSettings(_Settings):
    """How to train it; what is left out follows from the model (see `model.training.recipe`)."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Number that the initial weights, the order of the data and dropout follow from."""

    tokens: Annotated[int, Field(ge=1)] | None = None
    """Tokens to train on in all, those of earlier runs that this one resumes included.
    Left out: `steps`, or the model's own (gpt2: 300 billion tokens; albert: 125,000 steps; tiny: 300)."""

    steps: Annotated[int, Field(ge=1)] | None = None
    """The same in optimizer steps, instead of `tokens`."""

    max_minutes: Annotated[float, Field(gt=0)] | None = None
    """Minutes after which to stop early, with a checkpoint to resume from; left out: no limit."""

    batch_tokens: Annotated[int, Field(ge=1)] | None = None
    """Tokens an optimizer step, rounded down to whole sequences; left out: the model's own."""

    micro_batch: Annotated[int, Field(ge=1)] | None = None
    """Sequences in one forward pass of a process; gradients accumulate over the step's passes.
    Lower it when memory runs out: the result stays the same. Left out: 16, or on a GPU what fits 80 GB."""

    ramp_tokens: Annotated[int, Field(ge=0)] | None = None
    """Tokens over which the batch grows from 32,768 tokens to `batch_tokens`; 0 for full batches at once.
    Left out: the model's own (4 to 12 billion for gpt3-*, 0 else), but at most a tenth of all tokens."""

    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Highest learning rate, reached after the warm-up; left out: the model's own."""

    min_learning_rate_fraction: Annotated[float, Field(ge=0, le=1)] | None = None
    """Learning rate at the end of its decay, as a fraction of the highest.
    Left out: 0.1 for gpt2 (cosine), 0 for albert (linear)."""

    schedule: Literal["cosine", "linear", "constant"] | None = None
    """Shape of the learning rate's decay after the warm-up; left out: cosine for gpt2, linear for albert."""

    warmup_tokens: Annotated[int, Field(ge=0)] | None = None
    """Tokens in which the learning rate rises from 0; left out: the model's own,
    but at most a tenth of all tokens."""

    decay_tokens: Annotated[int, Field(ge=1)] | None = None
    """Tokens after which the learning rate has reached its smallest. Left out: all that are set; where
    none are, the model's own (gpt2: 260 of 300 billion)."""

    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Decoupled weight decay of matrices and embeddings; left out: 0.1 gpt2, 0.01 albert."""

    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest L2 norm of all gradients together; longer ones are scaled down to it."""

    optimizer: Literal["adamw", "lamb", "muon"] | None = None
    """Optimizer; muon trains the blocks' matrices by Muon and the rest by AdamW.
    Left out: adamw for gpt2, lamb for albert."""

    on_spike: Literal["skip", "stop", "roll_back"] = "skip"
    """What to do with a step whose loss or gradients are no numbers or stand out: skip leaves the step out,
    stop ends training, roll_back goes back to the newest checkpoint and on with the data after the spike."""

    spike_z: Annotated[float, Field(gt=0)] = 6.0
    """Standard deviations over the mean of recent steps from which on a loss or gradient norm stands out."""

    spike_window: Annotated[int, Field(ge=2)] = 128
    """Recent steps that a step is compared with; nothing stands out before half as many were taken."""

    eval_every: Annotated[int, Field(ge=1)] = 250
    """Steps between two measurements of the validation loss (also measured for each checkpoint)."""

    eval_batches: Annotated[int, Field(ge=1)] = 20
    """Micro-batches of the validation split that one measurement reads, always the same."""

    checkpoint_every: Annotated[int, Field(ge=1)] = 1000
    """Steps between two checkpoints (one is also written at the end)."""

    keep_checkpoints: Annotated[int, Field(ge=1)] = 2
    """Newest checkpoints that are kept beside the best one; others are deleted."""

    device: str = "auto"
    """Where to compute: auto, cpu, cuda or cuda:N; auto takes a GPU where there is one."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Numbers that products are computed in; weights and optimizer are fp32. auto: bf16 on a GPU."""

    compile: Literal["auto", "on", "off"] = "auto"
    """Whether network and loss are compiled, which takes a minute once. auto: on a GPU."""

    separate_documents: bool = False
    """Whether tokens attend to their own document only (gpt2 only); GPT-2 and GPT-3 let them attend to all
    of their sequence."""

    activation_checkpointing: bool = False
    """Whether blocks compute their activations anew in the backward pass: less memory, a third slower."""

    parallel: Literal["ddp", "fsdp"] = "ddp"
    """What several processes (torchrun) share: ddp the batch, fsdp weights and optimizer too."""

    wandb: str | None = None
    """Project of Weights & Biases to log to as well; left out: none."""

    dir: Path | None = None
    """Folder for checkpoints and logs; left out: RUN/checkpoints/ARCHITECTURE-PRESET."""

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        if self.steps is not None and self.tokens is not None:
            raise ValueError("tokens: leave it out where steps are set, or the other way round")
        return self

    @model_validator(mode="after")  # of the whole, as no message shows that
    def _refuse_a_key(self) -> Self:
        if self.wandb is not None and _WANDB_KEY.fullmatch(self.wandb):
            raise ValueError("wandb: that is an account's key; set a project, and run wandb login")
        return self
