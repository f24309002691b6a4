"""Shapes and sizes of the networks, and their agreement with transformers'."""

import doctest
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pydantic
import pytest
import torch

import model.albert
from model.albert import Albert
from model.config import (
    ALBERT_PRESETS,
    GPT2_PRESETS,
    AlbertConfig,
    GPT2Config,
    ModelSettings,
    TrainSettings,
)
from model.convert import albert_from_hf, albert_to_hf, gpt2_from_hf, gpt2_to_hf
from model.gpt2 import GPT2, KeyValueCache
from model.networks import build_network, num_parameters
from model.recipe import resolve_recipe

GPT2_SMALL = GPT2Config(vocab_size=61, context=24, layers=3, width=32, heads=4)
ALBERT_SMALL = AlbertConfig(vocab_size=61, context=24, embedding=8, layers=4, width=32, heads=4, ffn=48)

GPT2_SIZES = {
    "124M": 124_439_808,
    "355M": 354_823_168,
    "774M": 774_030_080,
    "1.5B": 1_557_611_200,
}


def test_the_worked_example_of_factorised_embeddings_holds() -> None:
    assert doctest.testmod(model.albert) == (0, 2)


def num_meta_parameters(config: GPT2Config | AlbertConfig, *leave_out: str) -> int:
    with torch.device("meta"):
        network = build_network(config)
    return num_parameters(network) - sum(num_parameters(network.get_submodule(n)) for n in leave_out)


@pytest.mark.parametrize(("preset", "size"), GPT2_SIZES.items())
def test_gpt2_has_the_published_size(preset: str, size: int) -> None:
    assert num_meta_parameters(GPT2_PRESETS[preset]) == size


@pytest.mark.parametrize("preset", [name for name in GPT2_PRESETS if name.startswith("gpt3-")])
def test_gpt3_sizes_follow_from_the_table(preset: str) -> None:
    c = GPT2_PRESETS[preset]
    block = 12 * c.width**2 + 13 * c.width
    size = (c.vocab_size + c.context) * c.width + c.layers * block + 2 * c.width
    assert num_meta_parameters(c) == size
    named = float(preset.removeprefix("gpt3-")[:-1]) * {"M": 1e6, "B": 1e9}[preset[-1]]
    assert size == pytest.approx(named, rel=0.05)


@pytest.mark.parametrize(
    ("preset", "size"),
    [("base", 11.68e6), ("large", 17.68e6), ("xlarge", 58.72e6), ("xxlarge", 222.6e6)],
)
def test_albert_has_the_published_size(preset: str, size: float) -> None:
    encoder_and_pooler = num_meta_parameters(ALBERT_PRESETS[preset], "masked_head", "order_head")
    assert encoder_and_pooler == pytest.approx(size, rel=5e-4)


@pytest.mark.parametrize("preset", [GPT2_PRESETS["tiny"], ALBERT_PRESETS["tiny"]])
def test_tiny_presets_suit_a_demo(preset: GPT2Config | AlbertConfig) -> None:
    assert 1e6 < num_meta_parameters(replace(preset, vocab_size=8192)) < 3e6


@pytest.mark.parametrize(
    ("sharing", "size"), [("all", 12e6), ("attention", 64e6), ("ffn", 38e6), ("none", 89e6)]
)
def test_sharing_saves_what_the_paper_says(sharing: Any, size: float) -> None:
    config = replace(ALBERT_PRESETS["base"], sharing=sharing)
    encoder_and_pooler = num_meta_parameters(config, "masked_head", "order_head")
    assert encoder_and_pooler == pytest.approx(size, abs=1e6)


def random_tokens(shape: tuple[int, int], vocab_size: int = 61) -> torch.Tensor:
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(1))


