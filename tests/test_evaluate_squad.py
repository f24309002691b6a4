"""SQuAD's form: XQuAD, questions without an answer, the official scripts' scores."""

import json
from pathlib import Path
from typing import Any

import pytest

from model.evaluate.requests import Generation, Written
from model.evaluate.task import EvaluationFileError, Item, mean_measures
from model.evaluate.tasks.squad import TASKS

(TASK,) = TASKS


def _question(name: str, question: str, *answers: str, **more: object) -> dict[str, Any]:
    return {
        "id": name,
        "question": question,
        "answers": [{"text": answer, "answer_start": 0} for answer in answers],
        **more,
    }


def _write(path: Path, *questions: dict[str, Any]) -> Path:
    paragraph = {"context": "The Luftwaffe flew 4,000 sorties that month.", "qas": list(questions)}
    article = {"title": "The_Blitz", "paragraphs": [paragraph]}
    path.write_text(json.dumps({"version": "v2.0", "data": [article]}))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return _write(
        tmp_path / "dev-v2.0.json",
        _question("a1", "How many sorties?", "4,000", "4,000 sorties", is_impossible=False),
        _question("a2", "How many tanks?", is_impossible=True, plausible_answers=[{"text": "4,000"}]),
        _question("a3", "Who flew?", "The", "The Luftwaffe", is_impossible=False),
    )


def test_the_prompt_is_gpt_3s(file: Path) -> None:
    items = TASK.read(file)
    prompt = "Title: The_Blitz\n\nBackground: The Luftwaffe flew 4,000 sorties that month.\n\nQ: "
    assert TASK.ask(items[0], "Example\n\n") == [
        Generation(prompt=f"Example\n\n{prompt}How many sorties?\n\nA:", max_tokens=64, stop=("\n",), beams=4)
    ]
    assert items[0].solved == f"{prompt}How many sorties?\n\nA: 4,000"
    assert items[1].solved == f"{prompt}How many tanks?\n\nA:", "an impossible question's answer is empty"


def test_scores_are_those_of_the_official_script(file: Path) -> None:
    def score(item: Item, answer: str) -> tuple[float, float]:
        found = TASK.judge(item, [Written(answer)])
        return found["exact_match"], found["f1"]

    many, none, who = TASK.read(file)
    assert score(many, " the 4,000 sorties. ") == (1, 1)
    assert score(many, "4,000 tanks") == pytest.approx((0, 2 / 3))
    assert score(many, "") == (0, 0)
    assert score(none, "") == (1, 1)
    assert score(none, "4,000") == (0, 0)
    assert score(none, "The") == (1, 1), "it has no words once normalised"
    assert score(who, "the") == (0, 0), "a reference without words is none"
    assert score(who, "luftwaffe") == (1, 1)


def test_xquad_is_read_whole_and_scored_as_the_official_script_does(realdata: Path) -> None:
    items = TASK.read(realdata / "eval" / "xquad.en.json.gz")
    assert len(items) == len({item.id for item in items}) == 1190
    assert items[0].solved.startswith("Title: Super_Bowl_50\n\nBackground: The Panthers defense gave up")
    assert items[0].solved.endswith("Q: How many points did the Panthers defense surrender?\n\nA: 308")
    perfect = [TASK.judge(item, [Written(item.fields.references[0])]) for item in items]
    assert mean_measures(perfect) == {"f1": 1, "exact_match": 1}
    # Each answer without its last word: what both official scripts give, which were run on them.
    shorter = [
        TASK.judge(item, [Written(" ".join(item.fields.references[0].split()[:-1]))]) for item in items
    ]
    scores = mean_measures(shorter)
    assert (100 * scores["f1"], 100 * scores["exact_match"]) == pytest.approx(
        (49.17979352045649, 0.16806722689075632)
    )


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (_question("a", "Who?"), "question 1: no answers"),
        ({"id": "a", "question": "Who?"}, 'question 1: no list of objects under "answers"'),
        (_question("a", "Who?", " "), 'question 1, its answers: no text under "text"'),
        (_question("a", "", "he"), 'question 1: no text under "question"'),
        ({"question": "Who?", "answers": [{"text": "he"}]}, 'question 1: no text under "id"'),
    ],
)
def test_a_wrong_question_is_refused_with_its_place(
    tmp_path: Path, record: dict[str, Any], message: str
) -> None:
    file = _write(tmp_path / "made.json", record)
    with pytest.raises(EvaluationFileError, match=f"article 1, paragraph 1, {message}"):
        TASK.read(file)


def test_files_of_another_form_are_refused(tmp_path: Path, file: Path) -> None:
    text = file.read_text()
    made = tmp_path / "made.json"
    for content, message in [
        ("", "empty"),
        (text[:-30], "not JSON"),
        ("[]", 'list of objects under "data"'),
        ('{"data": []}', "no questions"),
        ('{"data": [{"title": "T", "paragraphs": [1]}]}', 'article 1: .*"paragraphs"'),
        ('{"data": [{"paragraphs": []}]}', 'article 1: no text under "title"'),
    ]:
        made.write_text(content)
        with pytest.raises(EvaluationFileError, match=message):
            TASK.read(made)
    with pytest.raises(EvaluationFileError, match="cannot be read"):
        TASK.read(tmp_path / "absent.json")
