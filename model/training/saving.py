"""Writing checkpoints beside training, and putting them back (`model.checkpoint` says what they hold).

Training stands still only while tensors are copied to the CPU's memory. A thread writes the copies, in
all processes at once where there are several; the first one does the rest, and renames last.
"""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from model.checkpoint import (
    BEST,
    CONFIG,
    STATE,
    TOKENIZER,
    UNUSABLE_WEIGHTS,
    WEIGHTS,
    Metadata,
    checkpoint_path,
    checkpoints,
    file_facts,
    flush,
    save_weights,
)
from model.devices import is_out_of_memory
from model.errors import ModelError
from model.networks import Network
from model.training.optimizer_state import read_tensors, tensors_in, write_tensors
from model.training.processes import Processes

_LOCK = ".lock"
_OF_A_NUMBER = torch.Size([])  # the shape of a count of steps


class CheckpointWriter:
    """Writes checkpoints into a folder in the background, one at a time, and keeps other writers out of it.

    Args:
        directory: The folder; what a killed run left unfinished in it is deleted.
        tokenizer_json: The tokenizer, to go with each.
        keep: Newest checkpoints that are kept, beside the best one.
        processes: Who else holds parts of what is written.

    Raises:
        ModelError: Another process writes checkpoints into the folder.
    """

    def __init__(self, directory: Path, tokenizer_json: bytes, keep: int, processes: Processes) -> None:
        self._directory = directory
        self._tokenizer_json = tokenizer_json
        self._keep = keep
        self._processes = processes
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        self._lock: int | None = None
        if processes.is_first:
            self._lock = _lock(directory)
            for draft in directory.glob(".step-*.draft"):
                shutil.rmtree(draft)

    def save(self, metadata: Metadata, network: Network, optimizer: torch.optim.Optimizer) -> Path:
        """Begins to write a checkpoint, once the one before is written; all processes call it.

        Returns:
            The folder where it will be, whole, after `finish`.
        """
        self.finish()
        path = checkpoint_path(self._directory, metadata.progress.step)
        draft = path.with_name(f".{path.name}.draft")
        weights = _whole_weights(network, keep=self._processes.is_first)
        state = {name: _copy(value) for name, value in _optimizer_tensors(network, optimizer).items()}
        if self._processes.is_first:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
        self._processes.wait()
        self._pending = self._thread.submit(self._write, metadata, weights, state, draft, path)
        return path

    def finish(self) -> None:
        """Returns when what was begun is on the disk; raises what went wrong in writing it."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
        self._processes.wait()

    def close(self) -> None:
        """Ends the thread, after what it is writing, come what may of that; others may write then."""
        self._thread.shutdown()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _write(
        self,
        metadata: Metadata,
        weights: dict[str, Tensor],
        state: dict[str, Tensor],
        draft: Path,
        path: Path,
    ) -> None:
        write_tensors(draft / STATE, state, self._processes)
        if not self._processes.is_first:
            return
        save_weights(weights, draft / WEIGHTS)
        (draft / TOKENIZER).write_bytes(self._tokenizer_json)
        files = [file for file in draft.rglob("*") if file.is_file()]
        facts = {file.relative_to(draft).as_posix(): file_facts(file) for file in sorted(files)}
        (draft / CONFIG).write_text(metadata.document(facts))
        for entry in (*draft.rglob("*"), draft):
            flush(entry)
        shutil.rmtree(path, ignore_errors=True)  # Only a torn one can stand there.
        draft.rename(path)
        flush(self._directory)
        _delete_old(self._directory, path, self._keep)


def _lock(directory: Path) -> int:
    """Locks a folder; the lock goes with the descriptor or its process, and children do not inherit it."""
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / _LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            os.close(descriptor)
            raise ModelError(
                f"another training is at work in {directory}: wait for it, or set another train.dir"
            ) from error
        # Some clusters' file systems have no locks; training must be possible there.
    return descriptor


def save_checkpoint(
    directory: Path,
    metadata: Metadata,
    network: Network,
    optimizer: torch.optim.Optimizer,
    tokenizer_json: bytes,
    keep: int,
) -> Path:
    """Writes a checkpoint of a network on the CPU into `directory`, whole or not at all, and waits for it.

    Returns:
        The checkpoint's own folder.
    """
    writer = CheckpointWriter(directory, tokenizer_json, keep, Processes(torch.device("cpu")))
    try:
        path = writer.save(metadata, network, optimizer)
        writer.finish()
    finally:
        writer.close()
    return path


def restore(path: Path, network: Network, optimizer: torch.optim.Optimizer) -> None:
    """Puts the weights and the optimizer's state of the checkpoint at `path` into place.

    Either may be spread over processes, other ones than those that wrote it. What the optimizer remembers
    comes from the checkpoint; its settings, such as weight decay, stay.

    Raises:
        ModelError: The weights or what the optimizer remembers are damaged, or of another network.
    """
    try:
        weights = load_file(path / WEIGHTS)
        places = network.state_dict()
        network.load_state_dict({name: _spread_like(places[name], weights[name]) for name in places})
    except (*UNUSABLE_WEIGHTS, KeyError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"{path / WEIGHTS} is damaged, or of another network ({error}); use another checkpoint"
        ) from error
    parameters = dict(network.named_parameters())
    state: dict[str, Tensor] = {}
    for key, (shape, dtype) in tensors_in(path / STATE).items():
        parameter = parameters.get(key.rpartition("/")[0])
        if parameter is None or shape not in (parameter.shape, _OF_A_NUMBER):
            raise ModelError(f"{path / STATE}: {key} is of another network; use another checkpoint")
        state[key] = (
            torch.zeros_like(parameter.detach(), dtype=dtype)
            if shape == parameter.shape
            else torch.zeros(shape, dtype=dtype)
        )
    if state:
        read_tensors(path / STATE, state)
    of_parameter: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        name, _, what = key.rpartition("/")
        of_parameter.setdefault(name, {})[what] = value
    _load_optimizer(network, optimizer, of_parameter, path / STATE)


def _load_optimizer(
    network: Network,
    optimizer: torch.optim.Optimizer,
    of_parameter: Mapping[str, Mapping[str, Tensor]],
    source: Path,
) -> None:
    names = {parameter: name for name, parameter in network.named_parameters()}
    groups = [[names[parameter] for parameter in group["params"]] for group in optimizer.param_groups]
    for group in groups:
        if len({frozenset(of_parameter[name]) for name in group if name in of_parameter}) > 1:
            raise ModelError(
                f"{source} remembers more of some parameters than of others; use another checkpoint"
            )
    order = [name for group in groups for name in group]
    numbered = {number: of_parameter[name] for number, name in enumerate(order) if name in of_parameter}
    settings = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": numbered, "param_groups": settings})


def _optimizer_tensors(network: Network, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimizer remembers, by `parameter/what`."""
    return {
        f"{name}/{what}": value
        for name, parameter in network.named_parameters()
        for what, value in optimizer.state.get(parameter, {}).items()
    }


