"""Pickles and code that others may have put into a folder do not run, wherever we read one."""

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.checkpoint import CONFIG, STATE, Metadata, Progress, file_facts, read_metadata
from model.config import GPT2Config, ModelSettings, TrainSettings
from model.errors import ModelError
from model.evaluate.loading import load_language_model
from model.exchange.exchange import import_checkpoint
from model.gpt2 import GPT2
from model.training.optimizer_state import PLACES
from model.training.saving import restore, save_checkpoint
from model.training.train import pretrain
from pipeline.filter import index_file
from tests.test_model_exchange import GPT2_SMALL, change_json, write_small
from tests.test_model_shards import write_run

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:torch.distributed is disabled"),
]


class Trap:
    """What makes a folder as soon as it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.sprung),)


@pytest.fixture
def sprung(tmp_path: Path) -> Path:
    """The folder that is there once a trap has run."""
    return tmp_path / "sprung"


def test_the_trap_works(sprung: Path) -> None:
    pickle.loads(pickle.dumps(Trap(sprung)))  # noqa: S301 - the test's own
    assert sprung.exists()


# --- checkpoints ------------------------------------------------------------------------------------------


def a_checkpoint(folder: Path) -> tuple[Path, GPT2, torch.optim.Optimizer]:
    """A whole one, of a network that has taken a step, and what it can be put back into."""
    config = GPT2Config(vocab_size=8, context=4, layers=1, width=8, heads=2)
    network = GPT2(config)
    optimizer = torch.optim.AdamW(network.parameters())
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    metadata = Metadata(
        progress=Progress(step=1), preset="tiny", config=config, tokenizer="", shards="", training={}
    )
    return save_checkpoint(folder, metadata, network, optimizer, b"{}", keep=1), network, optimizer


def put(checkpoint: Path, name: str, data: bytes) -> None:
    """Puts a file into a checkpoint, with the checksum of it that makes it whole."""
    (checkpoint / name).write_bytes(data)
    document = json.loads((checkpoint / CONFIG).read_text())
    change_json(checkpoint / CONFIG, files={**document["files"], name: file_facts(checkpoint / name)})
    read_metadata(checkpoint)


def change_places(checkpoint: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes where a checkpoint says that the optimizer's tensors lie."""
    places = json.loads((checkpoint / STATE / PLACES).read_text())
    change(places)
    put(checkpoint, f"{STATE}/{PLACES}", json.dumps(places).encode())


def first_piece(places: dict[str, Any]) -> dict[str, Any]:
    piece: dict[str, Any] = next(one for one in places.values() if one["shape"])["pieces"][0]
    return piece


def test_an_optimizers_state_comes_back(tmp_path: Path) -> None:
    checkpoint, network, optimizer = a_checkpoint(tmp_path / "out")
    fresh = torch.optim.AdamW(network.parameters())
    restore(checkpoint, network, fresh)
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            assert torch.equal(fresh.state[parameter][name], value)
    assert not list(checkpoint.rglob("*metadata*")), "torch's own is a pickle"


def test_torchs_own_metadata_are_not_read(tmp_path: Path, sprung: Path) -> None:
    checkpoint, network, optimizer = a_checkpoint(tmp_path / "out")
    put(checkpoint, f"{STATE}/.metadata", pickle.dumps(Trap(sprung)))
    restore(checkpoint, network, optimizer)
    (checkpoint / STATE / PLACES).unlink()
    with pytest.raises(ModelError, match=r"tensors\.json is missing or damaged"):
        restore(checkpoint, network, optimizer)
    assert not sprung.exists()


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/etc/passwd", "..", "", "a/b", "a.distcp/../b", "9" * 300 + ".distcp"]
)
def test_an_optimizers_tensors_lie_beside_the_file_that_names_them(tmp_path: Path, name: str) -> None:
    checkpoint, network, optimizer = a_checkpoint(tmp_path / "out")
    change_places(checkpoint, lambda places: first_piece(places).update(file=name))
    with pytest.raises(ModelError, match="does not say where"):
        restore(checkpoint, network, optimizer)


@pytest.mark.parametrize(
    "shape", [[1 << 50], [1 << 40, 1 << 40], [0, 1 << 59], [-1], [3, 3, 3, 3], [1 << 70], ["8"], "large"]
)
def test_a_shape_that_is_none_takes_no_memory(tmp_path: Path, shape: Any) -> None:
    checkpoint, network, optimizer = a_checkpoint(tmp_path / "out")

    def change(places: dict[str, Any]) -> None:
        piece = {**first_piece(places), "offsets": [0] * len(shape), "sizes": shape}
        next(iter(places.values())).update(shape=shape, pieces=[piece])

    change_places(checkpoint, change)
    with pytest.raises(ModelError):
        restore(checkpoint, network, optimizer)


@pytest.mark.parametrize("dtype", ["quint8", "complex64", "bool", "int8", "os.system", 7])
def test_a_type_that_no_optimizer_has_is_refused(tmp_path: Path, dtype: Any) -> None:
    checkpoint, network, optimizer = a_checkpoint(tmp_path / "out")
    change_places(checkpoint, lambda places: next(iter(places.values())).update(dtype=dtype))
    with pytest.raises(ModelError, match="does not say where"):
        restore(checkpoint, network, optimizer)


