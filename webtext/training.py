"""Pretraining as people see it: a bar with the losses, and where the checkpoint is."""

import os
from collections import deque
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from model.config import ModelSettings, TrainSettings
from model.training.log import StepReport, TrainResult, describe
from pipeline.errors import InputError
from pipeline.object_store import refuse_credentials
from webtext.paths import near, refuse_uri
from webtext.terminal import PlainLines

_SMOOTHED_STEPS = 20  # one small batch's loss says little


def is_first_process() -> bool:
    """Whether this is the one process, or of those that torchrun started the one that speaks."""
    return os.environ.get("RANK", "0") == "0"


def local_run(run: str, train: TrainSettings) -> Path:
    """The run to train on. Raises InputError where it, or where checkpoints go, is on no local disk."""
    if "://" in run:
        refuse_credentials(run)
        raise InputError(
            f"{run}: training maps shards into memory, and so wants them on a local disk. Copy the run's "
            "shards/ and tokenizer/ to a folder here (aws s3 cp --recursive), and name it: --run DIR."
        )
    if train.dir is not None:
        refuse_uri(train.dir)
    return Path(run)


def pretrain_with_progress(
    run: Path, model: ModelSettings, train: TrainSettings, console: Console
) -> TrainResult:
    """Trains a model on a run's shards and shows it.

    Of several processes that torchrun started, the first one shows.

    Raises:
        ModelError: As ``model.training.train.pretrain`` does.
    """
    from model.training.train import pretrain

    if not is_first_process():
        console = Console(quiet=True)
    name = f"{model.architecture} {model.preset_name}"
    with Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TextColumn("{task.fields[shown]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        task = progress.add_task(name, total=None, shown="")
        plain = PlainLines(console)
        recent: deque[float] = deque(maxlen=_SMOOTHED_STEPS)

        def show(report: StepReport) -> None:
            if report.intervention is None:
                recent.append(report.loss)
            shown = describe(report, mean(recent) if recent else report.loss)
            progress.update(task, total=report.steps, completed=report.step, shown=shown)
            plain.say(f"{name}: step {report.step:,} of {report.steps:,}, {shown}")

        result = pretrain(run, model, train, on_step=show)
        was_trained = progress.tasks[task].completed == 0
    if was_trained:
        console.print(
            f"[bold]{name}[/]: trained before, {result.step:,} of {result.steps:,} steps, "
            f"{result.tokens:,} tokens; to train on, set more of train.steps or train.tokens\n"
            f"  the checkpoint is {near(result.checkpoint)}"
        )
        return result
    last = mean(recent) if recent else result.last_loss
    val = "" if result.val_loss is None else f", validation loss {result.val_loss:.3f}"
    console.print(
        f"[bold]{name}[/]: loss {result.first_loss:.3f} → {last:.3f}{val} after {result.step:,} of "
        f"{result.steps:,} steps, {result.tokens:,} tokens\n"
        f"  the checkpoint is {near(result.checkpoint)}"
    )
    return result
