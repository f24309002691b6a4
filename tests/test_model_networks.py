"""Shapes and sizes of the networks, and their agreement with transformers'."""

import doctest
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pydantic
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

import model.albert
from model.albert import Albert
from model.cache import KeyValueCache
from model.config import (
    ALBERT_PRESETS,
    BAND,
    GPT2_PRESETS,
    AlbertConfig,
    GPT2Config,
    ModelSettings,
    TrainSettings,
)
from model.data.sequences import GPT2Batch
from model.exchange.convert import albert_from_hf, albert_to_hf, gpt2_from_hf, gpt2_to_hf
from model.gpt2 import GPT2, Attention
from model.networks import build_network, num_parameters
from model.training.objectives import Objective, Totals
from model.training.recipe import resolve_recipe
from tests.in_transformers import gpt2_config

GPT2_SMALL = GPT2Config(vocab_size=61, context=24, layers=3, width=32, heads=4)
BANDED_SMALL = replace(GPT2_SMALL, layers=4, band=5)
ALBERT_SMALL = AlbertConfig(vocab_size=61, context=24, embedding=8, layers=4, width=32, heads=4, ffn=48)

GPT2_SIZES = {
    "124M": 124_439_808,
    "355M": 354_823_168,
    "774M": 774_030_080,
    "1.5B": 1_557_611_200,
}
# Encoder and pooler, as the released configurations have them.
ALBERT_SIZES = {
    "base": 11_683_584,
    "large": 17_683_968,
    "xlarge": 58_724_864,
    "xxlarge": 222_595_584,
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
    assert size == pytest.approx(named, rel=0.03)
    assert c.context == 2048


def albert_size(c: AlbertConfig, attentions: int, ffns: int) -> int:
    """Encoder and pooler with so many different attentions and feed-forward layers."""
    embeddings = (c.vocab_size + c.context + 2 + 2) * c.embedding + (c.embedding + 1) * c.width
    attention = 4 * (c.width + 1) * c.width + 2 * c.width
    ffn = (c.width + 1) * c.ffn + (c.ffn + 1) * c.width + 2 * c.width
    return embeddings + attentions * attention + ffns * ffn + (c.width + 1) * c.width


@pytest.mark.parametrize(("preset", "size"), ALBERT_SIZES.items())
@pytest.mark.parametrize("version", ["", "-v2"])
def test_albert_has_the_published_size(preset: str, size: int, version: str) -> None:
    config = ALBERT_PRESETS[preset + version]
    assert num_meta_parameters(config, "masked_head", "order_head") == size == albert_size(config, 1, 1)


def test_albert_v2_differs_in_dropout_alone() -> None:
    dropouts = {name: config.dropout for name, config in ALBERT_PRESETS.items() if name != "tiny"}
    assert dropouts == dict.fromkeys(dropouts, 0.0) | {"base": 0.1, "large": 0.1, "xlarge": 0.1}
    for name in ALBERT_SIZES:
        assert replace(ALBERT_PRESETS[name], dropout=0.0) == ALBERT_PRESETS[f"{name}-v2"]


@pytest.mark.parametrize("preset", [GPT2_PRESETS["tiny"], ALBERT_PRESETS["tiny"]])
def test_tiny_presets_suit_a_demo(preset: GPT2Config | AlbertConfig) -> None:
    assert 1e6 < num_meta_parameters(replace(preset, vocab_size=8192)) < 3e6


@pytest.mark.parametrize(
    ("sharing", "attentions", "ffns", "size"),
    # In the paper's table 4: 12M, 64M, 38M, 89M.
    [
        ("all", 1, 1, 11_683_584),
        ("attention", 1, 12, 63_647_232),
        ("ffn", 12, 1, 37_686_528),
        ("none", 12, 12, 89_650_176),
    ],
)
def test_sharing_saves_what_the_paper_says(sharing: Any, attentions: int, ffns: int, size: int) -> None:
    config = replace(ALBERT_PRESETS["base"], sharing=sharing)
    encoder_and_pooler = num_meta_parameters(config, "masked_head", "order_head")
    assert encoder_and_pooler == size == albert_size(config, attentions, ffns)


@pytest.mark.parametrize("groups", [1, 2, 3, 12])
@pytest.mark.parametrize("sharing", ["all", "attention", "ffn"])
def test_groups_share_within_themselves(groups: int, sharing: Any) -> None:
    config = replace(ALBERT_PRESETS["base"], sharing=sharing, groups=groups)
    attentions = groups if sharing != "ffn" else 12
    ffns = groups if sharing != "attention" else 12
    size = albert_size(config, attentions, ffns)
    assert num_meta_parameters(config, "masked_head", "order_head") == size


@pytest.mark.parametrize("embedding", [16, 64, 256])
def test_the_embedding_is_factorised_by_the_setting(embedding: int) -> None:
    settings = ModelSettings(architecture="albert", preset="base", embedding=embedding)
    config = settings.resolve(1000)
    assert isinstance(config, AlbertConfig)
    assert config.embedding == embedding
    assert num_meta_parameters(config, "masked_head", "order_head") == albert_size(config, 1, 1)


def random_tokens(shape: tuple[int, int], vocab_size: int = 61) -> torch.Tensor:
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(1))


