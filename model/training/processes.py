"""Processes that train together, as torchrun starts them; one alone is the case of one.

Each takes an equal share of every step's sequences, so that the order of the data does not depend on how
many there are.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from model.devices import find_device
from model.errors import ModelError

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process among the others.

    Attributes:
        device: What this process computes on.
        rank: Its number.
        count: How many there are.
        saving: Group for writing checkpoints in the background, so that its messages do not mix with
            those of training; None where one process is alone.
    """

    device: torch.device
    rank: int = 0
    count: int = 1
    saving: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this is the one process that logs and writes what there is once."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The elements of `values` summed over the processes, in place."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def tell(self, value: T) -> T:
        """The first process's `value`, in all of them."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.saving)
        return box[0]

    def wait(self) -> None:
        """Returns when all processes have come here."""
        if self.count > 1:
            dist.barrier(group=self.saving)


@contextmanager
def join_processes(device: str) -> Iterator[Processes]:
    """This process among those that torchrun started, which its environment variables tell; else alone.

    Args:
        device: Name of the device; auto and cuda are each process's own GPU.

    Raises:
        ModelError: There is no such device, or fewer GPUs than processes on this machine.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(find_device(device))
        return
    if device in ("auto", "cuda") and torch.cuda.is_available():
        found = _own_gpu(int(os.environ["LOCAL_RANK"]))
    else:
        found = find_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if found.type == "cuda" else "gloo")
    try:
        saving = dist.new_group(backend="gloo")
        yield Processes(found, dist.get_rank(), count, saving)
    finally:
        dist.destroy_process_group()


def _own_gpu(local_rank: int) -> torch.device:
    if local_rank >= torch.cuda.device_count():
        raise ModelError(
            f"process {local_rank} of this machine has no GPU of its own: there are"
            f" {torch.cuda.device_count()}; start torchrun with as many processes as GPUs"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device
