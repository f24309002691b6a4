"""Tasks by the likelihood of choices: HellaSwag, BLiMP and sentiment, and what holds for all of them."""

import gzip
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.evaluate.requests import Likelihood, Likely, Written
from model.evaluate.task import EvaluationFileError, Item, Task, mean_measures
from model.evaluate.tasks import blimp, cbt, choices, hellaswag, sentiment, winograd
from model.evaluate.tasks.choices import Choices, choose
from tests.byte_bigrams import answer, log_probability

TASKS = (*cbt.TASKS, *winograd.TASKS, *hellaswag.TASKS, *blimp.TASKS, *sentiment.TASKS)

OFFICIAL = {
    "ind": 5,
    "activity_label": "Raking leaves",
    "ctx_a": "A woman holds a rake.",
    "ctx_b": "she",
    "ctx": "A woman holds a rake. she",
    "split": "val",
    "split_type": "indomain",
    "label": 2,
    "endings": ["flies away.", "is a rake.", "gathers leaves.", "[substeps] Cuts – slowly."],
    "source_id": "activitynet~v_0",
}
PAIR = {"sentence_good": "Cats sleep.", "sentence_bad": "Cats sleeps.", "UID": "made", "pairID": "0"}
REVIEWS = "sentence\tlabel\nit 's a -lrb- very -rrb- good film . \t1\nhopeless \t0\n"


