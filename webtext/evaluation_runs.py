"""Tasks prepared, and checkpoints put to them: each result is written as soon as it is there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from inspect import getdoc
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from model.errors import ModelError
from tokenizer.errors import TokenizerError
from webtext.paths import near
from webtext.terminal import PlainLines, console, errors

if TYPE_CHECKING:
    from model.evaluate.results import Contamination, DataFacts, ModelFacts
    from model.evaluate.run import Outcome
    from model.evaluate.task import Item, Task

_LIBRARIES = ("torch", "sacrebleu", "rouge-score")  # a result may hang on their versions


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What was asked for, of all tasks and models alike: the options of `evaluate`."""

    out: Path
    shots: Sequence[int]
    limit: int | None
    device: str
    batch: int
    stride: int | None
    seed: int


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A task whose files are read.

    Attributes:
        task: The task.
        shots: Numbers of examples to run it with.
        items: All items of its data.
        data: Where they are from.
        candidates: Items that examples are drawn from.
        examples: Where those are from; None where they are the data's own.
        contamination: What of it a corpus has; None where that was not asked.
    """

    task: "Task"
    shots: Sequence[int]
    items: "Sequence[Item]"
    data: "DataFacts"
    candidates: "Sequence[Item]"
    examples: "DataFacts | None"
    contamination: "Contamination | None" = None


def prepare(
    task: "Task", files: Mapping[str, Path], example_files: Mapping[str, Path], shots: Sequence[int]
) -> Prepared:
    """Reads a task's files.

    Raises:
        ModelError: One is missing, or not of the task's form.
    """
    from model.evaluate.results import data_facts

    if task.name not in files:
        raise ModelError(f"no file is given: add --data {task.name}=PATH; {reads(task)}")
    path = files[task.name]
    items = task.read(path)
    if not items:
        raise ModelError(f"{path}: has no items; give the official file")
    candidates, examples = items, None
    if any(shots) and not task.takes_examples:
        errors.print(f"{task.name} takes no examples: it runs with 0 only", style="yellow")
        shots = (0,)
    elif any(shots) and task.name in example_files:
        candidates = task.read(example_files[task.name])
        examples = data_facts(example_files[task.name], len(candidates))
    return Prepared(
        task=task,
        shots=shots,
        items=items,
        data=data_facts(path, len(items)),
        candidates=candidates,
        examples=examples,
    )


def with_contamination(run: str, prepared: Sequence[Prepared], limit: int | None) -> list[Prepared]:
    """Tasks with what of their n-grams a run's corpus has.

    Raises:
        InputError: The run's corpus is not there, not finished, or damaged.
    """
    from model.evaluate.results import Contamination
    from webtext.contaminating import contamination_of, corpus_digest

    digest = corpus_digest(run)
    texts = {one.task.name: [one.task.texts(item) for item in one.items[:limit]] for one in prepared}
    with _bar("searching the corpus, bytes") as on_progress:
        found = contamination_of(run, texts, on_progress=on_progress)
    return [
        replace(
            one,
            contamination=Contamination(
                run=run,
                corpus=digest,
                share=found[one.task.name].share,
                figures=found[one.task.name].to_json(),
            ),
        )
        for one in prepared
    ]


def reads(task: "Task") -> str:
    """What a task reads, in the words of its reader."""
    documentation = getdoc(task.read) or "Its files are described in docs/evaluation."
    return " ".join(documentation.partition("\n\n")[0].split())


def evaluate_checkpoint(
    path: Path, prepared: Sequence[Prepared], settings: Settings, troubles: list[str]
) -> None:
    """Puts a checkpoint to the tasks that are for it, and writes each result as soon as it is there.

    Raises:
        ModelError: It cannot be loaded, or none of the tasks is for it.
    """
    from model.checkpoint import newest_checkpoint
    from model.evaluate.registry import MASKED

    path = newest_checkpoint(path) or path
    is_albert = _architecture(path) == "albert"
    fitting = [one for one in prepared if (one.task.name == MASKED.name) == is_albert]
    others = ", ".join(one.task.name for one in prepared if one not in fitting)
    kind = (
        f"is an ALBERT, whose only task is {MASKED.name}" if is_albert else "is a GPT-2, which fills no masks"
    )
    if not fitting:
        raise ModelError(f"{kind}: name other tasks than {others}, or another checkpoint")
    if others:
        errors.print(f"{near(path)} {kind}: not asked {others}", style="yellow", markup=False)
    run = _albert(path, settings) if is_albert else _gpt2(path, settings)
    for one in fitting:
        for shots in one.shots:
            with going_on(troubles, f"{near(path)}, {one.task.name}"):
                run(one, shots)


def _architecture(path: Path) -> str:
    """What a model's folder says that it is; of what we do not know, loading tells more.

    Raises:
        ModelError: It is no model's folder.
    """
    from model.exchange.huggingface import CONFIG, read_json

    if (path / CONFIG).is_file():
        values = read_json(path / CONFIG)
        return str(values.get("architecture") or values.get("model_type"))
    if (path / "hparams.json").is_file():  # OpenAI's
        return "gpt2"
    raise ModelError(
        "is no model: neither a checkpoint, nor a folder of them, nor a GPT-2 of transformers or OpenAI;"
        " give the folder of one"
    )


def _gpt2(path: Path, settings: Settings) -> "Callable[[Prepared, int], None]":
    """Loads a GPT-2; what comes back runs a task on it and writes the result."""
    from model.evaluate.loading import load_language_model
    from model.evaluate.results import model_facts
    from model.evaluate.run import evaluate as put_to
    from model.evaluate.shots import ExamplePool

    model = load_language_model(path, settings.device, settings.batch, settings.stride)
    facts = model_facts(path, model.network, model.tokenizer)

    def run(asked: Prepared, shots: int) -> None:
        pool = ExamplePool(asked.task, asked.candidates, settings.seed) if shots else None
        with _bar(f"{facts.name}: {asked.task.name}, shots: {shots}") as on_progress:
            items = asked.items[: settings.limit]
            outcome = put_to(model, asked.task, items, shots=shots, pool=pool, on_progress=on_progress)
        _write(facts, asked, shots, outcome, settings)

    return run


def _albert(path: Path, settings: Settings) -> "Callable[[Prepared, int], None]":
    """Loads an ALBERT; what comes back measures it on documents and writes the result."""
    from model.evaluate.masked import evaluate_masked
    from model.evaluate.results import model_facts
    from model.evaluate.run import NUM_SHOWN, Outcome
    from model.generation.generate import load_checkpoint

    checkpoint = load_checkpoint(path, settings.device)
    facts = model_facts(path, checkpoint.network, checkpoint.tokenizer)

    def run(asked: Prepared, shots: int) -> None:
        documents = [item.fields for item in asked.items[: settings.limit]]
        measures = evaluate_masked(checkpoint, documents, seed=settings.seed, rows=settings.batch)
        prompts = [{"text": document} for document in documents[:NUM_SHOWN]]
        outcome = Outcome(measures=measures, num_items=len(documents), prompts=prompts)
        _write(facts, asked, shots, outcome, settings)

    return run


def _write(model: "ModelFacts", asked: Prepared, shots: int, outcome: "Outcome", settings: Settings) -> None:
    from model.evaluate.results import Result, add_result, finite

    result = Result(
        task=asked.task.name,
        shots=shots,
        measures=finite(outcome.measures),
        num_items=outcome.num_items,
        mean_examples=outcome.mean_examples,
        model=model,
        data=asked.data,
        examples=asked.examples if shots else None,
        seed=settings.seed,
        limit=settings.limit,
        stride=settings.stride,
        prompts=outcome.prompts,
        versions=_versions(),
        contamination=asked.contamination,
    )
    add_result(settings.out, result)


def _versions() -> dict[str, str]:
    """Of this program, and of the libraries that are installed."""
    from pipeline.stages import VERSION

    found = {"webtext": VERSION}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@contextmanager
def going_on(troubles: list[str], name: str) -> Iterator[None]:
    """Tells what is wrong with the named thing and notes it, so that the others can go on."""
    try:
        yield
    except (ModelError, TokenizerError) as error:
        errors.print(f"[bold red]error:[/] {escape(f'{name}: {error}')}")
        troubles.append(name)


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, plain lines elsewhere, moved by what is done and how much there is."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as progress:
        bar = progress.add_task(title, total=None)
        plain = PlainLines(console)

        def move(done: int, of: int) -> None:
            progress.update(bar, total=of, completed=done)
            plain.say(f"{title}: {done:,} of {of:,}")

        yield move
