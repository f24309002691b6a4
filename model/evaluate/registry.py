"""All tasks by name."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from model.errors import ModelError
from model.evaluate.reading import read_json_lines, read_lines, text_of
from model.evaluate.task import Item, Task
from model.evaluate.tasks import (
    blimp,
    cbt,
    coqa,
    hellaswag,
    lambada,
    natural_questions,
    perplexity,
    sentiment,
    squad,
    summarization,
    translation,
    winograd,
)

_MODULES = (
    lambada,
    perplexity,
    cbt,
    winograd,
    hellaswag,
    coqa,
    squad,
    natural_questions,
    summarization,
    translation,
    sentiment,
    blimp,
)
_JSON_LINES = {".json", ".jsonl", ".ndjson"}


def read_documents(path: Path) -> list[Item]:
    """Documents: JSON lines with a "text" each, or a plain text, which is one.

    Raises:
        EvaluationFileError: The file is missing, empty or cut, or a line has no text.
    """
    if _JSON_LINES.intersection(path.suffixes):
        texts = [
            (str(number), text_of(record, "text", f"{path}, line {number}"))
            for number, record in read_json_lines(path)
        ]
    else:
        texts = [("1", "\n".join(line for _, line in read_lines(path)))]
    return [Item(id=number, solved="", fields=text) for number, text in texts]


def _never(*_: object) -> NoReturn:
    raise TypeError("an ALBERT answers no requests: model.evaluate.masked measures it")


MASKED = Task(
    name="masked",
    title="Masked words and sentence order (ALBERT)",
    measures=("mlm_accuracy", "mlm_loss", "pseudo_perplexity", "sop_accuracy"),
    read=read_documents,
    ask=_never,
    judge=_never,
    texts=lambda item: [item.fields],
    takes_examples=False,
    is_better_high=frozenset({"mlm_accuracy", "sop_accuracy"}),
    units={"mlm_accuracy": "%", "sop_accuracy": "%"},
)
"""The one task for ALBERTs, and for no GPT-2: its measures are those of `model.evaluate.masked`."""

TASKS: Mapping[str, Task] = {
    task.name: task for task in (*(task for module in _MODULES for task in module.TASKS), MASKED)
}


def find_task(name: str) -> Task:
    """The task of a name.

    Raises:
        ModelError: There is none; the message has all names.
    """
    try:
        return TASKS[name]
    except KeyError:
        near = difflib.get_close_matches(name, TASKS, n=1)
        meant = f"; did you mean {near[0]}?" if near else ":"
        raise ModelError(f"there is no task {name!r}{meant} tasks are {', '.join(TASKS)}") from None
