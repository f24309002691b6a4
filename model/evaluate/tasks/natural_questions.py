"""Natural Questions without the page: what people asked a search engine, answered from memory.

The open form (Lee et al. 2019, https://arxiv.org/abs/1906.00300) of Kwiatkowski et al. 2019. GPT-2 answers
behind pairs of question and answer, which show the short style (Radford et al. 2019, section 3.8): they are
the shots. Exact match as in https://github.com/google-research/language, language/orqa/utils/eval_utils.py.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.evaluate.reading import read_json_lines, text_of
from model.evaluate.requests import Generation, Reply
from model.evaluate.task import EvaluationFileError, Item, Task
from model.evaluate.tasks.answers import best, exact_match, written


@dataclass(frozen=True, slots=True)
class Question:
    """A question.

    Attributes:
        question: What was asked.
        references: The answers that are right, one at least.
    """

    question: str
    references: Sequence[str]


def read(path: Path) -> list[Item]:
    """The questions of NQ-open.dev.jsonl or NQ-open.train.jsonl.

    Raises:
        EvaluationFileError: The file is not of that form; the message names the line.
    """
    items = []
    for number, record in read_json_lines(path):
        where = f"{path}, line {number}"
        question = text_of(record, "question", where).strip()
        answers = record.get("answer")
        if not isinstance(answers, list) or not answers or not all(isinstance(one, str) for one in answers):
            raise EvaluationFileError(
                f'{where}: no list of answers under "answer": give a file of the open form, NQ-open.dev.jsonl'
            )
        items.append(Item(question, f"{_prompt(question)} {answers[0]}", Question(question, answers)))
    return items


def _prompt(question: str) -> str:
    return f"Q: {question}\nA:"


def ask(item: Item, examples: str) -> list[Generation]:
    """The rest of the line behind `A:`."""
    return [Generation(prompt=examples + _prompt(item.fields.question), max_tokens=32, stop=("\n",))]


def judge(item: Item, replies: Sequence[Reply]) -> dict[str, float]:
    """Whether the answer is one of the references."""
    return {"exact_match": best(_decomposed_match, written(replies), item.fields.references)}


def _decomposed_match(answer: str, reference: str) -> float:
    """Exact match of texts whose accents are signs of their own."""
    return exact_match(unicodedata.normalize("NFD", answer), unicodedata.normalize("NFD", reference))


TASKS = (
    Task(
        name="natural-questions",
        title="Natural Questions",
        measures=("exact_match",),
        read=read,
        ask=ask,
        judge=judge,
        texts=lambda item: [item.fields.question],
        is_better_high=frozenset({"exact_match"}),
        published={
            "GPT-2 1542M": {"exact_match": 4.1},
            "GPT-3 175B, 0 shots": {"exact_match": 14.6},
            "GPT-3 175B, 1 shot": {"exact_match": 23.0},
            "GPT-3 175B, few shots": {"exact_match": 29.9},
        },
        units={"exact_match": "%"},
    ),
)
