"""``webtext evaluate``: tasks of the GPT-2 and GPT-3 papers, on checkpoints."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipeline.errors import InputError
from webtext.device_memory import advice_on_memory
from webtext.evaluation_runs import (
    Prepared,
    Settings,
    evaluate_checkpoint,
    going_on,
    prepare,
    reads,
    with_contamination,
)
from webtext.paths import near
from webtext.terminal import JsonOption, console, print_json, print_whole

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from model.evaluate.results import Table

TABLES, PICTURE = "results.md", "shots.svg"


def list_tasks(wanted: bool) -> None:
    """Prints all tasks, and ends the command."""
    if not wanted:
        return
    from model.evaluate.registry import TASKS

    for task in TASKS.values():
        no_examples = "" if task.takes_examples else " It takes no examples."
        console.print(f"[bold]{task.name}[/]  {escape(task.title)}: {', '.join(task.measures)}")
        console.print(f"    It reads: {reads(task)}{no_examples}", markup=False)
    raise typer.Exit


def evaluate(  # noqa: PLR0913, PLR0917 (an option each)
    checkpoints: Annotated[
        list[Path],
        typer.Argument(
            metavar="CHECKPOINT",
            help="Checkpoints, folders of them, or GPT-2s of transformers or OpenAI.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder for results; newer ones join it.")],
    tasks: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Tasks, such as lambada,coqa; else all that have --data."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK=PATH", help="A task's file, in its official form; once a task."),
    ] = None,
    examples: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TASK=PATH", help="The file to draw a task's examples from; else its own other items."
        ),
    ] = None,
    shots: Annotated[str, typer.Option(metavar="NUMBERS", help="Examples before each item: 0,1,8.")] = "0",
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Ask only the first N items of each task.", min=1)
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="NAME", help="auto (the GPU where there is one), cpu, cuda or cuda:N.")
    ] = "auto",
    batch: Annotated[int, typer.Option(help="The most texts to compute at once.", min=1)] = 8,
    stride: Annotated[
        int | None,
        typer.Option(help="Tokens between the windows over a longer text; else half the context.", min=1),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same examples.", min=0)] = 0,
    contamination: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="The run trained on: how much of each task its corpus has."),
    ] = None,
    as_json: JsonOption = False,
    _: Annotated[
        bool,
        typer.Option("--list", callback=list_tasks, is_eager=True, help="Show the tasks and their files."),
    ] = False,
) -> None:
    """Evaluate checkpoints as the GPT-2 and GPT-3 papers did: zero-, one- and few-shot.

    Nothing is downloaded: each task reads its official file, whose path
    --data gives. Results go to DIR/results.json with all that it takes to
    repeat them, to tables beside the papers' figures (results.md) and to a
    plot against the models' sizes (shots.svg). Of a task or a checkpoint that
    cannot be read a line tells, the others run, and the exit status is 2.

    Example: webtext evaluate runs/webtext/checkpoints/gpt2-124M --data lambada=lambada_test.jsonl --out eval
    """
    from model.evaluate.registry import find_task
    from model.evaluate.results import read_results

    files, example_files = _paths("--data", data or ()), _paths("--examples", examples or ())
    chosen = [find_task(name) for name in (_split(tasks) if tasks is not None else files)]
    if not chosen:
        raise InputError(
            "there is no task: give --data TASK=PATH for each; webtext evaluate --list has them."
        )
    settings = Settings(
        out=out,
        shots=_numbers(shots),
        limit=limit,
        device=device,
        batch=batch,
        stride=stride,
        seed=seed,
    )
    out.mkdir(parents=True, exist_ok=True)
    read_results(out)  # Damaged ones should be told now, and not after hours.
    troubles: list[str] = []
    prepared: list[Prepared] = []
    for task in chosen:
        with going_on(troubles, task.name):
            prepared.append(prepare(task, files, example_files, settings.shots))
    if contamination and prepared:
        prepared = with_contamination(contamination, prepared, limit)
    for checkpoint in checkpoints if prepared else ():
        with going_on(troubles, near(checkpoint)), advice_on_memory(batch):
            evaluate_checkpoint(checkpoint, prepared, settings, troubles)
    if prepared:
        _show(out, prepared, as_json=as_json)
    if troubles:
        raise InputError(f"could not be evaluated, as told above: {', '.join(dict.fromkeys(troubles))}.")


# What was asked for


def _split(names: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))


def _numbers(shots: str) -> list[int]:
    """Numbers of examples, in ascending order."""
    found = _split(shots)
    if not found or not all(one.isascii() and one.isdigit() for one in found):
        raise InputError(f"--shots {shots}: must be numbers of at least 0, such as 0,1,8.")
    return sorted({int(one) for one in found})


def _paths(option: str, given: Sequence[str]) -> dict[str, Path]:
    """The files of `TASK=PATH` options by the tasks' names, in their order."""
    from model.evaluate.registry import find_task

    found: dict[str, Path] = {}
    for one in given:
        name, sign, path = one.partition("=")
        if not sign or not path:
            raise InputError(f"{option} {one}: must be TASK=PATH, such as lambada=lambada_test.jsonl.")
        if find_task(name).name in found:
            raise InputError(f"{option} {one}: {name} has a file already; give one for each task.")
        found[name] = Path(path)
    return found


# What people see


def _show(out: Path, prepared: Sequence[Prepared], *, as_json: bool) -> None:
    """Writes tables and picture of all results in the folder; prints those of the tasks at hand."""
    from model.evaluate.registry import TASKS
    from model.evaluate.results import RESULTS, read_results, tables, write_whole
    from webtext.evaluation_pictures import draw_shots

    results = read_results(out)
    if not results:
        return
    page = [
        "# Results\n\nIn italics: what was published.\n",
        *(one.markdown() for one in tables(results, TASKS)),
    ]
    write_whole(out / TABLES, "\n".join(page).encode())
    if svg := draw_shots(results, TASKS):
        write_whole(out / PICTURE, svg.encode())
    shown = {one.task.name: one.task for one in prepared}
    if as_json:
        written = json.loads((out / RESULTS).read_bytes())
        print_json([result for result in written if result["task"] in shown])
        return
    print_whole(map(_rich_table, tables(results, shown)))
    console.print(f"results: {near(out)}/", markup=False)


def _rich_table(table: "Table") -> "RichTable":
    from pipeline.plain_table import plain_table

    first, *others = table.columns
    made = plain_table(
        first, *(escape(name.replace(" ", "\n")) for name in others), title=escape(table.title)
    )
    made.columns[0].no_wrap = False  # of a narrow terminal's room the figures get theirs first
    for row in table.rows:
        made.add_row(*map(escape, row))
    made.add_section()
    for row in table.published:
        made.add_row(*map(escape, row), style="italic")
    return made
