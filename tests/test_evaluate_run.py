"""Tasks put to a model that answers by a rule; what becomes of their results."""

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from model.errors import ModelError
from model.evaluate.registry import TASKS, find_task, read_documents
from model.evaluate.requests import Likelihood, Likely, Reply, Request
from model.evaluate.results import (
    RESULTS,
    Contamination,
    DataFacts,
    ModelFacts,
    Result,
    add_result,
    data_facts,
    finite,
    read_results,
    short_count,
    tables,
    weights_digest,
)
from model.evaluate.run import evaluate
from model.evaluate.shots import ExamplePool
from model.evaluate.task import EvaluationFileError, Item, Measures, Task
from tests.test_model_shards import make_vocabulary
from tokenizer.encode import Tokenizer

OVERLAP = Contamination(run="runs/r", corpus="ee", share=0.0125, figures={"n": 8, "mean_item_share": None})


class CountingModel:
    """Holds a continuation for the likelier, the more often it stands in its context."""

    def __init__(self, context: int = 1000) -> None:
        self.tokenizer = Tokenizer(make_vocabulary(), "digest")
        self.context = context
        self.asked: list[Sequence[Request]] = []

    def answer(
        self, requests: Sequence[Request], on_progress: Callable[[int, int], None] | None = None
    ) -> list[Reply]:
        """Answers one request at a time, and notes all."""
        self.asked.append(requests)
        if on_progress is not None:
            on_progress(len(requests), len(requests))
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Likely:
        assert isinstance(request, Likelihood)
        return Likely(float(request.context.count(request.continuation)), 1, is_likeliest=False)


def ask(item: Item, examples: str) -> list[Request]:
    return [Likelihood(f"{examples}{item.id}:", f" {choice}") for choice in item.fields]


def judge(item: Item, replies: Sequence[Reply]) -> Measures:
    """Whether the last of an item's choices is likeliest."""
    assert len(replies) == len(item.fields)
    scores = [reply.log_probability for reply in replies if isinstance(reply, Likely)]
    return {"accuracy": float(scores.index(max(scores)) == len(scores) - 1), "sum": sum(scores)}


TASK = Task(
    name="animals",
    title="Animals | and their places",
    measures=("accuracy", "sum"),
    read=lambda _: [],
    ask=ask,
    judge=judge,
    texts=lambda item: [item.id],
    is_better_high=frozenset({"accuracy"}),
    published={"GPT-2 117M": {"accuracy": 45.99}},
    units={"accuracy": "%"},
)
ITEMS = [
    Item("cat dog dog", "cat: dog", ("cat", "dog")),
    Item("whale", "whale: sea", ("cat", "whale", "dog")),
    Item("the cat cat", "cat cat: cat", ("dog", "cat")),
    Item("horse", "horse: hay", ("hay",)),
]


def test_each_item_is_judged_by_its_own_replies() -> None:
    model, progress = CountingModel(), []
    found = evaluate(model, TASK, ITEMS, on_progress=lambda *seen: progress.append(seen))
    assert len(model.asked) == 1  # so that a batch can hold requests of any items
    assert len(model.asked[0]) == 8
    assert progress == [(8, 8)]
    # " dog" stands twice, " whale" never (the line begins with it), " cat" twice, " hay" never.
    assert found.measures == {"accuracy": 3 / 4, "sum": 4 / 4}
    assert (found.num_items, found.mean_examples) == (4, 0.0)


def test_a_task_can_sum_up_in_its_own_way() -> None:
    task = replace(TASK, summarize=lambda found: {"most": max(one["sum"] for one in found)})
    assert evaluate(CountingModel(), task, ITEMS).measures == {"most": 2.0}


def test_the_first_items_prompts_are_kept_as_they_were_put_to_the_model() -> None:
    model = CountingModel()
    found = evaluate(model, TASK, ITEMS, shots=2, pool=ExamplePool(TASK, ITEMS))
    first = [model.asked[0][place] for place in (0, 2, 5)]
    expected = [{"context": one.context, "continuation": one.continuation} for one in first]  # type: ignore[union-attr]
    assert found.prompts == expected
    for item, prompt in zip(ITEMS, found.prompts, strict=False):
        *before, last = prompt["context"].split("\n")
        assert last == f"{item.id}:"
        assert len(before) == 2
        assert set(before) < {one.solved for one in ITEMS} - {item.solved}