def _whole_weights(network: Network, *, keep: bool) -> dict[str, Tensor]:
    """Copies of all weights, gathered from the processes one by one; nothing where they are not kept."""
    found = {}
    for name, value in network.state_dict().items():
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        if keep:
            found[name] = _copy(whole).contiguous()
    return found


def _copy(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True)


def _spread_like(place: Tensor, value: Tensor) -> Tensor:
    if not isinstance(place, DTensor):
        return value
    # Every process has read the whole, so that nothing need be sent.
    return distribute_tensor(
        value.to(place.device), place.device_mesh, list(place.placements), src_data_rank=None
    )


def _delete_old(directory: Path, newest: Path, keep: int) -> None:
    """Points `best` at the checkpoint of the lowest validation loss; deletes old ones but that."""
    present = [path for path in checkpoints(directory) if path.name <= newest.name]
    losses = {path: loss for path in present if (loss := _validation_loss(path)) is not None}
    best = min(losses, key=lambda path: losses[path]) if losses else None
    if best is not None:
        link, target = directory / f".{BEST}.draft", directory / BEST
        link.unlink(missing_ok=True)
        link.symlink_to(best.name, target_is_directory=True)
        if target.is_dir() and not target.is_symlink():  # A copy that followed the link.
            shutil.rmtree(target)
        link.replace(target)
    for path in present[keep:]:
        if path != best:
            shutil.rmtree(path)


def _validation_loss(path: Path) -> float | None:
    """What a checkpoint says of it, by a look at `config.json` alone; None also where that is torn."""
    try:
        loss = json.loads((path / CONFIG).read_bytes())["progress"]["val_loss"]
        return None if loss is None else float(loss)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
