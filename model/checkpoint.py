"""Checkpoints: directories that are whole or absent, and hold all that a model needs.

    step-00000200/
        model.safetensors   weights
        state.pt            what the optimizer remembers
        tokenizer.json      the tokenizer, as it was
        config.json         architecture, configuration, settings, and size and sha256 of the others

A checkpoint is written under a temporary name, flushed to the disk and renamed, so that a crash leaves
the one before. One that was cut short later, by a copy or a full disk, is refused by its checksums.
No random state is kept: data and dropout follow from the seed and the step (see `model.train`).
"""

import hashlib
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from model.config import Config
from model.errors import ModelError
from model.networks import Network, architecture_of, build_network, parse_config

CONFIG, WEIGHTS, STATE, TOKENIZER = "config.json", "model.safetensors", "state.pt", "tokenizer.json"

_NAME = re.compile(r"step-(\d{8,})")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far training has come.

    Attributes:
        step: Optimizer steps taken.
        tokens: Tokens read, padding aside.
        first_loss: Training loss of the first step, in nats.
        last_loss: Training loss of the last step, in nats.
        val_loss: Last measured validation loss, in nats; None before the first.
    """

    step: int = 0
    tokens: int = 0
    first_loss: float = math.nan
    last_loss: float = math.nan
    val_loss: float | None = None

    def after(self, tokens: int, loss: float, val_loss: float | None) -> "Progress":
        """The progress after one more step, which `tokens` were read up to and had `loss`."""
        return Progress(
            step=self.step + 1,
            tokens=tokens,
            first_loss=self.first_loss if self.step else loss,
            last_loss=loss,
            val_loss=self.val_loss if val_loss is None else val_loss,
        )


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a checkpoint says of itself in `config.json`.

    Attributes:
        progress: How far training had come.
        preset: Name of the preset.
        config: The network's shape.
        tokenizer: sha256 of tokenizer.json, in hexadecimal.
        shards: Digest of the shards that it was trained on.
        training: The seed and the recipe, as plain values.
    """

    progress: Progress
    preset: str
    config: Config
    tokenizer: str
    shards: str
    training: Mapping[str, Any]


def save_checkpoint(
    directory: Path,
    metadata: Metadata,
    network: Network,
    optimizer: torch.optim.Optimizer,
    tokenizer_json: bytes,
    keep: int,
) -> Path:
    """Writes a checkpoint into `directory`, whole or not at all; of it and older ones, keeps `keep`.

    Returns:
        The checkpoint's own folder.
    """
    path = directory / f"step-{metadata.progress.step:08d}"
    draft = directory / f".{path.name}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, draft / WEIGHTS)
    torch.save(optimizer.state_dict()["state"], draft / STATE)
    (draft / TOKENIZER).write_bytes(tokenizer_json)
    document = {
        "architecture": architecture_of(metadata.config),
        "preset": metadata.preset,
        "config": asdict(metadata.config),
        "progress": asdict(metadata.progress),
        "tokenizer": metadata.tokenizer,
        "shards": metadata.shards,
        "training": dict(metadata.training),
        "files": {name: _facts(draft / name) for name in (WEIGHTS, STATE, TOKENIZER)},
    }
    (draft / CONFIG).write_text(json.dumps(document, indent=2) + "\n")
    for file in draft.iterdir():
        _flush(file)
    _flush(draft)
    shutil.rmtree(path, ignore_errors=True)  # Only a torn one can stand there.
    draft.rename(path)
    _flush(directory)
    older = [p for p in _steps(directory) if p.name < path.name]
    for old in older[keep - 1 :]:
        shutil.rmtree(old)
    return path


def newest_checkpoint(directory: Path) -> Path | None:
    """The newest whole checkpoint in `directory`; torn ones are passed over with a warning.

    Returns:
        Its folder, or None where `directory` holds no checkpoint.

    Raises:
        ModelError: There are checkpoints, but each of them is torn.
    """
    torn: list[str] = []
    for path in _steps(directory):
        try:
            read_metadata(path)
        except ModelError as error:
            _log.warning("passed over a torn checkpoint: %s", error)
            torn.append(path.name)
        else:
            return path
    if torn:
        raise ModelError(
            f"{directory} holds only torn checkpoints ({', '.join(torn)});"
            " delete them to start afresh, or copy a whole one back"
        )
    return None


def read_metadata(path: Path) -> Metadata:
    """What the checkpoint at `path` says of itself, once all of its files are checked.

    Raises:
        ModelError: `path` is no checkpoint, or one of its files is missing or damaged.
    """
    if not (path / CONFIG).is_file():
        raise ModelError(
            f"{path} is not a checkpoint (it has no {CONFIG}), nor a folder of checkpoints;"
            " name one, or train a model first"
        )
    try:
        document = json.loads((path / CONFIG).read_bytes())
        metadata = Metadata(
            progress=Progress(**document["progress"]),
            preset=str(document["preset"]),
            config=parse_config(document["architecture"], document["config"]),
            tokenizer=str(document["tokenizer"]),
            shards=str(document["shards"]),
            training=dict(document["training"]),
        )
        files = dict(document["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{path / CONFIG} is damaged ({type(error).__name__}: {error}); use another checkpoint"
        ) from error
    for name in (WEIGHTS, STATE, TOKENIZER):
        file = path / name
        if not file.is_file() or _facts(file) != files.get(name):
            raise ModelError(
                f"{file} is missing or damaged (its size or sha256 is not the one in {CONFIG});"
                " use another checkpoint"
            )
    return metadata


def load_network(path: Path, config: Config) -> Network:
    """The network of the checkpoint at `path`, on the CPU; `config` is its metadata's."""
    with torch.device("meta"):
        network = build_network(config)
    network.load_state_dict(load_file(path / WEIGHTS), assign=True)
    return network


def restore(path: Path, network: Network, optimizer: torch.optim.Optimizer) -> None:
    """Puts the weights and the optimizer's state of the checkpoint at `path` into place.

    What the optimizer remembers comes from the checkpoint; its settings, such as weight decay, stay.
    """
    network.load_state_dict(load_file(path / WEIGHTS))
    state = torch.load(path / STATE, weights_only=True, map_location="cpu")
    settings = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": settings})


def _steps(directory: Path) -> Iterator[Path]:
    """Folders of checkpoints, the newest first."""
    found = [(int(m[1]), p) for p in directory.glob("step-*") if (m := _NAME.fullmatch(p.name))]
    return (path for _, path in sorted(found, reverse=True))


def _facts(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return {"bytes": file.stat().st_size, "sha256": digest}


def _flush(path: Path) -> None:
    """Has the system write a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
