"""The side of benchmarks/gpu.py that needs nanoGPT: its own train.py, as it stands in a checkout."""

import re
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

_FILES = ("train.py", "model.py", "configurator.py")
_STEP = re.compile(r"^iter (\d+): loss [\d.]+, time ([\d.]+)ms", re.MULTILINE)
_PEAK = re.compile(r"^peak bytes (\d+)$", re.MULTILINE)
_SETTLING = 3  # Steps that compile and warm up.
_START = """
import runpy, sys, torch
runpy.run_path("train.py", run_name="__main__")
print("peak bytes", torch.cuda.max_memory_allocated())
"""


@dataclass(frozen=True)
class NanoGPT:
    """What a few of its steps came to.

    Attributes:
        tokens: A step.
        seconds: Of the median step after the first ones.
        peak_bytes: Most memory that its tensors held on the device.
    """

    tokens: int
    seconds: float
    peak_bytes: int


def run_nanogpt(
    checkout: Path, folder: Path, tokens: npt.NDArray[np.uint16], steps: int, **settings: float | str | str
) -> NanoGPT:
    """Takes `steps` timed steps of nanoGPT's train.py on `tokens`.

    Args:
        checkout: Where its files lie; they are copied, and nothing is written there.
        folder: Empty, for its copy, its data and what it writes.
        tokens: uint16, what it draws its sequences from.
        steps: Steps to time, after those that compile and warm up.
        settings: In place of its defaults, by their names; what it then takes follows from its code.

    Raises:
        RuntimeError: It failed.
    """
    data = folder / "data" / "tokens"
    data.mkdir(parents=True)
    for name in _FILES:
        shutil.copy(checkout / name, folder)
    for split in ("train", "val"):
        tokens.tofile(data / f"{split}.bin")
    # Its first step always measures a loss by other code, which is made as short as it can be.
    chosen = {"dataset": "tokens", "max_iters": _SETTLING + steps - 1, "eval_iters": 1, **settings}
    command = [sys.executable, "-c", _START, *(f"--{name}={value}" for name, value in chosen.items())]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(f"nanoGPT failed: {' / '.join(ended.stderr.strip().splitlines()[-3:])}")
    (a_step,) = re.findall(r"^tokens per iteration will be: ([\d,]+)$", ended.stdout, re.MULTILINE)
    (peak,) = _PEAK.findall(ended.stdout)
    seconds = [float(ms) / 1000 for step, ms in _STEP.findall(ended.stdout) if int(step) >= _SETTLING]
    return NanoGPT(int(a_step.replace(",", "")), statistics.median(seconds), int(peak))
