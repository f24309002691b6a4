"""FLOPs against the networks themselves, what torch counts, and the formulas' sources."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from model.albert import Albert
from model.config import ALBERT_PRESETS, GPT2_PRESETS, AlbertConfig, GPT2Config, Sharing
from model.gpt2 import GPT2
from model.networks import num_parameters
from model.training.flops import flops_per_token, peak_flops, unknown_peak, utilisation


def test_gpt2_124m_is_what_nanogpt_counts() -> None:
    assert (
        flops_per_token(GPT2_PRESETS["124M"]).model == 6 * (124_439_808 - 1024 * 768) + 12 * 12 * 768 * 1024
    )
    assert flops_per_token(GPT2_PRESETS["124M"]).model == pytest.approx(855.2e6, rel=1e-4)


def test_albert_base_applies_its_block_twelve_times() -> None:
    assert flops_per_token(ALBERT_PRESETS["base"]).model == pytest.approx(571.1e6, rel=1e-4)


@pytest.mark.parametrize("preset", ["tiny", "124M", "1.5B", "gpt3-175B"])
def test_gpt2_model_flops_follow_from_the_network(preset: str) -> None:
    config = GPT2_PRESETS[preset]
    with torch.device("meta"):
        network = GPT2(config)
    weights = num_parameters(network) - num_parameters(network.positions)
    attention = 12 * config.layers * config.width * config.context
    assert flops_per_token(config).model == 6 * weights + attention


@pytest.mark.parametrize("sharing", ["all", "attention", "ffn", "none"])
def test_sharing_changes_no_flops(sharing: Sharing) -> None:
    base = ALBERT_PRESETS["base"]
    config = replace(base, sharing=sharing)
    assert flops_per_token(config) == flops_per_token(base)
    # Where nothing is shared, the network's own weights are what is applied.
    with torch.device("meta"):
        network = Albert(replace(base, sharing="none"))
    masked = 77 / 512  # 15 % of 512 places.
    head = num_parameters(network.masked_head) + num_parameters(network.embeddings.tokens)
    first = num_parameters(network.pooler) + num_parameters(network.order_head)
    weights = (
        num_parameters(network.attentions)
        + num_parameters(network.ffns)
        + num_parameters(network.embeddings.project)
        + masked * head
        + first / 512
    )
    expected = 6 * weights + 12 * config.layers * config.width * config.context
    assert flops_per_token(config).model == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("context", [8, 24])
def test_torch_counts_the_same_for_gpt2(context: int) -> None:
    config = GPT2Config(vocab_size=64, context=context, layers=3, width=32, heads=2)
    network = GPT2(config)
    tokens = torch.zeros(2, context, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        network(tokens).sum().backward()
    assert counter.get_total_flops() == 2 * context * flops_per_token(config).hardware


@pytest.mark.parametrize("sharing", ["all", "none"])
def test_torch_counts_the_same_for_albert(sharing: Sharing) -> None:
    config = AlbertConfig(
        vocab_size=64, context=40, embedding=16, layers=3, width=32, heads=2, ffn=48, sharing=sharing
    )
    network = Albert(config)
    tokens = torch.zeros(2, 40, dtype=torch.int64)
    positions = torch.zeros(2, 6, dtype=torch.int64)  # 15 % of 40 places.
    present = torch.ones(2, 40, dtype=torch.bool)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        masked, order = network(tokens, tokens, present, positions)
        (masked.sum() + order.sum()).backward()
    assert counter.get_total_flops() == pytest.approx(2 * 40 * flops_per_token(config).hardware, rel=1e-12)


@pytest.mark.parametrize("preset", ["124M", "gpt3-175B"])
def test_computing_anew_is_what_megatron_counts(preset: str) -> None:
    """Narayanan et al. 2021, equation 3: 96 B s l h^2 (1 + s / 6h + V / 16lh) a step of B sequences."""
    config = GPT2_PRESETS[preset]
    s, layers, h, vocabulary = config.context, config.layers, config.width, config.vocab_size
    expected = 96 * layers * h**2 * (1 + s / (6 * h) + vocabulary / (16 * layers * h))
    assert flops_per_token(config, recompute=True).hardware == pytest.approx(expected, rel=1e-12)
    assert flops_per_token(config, recompute=True).model == flops_per_token(config).model


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A100 80GB PCIe", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA H200 NVL", 835e12),
        ("NVIDIA B200", 2250e12),
        ("NVIDIA GB200", 2500e12),
        ("NVIDIA GH200 480GB", 989e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA A10G", 70e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L40", 181e12),
        ("Tesla V100-SXM2-16GB", 125e12),
        ("Tesla V100-PCIE-32GB", 112e12),
        ("Tesla V100S-PCIE-32GB", 130e12),
        ("Tesla T4", 65e12),
        ("NVIDIA GeForce RTX 3090", 71e12),
        ("NVIDIA GeForce RTX 3090 Ti", 80e12),
        ("NVIDIA GeForce RTX 4090", 165.2e12),
        ("NVIDIA GeForce RTX 5090", 209.5e12),
        ("NVIDIA RTX 6000 Ada Generation", 364.2e12),
        ("NVIDIA RTX A6000", 154.8e12),
        ("AMD Instinct MI300X", 1307e12),
        ("AMD Instinct MI250X/MI250", 191.5e12),
    ],
)
def test_peaks_by_the_drivers_names(name: str, peak: float) -> None:
    assert peak_flops(name) == peak


@pytest.mark.parametrize(
    "name",
    [
        "",
        "cpu",
        "Quadro RTX 6000",
        "NVIDIA T400",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA GeForce RTX 4080 SUPER",
        "NVIDIA GeForce RTX 3080 Ti",
        "NVIDIA A100-SXM4-40GB MIG 3g.20gb",
        "NVIDIA H300",
    ],
)
def test_no_peak_is_better_than_a_wrong_one(name: str) -> None:
    assert peak_flops(name) is None
    assert repr(name) in unknown_peak(name)


def test_utilisation_is_that_of_all_devices() -> None:
    """llm.c's own figure: 218 thousand tokens/s on each of 8 A100 is 60 % as nanoGPT counts."""
    flops = flops_per_token(GPT2_PRESETS["124M"]).model
    one = utilisation(218_000, flops, 312e12)
    assert one == pytest.approx(0.6, abs=0.005)
    assert utilisation(8 * 218_000, flops, 312e12, devices=8) == pytest.approx(one)


def test_bands_ask_for_less_and_cost_the_same() -> None:
    dense = GPT2Config(vocab_size=64, context=24, layers=3, width=32, heads=2)
    banded = replace(dense, band=8)  # One layer of the three.
    spared = 12 * 32 * (24 - 8)
    assert flops_per_token(banded).model == flops_per_token(dense).model - spared
    assert flops_per_token(banded).hardware == flops_per_token(dense).hardware
    assert flops_per_token(replace(dense, band=100)) == flops_per_token(dense)
