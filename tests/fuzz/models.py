"""Checkpoints of ours, of transformers and of TensorFlow; shards' manifests, results, logs."""

import hashlib
import json
import shutil
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path

import torch
from safetensors.torch import load, save

from model.checkpoint import STATE, Metadata, Progress, file_facts, load_network, read_metadata
from model.config import GPT2Config
from model.data.sequences import open_shards
from model.errors import ModelError
from model.evaluate.results import read_results
from model.exchange.exchange import export_checkpoint, read_pretrained
from model.exchange.tensorflow_checkpoint import read_tensorflow_checkpoint
from model.finetune.folder import load_fine_tuned
from model.networks import build_network
from model.training.log import _reports
from model.training.optimizer_state import PLACES
from model.training.saving import restore, save_checkpoint
from tests.fuzz.target import Target, file_of, scratch
from tests.fuzz.tokens import made_vocabulary
from tests.test_model_tensorflow_checkpoint import WRITTEN_DATA, WRITTEN_INDEX
from tokenizer.errors import TokenizerError
from tokenizer.files import file_contents

_CONFIG = GPT2Config(vocab_size=made_vocabulary().vocab_size, context=16, layers=1, width=4, heads=1)


@cache
def _checkpoint() -> Path:
    """A checkpoint of a tiny network, whose optimizer has taken a step."""
    torch.manual_seed(0)
    network = build_network(_CONFIG)
    optimizer = torch.optim.AdamW(network.parameters())
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    metadata = Metadata(progress=Progress(), preset="x", config=_CONFIG, tokenizer="", shards="", training={})
    tokenizer = file_contents(made_vocabulary())["tokenizer.json"]
    return save_checkpoint(scratch() / "made", metadata, network, optimizer, tokenizer, 1)


@cache
def _exported() -> Path:
    """The same as transformers keeps it."""
    export_checkpoint(_checkpoint(), scratch() / "exported")
    return scratch() / "exported"


@cache
def _fine_tuned() -> Path:
    """A folder of a network that tells two classes apart."""
    folder = _copied(_checkpoint(), "tuned")
    config = json.loads((folder / "config.json").read_bytes())
    weights = {f"network.{name}": value for name, value in build_network(_CONFIG).state_dict().items()}
    weights |= {"head.weight": torch.zeros(2, 4), "head.bias": torch.zeros(2)}
    (folder / "model.safetensors").write_bytes(
        save({name: one.contiguous() for name, one in weights.items()})
    )
    files = {name: file_facts(folder / name) for name in ("model.safetensors", "tokenizer.json")}
    told = {
        "task": "classify",
        "max_length": 16,
        "classes": ["0", "1"],
        "answers_none": False,
        "files": files,
    }
    (folder / "config.json").write_text(json.dumps({**config, **told}))
    return folder


def _copied(folder: Path, name: str) -> Path:
    copy = scratch() / name
    if not copy.exists():
        shutil.copytree(folder, copy)
    return copy


def _is_read(read: Callable[[], object]) -> bool:
    try:
        read()
    except (ModelError, TokenizerError):
        return False
    return True


def _load(folder: Path) -> object:
    return load_network(folder, read_metadata(folder).config)


def checkpoint_descriptions(data: bytes) -> bool:
    """A checkpoint's config.json, and the network that it describes."""
    folder = _copied(_checkpoint(), "described")
    (folder / "config.json").write_bytes(data)
    return _is_read(lambda: _load(folder))


