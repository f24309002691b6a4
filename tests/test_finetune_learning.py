"""Fine-tuning from files to a folder: toy tasks that are learned in seconds, by both architectures."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from model.errors import ModelError
from model.finetune.classification import TextClassifier
from model.finetune.folder import Task, load_fine_tuned
from model.finetune.glue import TextPair, read_labelled_texts
from model.finetune.run import Outcome, fine_tune
from model.finetune.spans import QuestionReader
from model.finetune.squad import read_questions
from model.finetune.train import FineTuneSettings
from tests.finetune_checkpoints import write_checkpoints
from webtext.cli import app

ANIMALS = ("cat", "dog", "horse", "sparrow", "whale")
PLACES = ("garden", "harbour", "library", "mountain")
FILLERS = ("The", "sees", "follows", "remembers", "outruns", "in", "a")
FAST = FineTuneSettings(learning_rate=2e-3, epochs=10, batch=16, device="cpu")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_checkpoints(tmp_path_factory.mktemp("checkpoints"))


def some_words(rng: random.Random, count: int, *hidden: str) -> str:
    """Words without meaning, with others among them, in their order."""
    words = rng.choices(FILLERS, k=count)
    for place, word in zip(sorted(rng.sample(range(count), len(hidden)), reverse=True), hidden, strict=True):
        words.insert(place + 1, word)
    return " ".join(words)


def write_texts(path: Path, count: int, seed: int) -> Path:
    """Sentences that have an animal or a place."""
    rng = random.Random(seed)
    kinds = [rng.choice((("animal", ANIMALS), ("place", PLACES))) for _ in range(count)]
    lines = [f"{some_words(rng, 6, rng.choice(words))}\t{label}" for label, words in kinds]
    path.write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    return path


def write_pairs(path: Path, count: int, seed: int, *, scores: bool = False) -> Path:
    """Pairs of texts, of which the second says what the pair is."""
    rng = random.Random(seed)
    head = "index\tsentence1\tsentence2\t" + ("score" if scores else "label")
    lines = []
    for number in range(count):
        is_animal = rng.random() < 0.5
        second = some_words(rng, 3, rng.choice(ANIMALS if is_animal else PLACES))
        label = str(4.5 if is_animal else 1.25) if scores else ("yes" if is_animal else "no")
        lines.append(f"{number}\t{some_words(rng, 3, rng.choice(PLACES))}\t{second}\t{label}")
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def write_questions(path: Path, count: int, seed: int, *, length: int = 8, none: bool = False) -> Path:
    """Texts that have an animal and a place, and a question about one of the two."""
    rng = random.Random(seed)
    paragraphs = []
    for number in range(count):
        animal, place = rng.choice(ANIMALS), rng.choice(PLACES)
        is_first = rng.random() < 0.5
        context = "Né: " + some_words(rng, length, *((animal, place) if is_first else (place, animal)))
        asks_animal = rng.random() < 0.5
        answer = animal if asks_animal else place
        record: dict[str, Any] = {
            "id": str(number),
            "question": "animal, animal?" if asks_animal else "place, place?",
        }
        if none and rng.random() < 0.4:
            context = "Né: " + some_words(rng, length, place if asks_animal else animal)
            record |= {"is_impossible": True, "answers": []}
        else:
            record["answers"] = [{"text": answer, "answer_start": context.index(answer)}]
        paragraphs.append({"context": context, "qas": [record]})
    path.write_text(json.dumps({"version": "1.1", "data": [{"title": "Toys", "paragraphs": paragraphs}]}))
    return path


def run(
    checkpoint: Path, task: Task, folder: Path, files: tuple[Path, Path], settings: FineTuneSettings = FAST
) -> Outcome:
    return fine_tune(checkpoint, task, *files, folder / "out", settings)


@pytest.mark.parametrize("architecture", ["albert", "gpt2"])
def test_classes_are_learned_and_the_model_is_used_again(
    checkpoints: dict[str, Path], architecture: str, tmp_path: Path
) -> None:
    files = write_texts(tmp_path / "train.tsv", 320, 0), write_texts(tmp_path / "dev.tsv", 60, 1)
    outcome = run(checkpoints[architecture], "classify", tmp_path, files)
    assert outcome.measures["accuracy"] >= 0.95, outcome
    assert outcome.measures.keys() == {"accuracy", "macro_f1", "matthews", "f1"}
    assert (outcome.num_train, outcome.num_dev, outcome.num_skipped) == (320, 60, 0)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    # Whoever may read the one may read the other.
    modes = {(tmp_path / "out" / name).stat().st_mode for name in ("metrics.json", "model.safetensors")}
    assert len(modes) == 1
    assert metrics["measures"] == outcome.measures
    model = load_fine_tuned(tmp_path / "out")
    assert isinstance(model, TextClassifier)
    assert model.classes == ("animal", "place")
    predicted = [line.split("\t") for line in (tmp_path / "out" / "predictions.tsv").read_text().splitlines()]
    dev = read_labelled_texts(files[1]).examples
    for rows in (1, 7):
        assert [
            ["index", "prediction"],
            *([str(n), p] for n, p in enumerate(model.predict(dev, rows))),
        ] == predicted
    assert model.predict([TextPair("The whale"), TextPair("in a library")]) == ["animal", "place"]


@pytest.mark.parametrize("architecture", ["albert", "gpt2"])
def test_pairs_and_scores_are_learned(
    checkpoints: dict[str, Path], architecture: str, tmp_path: Path
) -> None:
    files = write_pairs(tmp_path / "train.tsv", 320, 0), write_pairs(tmp_path / "dev.tsv", 60, 1)
    settings = replace(FAST, epochs=12)
    assert run(checkpoints[architecture], "classify", tmp_path, files, settings).measures["accuracy"] >= 0.9
    (tmp_path / "scores").mkdir()
    files = (
        write_pairs(tmp_path / "train.tsv", 320, 0, scores=True),
        write_pairs(tmp_path / "dev.tsv", 60, 1, scores=True),
    )
    found = run(checkpoints[architecture], "classify", tmp_path / "scores", files, settings).measures
    assert found["pearson"] >= 0.85, found
    assert found["spearman"] >= 0.75, found
    model = load_fine_tuned(tmp_path / "scores" / "out")
    assert isinstance(model, TextClassifier)
    assert float(model.predict([TextPair("The a", "sees a whale")])[0]) == pytest.approx(4.5, abs=1)


@pytest.mark.parametrize("architecture", ["albert", "gpt2"])
def test_answers_are_learned_and_the_model_is_used_again(
    checkpoints: dict[str, Path], architecture: str, tmp_path: Path
) -> None:
    files = write_questions(tmp_path / "train.json", 400, 0), write_questions(tmp_path / "dev.json", 50, 1)
    outcome = run(checkpoints[architecture], "spans", tmp_path, files, replace(FAST, epochs=8))
    assert outcome.measures["exact_match"] >= 0.9, outcome
    assert outcome.measures["f1"] >= outcome.measures["exact_match"]
    model = load_fine_tuned(tmp_path / "out")
    assert isinstance(model, QuestionReader)
    assert not model.answers_none
    predicted = json.loads((tmp_path / "out" / "predictions.json").read_text())
    dev = read_questions(files[1])
    for rows in (1, 7):
        assert dict(zip((one.id for one in dev), model.predict(dev, rows), strict=True)) == predicted


@pytest.mark.parametrize("architecture", ["albert", "gpt2"])
def test_long_texts_and_questions_without_answer_are_learned(
    checkpoints: dict[str, Path], architecture: str, tmp_path: Path
) -> None:
    settings = replace(FAST, epochs=5, max_length=32)
    files = (
        write_questions(tmp_path / "train.json", 250, 0, length=15, none=True),
        write_questions(tmp_path / "dev.json", 40, 1, length=15, none=True),
    )
    outcome = run(checkpoints[architecture], "spans", tmp_path, files, settings)
    assert outcome.measures["exact_match"] >= 0.85, outcome
    answers = json.loads((tmp_path / "out" / "predictions.json").read_text()).values()
    assert 5 <= sum(not answer for answer in answers) <= 35


@pytest.mark.parametrize("architecture", ["albert", "gpt2"])
def test_the_seed_decides_everything(checkpoints: dict[str, Path], architecture: str, tmp_path: Path) -> None:
    files = write_texts(tmp_path / "train.tsv", 40, 0), write_texts(tmp_path / "dev.tsv", 8, 1)
    weights = []
    for number, seed in enumerate((0, 0, 1)):
        (tmp_path / str(number)).mkdir()
        torch.manual_seed(number)  # What is drawn elsewhere does not count, nor is it disturbed.
        expected = torch.Generator().manual_seed(number)
        run(
            checkpoints[architecture],
            "classify",
            tmp_path / str(number),
            files,
            replace(FAST, epochs=1, seed=seed),
        )
        assert torch.equal(torch.rand(3), torch.rand(3, generator=expected))
        weights.append((tmp_path / str(number) / "out" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_misplaced_answers_are_left_out_and_counted(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    files = write_questions(tmp_path / "train.json", 20, 0), write_questions(tmp_path / "dev.json", 5, 1)
    document = json.loads(files[0].read_text())
    for paragraph in document["data"][0]["paragraphs"][:3]:
        paragraph["qas"][0]["answers"][0]["answer_start"] += 1
    files[0].write_text(json.dumps(document))
    arguments = ["--task", "spans", "--train", str(files[0]), "--dev", str(files[1]), "--device", "cpu"]
    command = ["finetune", str(checkpoints["albert"]), *arguments, "--out", str(tmp_path / "out")]
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code == 0, answer.output
    assert "3 questions of the training file were left out" in answer.output
    assert "learned 17 examples" in answer.output
    assert "exact_match" in answer.output
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["num_skipped"] == 3
    again = CliRunner().invoke(app, command)
    assert isinstance(again.exception, ModelError)
    assert "is there already" in str(again.exception)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 65}, "max_length must be from 16 to 64"),
        ({"max_length": 4}, "max_length must be from 16 to 64"),
        ({"learning_rate": 1e30}, "the loss is no number in step"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    checkpoints: dict[str, Path], tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    files = write_texts(tmp_path / "train.tsv", 40, 0), write_texts(tmp_path / "dev.tsv", 8, 1)
    with pytest.raises(ModelError, match=message):
        run(checkpoints["gpt2"], "classify", tmp_path, files, replace(FAST, **settings))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "setting",
    [{"epochs": 0}, {"batch": 0}, {"seed": -1}, {"learning_rate": 0.0}, {"learning_rate": math.nan}],
)
def test_numbers_that_mean_nothing_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=next(iter(setting))):
        FineTuneSettings(**setting)


def test_a_damaged_folder_is_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    files = write_texts(tmp_path / "train.tsv", 16, 0), write_texts(tmp_path / "dev.tsv", 8, 1)
    run(checkpoints["gpt2"], "classify", tmp_path, files, replace(FAST, epochs=1))
    out = tmp_path / "out"
    with pytest.raises(ModelError, match="is no fine-tuned model"):
        load_fine_tuned(tmp_path)
    whole = (out / "model.safetensors").read_bytes()
    (out / "model.safetensors").write_bytes(whole[:-1])
    with pytest.raises(ModelError, match="missing or damaged"):
        load_fine_tuned(out)
    (out / "config.json").write_text((checkpoints["gpt2"] / "config.json").read_text())
    with pytest.raises(ModelError, match="damaged or no fine-tuned model's"):
        load_fine_tuned(out)
