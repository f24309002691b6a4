"""Training that is killed, at any moment and again and again, comes to what it would have come to."""

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from model.checkpoint import newest_checkpoint, read_metadata
from model.config import ModelSettings, TrainSettings
from model.training.train import pretrain
from tests.test_model_shards import make_documents, write_run
from tests.training_processes import Kill, forkserver, train_killed, train_on_one_thread

STEPS = 8

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run so small that eight steps read it more than once."""
    folder = tmp_path_factory.mktemp("run")
    documents = make_documents(20)
    write_run(folder, {"train": [documents[:14]], "val": [documents[14:]]})
    return folder


def settings(architecture: str, **values: Any) -> tuple[ModelSettings, TrainSettings]:
    model = ModelSettings.model_validate(
        {"architecture": architecture, "preset": "tiny", "context": 32, "dropout": 0.1}
    )
    train = {"steps": STEPS, "batch_tokens": 256, "micro_batch": 8, "eval_every": 3, "device": "cpu"}
    return model, TrainSettings.model_validate({**train, "checkpoint_every": 1, **values})


@pytest.fixture(scope="module")
def straight(
    request: pytest.FixtureRequest, run: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, Any]]:
    """An architecture, and the checksums of what undisturbed training comes to."""
    out = tmp_path_factory.mktemp(request.param)
    result = pretrain(run, *settings(request.param), out)
    position = read_metadata(result.checkpoint).progress.position
    assert position == STEPS * 8
    return request.param, outcome(out)


def outcome(out: Path) -> dict[str, Any]:
    """All that the newest checkpoint says, and the losses that were logged."""
    path = newest_checkpoint(out)
    assert path is not None
    logged = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    document = json.loads((path / "config.json").read_text())
    return {
        "config": document,
        "losses": [(line["step"], line["loss"], line.get("val_loss")) for line in logged],
    }


@pytest.mark.parametrize("straight", ["gpt2"], indirect=True)
@pytest.mark.parametrize(
    "kill",
    [
        Kill("save_weights", 3),  # The optimizer's state is written, the weights are not.
        Kill("file_facts", 6),
        Kill("flush", 1),
        Kill("flush", 12),
        Kill("_delete_old", 4),  # The new checkpoint stands beside old ones.
    ],
    ids=lambda kill: f"{kill.function}-{kill.number}",
)
def test_a_kill_while_saving_is_made_good(
    straight: tuple[str, dict[str, Any]], run: Path, tmp_path: Path, kill: Kill
) -> None:
    architecture, expected = straight
    assert train_killed(kill, run, tmp_path, *settings(architecture)) == -9
    pretrain(run, *settings(architecture), tmp_path)
    assert outcome(tmp_path) == expected
    assert not list(tmp_path.glob(".*draft"))


@pytest.mark.parametrize("straight", ["gpt2", "albert"], indirect=True)
def test_kills_at_random_moments_are_made_good(
    straight: tuple[str, dict[str, Any]], run: Path, tmp_path: Path
) -> None:
    architecture, expected = straight
    rng = random.Random(architecture)
    for _ in range(4):
        process = forkserver().Process(
            target=train_on_one_thread, args=(run, tmp_path, *settings(architecture))
        )
        process.start()
        time.sleep(rng.uniform(0.1, 1.0))
        process.kill()
        process.join()
    pretrain(run, *settings(architecture), tmp_path)
    assert outcome(tmp_path) == expected
