"""``webtext evaluate`` on tiny checkpoints and made files."""

import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from model.checkpoint import file_facts
from model.config import AlbertConfig, GPT2Config
from model.evaluate.loading import load_language_model
from model.evaluate.registry import TASKS
from model.evaluate.requests import Likelihood, Likely
from model.exchange.exchange import import_checkpoint
from model.networks import num_parameters
from pipeline.errors import InputError, RunError
from pipeline.stages import VERSION
from tests.command import webtext
from tests.test_model_exchange import write_small
from tests.test_pipeline_contamination_share import write_corpus
from webtext.cli import app

IDS = 325
CONTEXT = 128  # holds some examples, and not all
ANIMALS = ("cat", "dog", "horse", "sparrow", "whale", "hedgehog")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with random weights: two GPT-2s of transformers, a checkpoint of ours, an ALBERT."""
    folder = tmp_path_factory.mktemp("models")
    small = GPT2Config(vocab_size=IDS, context=CONTEXT, layers=1, width=16, heads=2)
    large = GPT2Config(vocab_size=IDS, context=CONTEXT, layers=2, width=32, heads=2)
    write_small(folder / "small", small)
    write_small(folder / "large", large)
    import_checkpoint(folder / "small", folder / "ours")
    masked = AlbertConfig(vocab_size=IDS, context=24, embedding=8, layers=1, width=16, heads=2, ffn=32)
    write_small(folder / "masked", masked)
    import_checkpoint(folder / "masked", folder / "albert")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of files of the official forms."""
    passages = [f"The {one} sees a dog. The dog follows the {one}" for one in ANIMALS]
    write_lines(tmp_path / "lambada.jsonl", [{"text": text} for text in passages])
    pairs = [{"question": f"who follows the {one}", "answer": [f"the {one}"]} for one in ANIMALS]
    write_lines(tmp_path / "nq.dev.jsonl", pairs)
    write_lines(tmp_path / "nq.train.jsonl", [{**one, "question": f"{one['question']} now"} for one in pairs])
    write_lines(tmp_path / "documents.jsonl", [{"text": f"{text}. It sees a horse."} for text in passages])
    return tmp_path


def write_lines(file: Path, records: list[dict[str, Any]]) -> None:
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments), "--device", "cpu"])


def results(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / "results.json").read_bytes())
    return found


