"""``--json`` of the commands about models: JSON alone on standard output."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from model.config import GPT2Config
from model.exchange.exchange import import_checkpoint
from tests.test_model_exchange import write_small
from tests.test_model_shards import write_run
from webtext.cli import app

pytestmark = pytest.mark.usefixtures("one_thread")

TEXTS = [f"The {one} sees a dog. The dog follows the {one}" for one in ("cat", "horse", "sparrow", "whale")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small GPT-2 of transformers, and the same as a checkpoint."""
    path = tmp_path_factory.mktemp("models")
    write_small(path / "theirs", GPT2Config(vocab_size=325, context=128, layers=1, width=16, heads=2))
    import_checkpoint(path / "theirs", path / "ours")
    return path


def answer(*arguments: object) -> Any:
    """What a command says in JSON."""
    found = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_import_and_export(folder: Path, tmp_path: Path) -> None:
    made = answer("model", "import", folder / "theirs", "--out", tmp_path / "ours")
    assert made == {"checkpoint": str(tmp_path / "ours" / "step-00000000")}
    written = answer("model", "export", tmp_path / "ours", "--out", tmp_path / "theirs")
    assert written == {"out": str(tmp_path / "theirs"), "opened_by": "AutoModelForCausalLM"}


def test_evaluate_prints_the_results_of_the_tasks_at_hand(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "lambada.txt").write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    (tmp_path / "text8").write_text("the cat sees a dog " * 20)
    out = ("--out", tmp_path / "out", "--device", "cpu")
    (first,) = answer("evaluate", folder / "ours", "--data", f"lambada={tmp_path}/lambada.txt", *out)
    (second,) = answer("evaluate", folder / "ours", "--data", f"text8={tmp_path}/text8", *out)
    assert [first, second] == json.loads((tmp_path / "out" / "results.json").read_text())
    assert first["task"] == "lambada"


def test_finetune(folder: Path, tmp_path: Path) -> None:
    for name in ("train", "dev"):
        lines = ["sentence\tlabel", *(f"{text}\t{number % 2}" for number, text in enumerate(TEXTS))]
        (tmp_path / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    files = ("--train", tmp_path / "train.tsv", "--dev", tmp_path / "dev.tsv", "--out", tmp_path / "out")
    options = ("--task", "classify", "--epochs", 1, "--device", "cpu")
    value = answer("finetune", folder / "ours", *files, *options)
    assert (value["out"], value["num_train"], value["num_dev"]) == (str(tmp_path / "out"), 4, 4)
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {name: value[name] for name in ("loss", "num_train")} == {
        name: written[name] for name in ("loss", "num_train")
    }


def test_pretrain(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    settings = tmp_path / "webtext.toml"
    settings.write_text(
        f'[run]\ndir = "{tmp_path}/run"\n[model]\npreset = "tiny"\ncontext = 32\n'
        '[train]\nsteps = 1\nbatch_tokens = 64\ndevice = "cpu"\n'
    )
    value = answer("pretrain", settings)
    assert (value["step"], value["steps"], value["resumed_from"]) == (1, 1, 0)
    assert (Path(value["checkpoint"]) / "config.json").is_file()
