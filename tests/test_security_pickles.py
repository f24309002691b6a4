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
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import MetadataIndex
from torch.distributed.checkpoint.state_dict_saver import save

from model.checkpoint import CONFIG, STATE, Metadata, Progress, file_facts, read_metadata
from model.config import GPT2Config, ModelSettings, TrainSettings
from model.errors import ModelError
from model.evaluate.loading import load_language_model
from model.exchange.exchange import import_checkpoint
from model.gpt2 import GPT2
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


def with_trap(place: Callable[[Any, Trap], None]) -> Callable[[Path, Trap], bytes]:
    """Makes a checkpoint's metadata with a trap in one place of them."""

    def make(checkpoint: Path, trap: Trap) -> bytes:
        metadata = FileSystemReader(checkpoint / STATE).read_metadata()
        place(metadata, trap)
        return pickle.dumps(metadata)

    return make


def _in_storage(metadata: Any, trap: Trap) -> None:
    metadata.storage_data[MetadataIndex("more")] = trap


METADATA: dict[str, Callable[[Path, Trap], bytes]] = {
    "alone": lambda _, trap: pickle.dumps(trap),
    "alone, in letters": lambda _, trap: pickle.dumps(trap, protocol=0),
    "in the planner's": with_trap(lambda metadata, trap: setattr(metadata, "planner_data", trap)),
    "as a tensor": with_trap(lambda metadata, trap: metadata.state_dict_metadata.update(more=trap)),
    "as a place": with_trap(_in_storage),
    "by a class of a class": lambda _, __: b"\x80\x04\x8c\x05torch\x8c\x10serialization.os\x93.",
}


@pytest.mark.parametrize("how", METADATA)
def test_the_metadata_of_an_optimizers_state_run_nothing(tmp_path: Path, sprung: Path, how: str) -> None:
    checkpoint, network, optimizer = a_checkpoint(tmp_path / "out")
    put(checkpoint, f"{STATE}/.metadata", METADATA[how](checkpoint, Trap(sprung)))
    with pytest.raises(ModelError, match=r"\.metadata is damaged, or no metadata of tensors alone"):
        restore(checkpoint, network, optimizer)
    assert not sprung.exists()


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "..", "", "a/b"])
def test_the_metadata_of_an_optimizers_state_name_files_beside_them(tmp_path: Path, name: str) -> None:
    checkpoint, network, optimizer = a_checkpoint(tmp_path / "out")
    metadata: Any = FileSystemReader(checkpoint / STATE).read_metadata()
    for place in metadata.storage_data.values():
        place.relative_path = name
    put(checkpoint, f"{STATE}/.metadata", pickle.dumps(metadata))
    with pytest.raises(ModelError, match="is no plain file in the folder"):
        restore(checkpoint, network, optimizer)


@pytest.mark.parametrize("shape", [torch.Size([1 << 50]), torch.Size([3, 3, 3, 3]), "large"])
def test_the_metadata_of_an_optimizers_state_take_no_memory(tmp_path: Path, shape: Any) -> None:
    checkpoint, network, optimizer = a_checkpoint(tmp_path / "out")
    metadata: Any = FileSystemReader(checkpoint / STATE).read_metadata()
    next(iter(metadata.state_dict_metadata.values())).size = shape
    put(checkpoint, f"{STATE}/.metadata", pickle.dumps(metadata))
    with pytest.raises(ModelError):
        restore(checkpoint, network, optimizer)


def test_what_is_no_tensor_in_an_optimizers_state_is_not_unpickled(tmp_path: Path, sprung: Path) -> None:
    checkpoint, network, optimizer = a_checkpoint(tmp_path / "out")
    save({"more/step": Trap(sprung)}, checkpoint_id=tmp_path / "state")
    for file in (tmp_path / "state").iterdir():
        put(checkpoint, f"{STATE}/{file.name}", file.read_bytes())
    with pytest.raises(ModelError, match="BytesStorageMetadata"):
        restore(checkpoint, network, optimizer)
    assert not sprung.exists()


def test_tensors_of_an_optimizers_state_run_nothing(tmp_path: Path, sprung: Path) -> None:
    checkpoint, network, optimizer = a_checkpoint(tmp_path / "out")
    metadata: Any = FileSystemReader(checkpoint / STATE).read_metadata()
    data = saved(Trap(sprung))
    for place in metadata.storage_data.values():
        place.offset, place.length = 0, len(data)
    put(checkpoint, f"{STATE}/.metadata", pickle.dumps(metadata))
    put(checkpoint, f"{STATE}/__0_0.distcp", data)
    with pytest.raises(ModelError, match="use another checkpoint"):
        restore(checkpoint, network, optimizer)
    assert not sprung.exists()


def test_training_that_goes_on_from_anybodys_checkpoint_runs_nothing(tmp_path: Path, sprung: Path) -> None:
    write_run(tmp_path / "run")
    model = ModelSettings.model_validate({"preset": "tiny", "context": 16})
    values = {"batch_tokens": 64, "micro_batch": 4, "eval_every": 9, "device": "cpu"}

    def train(steps: int) -> Path:
        settings = TrainSettings.model_validate({**values, "steps": steps})
        return pretrain(tmp_path / "run", model, settings, tmp_path / "out").checkpoint

    put(train(1), f"{STATE}/.metadata", pickle.dumps(Trap(sprung)))
    with pytest.raises(ModelError, match=r"\.metadata is damaged"):
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
