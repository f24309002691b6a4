"""What training says of itself: reports for a caller, `log.jsonl` and curves for later."""

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.training.boards import Board, TensorBoard, WeightsAndBiases

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
        seconds: Seconds from when this call of `pretrain` was ready to when this step had its batches.
        data_seconds: Seconds of this step in which the device had to wait for its batches.
        mfu: Share of the devices' peak that the model's FLOPs come to (`model.training.flops`); None where no
            peak is known.
        hfu: The same of the FLOPs that were carried out.
        memory_bytes: Most memory that was held so far: by tensors on a GPU, by the process on a CPU.
        intervention: What the guard saw, where the step's update was not made (`model.training.guards`).
        val_loss: Validation loss in nats, where this step measured it.
        bits_per_byte: The same in bits a byte of text, where that means something (not for ALBERT).
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
    data_seconds: float | None = None
    mfu: float | None = None
    hfu: float | None = None
    memory_bytes: int | None = None
    intervention: str | None = None
    val_loss: float | None = None
    bits_per_byte: float | None = None
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
    to be taken again. Of several processes, one writes.

    Args:
        directory: The folder; made where it is not there.
        resumed_from: Steps that had been taken when training went on.
        wandb: A project of Weights & Biases to draw in too; None for none.
        config: What such a run is said to have been made with.

    Raises:
        ModelError: wandb is asked for but cannot be had.
    """

    def __init__(
        self,
        directory: Path,
        resumed_from: int,
        wandb: str | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path = directory / LOG
        self._boards: list[Board] = []
        if wandb is not None:  # First, as it alone can fail.
            self._boards.append(WeightsAndBiases(wandb, directory, config or {}))
        self._boards.append(TensorBoard(directory, resumed_from + 1))
        self._take_back(resumed_from)
        self._file = self._path.open("a")

    def write(self, report: StepReport) -> None:
        """Logs one step; the line is on its way to the disk when this returns."""
        self._file.write(json.dumps(_plain(report), allow_nan=False) + "\n")
        self._file.flush()
        scalars = {name: value for name, value in _scalars(report).items() if value is not None}
        for board in self._boards:
            board.draw(scalars, report.step)

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        for board in self._boards:
            board.close()

    def _take_back(self, resumed_from: int) -> None:
        """Leaves the lines up to the last one of `resumed_from`; whenever it is cut off, the file is whole.

        Not all lines of fewer steps: a run that went back to a checkpoint by itself has taken some twice.
        """
        reports = _reports(self._path)
        kept = max((place for place, (step, _) in enumerate(reports, 1) if step <= resumed_from), default=0)
        draft = self._path.with_name(f".{LOG}.draft")
        draft.write_text("".join(line for _, line in reports[:kept]))
        draft.replace(self._path)


def describe(report: StepReport, loss: float) -> str:
    """One line on a step for people, with `loss` (which may be smoothed) in place of the step's own."""
    parts = [f"loss {loss:.3f}"]
    if report.val_loss is not None:
        bits = "" if report.bits_per_byte is None else f" ({report.bits_per_byte:.3f} bits a byte)"
        parts.append(f"validation {report.val_loss:.3f}{bits}")
    parts.append(f"{report.tokens_per_second:,.0f} tokens/s")
    if report.mfu is not None:
        parts.append(f"{report.mfu:.1%} MFU")
    if report.memory_bytes is not None:
        parts.append(f"{report.memory_bytes / 1e9:.1f} GB")
    return ", ".join(parts)


def _scalars(report: StepReport) -> dict[str, float | None]:
    """The curves' points."""
    return {
        "loss/train": report.loss,
        **{f"loss/{name}": value for name, value in report.losses.items()},
        "loss/val": report.val_loss,
        "bits_per_byte/val": report.bits_per_byte,
        "learning_rate": report.learning_rate,
        "gradient_norm": report.gradient_norm,
        "tokens": report.tokens,
        "tokens_per_second": report.tokens_per_second,
        "data_seconds": report.data_seconds,
        "mfu": report.mfu,
        "hfu": report.hfu,
        "memory_bytes": report.memory_bytes,
    }


def _plain(report: StepReport) -> dict[str, Any]:
    """The report as JSON has it, without what this step did not measure; null is what is no number."""
    values = {name: _finite(value) for name, value in asdict(report).items() if value is not None}
    values["losses"] = {name: _finite(value) for name, value in report.losses.items()}
    if report.checkpoint is not None:
        values["checkpoint"] = report.checkpoint.name
    return values


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _reports(path: Path) -> list[tuple[int, str]]:
    """Steps of the log, each with its line; a crash may have cut the last one short: it is left out."""
    text = path.read_text("utf-8", "replace") if path.exists() else ""
    found = []
    for line in text.splitlines(keepends=True):
        with suppress(ValueError, KeyError, TypeError, OverflowError, RecursionError):
            found.append((int(json.loads(line)["step"]), line))
    return [(step, line) for step, line in found if line.endswith("}\n")]
