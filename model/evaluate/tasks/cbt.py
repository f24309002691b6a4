"""The Children's Book Test: which of ten words was taken out of the sentence behind twenty others.

Hill et al. 2016, https://arxiv.org/abs/1511.02301. Scored as in GPT-2's paper (section 3.2): the likeliest
choice with the rest of its sentence. docs/evaluation/choices.md tells where the files come from.
"""

from collections.abc import Iterator
from pathlib import Path

from model.evaluate.reading import read_lines
from model.evaluate.task import EvaluationFileError, Item, Task
from model.evaluate.tasks import choices
from model.evaluate.tasks.choices import Choices
from model.evaluate.tasks.treebank import detokenize

_NUM_LINES = 21  # of a question: the last one asks
_NUM_CHOICES = 10
_BLANK = "XXXXX"


def read(path: Path) -> list[Item]:
    """Questions of a file such as cbtest_CN_test_2500ex.txt.

    A question is 21 lines that begin with their numbers, and a blank line. The last one is a sentence with
    XXXXX, a tab, the answer, two tabs, and the choices with `|` between them.

    Raises:
        EvaluationFileError: Where a line is something else, or the file ends within a question.
    """
    items = [
        Item(f"line {number}", "", _question(sentences, asked, f"{path}, line {number}"))
        for number, sentences, asked in _questions(path)
    ]
    # Whole files have ten choices in their last question too; elsewhere fewer are the file's own.
    num_choices = len(items[-1].fields.continuations)
    if num_choices < _NUM_CHOICES:
        raise EvaluationFileError(
            f"{path}, {items[-1].id}: the last question has {num_choices} choices and not {_NUM_CHOICES}: "
            "the file is cut: get it again"
        )
    return items


def _questions(path: Path) -> Iterator[tuple[int, list[str], str]]:
    """The last line's number, the sentences before, and the last line without its number."""
    sentences: list[str] = []
    number = 0
    for number, line in read_lines(path):
        if not line.strip():
            continue
        expected = len(sentences) + 1
        counted, _, text = line.strip(" ").partition(" ")
        if counted != str(expected):
            raise EvaluationFileError(
                f"{path}, line {number}: it does not begin with {expected}, its number in its question: give "
                "a file such as cbtest_CN_test_2500ex.txt, or get it again if it is damaged"
            )
        if expected == _NUM_LINES:
            yield number, sentences, text
            sentences = []
        else:
            sentences.append(text)
    if sentences:
        raise EvaluationFileError(
            f"{path}, line {number}: the file ends behind sentence {len(sentences)} of {_NUM_LINES} of a "
            "question: it is cut: get it again"
        )


def _question(sentences: list[str], asked: str, where: str) -> Choices:
    sentence, *fields = asked.split("\t")
    if len(fields) < 2:
        raise EvaluationFileError(
            f"{where}: no tabs with answer and choices behind the sentence: the file may be cut: get it again"
        )
    words = [word.strip() for word in fields[-1].split("|") if word.strip()]
    answer = fields[0].strip()
    if answer not in words:
        raise EvaluationFileError(
            f'{where}: the answer "{answer}" is not among the choices ({", ".join(words) or "none"}): the '
            "file may be cut: get it again"
        )
    tokens = sentence.split()
    place = next((at for at, token in enumerate(tokens) if _BLANK in token), None)
    if place is None:
        raise EvaluationFileError(f"{where}: no {_BLANK} in the sentence: get the official file again")
    texts = detokenize([*sentences, sentence])
    context = "".join("".join(one) for one in [*texts[:-1], texts[-1][:place]])
    rest = "".join(texts[-1][place:])
    return Choices(context, tuple(rest.replace(_BLANK, word) for word in words), words.index(answer))


def _task(name: str, title: str, published: dict[str, float]) -> Task:
    return Task(
        name=name,
        title=title,
        measures=("accuracy",),
        read=read,
        ask=choices.ask,
        judge=choices.judge,
        texts=lambda item: (item.fields.solved,),
        takes_examples=False,
        is_better_high=frozenset({"accuracy"}),
        published={model: {"accuracy": figure} for model, figure in published.items()},
        units={"accuracy": "%"},
    )


# GPT-2's table 3.
TASKS = (
    _task(
        "cbt-cn",
        "CBT common nouns",
        {"GPT-2 117M": 87.65, "GPT-2 345M": 92.35, "GPT-2 762M": 93.45, "GPT-2 1542M": 93.30},
    ),
    _task(
        "cbt-ne",
        "CBT named entities",
        {"GPT-2 117M": 83.4, "GPT-2 345M": 87.1, "GPT-2 762M": 88.0, "GPT-2 1542M": 89.05},
    ),
)