def test_a_result_has_what_it_takes_to_repeat_it(models: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    answer = evaluate(models / "ours", "--data", f"lambada={data}/lambada.jsonl", "--out", out)
    assert answer.exit_code == 0, answer.output
    (found,) = results(out)
    checkpoint = models / "ours" / "step-00000000"
    weights = json.loads((checkpoint / "config.json").read_bytes())["files"]["model.safetensors"]
    model = load_language_model(checkpoint)
    assert found["model"] == {
        "path": str(checkpoint),
        "digest": weights["sha256"],
        "tokenizer": model.tokenizer.digest,
        "architecture": "gpt2",
        "num_parameters": num_parameters(model.network),
        "context": CONTEXT,
        "device": "cpu",
        "dtype": "float32",
    }
    file = data / "lambada.jsonl"
    assert found["data"] == {"path": str(file), "sha256": file_facts(file)["sha256"], "num_items": 6}
    asked = {
        name: found[name] for name in ("task", "shots", "seed", "limit", "stride", "num_items", "examples")
    }
    assert asked == {
        "task": "lambada",
        "shots": 0,
        "seed": 0,
        "limit": None,
        "stride": None,
        "num_items": 6,
        "examples": None,
    }
    assert found["versions"].keys() >= {"webtext", "torch"}
    assert found["versions"]["webtext"] == VERSION
    assert found["contamination"] is None
    assert len(found["prompts"]) == 3
    assert found["prompts"][0]["context"].startswith("The cat sees a dog. The dog follows the")


def test_what_a_runs_corpus_has_of_a_task_stands_beside_its_score(
    models: Path, data: Path, tmp_path: Path
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    write_corpus(run, [["“The cat sees a dog.” The dog follows the cat"], ["The cat"]])
    task = ["--data", f"lambada={data}/lambada.jsonl", "--data", f"natural-questions={data}/nq.dev.jsonl"]
    answer = evaluate(models / "small", *task, "--out", out, "--contamination", run)
    assert answer.exit_code == 0, answer.output
    lambada, questions = (one["contamination"] for one in results(out))
    assert lambada["run"] == str(run)
    assert lambada["corpus"] == file_facts(run / "corpus" / "manifest.json")["sha256"]
    # Of nine words and two eight-grams an item, those of the first item are all there.
    assert lambada["share"] == lambada["figures"]["num_found"] / lambada["figures"]["num_grams"]
    assert lambada["figures"]["num_items_hit"] == 1
    assert questions["share"] is None  # too short to tell
    assert "contaminated, %" in (out / "results.md").read_text()
    refused = evaluate(models / "small", *task, "--out", out, "--contamination", tmp_path / "nowhere")
    assert isinstance(refused.exception, InputError)


def test_measures_are_those_of_the_models_own_answers(models: Path, data: Path, tmp_path: Path) -> None:
    evaluate(models / "small", "--data", f"lambada={data}/lambada.jsonl", "--out", tmp_path / "out")
    (found,) = results(tmp_path / "out")
    model = load_language_model(models / "small")
    asked = [Likelihood(f"The {one} sees a dog. The dog follows the", f" {one}") for one in ANIMALS]
    replies = [reply for reply in model.answer(asked) if isinstance(reply, Likely)]
    perplexity = math.exp(-sum(reply.log_probability for reply in replies) / len(replies))
    assert found["measures"]["perplexity"] == pytest.approx(perplexity, rel=1e-4)
    assert found["measures"]["accuracy"] == sum(reply.is_likeliest for reply in replies) / len(replies)


def test_shots_come_from_the_examples_file_or_else_from_the_data(
    models: Path, data: Path, tmp_path: Path
) -> None:
    given = ["--data", f"natural-questions={data}/nq.dev.jsonl", "--shots", "2, 0,1,8", "--limit", "3"]
    evaluate(models / "small", *given, "--out", tmp_path / "own")
    evaluate(
        models / "small",
        *given,
        "--examples",
        f"natural-questions={data}/nq.train.jsonl",
        "--out",
        tmp_path / "train",
    )
    own, train = results(tmp_path / "own"), results(tmp_path / "train")
    for found in (own, train):
        assert [one["shots"] for one in found] == [0, 1, 2, 8]
        assert [one["mean_examples"] for one in found[:2]] == [0.0, 1.0]
        assert found[3]["mean_examples"] < 8
        assert all(one["num_items"] == 3 for one in found)
    assert all(one["examples"] is None for one in own)
    assert [one["examples"] is None for one in train] == [True, False, False, False]
    assert train[1]["examples"]["num_items"] == 6
    (example, question) = train[1]["prompts"][0]["prompt"].split("\nQ: ")
    assert " now\nA: the " in example
    assert question == "who follows the cat\nA:"
    assert " now" not in own[1]["prompts"][0]["prompt"]


def test_results_join_those_that_are_there_and_replace_their_like(
    models: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    given = ["--data", f"lambada={data}/lambada.jsonl", "--out", out]
    assert evaluate(models / "small", models / "large", *given).exit_code == 0
    assert evaluate(models / "small", *given, "--limit", "2").exit_code == 0
    assert evaluate(models / "ours", *given, "--limit", "1").exit_code == 0
    assert [(Path(one["model"]["path"]).name, one["num_items"]) for one in results(out)] == [
        ("small", 2),
        ("large", 6),
        ("step-00000000", 1),  # the same numbers in a file of its own, which has another digest
    ]
    page = (out / "results.md").read_text("utf-8")
    assert page.count("\n| small | ") == page.count("\n| large | ") == page.count("\n| ours step 0 | ") == 1
    assert "| *GPT-2 117M* |" in page
    picture = ET.fromstring((out / "shots.svg").read_text("utf-8"))  # noqa: S314 (our own file)
    words = set(picture.itertext())
    assert words >= {"LAMBADA", "parameters", "accuracy, %", "zero-shot", "higher is better"}


def test_albert_has_a_task_of_its_own(models: Path, data: Path, tmp_path: Path) -> None:
    given = ["--data", f"masked={data}/documents.jsonl", "--data", f"lambada={data}/lambada.jsonl"]
    answer = evaluate(models / "albert", models / "small", *given, "--out", tmp_path / "out", "--limit", 5)
    assert answer.exit_code == 0, answer.output
    assert "is an ALBERT, whose only task is masked: not asked lambada" in answer.output
    assert "is a GPT-2, which fills no masks: not asked masked" in answer.output
    masked, lambada = results(tmp_path / "out")
    assert (masked["task"], masked["model"]["architecture"], masked["num_items"]) == ("masked", "albert", 5)
    assert masked["measures"].keys() == set(TASKS["masked"].measures)
    assert masked["prompts"][0] == {"text": "The cat sees a dog. The dog follows the cat. It sees a horse."}
    assert lambada["model"]["architecture"] == "gpt2"


def test_a_checkpoint_that_no_task_is_for_is_told(models: Path, data: Path, tmp_path: Path) -> None:
    given = ["--data", f"lambada={data}/lambada.jsonl", "--out", tmp_path / "out"]
    answer = evaluate(models / "albert", *given)
    assert isinstance(answer.exception, InputError)
    assert "albert/step-00000000 is an ALBERT" not in answer.output
    assert "albert: is an ALBERT, whose only task is masked: name other tasks than lambada" in answer.output
    foreign = evaluate(
        models / "masked", "--data", f"masked={data}/documents.jsonl", "--out", tmp_path / "out"
    )
    assert isinstance(foreign.exception, InputError)
    assert "webtext model import" in foreign.output


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory): give the path"),
        (b"", "empty"),
        (b'{"question": "who", "answer": ["I"]}\n{"question": "wh', "line 2: not JSON"),
        (b"\x1f\x8b\x08\x00cut", "gzip"),
        (b"\x89PNG\x00\xff\xfe", "line 1"),
    ],
)
def test_what_a_task_cannot_read_is_told_and_the_others_run(
    models: Path, data: Path, tmp_path: Path, content: bytes | None, message: str
) -> None:
    bad = tmp_path / "bad.jsonl"
    if content is not None:
        bad.write_bytes(content)
    answer = evaluate(
        models / "small",
        "--tasks",
        "coqa,natural-questions,lambada",
        "--data",
        f"natural-questions={bad}",
        "--data",
        f"lambada={data}/lambada.jsonl",
        "--out",
        tmp_path / "out",
    )
    assert isinstance(answer.exception, InputError)
    assert str(answer.exception) == "could not be evaluated, as told above: coqa, natural-questions."
    assert f"error: natural-questions: {bad}" in answer.output
    assert message in answer.output
    assert "error: coqa: no file is given: add --data coqa=PATH; Every question of" in answer.output
    assert [one["task"] for one in results(tmp_path / "out")] == ["lambada"]


