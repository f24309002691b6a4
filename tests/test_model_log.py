"""Logs read back: JSONL, TensorBoard by its own reader, wandb offline, and bits a byte by hand."""

import importlib
import importlib.util
import json
import math
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from model.data.sequences import open_shards
from model.errors import ModelError
from model.training.bits_per_byte import bits_per_byte, bytes_per_token
from model.training.log import LOG, StepReport, TrainingLog, describe
from tests.test_model_shards import make_documents, write_run

REPORT = StepReport(
    step=1,
    steps=9,
    loss=3.25,
    losses={"lm": 3.25},
    learning_rate=6e-4,
    gradient_norm=1.5,
    tokens=1024,
    tokens_per_second=512_000.4,
    seconds=2.0,
)
FULL = replace(
    REPORT,
    step=2,
    data_seconds=0.01,
    mfu=0.4427,
    hfu=0.55,
    memory_bytes=37_700_000_000,
    val_loss=3.5,
    bits_per_byte=1.1,
    checkpoint=Path("somewhere/step-00000002"),
)


def read(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def test_lines_hold_what_was_measured(tmp_path: Path) -> None:
    with closing(TrainingLog(tmp_path, 0)) as log:
        log.write(REPORT)
        log.write(FULL)
    first, second = read(tmp_path)
    assert first == {
        "step": 1,
        "steps": 9,
        "loss": 3.25,
        "losses": {"lm": 3.25},
        "learning_rate": 6e-4,
        "gradient_norm": 1.5,
        "tokens": 1024,
        "tokens_per_second": 512_000.4,
        "seconds": 2.0,
    }
    assert second["checkpoint"] == "step-00000002"
    assert (second["mfu"], second["hfu"], second["bits_per_byte"]) == (0.4427, 0.55, 1.1)
    assert second["memory_bytes"] == 37_700_000_000


def test_what_is_no_number_is_null_and_the_line_is_json(tmp_path: Path) -> None:
    report = replace(
        REPORT, loss=math.nan, losses={"lm": math.nan}, gradient_norm=math.inf, intervention="the loss is nan"
    )
    with closing(TrainingLog(tmp_path, 0)) as log:
        log.write(report)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    line = json.loads((tmp_path / LOG).read_text(), parse_constant=refuse)
    assert (line["loss"], line["losses"], line["gradient_norm"]) == (None, {"lm": None}, None)
    assert line["intervention"] == "the loss is nan"


def test_tensorboard_has_the_curves(tmp_path: Path) -> None:
    with closing(TrainingLog(tmp_path, 0)) as log:
        log.write(REPORT)
        log.write(FULL)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    points = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert points["loss/train"] == [(1, 3.25), (2, 3.25)]
    assert points["loss/lm"] == points["loss/train"]
    assert points["loss/val"] == [(2, 3.5)]
    assert points["bits_per_byte/val"] == [(2, pytest.approx(1.1))]
    assert points["mfu"] == [(2, pytest.approx(0.4427))]
    assert {
        "hfu",
        "memory_bytes",
        "data_seconds",
        "tokens",
        "learning_rate",
        "gradient_norm",
    } <= points.keys()


def test_going_on_takes_back_what_comes_again(tmp_path: Path) -> None:
    with closing(TrainingLog(tmp_path, 0)) as log:
        for step in range(1, 6):
            log.write(replace(REPORT, step=step))
    with (tmp_path / LOG).open("a") as file:
        file.write('{"step": 6, "los')  # As a kill leaves it.
    with closing(TrainingLog(tmp_path, 3)) as log:
        log.write(replace(REPORT, step=4, loss=1.0))
    assert [(line["step"], line["loss"]) for line in read(tmp_path)] == [
        (1, 3.25),
        (2, 3.25),
        (3, 3.25),
        (4, 1.0),
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOG, "tensorboard"]


def test_a_log_that_went_back_by_itself_keeps_what_came_before_the_checkpoint(tmp_path: Path) -> None:
    steps = [1, 2, 3, 4, 3, 4, 5]  # Step 4 spiked, and the run went back to step 2.
    with closing(TrainingLog(tmp_path, 0)) as log:
        for step in steps:
            log.write(replace(REPORT, step=step))
    for resumed_from, kept in ((5, steps), (4, steps[:6]), (2, steps[:2]), (0, [])):
        with closing(TrainingLog(tmp_path, resumed_from)):
            assert [line["step"] for line in read(tmp_path)] == kept


def test_a_step_is_described_in_a_line() -> None:
    assert describe(REPORT, 3.1) == "loss 3.100, 512,000 tokens/s"
    assert describe(FULL, 3.1) == (
        "loss 3.100, validation 3.500 (1.100 bits a byte), 512,000 tokens/s, 44.3% MFU, 37.7 GB"
    )


# wandb


def test_wandb_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ModelError, match=r"train\.wandb: wandb is not installed; install webtext\[wandb\]"):
        TrainingLog(tmp_path, 0, wandb="project")


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
@pytest.mark.filterwarnings("ignore")  # wandb's own.
def test_wandb_draws_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for resumed_from in (0, 1):
        with closing(TrainingLog(tmp_path, resumed_from, wandb="trial", config={"seed": 0})) as log:
            log.write(replace(FULL, step=resumed_from + 1))
    importlib.import_module("wandb").teardown()  # Ends the process that writes the files.
    run_id = (tmp_path / "wandb-run.txt").read_text().strip()
    files = sorted((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert [file.name for file in files] == [f"run-{run_id}.wandb"] * 2
    for file in files:
        content = file.read_bytes()
        assert b"trial" in content
        assert b"loss/val" in content
        assert b"bits_per_byte/val" in content


# Bits a byte


def test_bytes_a_token_are_those_of_the_texts(tmp_path: Path) -> None:
    documents = make_documents(30, seed=5)
    tokenizer = write_run(
        tmp_path, {"train": [make_documents(5)], "val": [documents[:10], [], documents[10:]]}
    )
    shards = open_shards(tmp_path)
    num_bytes = sum(len(" ".join(document).encode()) for document in documents)
    found = bytes_per_token(shards.documents("val"), tokenizer)
    assert found == pytest.approx(num_bytes / shards.tokens["val"], rel=1e-12)


def test_no_text_has_no_bits_a_byte(tmp_path: Path) -> None:
    tokenizer = write_run(tmp_path, {"train": [make_documents(5)], "val": [[]]})
    assert bytes_per_token(open_shards(tmp_path).documents("val"), tokenizer) is None


def test_ids_beyond_the_tokenizers_are_refused(tmp_path: Path) -> None:
    tokenizer = write_run(tmp_path)
    path = tmp_path / "shards" / "val-00000.bin"
    tokens = np.frombuffer(path.read_bytes(), "<u2").copy()
    tokens[7] = tokenizer.vocab_size
    path.write_bytes(tokens.tobytes())
    with pytest.raises(
        ModelError, match=rf"val-00000\.bin holds the id {tokenizer.vocab_size}, but .* shard"
    ):
        bytes_per_token(open_shards(tmp_path).documents("val"), tokenizer)


def test_a_uniform_guess_of_bytes_costs_eight_bits() -> None:
    assert bits_per_byte(math.log(256), 1.0) == 8.0
    # GPT-2's published 1.16 bits a byte of enwik8 is this many nats at 3.5 bytes a token.
    assert bits_per_byte(2.814, 3.5) == pytest.approx(1.16, abs=1e-3)
