"""Training end to end on a toy corpus: learning, resuming, checkpoints and what is made of them."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from model.checkpoint import load_network, newest_checkpoint, read_metadata, restore
from model.config import GPT2Config, ModelSettings, TrainSettings
from model.data import GPT2Batch
from model.errors import ModelError
from model.generate import Sampling, continue_tokens, generate, load_checkpoint
from model.gpt2 import GPT2
from model.log import StepReport, TrainResult
from model.objectives import Totals, losses
from model.optim import build_optimizer
from model.recipe import resolve_recipe
from model.train import choose_device, pretrain
from tests.test_model_shards import write_run

ARCHITECTURES = ["gpt2", "albert"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small are fastest on one core, above all where others are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


def test_only_the_newest_checkpoints_are_kept(run: Path, tmp_path: Path) -> None:
    pretrain(run, *settings("gpt2", steps=4, checkpoint_every=1, keep_checkpoints=2), tmp_path)
    assert sorted(p.name for p in tmp_path.glob("*step-*")) == ["step-00000003", "step-00000004"]


@pytest.mark.parametrize("file", ["model.safetensors", "state.pt", "tokenizer.json", "config.json"])
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


def test_a_folder_of_torn_checkpoints_is_refused(run: Path, tmp_path: Path) -> None:
    torn = pretrain(run, *settings("gpt2", steps=1), tmp_path).checkpoint
    (torn / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="only torn checkpoints"):
        pretrain(run, *settings("gpt2", steps=1), tmp_path)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "step-00000001"):
        with pytest.raises(ModelError, match=r"is not a checkpoint .*train a model first"):
            load_checkpoint(path)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ModelError, match=r"train\.device: cannot compute on 'abacus' here"):
        choose_device("abacus")
    assert choose_device("auto").type in ("cpu", "cuda")


def test_losses_do_not_depend_on_the_micro_batches() -> None:
    network = GPT2(GPT2Config(vocab_size=11, context=8, layers=1, width=8, heads=2))
    tokens = torch.randint(11, (6, 9), generator=torch.Generator().manual_seed(0))
    pieces = [GPT2Batch(part[:, :-1], part[:, 1:]) for part in (tokens, tokens[:1], tokens[1:])]
    whole = losses(network, pieces[0], Totals.of(pieces[:1]))["lm"]
    parts = [losses(network, piece, Totals.of(pieces[1:]))["lm"] for piece in pieces[1:]]
    torch.testing.assert_close(whole, parts[0] + parts[1])


def test_text_is_made_and_the_same_seed_makes_it_again(trained: Trained) -> None:
    architecture, out, _, _ = trained
    checkpoint = load_checkpoint(out)
    texts = ["".join(generate(checkpoint, "The cat", 12, seed=seed)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1]
    if architecture == "gpt2":
        assert texts[0] != texts[2]
    else:
        assert texts[0].startswith("The cat")
        assert len(texts[0]) > len("The cat")


def test_albert_fills_each_mask(run: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(pretrain(run, *settings("albert", steps=1), tmp_path).checkpoint)
    pieces = list(generate(checkpoint, "The[MASK] sees a[MASK]."))
    assert len(pieces) == 5
    assert pieces[::2] == ["The", " sees a", "."]
    with pytest.raises(ModelError, match="this model reads 32; shorten"):
        list(generate(checkpoint, "xyz " * 80))


def test_tokens_with_a_cache_are_those_without() -> None:
    config = GPT2Config(vocab_size=31, context=16, layers=2, width=16, heads=2)
    torch.manual_seed(3)
    network = GPT2(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(8)
    prompt = [3, 1, 4]
    rng = torch.Generator().manual_seed(0)
    cached = list(islice(continue_tokens(network, prompt, Sampling(), rng), 13))
    rng = torch.Generator().manual_seed(0)
    plain: list[int] = []
    for _ in range(13):
        with torch.inference_mode():
            logits = network(torch.tensor([prompt + plain]))[0, -1]
        plain.append(Sampling().draw(logits, rng))
    assert cached == plain


def test_text_may_be_longer_than_the_context() -> None:
    network = GPT2(GPT2Config(vocab_size=31, context=8, layers=1, width=16, heads=2)).eval()
    for prompt in ([1], list(range(20))):
        drawn = continue_tokens(network, prompt, Sampling(), torch.Generator(), never={7})
        tokens = list(islice(drawn, 200))
        assert set(tokens) == set(range(31)) - {7}


def test_sampling_keeps_to_its_limits() -> None:
    logits = torch.log(torch.tensor([0.1, 0.5, 0.05, 0.35]))
    rng = torch.Generator().manual_seed(0)

    def drawn(**limits: Any) -> set[int]:
        return {Sampling(**limits).draw(logits, rng) for _ in range(300)}

    assert drawn() == {0, 1, 2, 3}
    assert drawn(temperature=0.0) == {1}
    assert drawn(top_k=2) == {1, 3}
    assert drawn(top_p=0.5) == {1}
    assert drawn(top_p=0.6) == {1, 3}
    assert drawn(top_p=1e-9) == {1}


@pytest.mark.parametrize("wrong", [{"max_tokens": 0}, {"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}])
def test_sampling_errors_name_the_argument(trained: Trained, wrong: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        generate(load_checkpoint(trained[1]), "The", **wrong)
