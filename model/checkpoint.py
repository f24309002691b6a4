"""Checkpoints: directories that are whole or absent, and hold all that a model needs.

    step-00000200/
        model.safetensors   weights, whole
        optimizer/          what the optimizer remembers, by torch.distributed.checkpoint
        tokenizer.json      the tokenizer, as it was
        config.json         architecture, configuration, settings, and size and sha256 of the others
    best -> step-00000200   the one of the lowest validation loss

Weights are what is passed on, so they are in a file that any reader of safetensors takes and that can run
no code. The optimizer's state serves only to go on: each process writes and reads its own share of it, on
any number of processes.

A checkpoint is written under a temporary name, flushed to the disk and renamed, so that a crash leaves
the one before. One that was cut short later, by a copy or a full disk, is refused by its checksums.
No random state is kept: data and dropout follow from the seed and the step (see `model.training.train`).
"""

import hashlib
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.config import AlbertConfig, Config
from model.devices import is_out_of_memory
from model.errors import ModelError
from model.networks import Network, architecture_of, build_network, parse_config
from tokenizer.encode import Tokenizer
from tokenizer.vocabulary import CLS, END_OF_TEXT, MASK, PAD, SEP

CONFIG, WEIGHTS, STATE, TOKENIZER = "config.json", "model.safetensors", "optimizer", "tokenizer.json"
BEST = "best"

UNUSABLE_WEIGHTS = (SafetensorError, RuntimeError, OverflowError, TypeError, ValueError)
"""What is raised where weights are damaged, or not those that a network has, or its sizes no C integers."""

_NAME = re.compile(r"step-(\d{8,})")
_MOST_NAMED = 3  # folders that a message proposes

_log = logging.getLogger(__name__)

