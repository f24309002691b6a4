"""SQuAD's form: questions about a paragraph of Wikipedia, answered in its words, or (2.0) not at all.

Rajpurkar et al. 2016 and 2018 (https://arxiv.org/abs/1606.05250, https://arxiv.org/abs/1806.03822); XQuAD has
the form of 1.1 (https://arxiv.org/abs/1910.11856). Prompt and search are GPT-3's (Brown et al. 2020, figure
G.28). Scored as evaluate-v2.0.py does, which agrees with evaluate-v1.1.py but where answer and reference are
both nothing but articles and punctuation: its F1 is then 1, not 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.evaluate.reading import read_json, text_of
from model.evaluate.requests import Generation, Reply
from model.evaluate.task import EvaluationFileError, Item, Task
from model.evaluate.tasks.answers import best, exact_match, f1, normalized, written
from model.evaluate.tasks.nested import objects_of


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a paragraph.

    Attributes:
        context: The paragraph.
        question: The question.
        prompt: Title, paragraph and question, up to `A:`.
        references: What people answered; one empty string where the paragraph does not answer it.
    """

    context: str
    question: str
    prompt: str
    references: Sequence[str]


def read(path: Path) -> list[Item]:
    """Every question of a JSON file of SQuAD 1.1, SQuAD 2.0 or XQuAD.

    Raises:
        EvaluationFileError: The file is not of that form; the message names article, paragraph and question.
    """
    items = []
    for number, article in enumerate(objects_of(read_json(path), "data", str(path)), 1):
        where = f"{path}, article {number}"
        title = text_of(article, "title", where).strip()
        for place, paragraph in enumerate(objects_of(article, "paragraphs", where), 1):
            items += _items(title, paragraph, f"{where}, paragraph {place}")
    if not items:
        raise EvaluationFileError(f"{path}: no questions: give the official file")
    return items


def _items(title: str, paragraph: dict[str, Any], where: str) -> list[Item]:
    context = text_of(paragraph, "context", where).strip()
    items = []
    for number, record in enumerate(objects_of(paragraph, "qas", where), 1):
        place = f"{where}, question {number}"
        question = text_of(record, "question", place).strip()
        answers = _answers(record, place)
        prompt = f"Title: {title}\n\nBackground: {context}\n\nQ: {question}\n\nA:"
        solved = f"{prompt} {answers[0]}".rstrip()
        references = [answer for answer in answers if normalized(answer)] or [""]
        items.append(
            Item(text_of(record, "id", place), solved, Question(context, question, prompt, references))
        )
    return items


def _answers(record: dict[str, Any], where: str) -> list[str]:
    answers = [text_of(one, "text", f"{where}, its answers") for one in objects_of(record, "answers", where)]
    if not answers and record.get("is_impossible") is not True:
        raise EvaluationFileError(
            f'{where}: no answers, and it is not said to be "is_impossible": give a file that has them, '
            "such as the official development set"
        )
    return answers or [""]


def ask(item: Item, examples: str) -> list[Generation]:
    """The rest of the line behind `A:`."""
    return [Generation(prompt=examples + item.fields.prompt, max_tokens=64, stop=("\n",), beams=4)]


def judge(item: Item, replies: Sequence[Reply]) -> dict[str, float]:
    """F1 and exact match with the closest reference."""
    answer, references = written(replies), item.fields.references
    return {"f1": best(f1, answer, references), "exact_match": best(exact_match, answer, references)}


TASKS = (
    Task(
        name="squad",
        title="SQuAD",
        measures=("f1", "exact_match"),
        read=read,
        ask=ask,
        judge=judge,
        texts=lambda item: [item.fields.context, item.fields.question],
        separator="\n\n",
        is_better_high=frozenset({"f1", "exact_match"}),
        published={
            "GPT-3 175B on 2.0, 0 shots": {"f1": 59.5},
            "GPT-3 175B on 2.0, 1 shot": {"f1": 65.4},
            "GPT-3 175B on 2.0, few shots": {"f1": 69.8},
        },
        units={"f1": "%", "exact_match": "%"},
    ),
)
