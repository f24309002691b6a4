"""``webtext finetune``: a pretrained network trained on for a task of one's own."""

from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from webtext.device_memory import advice_on_memory
from webtext.paths import near
from webtext.terminal import JsonOption, console, print_json

if TYPE_CHECKING:
    from model.finetune.run import Outcome


class TaskName(StrEnum):
    """What is learned."""

    CLASSIFY = "classify"
    SPANS = "spans"


def finetune(  # noqa: PLR0913, PLR0917 (an option each)
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint, or a folder of them.")
    ],
    task: Annotated[
        TaskName, typer.Option(help="classify: classes of texts or of pairs; spans: answers in texts.")
    ],
    train: Annotated[
        Path, typer.Option(metavar="FILE", help="What to learn: GLUE's TSV, or SQuAD's JSON for spans.")
    ],
    dev: Annotated[Path, typer.Option(metavar="FILE", help="What to judge by, of the same form.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write, which is not there yet.")],
    learning_rate: Annotated[
        float, typer.Option(help="The highest; a tenth of the steps rise to it, then it falls to 0.")
    ] = 5e-5,
    epochs: Annotated[int, typer.Option(help="Times that each example is read.", min=1)] = 3,
    batch: Annotated[int, typer.Option(help="Examples (of long texts: windows) a step.", min=1)] = 32,
    max_length: Annotated[
        int | None,
        typer.Option(
            help="Tokens of a sequence; 128 for classify and 384 for spans, or the model's context."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="On a CPU the same seed gives the same model.", min=0)] = 0,
    device: Annotated[
        str, typer.Option(metavar="NAME", help="auto (the GPU where there is one), cpu, cuda or cuda:N.")
    ] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train a GPT-2 or an ALBERT on for a task, and measure it on a development file.

    The folder holds the network, its measures and its predictions; docs/finetune.md tells more.

    Example: webtext finetune runs/webtext/checkpoints/albert-base --task classify --out sst2
    --train SST-2/train.tsv --dev SST-2/dev.tsv
    """
    from model.finetune.run import fine_tune
    from model.finetune.train import FineTuneSettings

    settings = FineTuneSettings(
        learning_rate=learning_rate,
        epochs=epochs,
        batch=batch,
        max_length=max_length,
        seed=seed,
        device=device,
    )
    with _bar(task) as progress, advice_on_memory(batch):
        outcome = fine_tune(checkpoint, task.value, train, dev, out, settings, _show_on(progress, task))
    if as_json:
        print_json({"out": str(out), **asdict(outcome)})
    else:
        _print(outcome, out)


def _bar(task: TaskName) -> Progress:
    return Progress(
        TextColumn(f"[bold]{task}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("steps, loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def _show_on(progress: Progress, task: TaskName) -> Callable[[int, int, float], None]:
    bar = progress.add_task(task, total=None, loss=0.0)

    def show(step: int, steps: int, loss: float) -> None:
        progress.update(bar, total=steps, completed=step, loss=loss)

    return show


def _print(outcome: "Outcome", out: Path) -> None:
    if outcome.num_skipped:
        console.print(
            f"{outcome.num_skipped:,} questions of the training file were left out: none of their answers"
            " stands in the text where answer_start says",
            style="yellow",
        )
    console.print(f"learned {outcome.num_train:,} examples, training loss {outcome.loss:.4f}")
    for name, value in outcome.measures.items():
        console.print(f"  {name:<12} {value:.4f}", highlight=False)
    console.print(f"on {outcome.num_dev:,} examples; the model is {near(out)}", markup=False)