def sharpen(network: torch.nn.Module) -> None:
    """Larger random weights, so that a wrong place would show; biases too."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def test_gpt2_agrees_with_transformers() -> None:
    import transformers

    config = transformers.GPT2Config(
        vocab_size=61, n_positions=24, n_embd=32, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0
    )
    theirs = transformers.GPT2LMHeadModel(config).train(mode=False)
    ours = GPT2(GPT2_SMALL).eval()
    sharpen(ours)
    state = ours.state_dict()
    theirs.load_state_dict(gpt2_to_hf(state))
    tokens = random_tokens((2, 24))
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-5, rtol=1e-5)
    back = gpt2_from_hf(theirs.state_dict())
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


@pytest.mark.parametrize(("sharing", "groups"), [("all", 1), ("all", 2), ("ffn", 1), ("none", 1)])
def test_albert_agrees_with_transformers(sharing: Any, groups: int) -> None:
    import transformers

    config = replace(ALBERT_SMALL, sharing=sharing, groups=groups)
    theirs = transformers.AlbertForPreTraining(
        transformers.AlbertConfig(
            vocab_size=61,
            embedding_size=8,
            hidden_size=32,
            num_hidden_layers=4,
            num_hidden_groups=groups if sharing == "all" else 4,
            num_attention_heads=4,
            intermediate_size=48,
            max_position_embeddings=24,
            hidden_dropout_prob=0.1,
        )
    ).train(mode=False)
    ours = Albert(config).eval()
    sharpen(ours)
    state = ours.state_dict()
    theirs.load_state_dict(albert_to_hf(state, config))
    tokens = random_tokens((2, 24))
    segments = (torch.arange(24) > 10).long().expand(2, 24)
    present = torch.arange(24) < torch.tensor([[24], [17]])
    positions = torch.tensor([[1, 5, 9], [2, 3, 16]])
    with torch.no_grad():
        masked, order = ours(tokens, segments, present, positions)
        expected = theirs(tokens, attention_mask=present.long(), token_type_ids=segments)
    at = torch.arange(2)[:, None]
    torch.testing.assert_close(masked, expected.prediction_logits[at, positions], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(order, expected.sop_logits, atol=1e-5, rtol=1e-5)
    if sharing == "all":
        back = albert_from_hf(theirs.state_dict())
        assert back.keys() == state.keys()
        assert all(torch.equal(back[name], state[name]) for name in state)


@pytest.mark.parametrize("cuts", [[24], [1] * 24, [5, 1, 1, 10, 7]])
def test_a_cache_changes_nothing(cuts: list[int]) -> None:
    network = GPT2(GPT2_SMALL).eval()
    sharpen(network)
    tokens = random_tokens((2, 24))
    cache = KeyValueCache(GPT2_SMALL, 2, torch.device("cpu"), torch.float32)
    with torch.no_grad():
        pieces = [network(piece, cache) for piece in torch.split(tokens, cuts, dim=1)]
        torch.testing.assert_close(torch.cat(pieces, 1), network(tokens), atol=1e-5, rtol=1e-5)


def test_initial_weights_are_as_published() -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=512, context=256, layers=8, width=128, heads=4)
    network = GPT2(config)
    spread = {name: weight.std().item() for name, weight in network.named_parameters()}
    assert spread["tokens.weight"] == pytest.approx(0.02, rel=0.05)
    assert spread["positions.weight"] == pytest.approx(0.01, rel=0.05)
    assert spread["blocks.3.ffn_in.weight"] == pytest.approx(0.02, rel=0.05)
    assert spread["blocks.3.ffn_out.weight"] == pytest.approx(0.02 / 4, rel=0.05)
    albert = Albert(ALBERT_SMALL)
    assert max(m.weight.abs().max() for m in albert.modules() if isinstance(m, torch.nn.Linear)) <= 0.04


def test_configuration_errors_name_the_field() -> None:
    with pytest.raises(ValueError, match="heads must divide width"):
        replace(GPT2_SMALL, heads=5)
    with pytest.raises(ValueError, match="layers must be at least 1, got 0"):
        replace(ALBERT_SMALL, layers=0)
    with pytest.raises(ValueError, match="dropout must be"):
        replace(ALBERT_SMALL, dropout=1.0)
    with pytest.raises(ValueError, match="groups must be at most layers"):
        replace(ALBERT_SMALL, groups=9)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"preset": "125M"}, "preset: gpt2 has no preset '125M'; choose one of tiny, 124M"),
        ({"architecture": "albert", "preset": "124M"}, "choose one of tiny, base, large"),
        ({"context": 2048}, "context: 2048 tokens are more than the 1024 of preset 124M"),
        ({"sharing": "none"}, "sharing: only albert"),
        ({"dropout": 1.5}, "dropout"),
        ({"widht": 5}, "widht"),
    ],
)
def test_settings_errors_name_the_field(values: dict[str, Any], message: str) -> None:
    with pytest.raises(pydantic.ValidationError, match=message):
        ModelSettings.model_validate(values)


@pytest.mark.parametrize("section", [ModelSettings, TrainSettings])
def test_each_setting_is_described_and_has_a_default(section: type[pydantic.BaseModel]) -> None:
    section()
    for name, field in section.model_fields.items():
        assert field.description, name


def test_every_preset_has_a_recipe() -> None:
    for architecture, presets in (("gpt2", GPT2_PRESETS), ("albert", ALBERT_PRESETS)):
        for preset, config in presets.items():
            model = ModelSettings.model_validate({"architecture": architecture, "preset": preset})
            recipe = resolve_recipe(model, TrainSettings())
            assert recipe.sequences(config.context) * config.context == recipe.batch_tokens
            assert recipe.warmup < recipe.steps
            assert model.resolve(777) == replace(config, vocab_size=777)


def test_settings_override_the_recipe_and_the_preset() -> None:
    recipe = resolve_recipe(ModelSettings(), TrainSettings(steps=50, learning_rate=1.0))
    assert (recipe.steps, recipe.learning_rate, recipe.warmup) == (50, 1.0, 5)
    assert resolve_recipe(ModelSettings(), TrainSettings(steps=50, warmup=40)).warmup == 40
    model = ModelSettings(architecture="albert", preset="tiny", context=32, sharing="none")
    resolved = model.resolve(100)
    assert isinstance(resolved, AlbertConfig)
    assert (resolved.context, resolved.sharing, resolved.vocab_size) == (32, "none", 100)


def test_settings_need_no_torch() -> None:
    code = "import sys, model, model.config, model.recipe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
