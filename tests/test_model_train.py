"""Training end to end on a toy corpus: learning, resuming, checkpoints and what is made of them."""

import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from model.checkpoint import load_network, newest_checkpoint, read_metadata
from model.config import ALBERT_PRESETS, GPT2_PRESETS, GPT2Config, ModelSettings, TrainSettings
from model.data.sequences import GPT2Batch
from model.errors import ModelError
from model.generation.generate import load_checkpoint
from model.gpt2 import GPT2
from model.training import learner
from model.training.log import StepReport, TrainResult
from model.training.objectives import Objective, Totals
from model.training.optim import build_optimizer
from model.training.recipe import resolve_recipe
from model.training.saving import restore
from model.training.train import pretrain, roomy_micro_batch
from tests.test_model_shards import make_documents, write_run

ARCHITECTURES = ["gpt2", "albert"]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    return folder


def settings(architecture: str, **values: Any) -> tuple[ModelSettings, TrainSettings]:
    model = ModelSettings.model_validate(
        {"architecture": architecture, "preset": "tiny", "context": 32, "dropout": 0.1}
    )
    train = {"steps": 20, "batch_tokens": 256, "micro_batch": 5, "eval_every": 7, "device": "cpu"}
    return model, TrainSettings.model_validate({**train, **values})


@pytest.fixture(scope="module", params=ARCHITECTURES)
def trained(
    request: pytest.FixtureRequest, run: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, TrainResult, list[StepReport]]:
    """Twenty steps without a pause, by architecture."""
    reports: list[StepReport] = []
    out = tmp_path_factory.mktemp(request.param)
    result = pretrain(run, *settings(request.param), out, reports.append)
    return request.param, out, result, reports


Trained = tuple[str, Path, TrainResult, list[StepReport]]


def test_the_loss_goes_down(trained: Trained, run: Path) -> None:
    _, _, result, reports = trained
    vocab_size = json.loads((run / "shards" / "manifest.json").read_text())["facts"]["vocab_size"]
    lm = reports[0].losses.get("lm", reports[0].losses.get("mlm"))
    assert lm == pytest.approx(math.log(vocab_size), abs=0.4)
    assert result.first_loss == reports[0].loss
    assert result.last_loss == reports[-1].loss
    assert result.last_loss < result.first_loss - 0.4
    assert result.val_loss is not None
    assert result.val_loss == pytest.approx(result.last_loss, abs=0.7)


def test_reports_and_logs_say_the_same(trained: Trained) -> None:
    _, out, result, reports = trained
    assert [r.step for r in reports] == list(range(1, 21))
    assert [r.step for r in reports if r.val_loss is not None] == [7, 14, 20]
    assert reports[-1].checkpoint == result.checkpoint == out / "step-00000020"
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == [r.loss for r in reports]
    assert lines[-1]["tokens"] == result.tokens
    assert list((out / "tensorboard").iterdir())