def test_results_tell_how_many_examples_the_window_held() -> None:
    model = CountingModel()
    most = max(len(model.tokenizer.encode(f"{item.solved}\n")) for item in ITEMS)
    own = max(len(model.tokenizer.encode(f"{item.id}: whale")) for item in ITEMS)
    whole = evaluate(model, TASK, ITEMS, shots=8, pool=ExamplePool(TASK, ITEMS))
    assert whole.mean_examples == 3  # there are no more other items
    some = evaluate(CountingModel(own + most), TASK, ITEMS, shots=8, pool=ExamplePool(TASK, ITEMS))
    assert 1 <= some.mean_examples < 3
    assert evaluate(CountingModel(1), TASK, ITEMS, shots=8, pool=ExamplePool(TASK, ITEMS)).mean_examples == 0


# Results


def result(measures: Mapping[str, float | None], **changes: Any) -> Result:
    model = ModelFacts(
        path="/runs/checkpoints/small/step-00000200",
        digest="aa",
        tokenizer="bb",
        architecture="gpt2",
        num_parameters=124_439_808,
        context=1024,
        device="cpu",
        dtype="float32",
    )
    values: dict[str, Any] = {
        "task": "animals",
        "shots": 0,
        "measures": measures,
        "num_items": 4,
        "mean_examples": 0.0,
        "model": model,
        "data": DataFacts(path="/data/animals.jsonl", sha256="cc", num_items=9),
        "examples": None,
        "seed": 7,
        "limit": 4,
        "stride": None,
        "prompts": [{"context": "é\n", "continuation": " dog"}],
        "versions": {"webtext": "0.1.0"},
    }
    return Result(**{**values, **changes})


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    first = result({"accuracy": 0.25, "sum": None})
    others = [
        replace(first, shots=1, examples=first.data, contamination=OVERLAP),
        replace(first, task="plants"),
        replace(first, model=replace(first.model, digest="dd")),
    ]
    assert read_results(tmp_path) == []
    for number, one in enumerate([first, *others], 1):
        assert len(add_result(tmp_path, one)) == number
    assert read_results(tmp_path) == [first, *others]
    again = replace(first, measures={"accuracy": 0.75, "sum": 1.0}, seed=8)
    add_result(tmp_path, again)
    assert read_results(tmp_path) == [again, *others]
    assert [file.name for file in tmp_path.iterdir()] == [RESULTS]
    (plain, *_) = json.loads((tmp_path / RESULTS).read_bytes())
    assert plain["measures"] == {"accuracy": 0.75, "sum": 1.0}
    assert plain["contamination"] is None


