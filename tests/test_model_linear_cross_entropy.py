"""Logits and cross-entropy in pieces, held against both at once."""

from itertools import product

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from model import linear_cross_entropy as pieces
from model.linear_cross_entropy import linear_cross_entropy


@pytest.mark.parametrize(
    ("rows", "scale"), list(product([1, 2, 5, 8, 100], [1.0, 300.0])), ids=lambda value: f"{value:g}"
)
def test_loss_and_gradients_are_those_of_whole_logits(
    rows: int, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large weights make shares that underflow, where the loss must not."""
    torch.manual_seed(0)
    monkeypatch.setattr(pieces, "_BUFFER_FLOATS", rows * 31)
    encoded = torch.randn(13, 6, requires_grad=True)
    matrix = (scale * torch.randn(31, 6)).requires_grad_()
    targets = torch.randint(31, (13,))
    whole = F.cross_entropy(F.linear(encoded, matrix), targets, reduction="sum")
    wanted = torch.autograd.grad(whole * 0.3, (encoded, matrix))
    found = linear_cross_entropy(encoded, matrix, targets)
    torch.testing.assert_close(found, whole)
    torch.testing.assert_close(torch.autograd.grad(found * 0.3, (encoded, matrix)), wanted)
    with torch.no_grad():
        torch.testing.assert_close(linear_cross_entropy(encoded, matrix, targets), whole)


def test_the_gradient_is_that_of_differences() -> None:
    torch.manual_seed(0)
    encoded = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    matrix = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 6, 2, 2])
    assert torch.autograd.gradcheck(lambda x, w: linear_cross_entropy(x, w, targets), (encoded, matrix))
