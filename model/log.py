"""What training says of itself: reports for a caller, `log.jsonl` and TensorBoard for later."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

LOG = "log.jsonl"


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """One optimizer step.

    Attributes:
        step: Steps taken, this one included.
        steps: Steps planned in all.
        loss: Training loss of the step's batch, in nats, before its update.
        losses: The parts that `loss` is the sum of, by name.
        learning_rate: Learning rate of the step.
        gradient_norm: L2 norm of all gradients together, before clipping.
        tokens: Tokens read since the start of training, padding aside; repeats count.
        tokens_per_second: Tokens of this step over the seconds that it took, padding aside.
        seconds: Seconds since this call of `pretrain` took its first step.
        val_loss: Validation loss in nats, where this step measured it.
        checkpoint: Folder of the checkpoint, where this step wrote one.
    """

    step: int
    steps: int
    loss: float
    losses: dict[str, float]
    learning_rate: float
    gradient_norm: float
    tokens: int
    tokens_per_second: float
    seconds: float
    val_loss: float | None = None
    checkpoint: Path | None = None


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """What training came to.

    Attributes:
        step: Steps taken in all, those of earlier calls included.
        steps: Steps planned in all; more than `step` where the time limit ended training early.
        resumed_from: Steps that were already taken when this call began.
        tokens: Tokens read in all, padding aside.
        first_loss: Training loss of the very first step, in nats.
        last_loss: Training loss of the last step, in nats.
        val_loss: Last measured validation loss, in nats; None without a validation split.
        checkpoint: Folder of the newest checkpoint.
    """

    step: int
    steps: int
    resumed_from: int
    tokens: int
    first_loss: float
    last_loss: float
    val_loss: float | None
    checkpoint: Path


class TrainingLog:
    """Writes `log.jsonl` (one object a step) and `tensorboard/` into the folder of checkpoints.

    Steps after `resumed_from` that an interrupted run had logged are taken back, as they are about
    to be taken again.
    """

    def __init__(self, directory: Path, resumed_from: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / LOG
        kept = [line for line in _lines(path) if _step_of(line) <= resumed_from]
        path.write_text("".join(kept))
        self._file = path.open("a")
        self._board = SummaryWriter(str(directory / "tensorboard"), purge_step=resumed_from + 1)

    def write(self, report: StepReport) -> None:
        """Logs one step; the line is on its way to the disk when this returns."""
        self._file.write(json.dumps(_plain(report)) + "\n")
        self._file.flush()
        scalars = {
            "loss/train": report.loss,
            **{f"loss/{name}": value for name, value in report.losses.items()},
            "loss/val": report.val_loss,
            "learning_rate": report.learning_rate,
            "gradient_norm": report.gradient_norm,
            "tokens_per_second": report.tokens_per_second,
        }
        for name, value in scalars.items():
            if value is not None:
                self._board.add_scalar(name, value, report.step)

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        self._board.close()


def _plain(report: StepReport) -> dict[str, Any]:
    """The report as JSON has it, without what this step did not measure."""
    values = {name: value for name, value in asdict(report).items() if value is not None}
    if report.checkpoint is not None:
        values["checkpoint"] = report.checkpoint.name
    return values


def _lines(path: Path) -> list[str]:
    """Whole lines of the log; a crash may have cut the last one short."""
    text = path.read_text() if path.exists() else ""
    return [line for line in text.splitlines(keepends=True) if line.endswith("}\n")]


def _step_of(line: str) -> int:
    return int(json.loads(line)["step"])
