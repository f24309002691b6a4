"""LAMBADA: its two forms, what is asked, and what answers are worth."""

import json
import math
from pathlib import Path

import pytest

from model.evaluate.requests import Generation, Likelihood, Likely, Reply, Written
from model.evaluate.task import EvaluationFileError, Item, Measures
from model.evaluate.tasks.lambada import TASKS

(LAMBADA,) = TASKS


def read(folder: Path, data: str) -> list[Item]:
    path = folder / "data"
    path.write_bytes(data.encode())
    return list(LAMBADA.read(path))


def passage(text: str) -> str:
    return json.dumps({"text": text}) + "\n"


def test_both_forms_of_the_file(tmp_path: Path) -> None:
    text = 'He spoke of war.\n\n"No," I said. "No'
    (item,) = read(tmp_path, "\n" + passage(f" {text} other word\n"))
    assert (item.id, item.fields.context, item.fields.ending) == ("2", f"{text} other", " word")
    (item,) = read(tmp_path, passage("some kind of\n\nPower"))  # the line ends are no part of the word
    assert (item.fields.context, item.fields.ending, item.fields.word) == (
        "some kind of\n\n",
        "Power",
        "Power",
    )
    first, second = read(tmp_path, "`` she did n't , '' he said .\none two \n")
    assert (first.fields.ending, second.fields.ending, second.id) == (" .", " two", "2")
    assert LAMBADA.texts(second) == ("one two",)


def test_real_passages(realdata: Path) -> None:
    path = realdata / "eval" / "lambada_500.jsonl"
    items = LAMBADA.read(path)
    texts = [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()]
    assert [item.fields.text for item in items] == texts
    assert [item.fields.word for item in items] == [text.split()[-1] for text in texts]
    # The filter must not make a passage unanswerable.
    (_, generation) = LAMBADA.ask(items[0], "")
    assert isinstance(generation, Generation)
    assert not {item.fields.ending for item in items}.intersection(generation.not_first)


def test_what_is_asked(tmp_path: Path) -> None:
    one, two = read(tmp_path, "Alice went to visit her friend Bob\nHe bought a ball and a glove\n")
    likelihood, generation = LAMBADA.ask(two, "")
    assert likelihood == Likelihood("He bought a ball and a", " glove")
    assert isinstance(generation, Generation)
    assert generation.prompt == "He bought a ball and a"
    assert {" the", " The", " of", " was"} < set(generation.not_first)
    # With examples it is GPT-3's cloze.
    examples = one.solved + LAMBADA.separator
    likelihood, generation = LAMBADA.ask(two, examples)
    prompt = "Alice went to visit her friend ____. → Bob\nHe bought a ball and a ____. →"
    assert likelihood == Likelihood(prompt, " glove")
    assert isinstance(generation, Generation)
    assert generation.prompt == prompt


@pytest.mark.parametrize(
    ("written", "is_right"),
    [
        (" sign", 1),
        (" sign, and", 1),
        (" sign's", 1),
        ("\nsign of", 1),
        (" signs", 0),
        (" design", 0),
        (" a sign", 0),
        (" Sign", 0),
        ("", 0),
    ],
)
def test_the_first_word_that_is_written(tmp_path: Path, written: str, is_right: int) -> None:
    (item,) = read(tmp_path, "I saw a sign\n")
    measures = LAMBADA.judge(item, [Likely(-3.0, 2, is_likeliest=False), Written(written)])
    assert measures == {"accuracy": 0, "accuracy_stop_words": is_right, "log_probability": -3.0}


def test_measures_of_known_answers(tmp_path: Path) -> None:
    items = read(tmp_path, "one two\nthree four\nfive six\nseven eight\n")
    replies: list[list[Reply]] = [
        [Likely(-1.0, 1, is_likeliest=True), Written(" two")],
        [Likely(-2.0, 3, is_likeliest=False), Written(" four")],
        [Likely(-3.0, 1, is_likeliest=False), Written(" sixty")],
        [Likely(-4.5, 2, is_likeliest=False), Written(" eight")],
    ]
    found: list[Measures] = [LAMBADA.judge(*pair) for pair in zip(items, replies, strict=True)]
    assert LAMBADA.summarize is not None
    measures = LAMBADA.summarize(found)
    assert measures == pytest.approx(
        {"accuracy": 0.25, "accuracy_stop_words": 0.75, "perplexity": math.exp(10.5 / 4)}
    )
    assert set(measures) == set(LAMBADA.measures)
    assert LAMBADA.published["GPT-2 1542M"] == {
        "accuracy": 52.66, "accuracy_stop_words": 63.24, "perplexity": 8.63
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("", "data: empty: get"),
        ("\n\n", "data: empty: get"),
        (passage("one two") + passage("three four")[:-9], "line 2: not JSON"),
        (passage("one two") + "three four\n", "line 2: not JSON"),
        (passage("one two") + passage("three"), "line 2: one word is no passage"),
        (passage("one two") + '{"context": "three"}\n', 'line 2: no text under "text"'),
        ('["one two"]\n', "line 1: not a JSON object but a list"),
        ("one two\nthree fo", "line 2: ends without a line end"),
        ("one two\nthree\n", "line 2: one word is no passage"),
    ],
)
def test_files_with_a_fault(tmp_path: Path, data: str, fault: str) -> None:
    with pytest.raises(EvaluationFileError, match=fault):
        read(tmp_path, data)