def write_lines(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def fails(read: Callable[[Path], object], path: Path, *says: str) -> None:
    with pytest.raises(EvaluationFileError) as error:
        read(path)
    for part in (str(path), *says):
        assert part in str(error.value)


# Choosing


def test_an_answer_is_chosen_by_its_sum_by_tokens_or_by_bytes() -> None:
    found = [Likely(-5.0, 1, False), Likely(-8.0, 4, False), Likely(-9.0, 3, False)]
    assert choose(found) == 0
    assert choose(found, [one.num_tokens for one in found]) == 1  # -5, -2, -3
    assert choose(found, [4, 5, 30]) == 2  # -1.25, -1.6, -0.3


@given(st.lists(st.tuples(st.integers(-9, 0), st.integers(1, 4)), min_size=1, max_size=6))
def test_choosing_is_an_argmax_whose_ties_go_to_the_first(answers: list[tuple[int, int]]) -> None:
    found = [Likely(float(total), size, False) for total, size in answers]
    totals, sizes = np.array(answers).T
    assert choose(found) == totals.argmax()
    assert choose(found, list(sizes)) == (totals / sizes).argmax()


def test_a_text_is_no_answer_to_a_likelihood() -> None:
    item = Item("1", "", Choices("a", (" b", " c"), 0))
    with pytest.raises(TypeError, match="likelihood"):
        choices.judge(item, [Likely(-1.0, 1, True), Written("b")])


# All tasks of choices


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n \n",
        b"\x00\x01\xfe\xff" * 99,
        b"some words\nand others\n",
        b"{}\n[]\n",
        gzip.compress(b"x" * 99)[:-9],
    ],
    ids=["empty", "blank", "binary", "words", "json", "cut gzip"],
)
def test_a_file_that_is_something_else_is_an_error_that_names_it(
    task: Task, data: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    fails(task.read, path)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_missing_file_is_an_error_that_names_it(task: Task, tmp_path: Path) -> None:
    fails(task.read, tmp_path / "missing")


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_what_a_task_says_of_itself_is_so(task: Task) -> None:
    assert task.is_better_high == set(task.measures) == set(task.units)
    assert {name for figures in task.published.values() for name in figures} <= set(task.measures)
    figures = [figure for figures in task.published.values() for figure in figures.values()]
    assert all(25 < figure < 100 for figure in figures)


@pytest.mark.parametrize(
    ("task", "file", "text"),
    [
        (hellaswag.TASKS[0], "a.jsonl", json.dumps(OFFICIAL)),
        (sentiment.TASKS[0], "dev.tsv", REVIEWS),
    ],
    ids=["hellaswag", "sentiment"],
)
def test_solved_items_stand_in_front_of_others(task: Task, file: str, text: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(text)
    (item, *_) = task.read(tmp_path / file)
    assert task.takes_examples
    examples = item.solved + task.separator
    for request, alone in zip(task.ask(item, examples), task.ask(item, ""), strict=True):
        assert isinstance(request, Likelihood)
        assert isinstance(alone, Likelihood)
        assert request == Likelihood(examples + alone.context, alone.continuation)
    asked = [
        request.context + request.continuation
        for request in task.ask(item, "")
        if isinstance(request, Likelihood)
    ]
    assert asked.count(item.solved) == 1


# HellaSwag


def test_hellaswag_asks_for_endings_behind_the_activity_and_the_context(tmp_path: Path) -> None:
    (item,) = hellaswag.read(write_lines(tmp_path / "val.jsonl", OFFICIAL))
    context = "Raking leaves: A woman holds a rake. She"
    endings = (" flies away.", " is a rake.", " gathers leaves.", " Cuts – slowly.")
    assert item.fields == Choices(context, endings, 2)
    assert choices.ask(item, "") == [Likelihood(context, ending) for ending in endings]
    assert item.solved == "Raking leaves: A woman holds a rake. She gathers leaves."


def test_hellaswag_without_a_begun_sentence_ends_in_no_space(tmp_path: Path) -> None:
    wikihow = OFFICIAL | {
        "activity_label": "Home and Garden",
        "ctx_a": "[header] How to rake [title] Take a rake. [step] Hold it well.",
        "ctx_b": "",
        "label": "0",  # a text in other copies
    }
    (item,) = hellaswag.read(write_lines(tmp_path / "val.jsonl", wikihow))
    assert item.fields.context == "Home and Garden: How to rake. Take a rake. Hold it well."
    assert item.fields.right == 0


def test_hellaswag_is_judged_as_a_whole_per_byte_and_per_token() -> None:
    item = Item("1", "", Choices("c", (" ab", " äöü", " abcdefgh"), 1))
    replies = [Likely(-4.0, 1, False), Likely(-6.0, 3, False), Likely(-9.0, 1, False)]
    # As a whole -4, -6, -9; per byte -4/2, -6/6 and not /3, -9/8; per token -4, -2, -9.
    judged = hellaswag.judge(item, replies)
    assert judged == {"accuracy": 0.0, "accuracy_normalized": 1.0, "accuracy_per_token": 1.0}
    assert list(hellaswag.TASKS[0].measures) == list(judged)


def test_hellaswag_reads_the_real_file_and_scores_as_brute_force_does(realdata: Path) -> None:
    path = realdata / "eval" / "hellaswag_500.jsonl"
    items = hellaswag.read(path)
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert len(items) == len(records) == 500
    assert len({item.id for item in items}) == 500
    judged = [hellaswag.judge(item, answer(choices.ask(item, ""))) for item in items[:40]]
    right = normalized = 0
    for record in records[:40]:
        totals = [log_probability(f"{record['context']} {ending}") for ending in record["endings"]]
        behind = [total - log_probability(record["context"]) for total in totals]
        sizes = [len(ending.encode()) for ending in record["endings"]]
        right += int(np.argmax(totals)) == record["label"]
        normalized += int(np.argmax(np.divide(behind, sizes))) == record["label"]
    assert mean_measures(judged)["accuracy"] == right / 40
    assert mean_measures(judged)["accuracy_normalized"] == normalized / 40


def test_hellaswag_prompts_are_lm_evaluation_harness_s(tmp_path: Path) -> None:
    harness = importlib.util.find_spec("lm_eval")
    if harness is None or harness.origin is None:
        pytest.skip("lm-evaluation-harness is not installed")
    pytest.importorskip("datasets")
    file = Path(harness.origin).parent / "tasks" / "hellaswag" / "utils.py"
    spec = importlib.util.spec_from_file_location("harness_hellaswag", file)
    assert spec is not None
    assert spec.loader is not None
    utils = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(utils)

    class Documents(list[dict[str, Any]]):
        def map(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> list[dict[str, Any]]:
            return [change(one) for one in self]

    records = [
        OFFICIAL,
        OFFICIAL | {"ctx_a": "[header] How to rake [title] Take it. [step] Hold it.", "ctx_b": "then Ann"},
        OFFICIAL | {"ctx_a": "[header] How to rake [title] Take it.", "ctx_b": ""},
    ]
    for record in records:
        # Where a mark begins an ending, theirs keeps the space behind it.
        record["endings"] = [
            "is a rake.",
            "gathers leaves.",
            "cuts – slowly.",
            "ends [title] here, [step] so.",
        ]
    theirs = utils.process_docs(Documents(records))
    for item, their in zip(
        hellaswag.read(write_lines(tmp_path / "val.jsonl", *records)), theirs, strict=True
    ):
        assert item.fields.context == their["query"]
        assert [ending[1:] for ending in item.fields.continuations] == their["choices"]
        assert item.fields.right == their["gold"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"label": ""}, "label"),  # as in hellaswag_test.jsonl
        ({"label": 4}, "label"),
        ({"label": "12"}, "label"),
        ({"label": True}, "label"),
        ({"endings": ["a", "b"]}, "endings"),
        ({"endings": ["a", "b", "c", 1]}, "endings"),
        ({"endings": ["a", "b", "c", "[step]"]}, "endings"),
        ({"endings": "abcd"}, "endings"),
        ({"ctx_a": None}, "ctx_a"),
        ({"ctx_b": 3}, "ctx_b"),
        ({"activity_label": ""}, "activity_label"),
    ],
)
def test_a_wrong_record_of_hellaswag_is_named(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    fails(hellaswag.read, write_lines(tmp_path / "val.jsonl", OFFICIAL, OFFICIAL | change), "line 2", says)


def test_a_hellaswag_file_cut_anywhere_is_read_as_far_as_it_is_whole_or_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "val.jsonl", OFFICIAL, OFFICIAL)
    data = path.read_bytes()
    first = data.index(b"\n")
    for cut in sorted({*range(1, len(data) - 1, 11), first, first + 1, len(data) - 2}):
        path.write_bytes(data[:cut])
        if cut in {first, first + 1}:
            assert len(hellaswag.read(path)) == 1
        else:
            fails(hellaswag.read, path, "line 1" if cut < first else "line 2")