def checkpoint_weights(data: bytes) -> bool:
    """A checkpoint's weights by safetensors, with the sums that go with them."""
    folder = _copied(_checkpoint(), "weighed")
    (folder / "model.safetensors").write_bytes(data)
    config = json.loads((_checkpoint() / "config.json").read_bytes())
    config["files"]["model.safetensors"] = file_facts(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return _is_read(lambda: _load(folder))


def optimizer_places(data: bytes) -> bool:
    """Where the tensors are that an optimizer remembers, and those that lie there."""
    folder = _copied(_checkpoint(), "remembered")
    (folder / STATE / PLACES).write_bytes(data)
    network = build_network(_CONFIG)
    return _is_read(lambda: restore(folder, network, torch.optim.AdamW(network.parameters())))


def fine_tuned_descriptions(data: bytes) -> bool:
    """A fine-tuned network's config.json, and the network that it describes."""
    folder = _copied(_fine_tuned(), "tuned-described")
    (folder / "config.json").write_bytes(data)
    return _is_read(lambda: load_fine_tuned(folder))


def transformers_configs(data: bytes) -> bool:
    """A config.json of transformers', and its weights by that."""
    folder = _copied(_exported(), "configured")
    (folder / "config.json").write_bytes(data)
    return _is_read(lambda: read_pretrained(folder))


def transformers_weights(data: bytes) -> bool:
    """Weights by safetensors, in a folder of transformers'."""
    folder = _copied(_exported(), "filled")
    (folder / "model.safetensors").write_bytes(data)
    return _is_read(lambda: read_pretrained(folder))


def torch_pickles(data: bytes) -> bool:
    """Weights as torch pickles them, in a folder of transformers'."""
    folder = _copied(_exported(), "pickled")
    (folder / "model.safetensors").unlink(missing_ok=True)
    (folder / "pytorch_model.bin").write_bytes(data)
    return _is_read(lambda: read_pretrained(folder))


def tensorflow_indexes(data: bytes) -> bool:
    """The index of a checkpoint of TensorFlow."""
    file_of(data, "tensorflow/a.index")
    file_of(WRITTEN_DATA, "tensorflow/a.data-00000-of-00001")
    return _is_read(lambda: read_tensorflow_checkpoint(scratch() / "tensorflow" / "a"))


def shard_manifests(data: bytes) -> bool:
    """The manifest of a run's shards, as training reads it."""
    file_of(bytes(18), "sharded/shards/train-00000.bin")
    file_of(data, "sharded/shards/manifest.json")
    return _is_read(lambda: open_shards(scratch() / "sharded"))


def evaluation_results(data: bytes) -> bool:
    """The results that earlier evaluations have left."""
    path = file_of(data, "results/results.json")
    return _is_read(lambda: read_results(path.parent))


def training_logs(data: bytes) -> bool:
    """The log of a training that goes on."""
    return bool(_reports(file_of(data, "log.jsonl")))


def _pickled() -> tuple[bytes, ...]:
    file = BytesIO()
    torch.save(load((_exported() / "model.safetensors").read_bytes()), file)
    return (file.getvalue(),)


def _manifests() -> tuple[bytes, ...]:
    file = {
        "name": "train-00000.bin",
        "bytes": 18,
        "rows": 9,
        "sha256": hashlib.sha256(bytes(18)).hexdigest(),
    }
    facts = {"vocab_size": 265, "tokenizer": "t", "tokens": {"train": 9}}
    return (json.dumps({"facts": facts, "parts": [{"files": [file]}]}).encode(),)


def _file(folder: Callable[[], Path], name: str) -> Callable[[], tuple[bytes, ...]]:
    return lambda: ((folder() / name).read_bytes(),)


_KEYS = (
    *b'"config" "files" "layers" "width" "heads" "vocab_size" "context" "dropout" "bytes" {} [] null'.split(),
    *b'"architecture" "albert" "gpt2" "model_type" "n_layer" "n_embd" "tokens" "dtype" "shape" "F32"'.split(),
    *b'"data_offsets" "progress" "step" true 1.5 "classes" "max_length" "sha256" "BF16"'.split(),
)
_IN_PICKLES = (b"cos\nsystem\n", b"cbuiltins\neval\n", b"\x80\x02", *b"} ( tR. . X\x04\0\0\0".split())

TARGETS = (
    Target(checkpoint_descriptions, _file(_checkpoint, "config.json"), _KEYS),
    Target(checkpoint_weights, _file(_checkpoint, "model.safetensors"), _KEYS),
    Target(optimizer_places, _file(_checkpoint, f"{STATE}/{PLACES}"), _KEYS),
    Target(fine_tuned_descriptions, _file(_fine_tuned, "config.json"), _KEYS),
    Target(transformers_configs, _file(_exported, "config.json"), _KEYS),
    Target(transformers_weights, _file(_exported, "model.safetensors"), _KEYS),
    Target(torch_pickles, _pickled, _IN_PICKLES),
    Target(tensorflow_indexes, lambda: (WRITTEN_INDEX,)),
    Target(shard_manifests, _manifests, _KEYS),
    Target(evaluation_results, lambda: (b"[]",), _KEYS),
    Target(training_logs, lambda: (b'{"step": 1, "loss": 2.5}\n{"step": 2, "loss": 2.25}\n',), _KEYS),
)
