"""Questions about texts in the form of SQuAD's JSON files, versions 1.1 and 2.0, with where answers stand.

    {"data": [{"paragraphs": [{"context": "…", "qas": [
        {"id": "…", "question": "…", "answers": [{"text": "…", "answer_start": 34}]}]}]}]}

In version 2.0 a question may have no answer: `is_impossible`, and no `answers`. `answer_start` counts
characters.

Source: Rajpurkar et al. 2016 and 2018; https://rajpurkar.github.io/SQuAD-explorer/.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.evaluate.reading import read_json, text_of
from model.evaluate.task import EvaluationFileError
from model.evaluate.tasks.nested import objects_of


@dataclass(frozen=True, slots=True)
class Answer:
    """A stretch of a context.

    Attributes:
        text: What it says, not blank.
        start: Its first character in the context.
    """

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a text.

    Attributes:
        id: Its name in the file.
        question: What is asked.
        context: The text that has the answer.
        answers: Answers that people gave; none where the text has none.
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] = ()

    @property
    def answer(self) -> Answer | None:
        """The first answer that stands in the context where it says that it does."""
        return next((one for one in self.answers if self.context.startswith(one.text, one.start)), None)

    @property
    def is_misplaced(self) -> bool:
        """Whether there are answers, but the context has none of them in its place."""
        return bool(self.answers) and self.answer is None


def read_questions(path: Path) -> Sequence[Question]:
    """The questions of a file, in its order, at least one.

    Raises:
        EvaluationFileError: The file is missing, empty, cut or of another form; the message names article,
            paragraph and question, counted from 1.
    """
    found: list[Question] = []
    for article, in_file in _each(read_json(path), "data", str(path), "article"):
        for paragraph, in_article in _each(article, "paragraphs", in_file, "paragraph"):
            context = text_of(paragraph, "context", in_article)
            found += [_parse(one, context, at) for one, at in _each(paragraph, "qas", in_article, "question")]
    if not found:
        raise EvaluationFileError(f"{path}: no questions: give the official file")
    return found


def _parse(record: dict[str, Any], context: str, where: str) -> Question:
    is_impossible = record.get("is_impossible") is True
    answers = () if is_impossible else tuple(_parse_answers(record, where))
    if not answers and not is_impossible:
        raise EvaluationFileError(
            f'{where}: no answers, and it is not said to be "is_impossible": give a training or'
            " development file"
        )
    return Question(text_of(record, "id", where), text_of(record, "question", where), context, answers)


def _parse_answers(record: dict[str, Any], where: str) -> Iterator[Answer]:
    for one, at in _each(record, "answers", where, "answer"):
        start = one.get("answer_start")
        if type(start) is not int or start < 0:
            raise EvaluationFileError(
                f'{at}: "answer_start" is not the place of a character, from 0 on: give the official file'
            )
        yield Answer(text_of(one, "text", at), start)


def _each(record: Any, name: str, where: str, kind: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects in a list, each with where it stands."""
    for number, one in enumerate(objects_of(record, name, where), 1):
        yield one, f"{where}, {kind} {number}"
