"""HellaSwag: which of four endings follows.

Zellers et al. 2019, https://arxiv.org/abs/1905.07830. The prompt is GPT-3's and lm-evaluation-harness's: the
activity, a colon, and the context; the endings' scores are compared as they are, per byte and per token.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model.evaluate.reading import read_json_lines, text_of
from model.evaluate.requests import Reply
from model.evaluate.task import EvaluationFileError, Item, Measures, Task
from model.evaluate.tasks import choices
from model.evaluate.tasks.choices import Choices, choose, likely

_NUM_ENDINGS = 4


def read(path: Path) -> list[Item]:
    """Items of hellaswag_val.jsonl or hellaswag_train.jsonl, or of lines with context, endings and label.

    Raises:
        EvaluationFileError: Where a line is something else, or has no label (the test file has none).
    """
    items = []
    for number, record in read_json_lines(path):
        fields = _choices(record, f"{path}, line {number}")
        items.append(Item(f"line {number}", fields.solved, fields))
    return items


def _choices(record: dict[str, Any], where: str) -> Choices:
    endings = record.get("endings")
    if (
        not isinstance(endings, list)
        or len(endings) != _NUM_ENDINGS
        or not all(isinstance(ending, str) and clean(ending) for ending in endings)
    ):
        raise EvaluationFileError(
            f'{where}: no list of {_NUM_ENDINGS} texts under "endings": give hellaswag_val.jsonl'
        )
    label = str(record.get("label"))  # a text in some copies
    if label not in "0123" or len(label) != 1:
        raise EvaluationFileError(
            f'{where}: no number from 0 to 3 under "label": give hellaswag_val.jsonl (the test file has none)'
        )
    return Choices(_context(record, where), tuple(f" {clean(ending)}" for ending in endings), int(label))


def _context(record: dict[str, Any], where: str) -> str:
    if "context" in record:
        return clean(text_of(record, "context", where))
    activity, begun = text_of(record, "activity_label", where), record.get("ctx_b", "")
    if not isinstance(begun, str):
        raise EvaluationFileError(f'{where}: no text under "ctx_b": give the official hellaswag_val.jsonl')
    # It begins a sentence; the rest of it in small letters is lm-evaluation-harness's way.
    return clean(f"{activity}: {text_of(record, 'ctx_a', where)} {begun.capitalize()}")


def clean(text: str) -> str:
    """WikiHow's marks taken out, as lm-evaluation-harness does (lm_eval/tasks/hellaswag/utils.py).

    >>> clean("Greeting: [header] How to wave [title] Be brief. [step] Wave once.")
    'Greeting: How to wave. Be brief. Wave once.'
    """
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ").strip()


def judge(item: Item, replies: Sequence[Reply]) -> Measures:
    """Whether the right ending is the likeliest: as a whole, per byte of it, and per token."""
    fields: Choices = item.fields
    found = likely(replies)
    num_bytes = [len(ending.removeprefix(" ").encode()) for ending in fields.continuations]
    return {
        "accuracy_normalized": float(choose(found, num_bytes) == fields.right),
        "accuracy": float(choose(found) == fields.right),
        "accuracy_per_token": float(choose(found, [one.num_tokens for one in found]) == fields.right),
    }


_MEASURES = ("accuracy_normalized", "accuracy", "accuracy_per_token")

TASKS = (
    Task(
        name="hellaswag",
        title="HellaSwag",
        measures=_MEASURES,
        read=read,
        ask=choices.ask,
        judge=judge,
        texts=lambda item: (item.fields.solved,),
        separator="\n\n",
        is_better_high=frozenset(_MEASURES),
        # GPT-3's table H.1 (compared per token); GPT-2's paper has none, and what lm-evaluation-harness makes
        # of it is told in https://github.com/karpathy/llm.c/blob/master/dev/data/hellaswag.py.
        published={
            "GPT-2 117M, lm-evaluation-harness": {"accuracy_normalized": 31.14, "accuracy": 28.92},
            "GPT-2 1542M, lm-evaluation-harness": {"accuracy_normalized": 50.89, "accuracy": 40.04},
            "GPT-3 125M, 0 shots": {"accuracy_per_token": 33.7},
            "GPT-3 350M, 0 shots": {"accuracy_per_token": 43.6},
            "GPT-3 760M, 0 shots": {"accuracy_per_token": 51.0},
            "GPT-3 1.3B, 0 shots": {"accuracy_per_token": 54.7},
            "GPT-3 175B, 0 shots": {"accuracy_per_token": 78.9},
            "GPT-3 175B, 1 shot": {"accuracy_per_token": 78.1},
            "GPT-3 175B, few shots": {"accuracy_per_token": 79.3},
        },
        units=dict.fromkeys(_MEASURES, "%"),
    ),
)
