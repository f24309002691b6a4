"""BLiMP: of two sentences that differ a little, the grammatical one should be likelier.

Warstadt et al. 2020, https://arxiv.org/abs/1912.00582: 67 files of 1,000 pairs, scored by the probability of
the whole sentence (their "simple LM method").
"""

from collections.abc import Sequence
from pathlib import Path

from model.evaluate.reading import read_json_lines, text_of
from model.evaluate.requests import Likelihood, Reply
from model.evaluate.task import EvaluationFileError, Item, Measures, Task
from model.evaluate.tasks.choices import likely


def read(path: Path) -> list[Item]:
    """Pairs (good, bad) of a file, or of all .jsonl files of a folder in the order of their names.

    Raises:
        EvaluationFileError: Where a folder has no such file, or a line is no pair.
    """
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.glob("*.jsonl") if not file.name.startswith("."))
        if not files:
            raise EvaluationFileError(f"{path}: no .jsonl files in it: give the folder data of BLiMP")
    items = []
    for file in files:
        for number, record in read_json_lines(file):
            where = f"{file}, line {number}"
            pair = (text_of(record, "sentence_good", where), text_of(record, "sentence_bad", where))
            items.append(Item(f"{file.stem}, line {number}", "", pair))
    return items


def ask(item: Item, examples: str) -> list[Likelihood]:
    """Both sentences, the good one first."""
    return [Likelihood(examples, sentence) for sentence in item.fields]


def judge(item: Item, replies: Sequence[Reply]) -> Measures:  # noqa: ARG001 - all tasks are judged so
    """Whether the good sentence is the likelier one; if both are as likely, it is not."""
    good, bad = likely(replies)
    return {"accuracy": float(good.log_probability > bad.log_probability)}


TASKS = (
    Task(
        name="blimp",
        title="BLiMP",
        measures=("accuracy",),
        read=read,
        ask=ask,
        judge=judge,
        texts=lambda item: item.fields[:1],  # nobody writes the other one
        takes_examples=False,
        is_better_high=frozenset({"accuracy"}),
        published={"GPT-2 762M": {"accuracy": 81.5}},  # its table 3: "GPT-2", which was the third of four
        units={"accuracy": "%"},
    ),
)
