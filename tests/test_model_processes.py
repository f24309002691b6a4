"""Several processes train as one does: the same data, losses and weights, however weights are spread."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from model.config import ModelSettings, TrainSettings
from model.training.log import StepReport
from model.training.train import pretrain
from tests.test_model_shards import write_run
from tests.training_processes import train_together

STEPS = 6

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    return folder


def settings(architecture: str, **values: Any) -> tuple[ModelSettings, TrainSettings]:
    model = ModelSettings.model_validate(
        {"architecture": architecture, "preset": "tiny", "context": 32, "dropout": 0.0}
    )
    train = {"steps": STEPS, "batch_tokens": 256, "micro_batch": 3, "eval_every": 3, "device": "cpu"}
    return model, TrainSettings.model_validate({**train, **values})


def train_alone(run: Path, out: Path, model: ModelSettings, train: TrainSettings) -> list[StepReport]:
    reports: list[StepReport] = []
    pretrain(run, model, train, out, reports.append)
    return reports


@pytest.mark.parametrize(
    ("architecture", "parallel", "optimizer", "tolerance"),
    [
        ("gpt2", "ddp", "adamw", 1e-6),
        ("gpt2", "fsdp", "adamw", 1e-6),
        ("gpt2", "fsdp", "muon", 1e-3),  # It makes steps orthogonal in bf16.
        ("albert", "ddp", "lamb", 1e-6),
        ("albert", "fsdp", "lamb", 1e-6),
    ],
)
def test_two_processes_have_the_losses_of_one(
    run: Path, tmp_path: Path, architecture: str, parallel: str, optimizer: str, tolerance: float
) -> None:
    model, train = settings(architecture, parallel=parallel, optimizer=optimizer, checkpoint_every=3)
    alone = train_alone(run, tmp_path / "one", model, train)
    assert train_together(2, run, tmp_path / "two", model, train) == [0, 0]
    together = json.loads((tmp_path / "two" / "reports.json").read_text())
    assert [step for step, *_ in together["steps"]] == list(range(1, STEPS + 1))
    assert together["tokens"] == alone[-1].tokens
    for report, (_, loss, norm, val_loss) in zip(alone, together["steps"], strict=True):
        assert loss == pytest.approx(report.loss, rel=tolerance)
        assert norm == pytest.approx(report.gradient_norm, rel=100 * tolerance)
        assert (val_loss is None) == (report.val_loss is None)
        if val_loss is not None:
            assert val_loss == pytest.approx(report.val_loss, rel=tolerance)
    ours, theirs = (
        load_file(tmp_path / name / f"step-{STEPS:08d}" / "model.safetensors") for name in ("two", "one")
    )
    shares = [
        (tmp_path / "two" / f"step-{STEPS:08d}" / "optimizer" / f"__{rank}_0.distcp").stat().st_size
        for rank in range(2)
    ]
    if parallel == "fsdp":
        assert shares[0] == pytest.approx(shares[1], rel=0.2)
    for name, value in theirs.items():
        # A weight whose gradients are hardly more than rounding moves as far as any other.
        torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=50 * tolerance)


@pytest.mark.parametrize(("architecture", "parallel"), [("gpt2", "fsdp"), ("albert", "ddp")])
def test_training_goes_on_with_another_number_of_processes(
    run: Path, tmp_path: Path, architecture: str, parallel: str
) -> None:
    straight = train_alone(run, tmp_path / "straight", *settings(architecture))
    out = tmp_path / "moved"
    first = train_alone(run, out, *settings(architecture, steps=2, **_lengths(straight)))
    moved = settings(architecture, steps=4, parallel=parallel, **_lengths(straight))
    assert train_together(2, run, out, *moved) == [0, 0]
    middle = json.loads((out / "reports.json").read_text())
    assert middle["resumed_from"] == 2
    last = train_alone(run, out, *settings(architecture, **_lengths(straight)))
    losses = [r.loss for r in first] + [loss for _, loss, *_ in middle["steps"]] + [r.loss for r in last]
    assert losses == pytest.approx([report.loss for report in straight], rel=1e-5)
    assert last[-1].tokens == straight[-1].tokens


def _lengths(straight: list[StepReport]) -> dict[str, Any]:
    """What follows from the number of steps unless it is set."""
    return {"decay_tokens": 256 * len(straight), "warmup_tokens": 256 * len(straight) // 10}


def test_a_batch_that_does_not_divide_is_refused(run: Path, tmp_path: Path) -> None:
    codes = train_together(2, run, tmp_path, *settings("gpt2", batch_tokens=7 * 32))
    assert codes == [1, 1]
    said = (tmp_path / "error.txt").read_text()
    assert "7 sequences of 32 tokens do not divide among 2 processes; set it to 192 or 256" in said
    assert not list(tmp_path.glob("step-*"))
