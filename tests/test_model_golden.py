"""Fifty steps of each architecture against losses that were written down: a refactor changes none.

    python -m tests.test_model_golden

writes them anew, which is right only where a change is meant to give other numbers.
"""

import json
import tempfile
from pathlib import Path

import pytest
import torch

from model.config import ModelSettings, TrainSettings
from model.training.log import StepReport
from model.training.train import pretrain
from tests.test_model_shards import write_run

GOLDEN = Path(__file__).parent / "golden"
ARCHITECTURES = ("gpt2", "albert")
# Sums are rounded differently by other processors and versions of torch, and steps build on each other.
TOLERANCE = 2e-3


def train_golden(architecture: str, folder: Path) -> dict[str, list[float]]:
    """Losses and gradient norms of 50 steps on made text."""
    write_run(folder)
    model = ModelSettings.model_validate(
        {"architecture": architecture, "preset": "tiny", "context": 32, "dropout": 0.1}
    )
    train = TrainSettings(steps=50, batch_tokens=512, micro_batch=16, device="cpu", seed=1)
    reports: list[StepReport] = []
    pretrain(folder, model, train, folder / "out", reports.append)
    return {
        "losses": [round(report.loss, 6) for report in reports],
        "gradient_norms": [round(report.gradient_norm, 6) for report in reports],
    }


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_losses_are_those_that_were_written_down(architecture: str, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = train_golden(architecture, tmp_path)
    finally:
        torch.set_num_threads(before)
    expected = json.loads((GOLDEN / f"{architecture}.json").read_text())
    assert len(found["losses"]) == 50
    assert found["losses"] == pytest.approx(expected["losses"], rel=TOLERANCE)
    # A norm is less steady than a loss.
    assert found["gradient_norms"] == pytest.approx(expected["gradient_norms"], rel=50 * TOLERANCE)


if __name__ == "__main__":
    torch.set_num_threads(1)
    GOLDEN.mkdir(exist_ok=True)
    for name in ARCHITECTURES:
        with tempfile.TemporaryDirectory() as scratch:
            curve = train_golden(name, Path(scratch))
        (GOLDEN / f"{name}.json").write_text(json.dumps(curve, indent=1) + "\n")
