"""How fast training goes, what share of the device's peak that is, and what memory it takes."""

import logging
import os
import resource
import sys
import time
from dataclasses import dataclass

import torch

from model.config import Config
from model.training.flops import flops_per_token, peak_flops, unknown_peak, utilisation
from model.training.processes import Processes

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What one step took; the fields are those of `model.training.log.StepReport`."""

    tokens_per_second: float
    seconds: float
    data_seconds: float
    mfu: float | None
    hfu: float | None
    memory_bytes: int


class Speedometer:
    """Takes the times of one step after the other.

    Args:
        config: The network.
        recompute: Whether blocks compute their activations anew.
        processes: Who works on a step.
    """

    def __init__(self, config: Config, *, recompute: bool, processes: Processes) -> None:
        self._device = processes.device
        self._count = processes.count
        self._flops = flops_per_token(config, recompute=recompute)
        self._peak = None
        if self._device.type == "cuda":
            name = torch.cuda.get_device_name(self._device)
            self._peak = peak_flops(name)
            if self._peak is None and processes.is_first:
                _log.warning("%s", unknown_peak(name))
        self._began = self._step_began = self._had_data = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since this object was made."""
        return time.monotonic() - self._began

    def begin_step(self) -> None:
        """Before the step's batches are asked for."""
        self._step_began = time.monotonic()

    def have_data(self) -> None:
        """Once they are there."""
        self._had_data = time.monotonic()

    def end_step(self, tokens: int, seconds: float) -> Pace:
        """What the step took, which read `tokens` in all processes; `seconds` is the time, for all alike."""
        rate = tokens / (time.monotonic() - self._step_began)
        peak = self._peak
        return Pace(
            tokens_per_second=rate,
            seconds=seconds,
            data_seconds=self._had_data - self._step_began,
            mfu=None if peak is None else utilisation(rate, self._flops.model, peak, self._count),
            hfu=None if peak is None else utilisation(rate, self._flops.hardware, peak, self._count),
            memory_bytes=most_memory(self._device),
        )


def most_memory(device: torch.device) -> int:
    """Bytes that were held at most so far: by tensors on a GPU, by this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else 1024 * size


def capacity(device: torch.device) -> int:
    """Bytes of memory that the device has."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