def sharpen(network: torch.nn.Module) -> None:
    """Larger random weights, so that a wrong place would show; biases too."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("activation", ["gelu_new", "gelu_pytorch_tanh"])
@pytest.mark.parametrize("shape", [{}, {"layers": 1, "heads": 1}, {"width": 48, "heads": 6, "context": 31}])
def test_gpt2_agrees_with_transformers(shape: dict[str, int], activation: str) -> None:
    import transformers

    own = replace(GPT2_SMALL, **shape)
    config = gpt2_config(own, activation_function=activation, bos_token_id=0, eos_token_id=0)
    theirs = transformers.GPT2LMHeadModel(config).train(mode=False)
    ours = GPT2(own).eval()
    sharpen(ours)
    state = ours.state_dict()
    theirs.load_state_dict(gpt2_to_hf(state))
    tokens = random_tokens((2, 24))
    with torch.no_grad():
        expected = theirs(tokens, labels=tokens)
        torch.testing.assert_close(ours(tokens), expected.logits, atol=1e-5, rtol=1e-5)
        batch = GPT2Batch(tokens[:, :-1], tokens[:, 1:])
        loss = Totals.of([batch]).means(Objective(ours)(batch))["lm"]
        torch.testing.assert_close(loss, expected.loss, atol=1e-5, rtol=1e-5)
    back = gpt2_from_hf(theirs.state_dict())
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_transformers_weights_give_their_logits_here() -> None:
    import transformers

    torch.manual_seed(0)
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=61, n_positions=24, n_embd=32, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0
        )
    ).train(mode=False)
    sharpen(theirs)
    ours = GPT2(GPT2_SMALL).eval()
    ours.load_state_dict(gpt2_from_hf(theirs.state_dict()))
    tokens = random_tokens((2, 24))
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("sharing", "groups"), [("all", 1), ("all", 2), ("attention", 2), ("ffn", 1), ("none", 1)]
)
@pytest.mark.parametrize("activation", ["gelu_new", "gelu_pytorch_tanh"])
def test_albert_agrees_with_transformers(sharing: Any, groups: int, activation: str) -> None:
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
            hidden_act=activation,
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
    swapped = torch.tensor([0, 1])
    at = torch.arange(2)[:, None]
    labels = torch.full_like(tokens, -100)
    labels[at, positions] = random_tokens((2, 3))
    with torch.no_grad():
        masked, order = ours(tokens, segments, present, positions)
        expected = theirs(
            tokens,
            attention_mask=present.long(),
            token_type_ids=segments,
            labels=labels,
            sentence_order_label=swapped,
        )
    torch.testing.assert_close(masked, expected.prediction_logits[at, positions], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(order, expected.sop_logits, atol=1e-5, rtol=1e-5)
    mlm = F.cross_entropy(masked.flatten(0, 1), labels[at, positions].flatten())
    torch.testing.assert_close(mlm + F.cross_entropy(order, swapped), expected.loss, atol=1e-5, rtol=1e-5)
    if sharing == "all":
        back = albert_from_hf(theirs.state_dict())
        assert back.keys() == state.keys()
        assert all(torch.equal(back[name], state[name]) for name in state)


def test_albert_packs_sequences_without_changing_them() -> None:
    """On a CPU padding passes no layer; where it does, it is not read."""
    torch.manual_seed(0)
    network = build_network(replace(ALBERT_PRESETS["tiny"], vocab_size=60)).eval()
    assert isinstance(network, Albert)
    tokens, segments = torch.randint(60, (4, 9)), torch.randint(2, (4, 9))
    present = torch.rand(4, 9) < 0.6  # Padding may stand anywhere.
    present[1], present[2] = True, False
    padded = network._through_layers(
        network.embeddings(tokens, segments, torch.arange(9)), present[:, None, None, :]
    )
    packed = network.encode(tokens, segments, present)
    torch.testing.assert_close(packed[present], padded[present], rtol=1e-5, atol=1e-5)


def test_a_band_is_brute_force_attention_to_the_last_tokens() -> None:
    attention = Attention(BANDED_SMALL, band=5)
    sharpen(attention)
    x = torch.randn(1, 12, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        q, k, v = attention.qkv(x)[0].view(12, 3, 4, 8).unbind(1)  # (T, H, D/H)
        expected = torch.zeros(12, 4, 8)
        for token in range(12):
            read = slice(max(0, token - 4), token + 1)
            for head in range(4):
                weights = (k[read, head] @ q[token, head] / 8**0.5).softmax(0)
                expected[token, head] = weights @ v[read, head]
        torch.testing.assert_close(
            attention(x, None, 0)[0], attention.out(expected.flatten(1)), atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("band", [1, 5, 24, 100])
def test_alternating_attention_agrees_with_gpt_neo(band: int) -> None:
    """GPT-Neo's local layers are banded; it has no biases there and does not scale by the head's size."""
    import transformers

    config = transformers.GPTNeoConfig(
        vocab_size=61,
        max_position_embeddings=24,
        hidden_size=32,
        num_layers=4,
        attention_types=[[["global", "local"], 2]],
        num_heads=4,
        window_size=band,
        bos_token_id=0,
        eos_token_id=0,
    )
    theirs = transformers.GPTNeoForCausalLM(config).train(mode=False)
    ours = GPT2(replace(BANDED_SMALL, band=band)).eval()
    sharpen(ours)
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            if name.endswith("qkv.bias"):
                parameter.zero_()
    state = gpt2_to_hf(ours.state_dict())
    for layer in range(4):
        prefix = f"transformer.h.{layer}."
        del state[f"{prefix}attn.c_attn.bias"]
        q, k, v = state.pop(f"{prefix}attn.c_attn.weight").t().chunk(3)
        scaled = {"q_proj": q / 8**0.5, "k_proj": k, "v_proj": v}
        state |= {f"{prefix}attn.attention.{name}.weight": weight for name, weight in scaled.items()}
        state[f"{prefix}attn.attention.out_proj.weight"] = state.pop(f"{prefix}attn.c_proj.weight").t()
        state[f"{prefix}attn.attention.out_proj.bias"] = state.pop(f"{prefix}attn.c_proj.bias")
        for name in ("c_fc", "c_proj"):
            state[f"{prefix}mlp.{name}.weight"] = state[f"{prefix}mlp.{name}.weight"].t()
    missing, unexpected = theirs.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("attention.bias") for name in missing)  # its masks
    tokens = random_tokens((2, 24))
    with torch.no_grad():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-5, rtol=1e-5)


def test_a_band_is_seen_in_odd_layers_only() -> None:
    network = GPT2(replace(BANDED_SMALL, layers=5))
    attentions = [module for module in network.modules() if isinstance(module, Attention)]
    assert [attention.band for attention in attentions] == [None, 5, None, 5, None]
    settings = {"dense": None, "alternating": BAND}
    for attention, band in settings.items():
        model = ModelSettings.model_validate({"preset": "gpt3-125M", "attention": attention})
        assert model.resolve(61) == replace(GPT2_PRESETS["gpt3-125M"], vocab_size=61, band=band)


@pytest.mark.parametrize("config", [GPT2_SMALL, replace(BANDED_SMALL, band=3)])
def test_documents_that_are_told_apart_do_not_read_each_other(config: GPT2Config) -> None:
    """Each document gives the logits that it gives without the others, at the same positions."""
    network = GPT2(config).eval()
    sharpen(network)
    tokens = random_tokens((2, 24))
    ends = [[9, 10, 24], [1, 24]]
    places = torch.arange(24)
    documents = torch.stack([torch.bucketize(places, torch.tensor(row[:-1]), right=True) for row in ends])
    with torch.no_grad():
        found = network(tokens, documents=documents)
        positions = network.positions.weight.clone()
        for row, starts in enumerate([[0, 9, 10], [0, 1]]):
            for begin, end in zip(starts, ends[row], strict=True):
                network.positions.weight[: end - begin] = positions[begin:end]
                alone = network(tokens[row : row + 1, begin:end])
                network.positions.weight.copy_(positions)
                torch.testing.assert_close(found[row : row + 1, begin:end], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", [GPT2_SMALL, BANDED_SMALL])
@pytest.mark.parametrize("cuts", [[24], [1] * 24, [5, 1, 1, 10, 7]])
def test_a_cache_changes_nothing(cuts: list[int], config: GPT2Config) -> None:
    network = GPT2(config).eval()
    sharpen(network)
    tokens = random_tokens((2, 24))
    cache = KeyValueCache(config, 2, torch.device("cpu"), torch.float32)
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
    with pytest.raises(ValueError, match="band must be at least 1, got 0"):
        replace(GPT2_SMALL, band=0)
    with pytest.raises(ValueError, match="groups must be at most layers"):
        replace(ALBERT_SMALL, groups=9)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"preset": "125M"}, "preset: gpt2 has no preset '125M'; choose one of tiny, 124M"),
        ({"architecture": "albert", "preset": "124M"}, "choose one of tiny, base, large"),
        ({"context": 2048}, "context: 2048 tokens are more than the 1024 of preset 124M"),
        ({"sharing": "none"}, "sharing: only albert"),
        ({"groups": 2}, "groups: only albert"),
        ({"embedding": 64}, "embedding: only albert"),
        ({"architecture": "albert", "attention": "dense"}, "attention: only gpt2"),
        ({"architecture": "albert", "groups": 13}, "groups: 13 are more than the 12 layers of preset base"),
        ({"architecture": "albert", "groups": 2, "sharing": "none"}, "groups: no layers share"),
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
            assert recipe.warmup_tokens < recipe.tokens
            assert model.resolve(777) == replace(config, vocab_size=777)


def test_settings_override_the_recipe_and_the_preset() -> None:
    recipe = resolve_recipe(ModelSettings(), TrainSettings(steps=50, learning_rate=1.0))
    step = recipe.batch_tokens
    assert (recipe.tokens, recipe.learning_rate, recipe.warmup_tokens) == (50 * step, 1.0, 5 * step)
    assert resolve_recipe(ModelSettings(), TrainSettings(steps=50, warmup_tokens=40)).warmup_tokens == 40
    model = ModelSettings(architecture="albert", preset="tiny", context=32, sharing="ffn", groups=3)
    resolved = model.resolve(100)
    assert isinstance(resolved, AlbertConfig)
    assert (resolved.context, resolved.sharing, resolved.groups) == (32, "ffn", 3)
    assert resolved.vocab_size == 100


def test_settings_need_no_torch() -> None:
    code = "import sys, model, model.config, model.training.recipe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