def test_what_is_no_finite_number_is_null() -> None:
    assert finite({"a": math.inf, "b": math.nan, "c": 1.5}) == {"a": None, "b": None, "c": 1.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[: len(data) // 2], "Invalid JSON"),
        (lambda _: b"", "Invalid JSON"),
        (lambda _: b"\x89PNG\0\xff", "Invalid JSON"),
        (lambda _: b"{}", "valid array"),
        (lambda data: data.replace(b'"shots": 0', b'"shots": "few"'), r"0\.shots: .*valid integer"),
        (lambda data: data.replace(b'"digest": "aa",', b""), r"0\.model\.digest: Field required"),
    ],
)
def test_damaged_results_are_told_and_left_alone(
    tmp_path: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    add_result(tmp_path, result({"accuracy": 0.25}))
    file = tmp_path / RESULTS
    damaged = change(file.read_bytes())
    file.write_bytes(damaged)
    with pytest.raises(
        ModelError, match=f"results.json: is damaged.*{message}.*; remove it, or name another"
    ):
        add_result(tmp_path, result({"accuracy": 0.5}))
    assert file.read_bytes() == damaged


def test_a_table_shows_models_by_size_beside_the_papers_figures() -> None:
    small = result({"accuracy": 0.45994, "sum": 12345.678}, shots=8, mean_examples=5.5)
    large = result({"accuracy": 0.5, "sum": None}, model=replace(small.model, num_parameters=1_557_611_200))
    zero = replace(small, shots=0, mean_examples=0.0, measures={"accuracy": 0.4, "sum": 1.25})
    (table,) = tables([large, small, zero, replace(small, task="forgotten")], {"animals": TASK})
    assert table.markdown() == (
        "## Animals | and their places\n\n"
        "| model | parameters | shots | items | accuracy, % | sum |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
        "| small step 200 | 124M | 0 | 4 | 40.00 | 1.250 |\n"
        "| small step 200 | 124M | 5.5 of 8 | 4 | 45.99 | 12,345.68 |\n"
        "| small step 200 | 1.56B | 0 | 4 | 50.00 | – |\n"
        "| *GPT-2 117M* |  |  |  | 45.99 |  |\n"
    )
    (told,) = tables([replace(small, contamination=OVERLAP), zero], {"animals": TASK})
    assert told.columns[-1] == "contaminated, %"
    assert [row[-1] for row in (*told.rows, *told.published)] == ["", "1.25", ""]


def test_counts_as_people_say_them() -> None:
    counts = [812, 45_123, 124_439_808, 1_557_611_200]
    assert [short_count(count) for count in counts] == ["812", "45.1k", "124M", "1.56B"]


# Which files


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_model_is_told_by_its_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no weights"):
        weights_digest(tmp_path)
    (tmp_path / "config.json").write_bytes(b"{}")
    for number in (2, 1):
        (tmp_path / f"model-0000{number}-of-00002.safetensors").write_bytes(b"part %d" % number)
    assert weights_digest(tmp_path) == sha256((sha256(b"part 1") + sha256(b"part 2")).encode())
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert weights_digest(tmp_path) == sha256(b"weights")


def test_data_is_told_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "stories").mkdir()
    file = tmp_path / "stories" / "a.story"
    file.write_bytes(b"once")
    assert data_facts(file, 3) == DataFacts(path=str(file), sha256=sha256(b"once"), num_items=3)
    folder = data_facts(tmp_path / "stories", 1)
    assert folder.sha256 == sha256(f"{sha256(b'once')}  a.story\n".encode())
    odd = file.rename(file.with_name(os.fsdecode(b"\xff.story")))
    told = replace(result({}), data=data_facts(odd, 1))
    add_result(tmp_path, told)
    assert read_results(tmp_path) == [told]
    assert told.data.path == f"{tmp_path}/stories/\\xff.story"
    file = odd.rename(file)
    file.rename(file.with_name("b.story"))
    assert data_facts(tmp_path / "stories", 1).sha256 != folder.sha256


# The tasks that there are


def test_tasks_have_names_of_their_own_and_name_their_own_measures_alone() -> None:
    for name, task in TASKS.items():
        assert task.name == name
        assert task.measures
        named = {*task.units, *task.is_better_high, *chain(*task.published.values())}
        assert named <= set(task.measures), name
        assert set(task.units.values()) <= {"%", ""}, name
    assert len({task.title for task in TASKS.values()}) == len(TASKS) > 20


def test_an_unknown_task_is_told_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"no task 'lambda'; did you mean lambada\? .*coqa.*masked"):
        find_task("lambda")
    with pytest.raises(ModelError, match="no task 'zzz': tasks are lambada, "):
        find_task("zzz")


def test_documents_are_lines_of_json_or_a_plain_text(tmp_path: Path) -> None:
    lines, plain = tmp_path / "a.jsonl", tmp_path / "a.txt"
    lines.write_text('{"text": "The cat.", "id": 5}\n\n{"text": "A dog\\nsees."}\n')
    plain.write_text("The cat.\n\nA dog.\n")
    assert [item.fields for item in read_documents(lines)] == ["The cat.", "A dog\nsees."]
    assert [item.fields for item in read_documents(plain)] == ["The cat.\n\nA dog."]
    lines.write_text('{"text": "The cat."}\n{"text": 5}\n')
    with pytest.raises(EvaluationFileError, match=r"a\.jsonl, line 2"):
        read_documents(lines)
