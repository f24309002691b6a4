"""Optimizers and learning rates against numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import AlbertConfig, ModelSettings, TrainSettings
from model.networks import build_network
from model.optim import Lamb, build_optimizer, learning_rate
from model.recipe import Recipe, resolve_recipe

RECIPE = resolve_recipe(ModelSettings(), TrainSettings(steps=100, warmup=10, learning_rate=1.0))
LINEAR = resolve_recipe(
    ModelSettings(architecture="albert"), TrainSettings(steps=100, warmup=10, learning_rate=1.0)
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
    assert learning_rate(0, RECIPE) == pytest.approx(0.1)
    assert learning_rate(9, RECIPE) == pytest.approx(1.0)
    assert learning_rate(10, RECIPE) == pytest.approx(1.0)
    assert learning_rate(55, RECIPE) == pytest.approx(0.55)
    assert learning_rate(100, RECIPE) == pytest.approx(0.1)
    assert learning_rate(55, LINEAR) == pytest.approx(0.5)
    assert learning_rate(100, LINEAR) == pytest.approx(0.0)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from([RECIPE, LINEAR]), st.integers(0, 99))
def test_learning_rates_never_leave_their_bounds(recipe: Recipe, step: int) -> None:
    rate = learning_rate(step, recipe)
    assert 0 < rate <= 1
    if step >= recipe.warmup:
        assert learning_rate(step + 1, recipe) <= rate