@pytest.mark.parametrize("change", [{"pieces": []}, {"more": 1}])
def test_a_tensor_that_is_not_whole_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    checkpoint, network, optimizer = a_checkpoint(tmp_path / "out")
    change_places(checkpoint, lambda places: next(iter(places.values())).update(change))
    with pytest.raises(ModelError, match="does not say where"):
        restore(checkpoint, network, optimizer)


def test_a_tensor_that_the_optimizer_would_miss_is_told(tmp_path: Path) -> None:
    checkpoint, network, optimizer = a_checkpoint(tmp_path / "out")
    change_places(checkpoint, lambda places: places.pop(next(name for name in places if "exp_avg" in name)))
    with pytest.raises(ModelError, match="remembers more of some parameters than of others"):
        restore(checkpoint, network, optimizer)


@pytest.mark.parametrize("value", ["a trap", "other tensors", "no pickle", "fewer numbers"])
def test_tensors_of_an_optimizers_state_run_nothing(tmp_path: Path, sprung: Path, value: str) -> None:
    checkpoint, network, optimizer = a_checkpoint(tmp_path / "out")
    data = {
        "a trap": saved(Trap(sprung)),
        "other tensors": saved({"a": torch.zeros(3)}),
        "no pickle": b"no pickle",
        "fewer numbers": saved(torch.zeros(1)),
    }[value]
    change_places(checkpoint, lambda places: first_piece(places).update(start=0, bytes=len(data)))
    put(checkpoint, f"{STATE}/__0_0.distcp", data)
    with pytest.raises(ModelError, match="use another checkpoint"):
        restore(checkpoint, network, optimizer)
    assert not sprung.exists()


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(5, "Input/output error"), MemoryError()])
def test_what_is_not_the_tensors_fault_is_not_said_of_them(
    tmp_path: Path, failure: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, network, optimizer = a_checkpoint(tmp_path / "out")

    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr("torch.distributed.checkpoint.filesystem.FileSystemReader.read_data", fail)
    with pytest.raises(type(failure)):
        restore(checkpoint, network, optimizer)


def test_training_that_goes_on_from_anybodys_checkpoint_runs_nothing(tmp_path: Path, sprung: Path) -> None:
    write_run(tmp_path / "run")
    model = ModelSettings.model_validate({"preset": "tiny", "context": 16})
    values = {"batch_tokens": 64, "micro_batch": 4, "eval_every": 9, "device": "cpu"}

    def train(steps: int) -> Path:
        settings = TrainSettings.model_validate({**values, "steps": steps})
        return pretrain(tmp_path / "run", model, settings, tmp_path / "out").checkpoint

    checkpoint = train(1)
    put(checkpoint, f"{STATE}/.metadata", pickle.dumps(Trap(sprung)))
    put(checkpoint, f"{STATE}/__0_0.distcp", saved(Trap(sprung)))
    with pytest.raises(ModelError, match="its tensors are damaged"):
        train(2)
    assert not sprung.exists()


# --- models of others -------------------------------------------------------------------------------------


def saved(value: object, *, legacy: bool = False) -> bytes:
    """What torch.save writes."""
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00001.bin"])
def test_weights_of_transformers_run_nothing(tmp_path: Path, sprung: Path, name: str, legacy: bool) -> None:
    folder = tmp_path / "gpt2"
    write_small(folder)
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(saved({"wte.weight": Trap(sprung)}, legacy=legacy))
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"wte.weight": name}}))
    for read in (lambda: import_checkpoint(folder, tmp_path / "out"), lambda: load_language_model(folder)):
        with pytest.raises(ModelError, match="is damaged or no file of weights alone") as told:
            read()
        assert "weights_only" not in str(told.value)  # torch tells how to run it after all
    assert not sprung.exists()


def test_code_in_a_folder_of_transformers_is_not_looked_at(tmp_path: Path, sprung: Path) -> None:
    folder = tmp_path / "gpt2"
    write_small(folder)
    for module in ("modeling_evil", "tokenization_evil", "configuration_evil"):
        (folder / f"{module}.py").write_text(f"import os\nos.mkdir({str(sprung)!r})\n")
    change_json(
        folder / "config.json",
        auto_map={"AutoModel": "modeling_evil.Evil", "AutoConfig": "configuration_evil.Evil"},
    )
    change_json(
        folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_evil.Evil", None]}
    )
    load_language_model(import_checkpoint(folder, tmp_path / "out"))
    load_language_model(folder)
    assert not sprung.exists()


@pytest.mark.parametrize("name", ["../outside.bin", "/outside.bin"])
def test_an_index_of_weights_names_files_beside_it(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "gpt2"
    network = write_small(folder, GPT2_SMALL)
    (folder / "model.safetensors").unlink()
    torch.save(network.state_dict(), tmp_path / "outside.bin")
    places = {"wte.weight": name if name.startswith(".") else str(tmp_path / "outside.bin")}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(ModelError, match=r"gpt2/outside\.bin: cannot be read"):
        import_checkpoint(folder, tmp_path / "out")


# --- a run's own ------------------------------------------------------------------------------------------


def test_the_index_of_evaluation_sets_runs_nothing(sprung: Path) -> None:
    file = io.BytesIO()
    np.savez(file, index=np.array([Trap(sprung)], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        index_file.decode(file.getvalue())
    assert not sprung.exists()