def test_a_run_that_was_interrupted_goes_on_as_it_would_have(
    trained: Trained, run: Path, tmp_path: Path
) -> None:
    architecture, straight, result, reports = trained
    model, train = settings(architecture, checkpoint_every=10, eval_every=1000)

    def interrupt(report: StepReport) -> None:
        if report.step == 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(run, model, train, tmp_path, interrupt)
    second: list[StepReport] = []
    resumed = pretrain(run, model, train, tmp_path, second.append)
    assert resumed.resumed_from == 10
    assert [r.loss for r in second] == [r.loss for r in reports[10:]]
    assert (resumed.first_loss, resumed.tokens) == (result.first_loss, result.tokens)
    ours, theirs = (
        load_file(folder / "step-00000020" / "model.safetensors") for folder in (tmp_path, straight)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    logged = [json.loads(x)["step"] for x in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert logged == list(range(1, 21))


def test_a_step_is_logged_before_its_checkpoint_stands(run: Path, tmp_path: Path) -> None:
    def look(report: StepReport) -> None:
        assert report.checkpoint is not None
        assert not report.checkpoint.exists()
        assert len((tmp_path / "log.jsonl").read_text().splitlines()) == report.step

    result = pretrain(run, *settings("gpt2", steps=3, checkpoint_every=1), tmp_path, look)
    assert result.checkpoint.exists()


def test_a_finished_run_is_not_trained_again(trained: Trained, run: Path) -> None:
    architecture, out, result, _ = trained
    reports: list[StepReport] = []
    again = pretrain(run, *settings(architecture), out, reports.append)
    assert reports == []
    assert again.last_loss == result.last_loss
    assert again.checkpoint == result.checkpoint


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"seed": 5}, "seed"), ({"batch_tokens": 512}, "batch_tokens"), ({"optimizer": "lamb"}, "optim")],
)
def test_other_settings_do_not_resume(run: Path, tmp_path: Path, changed: dict[str, Any], named: str) -> None:
    pretrain(run, *settings("gpt2", steps=1), tmp_path)
    with pytest.raises(ModelError, match=f"trained with another {named}.*train.dir"):
        pretrain(run, *settings("gpt2", steps=2, **changed), tmp_path)


HOLD = """
import sys, time, torch
from pathlib import Path
from model.training.processes import Processes
from model.training.saving import CheckpointWriter
writer = CheckpointWriter(Path(sys.argv[1]), b"", 1, Processes(torch.device("cpu")))
print("at work", flush=True)
time.sleep(600)
"""


def test_a_second_training_is_kept_out_until_the_first_has_ended(run: Path, tmp_path: Path) -> None:
    model, train = settings("gpt2", steps=1)
    draft = tmp_path / ".step-00000001.draft"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"at work\n"
        draft.mkdir()
        with pytest.raises(ModelError, match=r"another training is at work in .*: wait for it, or set"):
            pretrain(run, model, train, tmp_path)
        assert draft.exists(), "it is the other's"
        other.kill()
    assert pretrain(run, model, train, tmp_path).step == 1
    assert not draft.exists()


def test_a_time_limit_ends_with_a_checkpoint(run: Path, tmp_path: Path) -> None:
    result = pretrain(run, *settings("gpt2", max_minutes=1e-9), tmp_path)
    assert (result.step, result.steps) == (1, 20)
    assert read_metadata(result.checkpoint).progress.step == 1


def test_weight_decay_may_change_on_the_way(run: Path, tmp_path: Path) -> None:
    model, train = settings("gpt2", steps=1)
    path = pretrain(run, model, train, tmp_path).checkpoint
    metadata = read_metadata(path)
    recipe = replace(resolve_recipe(model, train), weight_decay=0.5)
    network = load_network(path, metadata.config)
    optimizer = build_optimizer(network, recipe)
    restore(path, network, optimizer)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]
    assert len(optimizer.state) == len(list(network.parameters()))
    assert isinstance(metadata.config, GPT2Config)
    for change in ({"layers": 5}, {"width": 64}):
        other = GPT2(replace(metadata.config, **change))
        with pytest.raises(ModelError, match=r"model\.safetensors is damaged, or of another network"):
            restore(path, other, build_optimizer(other, recipe))


def test_only_the_newest_checkpoints_are_kept(run: Path, tmp_path: Path) -> None:
    pretrain(run, *settings("gpt2", steps=4, checkpoint_every=1, keep_checkpoints=2), tmp_path)
    assert sorted(p.name for p in tmp_path.glob("*step-*")) == ["step-00000003", "step-00000004"]


