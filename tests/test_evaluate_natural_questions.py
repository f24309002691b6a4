"""Natural Questions in the open form: pairs as shots, exact match."""

from pathlib import Path

import pytest

from model.evaluate.requests import Generation, Written
from model.evaluate.task import EvaluationFileError
from model.evaluate.tasks.natural_questions import TASKS

(TASK,) = TASKS

LINES = r"""{"question": "which poet wrote it", "answer": ["Ren\u00e9 Char", "char"]}
{"question": "how fast is it", "answer": ["54\u00a0Mbit/s"]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "NQ-open.dev.jsonl"
    path.write_text(LINES)
    return path


def test_pairs_of_question_and_answer_are_the_shots(file: Path) -> None:
    first, second = TASK.read(file)
    assert first.solved == "Q: which poet wrote it\nA: René Char"
    assert TASK.ask(second, first.solved + TASK.separator) == [
        Generation(
            prompt="Q: which poet wrote it\nA: René Char\nQ: how fast is it\nA:", max_tokens=32, stop=("\n",)
        )
    ]
    assert TASK.ask(second, "")[0] == Generation(prompt="Q: how fast is it\nA:", max_tokens=32, stop=("\n",))


@pytest.mark.parametrize(
    ("item", "answer", "is_right"),
    [
        (0, " René Char.", True),
        (0, "Rene\u0301 CHAR", True),  # the accent as a sign of its own
        (0, "the Char", True),
        (0, "Rene Char", False),
        (0, "It was René Char", False),
        (0, "", False),
        (1, "54 Mbits", True),
    ],
)
def test_exact_match_is_that_of_the_official_script(
    file: Path, item: int, answer: str, is_right: bool
) -> None:
    assert TASK.judge(TASK.read(file)[item], [Written(answer)]) == {"exact_match": float(is_right)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LINES[:-20], "line 2: not JSON"),
        ("", "empty"),
        (LINES + '["a"]\n', "line 3: not a JSON object"),
        (LINES + '{"question": "who"}\n', "line 3: no list of answers"),
        (LINES + '{"question": "who", "answer": []}\n', "line 3: no list of answers"),
        (LINES + '{"question": "who", "answer": "she"}\n', "line 3: no list of answers"),
        (LINES + '{"answer": ["she"]}\n', 'line 3: no text under "question"'),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(file: Path, content: str, message: str) -> None:
    file.write_text(content)
    with pytest.raises(EvaluationFileError, match=message):
        TASK.read(file)
