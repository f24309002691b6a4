"""What a task is: it reads items from a file, puts each to a model, and judges the answers.

Every task is a value of `Task`; a variant of one (another prompt, another scoring that needs other requests)
is a task of its own. What is scored in two ways from the same answers is two measures of one task.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.errors import ModelError
from model.evaluate.requests import Reply, Request

Measures = Mapping[str, float]


class EvaluationFileError(ModelError):
    """A file that is not what a task reads: the message names file, line or record, and the remedy."""


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a task.

    Attributes:
        id: What tells it from the task's other items: examples are drawn by it.
        solved: The item as an example in front of others: question and answer, in the task's own form,
            without a separator behind it. Empty where the task takes no examples.
        fields: What the task itself needs to ask and to judge.
    """

    id: str
    solved: str
    fields: Any


@dataclass(frozen=True, kw_only=True)
class Task:
    """A way to evaluate language models on one data set.

    Attributes:
        name: As it is asked for: `lambada`.
        title: As tables print it.
        measures: Names of what `summarize` gives, the main one first.
        read: Items of a file of the official format. Raises EvaluationFileError.
        ask: Requests for an item, with solved examples (0 or more, joined and ended as the task does)
            in front of them: `ask(item, examples)`, where `examples` is empty or ends in its separator.
        judge: What the replies to an item's requests are worth: `judge(item, replies)`.
        summarize: The task's measures from all its items': by default each one's mean.
        separator: What stands between examples, and behind the last one.
        takes_examples: Whether examples can stand before its items.
        is_better_high: Measures of which more is better; of the others less is.
        texts: Texts of an item that a training corpus may have held: for contamination.
        published: Figures of papers by model and measure: `{"GPT-2 117M": {"accuracy": 45.99}}`, in the
            unit in which they are printed, which `units` names.
        units: By measure: "%" for shares of 1 printed as percentages, else "".
    """

    name: str
    title: str
    measures: tuple[str, ...]
    read: Callable[[Path], Sequence[Item]]
    ask: Callable[[Item, str], Sequence[Request]]
    judge: Callable[[Item, Sequence[Reply]], Measures]
    texts: Callable[[Item], Sequence[str]]
    summarize: Callable[[Sequence[Measures]], Measures] | None = None
    separator: str = "\n"
    takes_examples: bool = True
    is_better_high: frozenset[str] = frozenset()
    published: Mapping[str, Measures] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


def mean_measures(found: Sequence[Measures]) -> dict[str, float]:
    """Each measure's mean over items; of no items, nothing."""
    if not found:
        return {}
    return {name: sum(one[name] for one in found) / len(found) for name in found[0]}