@pytest.mark.parametrize(
    "file",
    [
        "model.safetensors",
        "optimizer/__0_0.distcp",
        "optimizer/tensors.json",
        "tokenizer.json",
        "config.json",
    ],
)
def test_a_torn_checkpoint_is_refused(
    run: Path, tmp_path: Path, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    train = settings("gpt2", steps=2, checkpoint_every=1)
    torn = pretrain(run, *train, tmp_path).checkpoint
    data = (torn / file).read_bytes()
    (torn / file).write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="damaged"):
        load_checkpoint(torn)
    assert newest_checkpoint(tmp_path) == tmp_path / "step-00000001"
    assert "torn" in caplog.text
    assert pretrain(run, *train, tmp_path).resumed_from == 1
    assert load_checkpoint(torn).metadata.progress.step == 2
    # Whoever may read the one may read the other.
    assert (torn / "model.safetensors").stat().st_mode == (torn / "config.json").stat().st_mode


def test_a_folder_of_torn_checkpoints_is_refused(run: Path, tmp_path: Path) -> None:
    torn = pretrain(run, *settings("gpt2", steps=1), tmp_path).checkpoint
    (torn / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="only torn checkpoints"):
        pretrain(run, *settings("gpt2", steps=1), tmp_path)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "step-00000001"):
        with pytest.raises(ModelError, match=r"is not a checkpoint .*train a model first"):
            load_checkpoint(path)


def test_losses_do_not_depend_on_the_micro_batches() -> None:
    network = GPT2(GPT2Config(vocab_size=11, context=8, layers=1, width=8, heads=2))
    tokens = torch.randint(11, (6, 9), generator=torch.Generator().manual_seed(0))
    pieces = [GPT2Batch(part[:, :-1], part[:, 1:]) for part in (tokens, tokens[:1], tokens[1:])]
    whole = Totals.of(pieces[:1]).means(Objective(network)(pieces[0]))["lm"]
    parts = [Totals.of(pieces[1:]).means(Objective(network)(piece))["lm"] for piece in pieces[1:]]
    torch.testing.assert_close(whole, parts[0] + parts[1])


def losses_of(run: Path, out: Path, **values: Any) -> list[float]:
    reports: list[StepReport] = []
    pretrain(run, *settings("gpt2", **values), out, reports.append)
    return [report.loss for report in reports]


@pytest.mark.parametrize(
    "other", [{"micro_batch": 8}, {"micro_batch": 3}, {"activation_checkpointing": True}]
)
def test_how_a_step_is_computed_leaves_its_result(run: Path, tmp_path: Path, other: dict[str, Any]) -> None:
    model = ModelSettings(preset="tiny", context=32, dropout=0.0)
    found = []
    for name, values in (("one", {}), ("other", other)):
        reports: list[StepReport] = []
        train = settings("gpt2", steps=4, **values)[1]
        pretrain(run, model, train, tmp_path / name, reports.append)
        found.append([(report.loss, report.gradient_norm) for report in reports])
    assert found[0] == [pytest.approx(pair, rel=1e-5) for pair in found[1]]


def test_documents_can_be_kept_apart(run: Path, tmp_path: Path) -> None:
    together = losses_of(run, tmp_path / "together", steps=3)
    apart = losses_of(run, tmp_path / "apart", steps=3, separate_documents=True)
    assert apart[0] != together[0]  # of the same weights and tokens
    assert losses_of(run, tmp_path / "again", steps=3, separate_documents=True) == apart
    with pytest.raises(ModelError, match="another separate_documents"):
        losses_of(run, tmp_path / "apart", steps=3)
    model, train = settings("albert", separate_documents=True)
    with pytest.raises(ModelError, match="only gpt2 reads several documents"):
        pretrain(run, model, train, tmp_path / "albert")


def test_bf16_learns_the_same_with_fp32_weights(run: Path, tmp_path: Path) -> None:
    exact = losses_of(run, tmp_path / "fp32", precision="fp32", steps=6)
    rounded = losses_of(run, tmp_path / "bf16", precision="bf16", steps=6)
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=5e-3)
    weights = load_file(tmp_path / "bf16" / "step-00000006" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}


