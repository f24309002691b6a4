"""Results of evaluation: a file of all that it takes to repeat them, tables beside the papers' figures."""

import hashlib
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from model.checkpoint import file_facts, flush
from model.errors import ModelError
from model.evaluate.task import Task
from model.networks import Network, architecture_of, num_parameters
from tokenizer.encode import Tokenizer

RESULTS = "results.json"

_WEIGHTS = (
    "model.safetensors",
    "model-*.safetensors",
    "pytorch_model.bin",
    "pytorch_model-*.bin",
    "model.ckpt.data-*",
)
_STEP = re.compile(r"step-0*(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Which model was evaluated, and how it computed.

    Attributes:
        path: The folder that it was loaded from.
        digest: sha256 of its weights' file, or of the digests of several, in hexadecimal.
        tokenizer: sha256 of its tokenizer.json.
        architecture: `gpt2` or `albert`.
        num_parameters: Its weights, tied ones once.
        context: The most tokens that it reads at once.
        device: Where it computed.
        dtype: In what numbers.
    """

    path: str
    digest: str
    tokenizer: str
    architecture: str
    num_parameters: int
    context: int
    device: str
    dtype: str

    @property
    def name(self) -> str:
        """What people know it by: its folder and, of a checkpoint, the step."""
        path = Path(self.path)
        step = _STEP.fullmatch(path.name)
        return f"{path.parent.name} step {step[1]}" if step else path.name


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFacts:
    """A file, or a folder of files, that items were read from.

    Attributes:
        path: Where it was.
        sha256: Of its bytes; of a folder, of its files' names and digests.
        num_items: Items in it.
    """

    path: str
    sha256: str
    num_items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """What of a task's n-grams a training corpus has.

    Attributes:
        run: The corpus's run.
        corpus: sha256 of the corpus's manifest.
        share: Of the task's distinct n-grams, those that the corpus has; None where the task has none.
        figures: All that was counted (docs/evaluation/contamination.md).
    """

    run: str
    corpus: str
    share: float | None
    figures: Mapping[str, int | float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One task, with one number of examples, on one model.

    Attributes:
        task: The task's name.
        shots: Examples that were asked for before each item.
        measures: What came out; None for what is no finite number.
        num_items: Items that were asked.
        mean_examples: Examples that stood before an item, on average.
        model: Which model.
        data: Where the items came from.
        examples: Where the examples came from; None where they are the data's own items, or none.
        seed: What draws follow from.
        limit: The most items to ask, the first ones of the file; None for all.
        stride: Tokens by which windows over a longer text lie apart; None for half the context.
        prompts: Of each of the first three items the first request, as it was put to the model.
        versions: Of the programs.
        contamination: What of the task's n-grams a training corpus has; None where it is not known.
    """

    task: str
    shots: int
    measures: Mapping[str, float | None]
    num_items: int
    mean_examples: float
    model: ModelFacts
    data: DataFacts
    examples: DataFacts | None
    seed: int
    limit: int | None
    stride: int | None
    prompts: Sequence[Mapping[str, Any]]
    versions: Mapping[str, str]
    contamination: Contamination | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """What a newer result takes the place of an older one by."""
        return self.model.digest, self.task, self.shots


_RESULTS: TypeAdapter[list[Result]] = TypeAdapter(list[Result])


def read_results(folder: Path) -> list[Result]:
    """The results in a folder; none where it has no results.json.

    Raises:
        ModelError: The file is damaged.
    """
    file = folder / RESULTS
    try:
        return _RESULTS.validate_json(file.read_bytes())
    except FileNotFoundError:
        return []
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ModelError(
            f"{file}: is damaged, or of another program ({place + ': ' if place else ''}{first['msg']});"
            " remove it, or name another folder for the results"
        ) from error


def add_result(folder: Path, result: Result) -> list[Result]:
    """Puts a result into the folder's results.json, in the place of an older one of the same key.

    The file is whole at any time.

    Returns:
        All results in it.

    Raises:
        ModelError: The file that is there is damaged.
    """
    results = list({one.key: one for one in (*read_results(folder), result)}.values())
    write_whole(folder / RESULTS, _RESULTS.dump_json(results, indent=1) + b"\n")
    return results


def write_whole(file: Path, data: bytes) -> None:
    """Writes a file under another name, flushes it to the disk, and only then gives it its own."""
    draft = file.with_name(f".{file.name}.draft")
    draft.write_bytes(data)
    flush(draft)
    draft.replace(file)


def finite(measures: Mapping[str, float]) -> dict[str, float | None]:
    """Measures as JSON has them: what is no finite number is null."""
    return {name: value if math.isfinite(value) else None for name, value in measures.items()}


def model_facts(path: Path, network: Network, tokenizer: Tokenizer) -> ModelFacts:
    """What a loaded model is told from others by; `path` is the folder itself, not one of checkpoints.

    Raises:
        ModelError: The folder has no weights of the names that we know.
    """
    parameter = next(network.parameters())
    return ModelFacts(
        path=_full_name(path),
        digest=weights_digest(path),
        tokenizer=tokenizer.digest,
        architecture=architecture_of(network.config),
        num_parameters=num_parameters(network),
        context=network.config.context,
        device=str(parameter.device),
        dtype=str(parameter.dtype).removeprefix("torch."),
    )


def weights_digest(folder: Path) -> str:
    """sha256 of the weights' file in a model's folder; of several files, of their digests.

    Raises:
        ModelError: There are none of the names that we know.
    """
    for pattern in _WEIGHTS:
        if found := sorted(folder.glob(pattern)):
            digests = [str(file_facts(file)["sha256"]) for file in found]
            return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    raise ModelError(f"{folder}: has no weights ({', '.join(_WEIGHTS)}); name a checkpoint")


def data_facts(path: Path, num_items: int) -> DataFacts:
    """What a data file, or a folder of them, is told from others by."""
    if path.is_file():
        return DataFacts(path=_full_name(path), sha256=file_facts(path)["sha256"], num_items=num_items)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = (f"{file_facts(file)['sha256']}  {file.relative_to(path).as_posix()}\n" for file in files)
    digest = hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
    return DataFacts(path=_full_name(path), sha256=digest, num_items=num_items)


def _full_name(path: Path) -> str:
    r"""A path in full as JSON can hold it: bytes that are no UTF-8 are written as `\xff`."""
    return os.fsencode(path.resolve()).decode("utf-8", "backslashreplace")


class Table(NamedTuple):
    """Results of one task on all models, and below them what was published."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    published: list[tuple[str, ...]]

    def markdown(self) -> str:
        """The table as Markdown, under a heading; what was published stands in italics."""
        rule = ("---", *("---:" for _ in self.columns[1:]))
        published = [(f"*{name}*", *others) for name, *others in self.published]
        rows = (self.columns, rule, *self.rows, *published)
        lines = ["| " + " | ".join(map(_cell, row)) + " |\n" for row in rows]
        return f"## {self.title}\n\n" + "".join(lines)


def tables(results: Iterable[Result], tasks: Mapping[str, Task]) -> list[Table]:
    """A table a task, in the order of `tasks`; models by size, then the papers' figures.

    Results of tasks that are not among `tasks` are left out.
    """
    order = list(tasks)
    known = (one for one in results if one.task in tasks)
    ranked = sorted(known, key=lambda one: (order.index(one.task), *_rank(one)))
    return [_table(tasks[name], list(found)) for name, found in groupby(ranked, key=lambda one: one.task)]


def printed(task: Task, measure: str, value: float) -> float:
    """A measure in the unit that papers print it in."""
    return 100 * value if task.units.get(measure) == "%" else value


def measure_title(task: Task, measure: str) -> str:
    """A measure's name with its unit: `accuracy, %`."""
    unit = task.units.get(measure)
    name = measure.replace("_", " ")
    return f"{name}, {unit}" if unit else name


def short_count(count: float) -> str:
    """A number of parameters as people say it: 124M, 1.56B."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return f"{count:.0f}"


def _rank(result: Result) -> tuple[int, str, int]:
    return result.model.num_parameters, result.model.path, result.shots


def _table(task: Task, results: Sequence[Result]) -> Table:
    measures = [measure_title(task, measure) for measure in task.measures]
    contaminated = ["contaminated, %"] if any(one.contamination for one in results) else []
    columns = ("model", "parameters", "shots", "items", *measures, *contaminated)
    rows = [
        (
            one.model.name,
            short_count(one.model.num_parameters),
            _shots(one),
            f"{one.num_items:,}",
            *(_figure(task, measure, one.measures.get(measure)) for measure in task.measures),
            _contaminated(one.contamination),
        )
        for one in results
    ]
    published = [
        (name, "", "", "", *(f"{found[m]:g}" if m in found else "" for m in task.measures), "")
        for name, found in task.published.items()
    ]
    width = len(columns)
    return Table(task.title, columns, [row[:width] for row in rows], [row[:width] for row in published])


def _contaminated(found: Contamination | None) -> str:
    if found is None:
        return ""
    return "–" if found.share is None else f"{100 * found.share:.2f}"


def _shots(result: Result) -> str:
    """How many examples there were, and how many of them stood there on average."""
    fewer = round(result.mean_examples, 2) < result.shots
    return f"{result.mean_examples:.1f} of {result.shots}" if fewer else str(result.shots)


def _figure(task: Task, measure: str, value: float | None) -> str:
    if value is None:
        return "–"
    value = printed(task, measure, value)
    if abs(value) >= 1e6:  # a perplexity of what has not learned anything
        return f"{value:.2e}"
    return f"{value:,.2f}" if task.units.get(measure) == "%" or abs(value) >= 10 else f"{value:.3f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
