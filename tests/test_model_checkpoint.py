"""Checkpoints that are whole by their checksums, and yet say what cannot be."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from model import checkpoint as module
from model.checkpoint import CONFIG, TOKENIZER, Metadata, Progress, file_facts, load_network, read_metadata
from model.config import AlbertConfig, Config, GPT2Config, ModelSettings, TrainSettings
from model.errors import ModelError
from model.generation.generate import load_checkpoint
from model.networks import build_network
from model.training.saving import CheckpointWriter, save_checkpoint
from model.training.train import pretrain
from tests.command import webtext
from tests.test_model_exchange import change_json
from tests.test_model_shards import make_vocabulary, write_run
from tokenizer.files import file_contents

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL: dict[str, Any] = {"context": 8, "layers": 1, "width": 8, "heads": 2}


def a_checkpoint(folder: Path, config: Config | None = None) -> Path:
    tokenizer = file_contents(make_vocabulary())[TOKENIZER]
    size = len(json.loads(tokenizer)["model"]["vocab"]) + 16
    config = config or GPT2Config(vocab_size=size, **SMALL)
    network = build_network(config)
    metadata = Metadata(progress=Progress(), preset="x", config=config, tokenizer="", shards="", training={})
    optimizer = torch.optim.AdamW(network.parameters())
    return save_checkpoint(folder, metadata, network, optimizer, tokenizer, keep=1)


@pytest.mark.parametrize(
    "progress",
    [{"step": "x"}, {"step": -1}, {"position": 1e300}, {"position": None}, {"val_loss": "low"}, [], 7, None],
)
def test_a_progress_that_is_none_is_told(tmp_path: Path, progress: object) -> None:
    path = a_checkpoint(tmp_path)
    change_json(path / CONFIG, progress=progress)
    with pytest.raises(ModelError, match=r"config\.json is damaged"):
        read_metadata(path)


def test_a_tokenizer_with_more_ids_than_the_network_is_told(tmp_path: Path) -> None:
    path = a_checkpoint(tmp_path, GPT2Config(vocab_size=100, **SMALL))
    with pytest.raises(ModelError, match=r"tokenizer\.json is not this network's tokenizer"):
        load_checkpoint(path)


def test_an_alberts_tokenizer_without_its_special_tokens_is_told(tmp_path: Path) -> None:
    config = AlbertConfig(vocab_size=400, embedding=8, ffn=16, **SMALL)
    path = a_checkpoint(tmp_path, config)
    document = json.loads((path / TOKENIZER).read_text())
    assert any(one["content"] == "[CLS]" for one in document["added_tokens"])
    document["added_tokens"] = [one for one in document["added_tokens"] if one["content"][0] != "["]
    (path / TOKENIZER).write_text(json.dumps(document))
    files = json.loads((path / CONFIG).read_text())["files"]
    change_json(path / CONFIG, files={**files, TOKENIZER: file_facts(path / TOKENIZER)})
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        load_checkpoint(path)


def test_want_of_memory_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = a_checkpoint(tmp_path)

    def fail(_: object) -> None:
        raise torch.OutOfMemoryError("no more")

    monkeypatch.setattr(module, "load_file", fail)
    with pytest.raises(torch.OutOfMemoryError):
        load_network(path, read_metadata(path).config)


@pytest.mark.parametrize("guard", [{}, {"losses": 1, "norms": [], "looks": 0, "interventions": []}])
def test_a_guard_that_is_none_is_told_and_nobody_kept_out(tmp_path: Path, guard: dict[str, Any]) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    write_run(run)
    model = ModelSettings.model_validate({"preset": "tiny", "context": 16})
    values = {"steps": 2, "batch_tokens": 64, "micro_batch": 4, "device": "cpu", "checkpoint_every": 1}
    train = TrainSettings.model_validate(values)
    path = pretrain(run, model, train, out).checkpoint
    sound = json.loads((path / CONFIG).read_text())["guard"]
    change_json(path / CONFIG, guard=guard)
    for _ in range(2):
        with pytest.raises(ModelError, match=r"config\.json is damaged \(its guard"):
            pretrain(run, model, train, out)
    change_json(path / CONFIG, guard=sound)
    assert pretrain(run, model, train, out).resumed_from == 2


def test_the_lock_goes_with_a_writer_that_could_not_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[CheckpointWriter] = []
    close = CheckpointWriter.close

    def closing(writer: CheckpointWriter) -> None:
        closed.append(writer)
        close(writer)

    monkeypatch.setattr(CheckpointWriter, "close", closing)
    run, out = tmp_path / "run", tmp_path / "out"
    write_run(run)
    (out / "step-00000001").mkdir(parents=True)
    settings = TrainSettings.model_validate({"steps": 1, "batch_tokens": 64, "device": "cpu"})
    with pytest.raises(ModelError, match="only torn checkpoints"):
        pretrain(run, ModelSettings.model_validate({"preset": "tiny", "context": 16}), settings, out)
    assert len(closed) == 1


def test_a_torn_checkpoint_that_is_passed_over_is_named(tmp_path: Path) -> None:
    path = a_checkpoint(tmp_path / "all")
    torn = path.with_name("step-00000009")
    torn.mkdir()
    (torn / CONFIG).write_text("{\x1b[31m")
    answer = webtext("generate", "all", "--prompt", "a", "--max-tokens", "1", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "passed over a torn checkpoint: all/step-00000009/config.json is damaged" in answer.stderr
    assert "passed over" not in answer.stdout
