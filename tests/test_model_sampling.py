"""Tokens are drawn with the probabilities that temperature, top-k and top-p leave."""

from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from model.errors import ModelError
from model.generation.sampling import Sampling


def shares(logits: list[float], sampling: Sampling, num_draws: int = 4000) -> Tensor:
    """The share of each token, by draws that are spread evenly over the unit interval."""
    uniform = (torch.arange(num_draws, dtype=torch.float64) + 0.5) / num_draws
    drawn = sampling.draw(torch.tensor([logits]).expand(num_draws, -1), uniform)
    return torch.bincount(drawn, minlength=len(logits)) / num_draws


def left_by_brute_force(logits: list[float], temperature: float, top_k: int, top_p: float) -> list[float]:
    """The probabilities, token by token; where rounding decides, the example is given up."""
    exact = torch.tensor(logits, dtype=torch.float32).double()
    weights = ((exact - exact.max()) / temperature).exp().tolist()
    best = sorted(range(len(weights)), key=lambda i: -weights[i])[:top_k]
    whole = sum(weights[i] for i in best)
    kept: list[int] = []
    for i in best:
        before = sum(weights[j] for j in kept) / whole
        assume(abs(before - top_p) > 1e-6)
        if before < top_p:
            kept.append(i)
    total = sum(weights[i] for i in kept)
    return [weights[i] / total if i in kept else 0.0 for i in range(len(weights))]


@given(
    logits=st.lists(st.integers(-60, 60), min_size=1, max_size=9, unique=True),
    temperature=st.sampled_from([0.3, 1.0, 2.5]),
    top_k=st.integers(1, 12),
    top_p=st.floats(0.05, 1.0),
)
def test_shares_are_the_probabilities(
    logits: list[int], temperature: float, top_k: int, top_p: float
) -> None:
    tenths = [value / 10 for value in logits]
    expected = left_by_brute_force(tenths, temperature, top_k, top_p)
    found = shares(tenths, Sampling(temperature=temperature, top_k=top_k, top_p=top_p))
    # An interval holds its share of evenly spread points, but for one at either end.
    torch.testing.assert_close(found, torch.tensor(expected), atol=2 / 4000, rtol=0)


@pytest.mark.parametrize("limits", [{}, {"top_k": 5}, {"top_p": 0.7}, {"top_k": 20, "top_p": 0.9}])
def test_limits_are_those_of_transformers(limits: dict[str, Any]) -> None:
    from transformers.generation import logits_process

    logits = torch.randn(1, 50, generator=torch.Generator().manual_seed(0)) * 3
    scores = logits_process.TemperatureLogitsWarper(0.7)(None, logits)
    if "top_k" in limits:
        scores = logits_process.TopKLogitsWarper(limits["top_k"])(None, scores)
    if "top_p" in limits:
        scores = logits_process.TopPLogitsWarper(limits["top_p"])(None, scores)
    found = shares(logits[0].tolist(), Sampling(temperature=0.7, **limits))
    torch.testing.assert_close(found, scores[0].softmax(0), atol=2 / 4000, rtol=0)


def test_each_row_has_its_own_draw() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.5, 0.5, 0.0]]))
    uniform = torch.tensor([0.2, 0.2, 0.9], dtype=torch.float64)
    for sampling in (Sampling(), Sampling(top_p=1.0), Sampling(temperature=0.5)):
        assert sampling.draw(logits, uniform).tolist() == [0, 1, 1]
    assert Sampling(temperature=0).draw(logits, uniform).tolist() == [0, 1, 0]


@pytest.mark.parametrize("limits", [{}, {"top_k": 3}, {"top_p": 1.0}, {"temperature": 1e-6}])
def test_what_is_banned_is_not_drawn_at_either_end(limits: dict[str, Any]) -> None:
    logits = torch.tensor([[-torch.inf, 2.0, 1.0, 0.5, -torch.inf]]).expand(2, -1)
    ends = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    drawn = Sampling(**limits).draw(logits, ends).tolist()
    assert drawn[0] == 1
    assert drawn[1] == (1 if limits.get("temperature") else 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_p": float("nan")},
    ],
)
def test_errors_name_the_argument(wrong: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        Sampling(**wrong)