def test_a_checkpoint_that_cannot_be_read_is_told_and_the_others_run(
    models: Path, data: Path, tmp_path: Path
) -> None:
    torn = tmp_path / "torn"
    write_small(torn, GPT2Config(vocab_size=IDS, context=CONTEXT, layers=1, width=16, heads=2))
    with (torn / "model.safetensors").open("r+b") as file:
        file.truncate(500)
    given = ["--data", f"lambada={data}/lambada.jsonl", "--out", tmp_path / "out"]
    answer = evaluate(tmp_path / "nowhere", torn, models / "small", *given)
    assert isinstance(answer.exception, InputError)
    assert "nowhere: is no model" in answer.output
    assert "model.safetensors: is damaged" in answer.output
    assert [Path(one["model"]["path"]).name for one in results(tmp_path / "out")] == ["small"]


def test_a_task_that_takes_no_examples_says_so_and_runs_with_none(models: Path, tmp_path: Path) -> None:
    (tmp_path / "ptb.test.txt").write_text(" the cat sees a <unk> \n" * 40)
    given = ["--data", f"ptb={tmp_path}/ptb.test.txt", "--shots", "1,8", "--out", tmp_path / "out"]
    answer = evaluate(models / "small", *given)
    assert answer.exit_code == 0, answer.output
    assert answer.output.count("ptb takes no examples: it runs with 0 only") == 1
    assert [one["shots"] for one in results(tmp_path / "out")] == [0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is no task: give --data TASK=PATH"),
        (["--tasks", "lambda"], "did you mean lambada?"),
        (["--data", "zzz=x"], "there is no task 'zzz': tasks are lambada,"),
        (["--examples", "zzz=x"], "there is no task 'zzz'"),
        (["--data", "lambada"], "must be TASK=PATH"),
        (["--data", "lambada="], "must be TASK=PATH"),
        (["--data", "lambada=x", "--data", "lambada=y"], "lambada has a file already"),
        (["--data", "lambada=x", "--shots", "0,few"], "must be numbers of at least 0, such as 0,1,8"),
        (["--data", "lambada=x", "--shots", "-1"], "must be numbers"),
        (["--data", "lambada=x", "--shots", ","], "must be numbers"),
    ],
)
def test_what_is_asked_wrongly_is_told_before_any_work(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    answer = evaluate(tmp_path / "nowhere", "--out", tmp_path / "out", *arguments)
    assert message in str(answer.exception)
    assert not (tmp_path / "out").exists()


def test_damaged_results_are_told_before_any_work(models: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('[{"task": ')
    answer = evaluate(models / "small", "--data", f"lambada={data}/lambada.jsonl", "--out", tmp_path)
    assert "results.json: is damaged" in str(answer.exception)
    assert (tmp_path / "results.json").read_text() == '[{"task": '


def test_memory_that_ends_is_told_with_what_to_lower(
    models: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhaust(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr("model.evaluate.run.evaluate", exhaust)
    given = ["--data", f"lambada={data}/lambada.jsonl", "--out", tmp_path]
    for batch, advice in ((4, "lower --batch from 4"), (1, "choose a smaller model, or --device cpu")):
        answer = evaluate(models / "small", *given, "--batch", batch)
        assert isinstance(answer.exception, RunError)
        assert advice in str(answer.exception)


def test_bad_input_ends_with_status_2_and_no_trace(data: Path, tmp_path: Path) -> None:
    answer = webtext(
        "evaluate", "nowhere", "--data", f"lambada={data}/lambada.jsonl", "--out", "out", cwd=tmp_path
    )
    assert answer.returncode == 2
    assert "error: nowhere: is no model" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_tasks_are_listed_with_what_they_read() -> None:
    answer = CliRunner().invoke(app, ["evaluate", "--list"])
    assert answer.exit_code == 0
    lines = answer.output.splitlines()
    assert [line.split()[0] for line in lines[::2]] == list(TASKS)
    assert lines[0] == "lambada  LAMBADA: " + ", ".join(TASKS["lambada"].measures)
    assert all(line.startswith("    It reads: ") for line in lines[1::2])


def test_real_passages_are_evaluated(realdata: Path, models: Path, tmp_path: Path) -> None:
    file = realdata / "eval" / "lambada_500.jsonl"
    answer = evaluate(models / "small", "--data", f"lambada={file}", "--limit", "20", "--out", tmp_path)
    assert answer.exit_code == 0, answer.output
    (found,) = results(tmp_path)
    assert found["data"]["num_items"] == 500
    assert found["num_items"] == 20
    assert found["measures"]["perplexity"] > 1
