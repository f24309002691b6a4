"""CoQA: questions about a story, each in a conversation (Reddy et al. 2019, https://arxiv.org/abs/1808.07042).

GPT-2 reads the story, the conversation so far with people's answers, and a final `A:`; it answers greedily
(Radford et al. 2019, section 3.5). Scored as the official script does:
https://github.com/stanfordnlp/coqa-baselines, scripts/evaluate-v1.0.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.evaluate.reading import read_json, text_of
from model.evaluate.requests import Generation, Reply
from model.evaluate.task import EvaluationFileError, Item, Task
from model.evaluate.tasks.answers import Score, best, exact_match, f1, written
from model.evaluate.tasks.nested import objects_of


@dataclass(frozen=True, slots=True)
class Turn:
    """A question in its conversation.

    Attributes:
        story: What the conversation is about.
        prompt: Story, the questions before with their answers, and the question, up to `A:`.
        references: What people answered, one to four of them.
    """

    story: str
    prompt: str
    references: Sequence[str]


def read(path: Path) -> list[Item]:
    """Every question of coqa-dev-v1.0.json or coqa-train-v1.0.json.

    Raises:
        EvaluationFileError: The file is not of that form; the message names story and question.
    """
    stories = objects_of(read_json(path), "data", str(path))
    items = [item for number, story in enumerate(stories, 1) for item in _items(story, path, number)]
    if not items:
        raise EvaluationFileError(f"{path}: no questions: give the official file")
    return items


def _items(record: dict[str, Any], path: Path, number: int) -> list[Item]:
    where = f"{path}, story {number}"
    name, story = text_of(record, "id", where), text_of(record, "story", where).strip()
    questions = objects_of(record, "questions", where)
    answers = _answers(record, where)
    said, items = f"{story}\n\n", []
    for turn, question in enumerate(questions):
        place = f"{where}, question {turn + 1}"
        references = [_answer(given, question, turn, place) for given in answers]
        prompt = f"{said}Q: {text_of(question, 'input_text', place).strip()}\nA:"
        solved = f"{prompt} {references[0]}".rstrip()
        items.append(Item(f"{name}/{turn + 1}", solved, Turn(story, prompt, references)))
        said = f"{solved}\n"
    return items


def _answers(record: dict[str, Any], where: str) -> list[list[dict[str, Any]]]:
    """The answers of each person that answered, the one of the conversation first."""
    others = record.get("additional_answers", {})
    if not isinstance(others, dict):
        raise EvaluationFileError(
            f'{where}: what stands under "additional_answers" is no object: give the official file'
        )
    return [
        objects_of(record, "answers", where),
        *(objects_of(others, person, f"{where}, additional_answers") for person in others),
    ]


def _answer(given: Sequence[dict[str, Any]], question: Mapping[str, Any], turn: int, where: str) -> str:
    answer = given[turn] if turn < len(given) else {}
    text = answer.get("input_text")
    if answer.get("turn_id") != question.get("turn_id") or not isinstance(text, str):
        raise EvaluationFileError(
            f"{where}: an answer is missing, has another turn_id or no text: give the official file"
        )
    return text.strip()


def ask(item: Item, examples: str) -> list[Generation]:
    """The rest of the line behind the last `A:`."""
    return [Generation(prompt=examples + item.fields.prompt, max_tokens=64, stop=("\n",))]


def judge(item: Item, replies: Sequence[Reply]) -> dict[str, float]:
    """F1 and exact match of the answer, each as CoQA's script averages them."""
    answer, references = written(replies), item.fields.references
    return {
        "f1": leave_one_out(f1, answer, references),
        "exact_match": leave_one_out(exact_match, answer, references),
    }


def leave_one_out(score: Score, answer: str, references: Sequence[str]) -> float:
    """The best score against all references but one, averaged over the one that is left out.

    So models are judged by as many references as people are, whose own answer is among them. A single
    reference stays.
    """
    if len(references) == 1:
        return score(answer, references[0])
    others = ([*references[:left_out], *references[left_out + 1 :]] for left_out in range(len(references)))
    return sum(best(score, answer, rest) for rest in others) / len(references)


TASKS = (
    Task(
        name="coqa",
        title="CoQA",
        measures=("f1", "exact_match"),
        read=read,
        ask=ask,
        judge=judge,
        texts=lambda item: [item.fields.story],
        separator="\n\n",
        is_better_high=frozenset({"f1", "exact_match"}),
        published={
            "GPT-2 1542M": {"f1": 55.0},
            "GPT-3 175B, 0 shots": {"f1": 81.5},
            "GPT-3 175B, 1 shot": {"f1": 84.0},
            "GPT-3 175B, few shots": {"f1": 85.0},
        },
        units={"f1": "%", "exact_match": "%"},
    ),
)
