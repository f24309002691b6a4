"""CoQA: the official form, conversations in the prompt, the official script's averages."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from model.evaluate.requests import Generation, Written
from model.evaluate.task import EvaluationFileError
from model.evaluate.tasks.answers import f1
from model.evaluate.tasks.coqa import TASKS, leave_one_out

(TASK,) = TASKS


def _turns(*texts: str) -> list[dict[str, Any]]:
    return [
        {"turn_id": turn, "input_text": text, "span_text": "", "span_start": 0, "span_end": 0}
        for turn, text in enumerate(texts, 1)
    ]


def _made() -> dict[str, Any]:
    return {
        "version": "1.0",
        "data": [
            {
                "source": "mctest",
                "id": "3dr2",
                "filename": "mc160.test.41",
                "story": "Once upon a time there was a white kitten.\nShe lived in a barn. ",
                "questions": _turns("What colour was she?", "Where did she live?"),
                "answers": _turns("white", "in a barn"),
                "additional_answers": {
                    "0": _turns("White.", "a barn near the farm"),
                    "1": _turns("the kitten was white", "in a barn"),
                    "2": _turns("white", "barn"),
                },
                "name": "mc160.test.41",
            }
        ],
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "coqa-dev-v1.0.json"
    path.write_text(json.dumps(_made()))
    return path


def test_the_prompt_holds_the_story_and_the_conversation_so_far(file: Path) -> None:
    first, second = TASK.read(file)
    story = "Once upon a time there was a white kitten.\nShe lived in a barn.\n\n"
    assert TASK.ask(first, "") == [
        Generation(prompt=f"{story}Q: What colour was she?\nA:", max_tokens=64, stop=("\n",))
    ]
    prompt = f"{story}Q: What colour was she?\nA: white\nQ: Where did she live?\nA:"
    (request,) = TASK.ask(second, "before\n\n")
    assert isinstance(request, Generation)
    assert request.prompt == f"before\n\n{prompt}"
    assert second.solved == f"{prompt} in a barn"
    assert [first.id, second.id] == ["3dr2/1", "3dr2/2"]


def test_two_questions_about_a_story_share_a_text(file: Path) -> None:
    """So neither is drawn as an example for the other, whose answer it would give away."""
    first, second = TASK.read(file)
    assert set(TASK.texts(first)) & set(TASK.texts(second))


def test_scores_are_those_of_the_official_script(file: Path) -> None:
    """CoQA's evaluate-v1.0.py, which was run on this file and these answers, gives the same."""
    items = TASK.read(file)
    replies = [" kitten white", " In the barn."]
    first, second = [TASK.judge(item, [Written(reply)]) for item, reply in zip(items, replies, strict=True)]
    # F1 with "the kitten was white" is 0.8, with "white" 2/3: the first is the best but where it is left out.
    assert first == {"f1": pytest.approx((3 * 0.8 + 2 / 3) / 4), "exact_match": 0}
    assert second == {"f1": 1, "exact_match": 1}


def test_every_reference_is_left_out_once() -> None:
    # Without "yes" 0, without another 1: as the script says, (0 + 1 + 1) / 3.
    assert leave_one_out(f1, "yes", ["yes", "no", "unknown"]) == pytest.approx(2 / 3)
    assert leave_one_out(f1, "yes", ["yes", "yes"]) == 1
    assert leave_one_out(f1, "yes it is", ["yes"]) == pytest.approx(0.5)


def test_the_training_file_has_one_answer_each(file: Path) -> None:
    record = _made()
    del record["data"][0]["additional_answers"]
    file.write_text(json.dumps(record))
    assert [item.fields.references for item in TASK.read(file)] == [["white"], ["in a barn"]]


def _broken(name: str) -> Any:
    record = copy.deepcopy(_made())
    story = record["data"][0]
    match name:
        case "no data":
            return {"version": "1.0"}
        case "no stories":
            record["data"] = []
        case "no story":
            story["story"] = " "
        case "fewer answers":
            story["additional_answers"]["1"].pop()
        case "other turn":
            story["answers"][1]["turn_id"] = 3
        case "no text":
            story["answers"][0]["input_text"] = None
        case "questions are text":
            story["questions"] = ["What?"]
        case "other answers":
            story["additional_answers"] = []
        case "a list":
            return [record]
    return record


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no data", '"data"'),
        ("a list", '"data"'),
        ("no stories", "no questions"),
        ("no story", 'story 1: no text under "story"'),
        ("fewer answers", "story 1, question 2: an answer is missing"),
        ("other turn", "story 1, question 2: an answer is missing"),
        ("no text", "story 1, question 1: an answer"),
        ("questions are text", 'story 1: no list of objects under "questions"'),
        ("other answers", "story 1: .*additional_answers"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(file: Path, name: str, message: str) -> None:
    file.write_text(json.dumps(_broken(name)))
    with pytest.raises(EvaluationFileError, match=message) as error:
        TASK.read(file)
    assert str(file) in str(error.value)


def test_a_cut_file_is_refused(file: Path) -> None:
    text = file.read_text()
    for length in (0, 1, 40, len(text) // 2, len(text) - 1):
        file.write_text(text[:length])
        with pytest.raises(EvaluationFileError, match=str(file)):
            TASK.read(file)