# BLiMP


def test_blimp_reads_a_file_or_all_files_of_a_folder_in_order(tmp_path: Path) -> None:
    write_lines(tmp_path / "b.jsonl", PAIR, PAIR)
    write_lines(tmp_path / "a.jsonl", PAIR)
    (tmp_path / "README.md").write_text("no pairs")
    (tmp_path / "._a.jsonl").write_bytes(b"\x00\x05\x16\x07")  # what macOS leaves in archives
    names = ["a, line 1", "b, line 1", "b, line 2"]
    assert [item.id for item in blimp.read(tmp_path)] == names
    assert [item.id for item in blimp.read(tmp_path / "b.jsonl")] == names[1:]


def test_blimp_wants_the_good_sentence_likelier(tmp_path: Path) -> None:
    (item,) = blimp.read(write_lines(tmp_path / "a.jsonl", PAIR))
    assert blimp.ask(item, "") == [Likelihood("", "Cats sleep."), Likelihood("", "Cats sleeps.")]
    for good, accuracy in ((-1.0, 1.0), (-2.0, 0.0), (-3.0, 0.0)):
        assert blimp.judge(item, [Likely(good, 2, False), Likely(-2.0, 9, True)]) == {"accuracy": accuracy}
    is_better = log_probability("Cats sleep.") > log_probability("Cats sleeps.")
    assert blimp.judge(item, answer(blimp.ask(item, ""))) == {"accuracy": float(is_better)}


def test_blimp_names_the_file_and_line_that_is_wrong(tmp_path: Path) -> None:
    fails(blimp.read, tmp_path, ".jsonl")
    write_lines(tmp_path / "a.jsonl", PAIR)
    write_lines(tmp_path / "b.jsonl", PAIR, PAIR | {"sentence_bad": ""})
    fails(blimp.read, tmp_path, "b.jsonl, line 2", "sentence_bad")
    (tmp_path / "b.jsonl").write_text(json.dumps(PAIR) + "\n" + json.dumps(PAIR)[:30])
    fails(blimp.read, tmp_path, "b.jsonl, line 2")


# Sentiment


def test_sentiment_is_asked_as_a_question(tmp_path: Path) -> None:
    path = tmp_path / "dev.tsv"
    path.write_text(REVIEWS)
    good, bad = sentiment.read(path)
    context = "it's a (very) good film.\nQuestion: Is this review positive or negative?\nAnswer:"
    assert choices.ask(good, "") == [Likelihood(context, " negative"), Likelihood(context, " positive")]
    assert good.solved == context + " positive"
    assert bad.solved.startswith("hopeless\n")
    assert bad.solved.endswith(" negative")
    task = sentiment.TASKS[0]
    assert [list(task.texts(item)) for item in (good, bad)] == [["it's a (very) good film."], ["hopeless"]]
    replies = [Likely(-2.0, 1, False), Likely(-1.0, 1, True)]
    assert task.judge(good, replies) == {"accuracy": 1.0}
    assert task.judge(bad, replies) == {"accuracy": 0.0}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("index\tsentence\n0\tgood film\n", "line 1"),  # test.tsv
        ("sentence\tlabel\ngood\t1\nbad fil", "line 3"),
        ("sentence\tlabel\ngood\t1\nbad film\t", "line 3"),
        ("sentence\tlabel\ngood\tpositive\n", "line 2"),
        ("sentence\tlabel\n \t1\n", "line 2"),
        ("sentence\tlabel\n", "line 1"),
    ],
)
def test_a_wrong_line_of_reviews_is_named(text: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "dev.tsv").write_text(text)
    fails(sentiment.read, tmp_path / "dev.tsv", line)
