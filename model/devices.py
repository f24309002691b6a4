"""Where to compute."""

import torch

from model.errors import ModelError


def find_device(name: str) -> torch.device:
    """The device called `name`; auto is the GPU where there is one, else the CPU.

    Raises:
        ModelError: This machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"device: cannot compute on {name!r} here ({reason}); choose auto, cpu, cuda or cuda:N"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch says by `error` that a device's memory, or the CPU's, is used up."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)
