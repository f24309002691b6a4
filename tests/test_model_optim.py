"""Optimizers and learning rates against numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import AlbertConfig, ModelSettings, TrainSettings
from model.networks import build_network
from model.training.optim import Lamb, MuonAndAdamW, build_optimizer, learning_rate
from model.training.recipe import Recipe, resolve_recipe

STEP = 2048
RECIPE = resolve_recipe(
    ModelSettings(), TrainSettings(steps=100, batch_tokens=STEP, warmup_tokens=10 * STEP, learning_rate=1.0)
)
LINEAR = resolve_recipe(
    ModelSettings(architecture="albert"),
    TrainSettings(steps=100, batch_tokens=STEP, warmup_tokens=10 * STEP, learning_rate=1.0),
)


def test_lamb_takes_the_steps_worked_out_by_hand() -> None:
    weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
    optimizer = Lamb([weight], lr=0.1, weight_decay=0.01)
    w, mean, square = np.array([3.0, 4.0]), np.zeros(2), np.zeros(2)
    for gradient in (np.array([1.0, -2.0]), np.array([0.5, 0.25])):
        weight.grad = torch.tensor(gradient[None], dtype=torch.float32)
        optimizer.step()
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        direction = mean / (np.sqrt(square) + 1e-6) + 0.01 * w
        w = w - 0.1 * np.linalg.norm(w) / np.linalg.norm(direction) * direction
        np.testing.assert_allclose(weight.detach().numpy()[0], w, rtol=1e-5)


def test_lambs_first_step_moves_a_matrix_by_a_tenth_of_its_length() -> None:
    weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
    weight.grad = torch.tensor([[7.0, 0.0]])
    Lamb([weight], lr=0.1).step()
    torch.testing.assert_close(weight.data, torch.tensor([[2.5, 4.0]]))


def test_lamb_leaves_vectors_out_of_the_trust_ratio() -> None:
    bias = torch.nn.Parameter(torch.tensor([30.0, 40.0]))
    bias.grad = torch.tensor([1.0, 1.0])
    Lamb([{"params": [bias], "adapt": False}], lr=0.1).step()
    # Without bias correction the first direction is 0.1 / sqrt(0.001) = 3.16.
    moved = 0.1 * 0.1 / (math.sqrt(0.001) + 1e-6)
    torch.testing.assert_close(bias.data, torch.tensor([30.0, 40.0]) - moved)


def test_lamb_moves_a_matrix_of_zeros() -> None:
    weight = torch.nn.Parameter(torch.zeros(1, 2))
    weight.grad = torch.ones(1, 2)
    Lamb([weight], lr=0.1).step()
    assert (weight < -0.1).all()


@pytest.mark.parametrize("architecture", ["gpt2", "albert"])
def test_only_matrices_decay(architecture: str) -> None:
    model = ModelSettings.model_validate({"architecture": architecture, "preset": "tiny"})
    network = build_network(model.resolve(50))
    recipe = resolve_recipe(model, TrainSettings())
    decay, plain = build_optimizer(network, recipe).param_groups
    assert decay["weight_decay"] == recipe.weight_decay
    assert plain["weight_decay"] == 0
    names = {id(p): name for name, p in network.named_parameters()}
    assert all("norm" in names[id(p)] or "bias" in names[id(p)] for p in plain["params"])
    assert not any("norm" in names[id(p)] or "bias" in names[id(p)] for p in decay["params"])
    assert len(names) == len(decay["params"]) + len(plain["params"])


def test_albert_is_trained_by_lamb_and_gpt2_by_adamw() -> None:
    network = build_network(AlbertConfig(vocab_size=9, layers=1, width=8, heads=1, ffn=8))
    assert isinstance(build_optimizer(network, LINEAR), Lamb)
    assert isinstance(build_optimizer(network, RECIPE), torch.optim.AdamW)


def test_learning_rates_rise_and_fall() -> None:
    assert learning_rate(0 * STEP, STEP, RECIPE) == pytest.approx(0.1)
    assert learning_rate(9 * STEP, STEP, RECIPE) == pytest.approx(1.0)
    assert learning_rate(10 * STEP, STEP, RECIPE) == pytest.approx(1.0)
    assert learning_rate(55 * STEP, STEP, RECIPE) == pytest.approx(0.55)
    assert learning_rate(100 * STEP, STEP, RECIPE) == pytest.approx(0.1)
    assert learning_rate(55 * STEP, STEP, LINEAR) == pytest.approx(0.5)
    assert learning_rate(100 * STEP, STEP, LINEAR) == pytest.approx(0.0)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from([RECIPE, LINEAR]), st.integers(0, 99))
def test_learning_rates_never_leave_their_bounds(recipe: Recipe, step: int) -> None:
    rate = learning_rate(step * STEP, STEP, recipe)
    assert 0 < rate <= 1
    if step >= 10:
        assert learning_rate((step + 1) * STEP, STEP, recipe) <= rate


@pytest.mark.parametrize("architecture", ["gpt2", "albert"])
def test_muon_takes_the_blocks_matrices_and_adamw_the_rest(architecture: str) -> None:
    model = ModelSettings.model_validate({"architecture": architecture, "preset": "tiny"})
    torch.manual_seed(0)
    networks = [build_network(model.resolve(50)) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    recipe = resolve_recipe(model, TrainSettings(optimizer="muon", weight_decay=0.1, learning_rate=0.01))
    ours = build_optimizer(networks[0], recipe)
    assert isinstance(ours, MuonAndAdamW)
    assert sum(len(group["params"]) for group in ours.param_groups) == len(list(networks[0].parameters()))
    hidden = {
        name: p
        for name, p in networks[1].named_parameters()
        if p.dim() == 2
        and not name.startswith(("tokens", "positions", "embeddings.tokens"))
        and name not in ("embeddings.positions.weight", "embeddings.segments.weight")
    }
    rest = [p for name, p in networks[1].named_parameters() if name not in hidden]
    muon = torch.optim.Muon(hidden.values(), lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    groups = [
        {"params": [p for p in rest if p.dim() == 2], "weight_decay": 0.1},
        {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.95), eps=1e-8, fused=True)
    for seed in range(3):
        for network in networks:
            torch.manual_seed(seed)
            for parameter in network.parameters():
                parameter.grad = torch.randn_like(parameter)
        for optimizer in (ours, muon, adamw):
            optimizer.step()
        if seed == 1:  # As after a resume.
            ours.load_state_dict(ours.state_dict())
    theirs = networks[1].state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in networks[0].state_dict().items())