def test_compiled_steps_are_the_same(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def trace(call: Any) -> Any:
        calls.append(call)
        return compile_(call, backend="aot_eager")

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", trace)
    values = {"steps": 3, "eval_every": 2}
    assert losses_of(run, tmp_path / "compiled", compile="on", **values) == pytest.approx(
        losses_of(run, tmp_path / "plain", compile="off", **values), rel=1e-5
    )
    assert len(calls) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_lengthened_head_changes_nothing(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = GPT2(GPT2Config(vocab_size=70, context=8, layers=1, width=8, heads=2)).to(dtype)
    tokens = torch.randint(70, (3, 9))
    batch = GPT2Batch(tokens[:, :-1], tokens[:, 1:])
    found = []
    for pad_head in (False, True):
        network.zero_grad()
        loss = Objective(network, pad_head=pad_head)(batch)["lm"]
        loss.backward()
        found.append([loss, *(p.grad for p in network.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_tokens_set_the_length_and_the_batch_may_grow(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.training.recipe._FIRST_BATCH_TOKENS", 2 * 32)
    reports: list[StepReport] = []
    train = settings("gpt2", steps=None, tokens=2000, ramp_tokens=512)[1]
    result = pretrain(run, settings("gpt2")[0], train, tmp_path, reports.append)
    sizes = [2, 2, 2, 4, 4, 6, *[8] * 6]  # in sequences of 32 tokens, of which 63 hold 2,000
    assert (result.step, result.steps, result.tokens) == (12, 12, 32 * sum(sizes))
    assert [report.steps for report in reports] == [12] * 12
    tokens = [0, *(report.tokens for report in reports)]
    assert [after - before for before, after in pairwise(tokens)] == [32 * size for size in sizes]


class _Spoiled(Objective):
    """Losses that are no numbers in some forward passes."""

    passes = 0
    spoiled: frozenset[int] = frozenset()

    def forward(self, batch: Any) -> dict[str, torch.Tensor]:
        found = super().forward(batch)
        if not torch.is_grad_enabled():
            return found
        type(self).passes += 1
        return (
            {name: value * math.nan for name, value in found.items()}
            if self.passes in self.spoiled
            else found
        )


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> type[_Spoiled]:
    monkeypatch.setattr(learner, "Objective", _Spoiled)
    monkeypatch.setattr(_Spoiled, "passes", 0)
    return _Spoiled


def test_a_step_that_is_no_number_is_skipped(
    run: Path, tmp_path: Path, spoil: type[_Spoiled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoil, "spoiled", frozenset({3}))
    reports: list[StepReport] = []
    values = {"steps": 4, "micro_batch": 8, "checkpoint_every": 1, "keep_checkpoints": 9}
    result = pretrain(run, *settings("gpt2", **values), tmp_path, reports.append)
    assert [report.intervention is not None for report in reports] == [False, False, True, False]
    before, after = (load_file(tmp_path / f"step-0000000{n}" / "model.safetensors") for n in (2, 3))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert math.isfinite(result.last_loss)
    assert read_metadata(result.checkpoint).guard["interventions"] == [3]


def test_a_spoiled_step_may_stop_training(
    run: Path, tmp_path: Path, spoil: type[_Spoiled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoil, "spoiled", frozenset({3}))
    with pytest.raises(ModelError, match=r"step 3: the loss is nan.*train\.learning_rate"):
        pretrain(run, *settings("gpt2", steps=4, micro_batch=8, on_spike="stop"), tmp_path)


def test_a_spoiled_step_may_be_rolled_back(
    run: Path, tmp_path: Path, spoil: type[_Spoiled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoil, "spoiled", frozenset({4}))
    values = {"steps": 6, "micro_batch": 8, "checkpoint_every": 2, "on_spike": "roll_back"}
    reports: list[StepReport] = []
    result = pretrain(run, *settings("gpt2", **values), tmp_path, reports.append)
    # Back to step 2 with batch 5, so that two steps fewer are taken.
    assert [report.step for report in reports] == [1, 2, 3, 4, 3, 4]
    assert (result.step, result.steps) == (4, 4)
    assert read_metadata(result.checkpoint).progress.position == 6 * 8
    assert result.tokens == 6 * 256


def test_without_a_checkpoint_there_is_nothing_to_go_back_to(
    run: Path, tmp_path: Path, spoil: type[_Spoiled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoil, "spoiled", frozenset({1}))
    with pytest.raises(ModelError, match=r"step 1: .* no checkpoint to go back to"):
        pretrain(run, *settings("gpt2", micro_batch=8, on_spike="roll_back"), tmp_path)


def test_a_device_out_of_memory_says_what_to_lower(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")

    monkeypatch.setattr(Objective, "forward", fail)
    with pytest.raises(ModelError, match=r"lower train\.micro_batch from 8 to 4, or set train\.activation"):
        pretrain(run, *settings("gpt2", micro_batch=8), tmp_path)


def test_memory_that_ends_while_validating_is_told_too(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.")

    monkeypatch.setattr(learner.Learner, "measure", fail)
    with pytest.raises(ModelError, match=r"lower train\.micro_batch from 8 to 4 \("):
        pretrain(run, *settings("gpt2", micro_batch=8), tmp_path)


def test_memory_of_the_cpu_counts_too(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Objective, "forward", lambda *_: torch.empty(1 << 60))
    with pytest.raises(ModelError, match=r"lower train\.micro_batch from 8 to 4"):
        pretrain(run, *settings("gpt2", micro_batch=8), tmp_path)


def test_the_best_checkpoint_is_kept(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([3.0, 1.0, 2.0, 4.0, 5.0])
    monkeypatch.setattr(learner.Learner, "measure", lambda *_: {"lm": torch.tensor(next(found))})
    pretrain(run, *settings("gpt2", steps=5, checkpoint_every=1, keep_checkpoints=2), tmp_path)
    assert sorted(p.name for p in tmp_path.glob("*step-*")) == [f"step-0000000{n}" for n in (2, 4, 5)]
    assert (tmp_path / "best").readlink() == Path("step-00000002")
    assert load_checkpoint(tmp_path / "best").metadata.progress.val_loss == 1.0
    assert load_checkpoint(tmp_path).metadata.progress.step == 5


def test_a_copy_of_the_best_checkpoint_gives_way_to_the_link(run: Path, tmp_path: Path) -> None:
    pretrain(run, *settings("gpt2", steps=7), tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there")  # which makes a folder of a link
    assert not (tmp_path / "there" / "best").is_symlink()
    pretrain(run, *settings("gpt2", steps=14), tmp_path / "there")
    assert (tmp_path / "there" / "best").readlink() == Path("step-00000014")


def test_the_report_says_how_it_goes(trained: Trained, run: Path) -> None:
    architecture, _, _, reports = trained
    assert all(report.memory_bytes is not None and report.memory_bytes > 1 << 20 for report in reports)
    assert all(report.data_seconds is not None for report in reports)
    assert all(report.mfu is None for report in reports)  # No peak of a CPU is known.
    last = reports[-1]
    assert last.val_loss is not None
    if architecture == "albert":
        assert last.bits_per_byte is None
    else:
        tokens = json.loads((run / "shards" / "manifest.json").read_text())["facts"]["tokens"]["val"]
        num_bytes = sum(len(" ".join(document)) for document in make_documents(220)[200:])
        assert last.bits_per_byte == pytest.approx(last.val_loss / math.log(2) * tokens / num_bytes)


def test_a_gpus_micro_batch_follows_from_the_models_size() -> None:
    sizes = {name: roomy_micro_batch(config) for name, config in GPT2_PRESETS.items()}
    assert (sizes["124M"], sizes["355M"], sizes["774M"], sizes["1.5B"]) == (64, 16, 8, 4)
    assert sizes["gpt3-175B"] == 1
    assert roomy_micro_batch(ALBERT_PRESETS["base"]) == 128
