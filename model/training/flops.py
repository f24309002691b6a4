"""Floating-point operations of training, and what share of a device's peak they come to.

Two ways of counting are in use, and both are kept (Chowdhery et al. 2022, PaLM, appendix B, names them):

- *model FLOPs* are what the network asks for, however it is computed: 6 N + 12 L H Q T a token (N weights,
  L layers, H heads of size Q, T tokens of context), where N leaves out positions, as nanoGPT has it, and
  counts shared weights as often as they are applied. Their share of the peak is the **MFU**, which compares
  trainers.
- *hardware FLOPs* are the matrix products that are carried out, as Narayanan et al. 2021 (Megatron-LM,
  section 5.1) count them: no biases and norms, and where activations are computed anew, the blocks' forward
  pass once more. Their share is the **HFU**, which says how busy the device was.

Both count a multiplication and an addition as two, the backward pass as twice the forward pass, and the
whole square of attention, though half of it is masked for being causal. Of banded layers the first counts the
band alone, the second the square, as their bands are masks.

Letters: D width, E embedding, F inside of the feed-forward layer, L layers, T context, V vocabulary.
"""

import re
from dataclasses import dataclass
from typing import Final

from model.config import AlbertConfig, Config, GPT2Config
from model.data.masked import MASKED_FRACTION

_FORWARD: Final = 2
_FORWARD_BACKWARD: Final = 6

# Peaks a second in bf16 with fp32 accumulation, dense (data sheets often print twice that, for sparse
# matrices), by words of the device's name. Of the rows that fit, the one of most words counts.
# Data-center ones: data sheets of NVIDIA's GB200, B200, H100, H200, A100, A30, A40, A10, L4, L40, V100, T4
# (V100 and T4 have no bf16: fp16). GeForce and RTX: appendices of NVIDIA's white papers on GA102 (Ampere),
# AD102 (Ada) and RTX Blackwell. AMD's data sheets of MI250X (one of its two dies is one device) and MI300X.
_PEAKS: Final[dict[str, float]] = {
    "GB200": 2500e12,
    "B300": 2250e12,
    "B200": 2250e12,
    "GH200": 989e12,
    "H200": 989e12,
    "H200 NVL": 835e12,
    "H100": 989e12,
    "H100 NVL": 835e12,
    "H100 PCIe": 756e12,
    "H100 HBM2e": 756e12,
    "H800": 989e12,
    "H20": 148e12,
    "A100": 312e12,
    "A800": 312e12,
    "A30": 165e12,
    "A40": 149.7e12,
    "A10": 125e12,
    "A10G": 70e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "V100": 125e12,
    "V100 PCIE": 112e12,
    "V100S": 130e12,
    "T4": 65e12,
    "RTX 6000 Ada": 364.2e12,
    "RTX A6000": 154.8e12,
    "RTX 5090": 209.5e12,
    "RTX 5080": 112.6e12,
    "RTX 4090": 165.2e12,
    "RTX 4080": 97.5e12,
    "RTX 3090 Ti": 80e12,
    "RTX 3090": 71e12,
    "RTX 3080": 59.5e12,
    "MI325X": 1307e12,
    "MI300X": 1307e12,
    "MI250X": 191.5e12,
}
# Words that make another device of one, or a part of one, so that a row without them does not fit.
_VARIANTS: Final = frozenset({"laptop", "mig", "d", "ti", "super"})


@dataclass(frozen=True)
class TokenFlops:
    """FLOPs of one token, forward and backward.

    Attributes:
        model: What the network asks for.
        hardware: Matrix products that are carried out.
    """

    model: float
    hardware: float


@dataclass(frozen=True)
class _Weights:
    """Weights of a network, counted as often as they are applied to each token on average.

    Attributes:
        blocks: In the matrices of all blocks.
        others: In the other matrices.
        vectors: Biases and norms.
    """

    blocks: float
    others: float
    vectors: float


def flops_per_token(config: Config, *, recompute: bool = False) -> TokenFlops:
    """What training a network of `config` on a token costs, in sequences of its whole context.

    Args:
        config: The network.
        recompute: Whether blocks compute their activations anew in the backward pass.

    >>> round(flops_per_token(GPT2Config(layers=12, width=768, heads=12)).model / 1e6, 1)
    855.2
    """
    weights = _gpt2_weights(config) if isinstance(config, GPT2Config) else _albert_weights(config)
    matrices = weights.blocks + weights.others
    # Scores and their weighted sum: a product of length D each, for each token that is read.
    asked = 2 * config.width * _tokens_read(config)
    carried_out = 2 * config.width * config.layers * config.context  # Bands are masks.
    again = weights.blocks + carried_out if recompute else 0.0
    return TokenFlops(
        model=_FORWARD_BACKWARD * (matrices + weights.vectors + asked),
        hardware=_FORWARD_BACKWARD * (matrices + carried_out) + _FORWARD * again,
    )


def _tokens_read(config: Config) -> int:
    """Tokens that a token reads in all layers together, those that come after it included."""
    if isinstance(config, AlbertConfig) or config.band is None:
        return config.layers * config.context
    banded = config.layers // 2
    return (config.layers - banded) * config.context + banded * min(config.band, config.context)


def _gpt2_weights(config: GPT2Config) -> _Weights:
    width, layers = config.width, config.layers
    return _Weights(
        blocks=layers * (4 * width * width + 8 * width * width),
        others=config.vocab_size * width,
        vectors=layers * 13 * width + 2 * width,
    )


def _albert_weights(config: AlbertConfig) -> _Weights:
    """The masked head sees only masked places, pooler and order head only the first of a sequence."""
    width, ffn, narrow, layers = config.width, config.ffn, config.embedding, config.layers
    masked = max(1, round(MASKED_FRACTION * config.context)) / config.context
    first = 1 / config.context
    return _Weights(
        blocks=layers * (4 * width * width + 2 * width * ffn),
        others=(
            narrow * width
            + masked * (width * narrow + config.vocab_size * narrow)
            + first * (width * width + 2 * width)
        ),
        vectors=(
            layers * (9 * width + ffn)
            + width
            + masked * (3 * narrow + config.vocab_size)
            + first * (width + 2)
        ),
    )


def peak_flops(device_name: str) -> float | None:
    """Peak FLOPs a second of a device in bf16, by its name as the driver gives it; None where unknown.

    >>> peak_flops("NVIDIA H100 PCIe") == 756e12
    True
    """
    words = _words(device_name)
    fitting = [row for row in _PEAKS if _words(row) <= words and words & _VARIANTS <= _words(row)]
    return _PEAKS[max(fitting, key=lambda row: len(_words(row)))] if fitting else None


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\s/-]+", name.lower()))


def utilisation(tokens_per_second: float, flops: float, peak: float, devices: int = 1) -> float:
    """The share of `devices` peaks that training at a speed comes to.

    Args:
        tokens_per_second: Tokens that all devices together train on.
        flops: Of one token: `TokenFlops.model` gives the MFU, `TokenFlops.hardware` the HFU.
        peak: Peak FLOPs a second of one device.
        devices: How many there are.
    """
    return tokens_per_second * flops / (peak * devices)


def unknown_peak(device_name: str) -> str:
    """What to say of a device whose peak is not known."""
    return (
        f"no MFU is shown: the peak speed of {device_name!r} is not in the table in model/training/flops.py"
    )