_Count = Annotated[int, Field(ge=0, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far training has come.

    Attributes:
        step: Optimizer steps taken.
        position: Sequences of the data that were read or passed over: where the next step reads.
        tokens: Tokens read, padding aside.
        first_loss: Training loss of the first step, in nats.
        last_loss: Training loss of the last step, in nats.
        val_loss: Last measured validation loss, in nats; None before the first.
    """

    step: _Count = 0
    position: _Count = 0
    tokens: _Count = 0
    first_loss: float = math.nan
    last_loss: float = math.nan
    val_loss: float | None = None

    def after(self, position: int, tokens: int, loss: float, val_loss: float | None) -> "Progress":
        """The progress after one more step of loss `loss`, up to `position` and `tokens`."""
        return Progress(
            step=self.step + 1,
            position=position,
            tokens=tokens,
            first_loss=self.first_loss if self.step else loss,
            last_loss=loss,
            val_loss=self.val_loss if val_loss is None else val_loss,
        )


_PROGRESS = TypeAdapter(Progress)


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
        guard: What the guard against spikes remembers (`model.training.guards`).
    """

    progress: Progress
    preset: str
    config: Config
    tokenizer: str
    shards: str
    training: Mapping[str, Any]
    guard: Mapping[str, Any] = field(default_factory=dict)

    def document(self, files: Mapping[str, Mapping[str, Any]]) -> str:
        """The text of `config.json`; `files` are the facts about the others by name."""
        values = {
            "architecture": architecture_of(self.config),
            "preset": self.preset,
            "config": asdict(self.config),
            "progress": asdict(self.progress),
            "tokenizer": self.tokenizer,
            "shards": self.shards,
            "training": dict(self.training),
            "guard": dict(self.guard),
            "files": files,
        }
        return json.dumps(values, indent=2) + "\n"


def newest_checkpoint(directory: Path) -> Path | None:
    """The newest whole checkpoint in `directory`; torn ones are passed over with a warning.

    Returns:
        Its folder, or None where `directory` holds no checkpoint.

    Raises:
        ModelError: There are checkpoints, but each of them is torn.
    """
    torn: list[str] = []
    for path in checkpoints(directory):
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
            f"{path} is not a checkpoint (it has no {CONFIG}), nor a folder of checkpoints; {_remedy(path)}"
        )
    document = _document(path / CONFIG)
    try:
        metadata = Metadata(
            progress=_PROGRESS.validate_python(document["progress"]),
            preset=str(document["preset"]),
            config=parse_config(document["architecture"], document["config"]),
            tokenizer=str(document["tokenizer"]),
            shards=str(document["shards"]),
            training=dict(document["training"]),
            guard=dict(document["guard"]),
        )
        files = dict(document["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path / CONFIG, error) from error
    for name in {WEIGHTS, TOKENIZER, *files}:
        file = path / name
        if not _is_file(file) or file_facts(file) != files.get(name):
            raise ModelError(
                f"{file} is missing or damaged (its size or sha256 is not the one in {CONFIG});"
                " use another checkpoint"
            )
    return metadata


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # a damaged name may be longer than file systems take
        return False


def _document(file: Path) -> Any:
    """What a checkpoint's `config.json` holds; a ModelError where it is none, or one of transformers."""
    try:
        document = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _damaged(file, error) from error
    if isinstance(document, dict) and "model_type" in document:
        raise ModelError(
            f"{file.parent} is a model of Hugging Face's transformers; make a checkpoint of it first:"
            f" webtext model import {file.parent} --out FOLDER"
        )
    return document


def _damaged(file: Path, error: Exception) -> ModelError:
    return ModelError(f"{file} is damaged ({type(error).__name__}: {error}); use another checkpoint")


def _remedy(path: Path) -> str:
    """What to name in place of a folder that holds no checkpoints, where there are some below it."""
    below = (path.glob(f"{folders}/step-*/{CONFIG}") for folders in ("*", "*/*"))
    names = sorted({str(file.parents[1]) for files in below for file in files})
    return f"did you mean {', '.join(names[:_MOST_NAMED])}?" if names else "name one, or train a model first"


def load_network(path: Path, config: Config) -> Network:
    """The network of the checkpoint at `path`, on the CPU; `config` is its metadata's.

    Raises:
        ModelError: Its weights cannot be read, or are not those of such a network.
    """
    try:
        weights = load_file(path / WEIGHTS)
        require_depth(config, weights)
        with torch.device("meta"):
            network = build_network(config)
        network.load_state_dict(weights, assign=True)
    except UNUSABLE_WEIGHTS as error:
        if is_out_of_memory(error):
            raise
        raise _damaged(path / WEIGHTS, error) from error
    return network


def load_tokenizer(path: Path, config: Config) -> Tokenizer:
    """The tokenizer that lies beside the weights of a network of `config`.

    Raises:
        ModelError: It has ids that the network does not know, or lacks those that an ALBERT reads.
        TokenizerError: It is missing or damaged.
    """
    tokenizer = Tokenizer.load(path)
    # A GPT-2 reads none of the special tokens that stand behind its end of text.
    needed = (PAD, CLS, SEP, MASK) if isinstance(config, AlbertConfig) else (END_OF_TEXT,)
    if max(tokenizer.specials.get(name, config.vocab_size) for name in needed) >= config.vocab_size:
        raise ModelError(f"{path / TOKENIZER} is not this network's tokenizer; use another checkpoint")
    return tokenizer


def require_depth(config: Config, weights: Mapping[str, Tensor]) -> None:
    """Raises ValueError for more layers than there are weights: to make so many could take all memory."""
    depth = config.groups if isinstance(config, AlbertConfig) and config.sharing == "all" else config.layers
    if depth > len(weights):
        raise ValueError(f"{depth:,} layers cannot be made of {len(weights):,} weights")


def checkpoint_path(directory: Path, step: int) -> Path:
    """The folder of the checkpoint of `step` in `directory`."""
    return directory / f"step-{step:08d}"


def checkpoints(directory: Path) -> Iterator[Path]:
    """Folders of checkpoints, whole or torn, the newest first."""
    found = [(int(m[1]), p) for p in directory.glob("step-*") if (m := _NAME.fullmatch(p.name))]
    return (path for _, path in sorted(found, reverse=True))


def file_facts(file: Path) -> dict[str, Any]:
    """Size and sha256 of a file, as `config.json` has them."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return {"bytes": file.stat().st_size, "sha256": digest}


def save_weights(weights: Mapping[str, Tensor], file: Path, metadata: dict[str, str] | None = None) -> None:
    """Writes weights as safetensors, with `metadata` where given, into a file that others may read as any."""
    file.touch()
    mode = file.stat().st_mode
    save_file(dict(weights), file, metadata=metadata)
    file.chmod(mode)  # safetensors lets nobody else read its files


def require_new(out: Path) -> None:
    """Raises ModelError where there is something at `out`."""
    if out.exists():
        raise ModelError(f"{out} is there already; name a new folder, or remove it first")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write into, which is at `out` once the block ends well, whole, and nowhere else.

    Raises:
        ModelError: There is something at `out`.
    """
    require_new(out)
    draft = out.with_name(f".{out.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
        for entry in (*draft.iterdir(), draft):
            flush(entry)
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def flush(path: Path) -> None:
    """Has the system write a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
