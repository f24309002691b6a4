"""Training in processes of their own, for tests: several that train together, or one that is killed."""

import json
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from model.config import ModelSettings, TrainSettings
from model.errors import ModelError
from model.training import saving
from model.training.log import StepReport
from model.training.train import pretrain

_LONGEST_S = 100


def forkserver() -> ForkServerContext:
    """Starts processes that have torch imported already."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["tests.training_processes"])
    return context


def train_together(
    count: int, run: Path, out: Path, model: ModelSettings, train: TrainSettings
) -> list[int | None]:
    """Trains in `count` processes, as torchrun would start them; returns their exit codes.

    `out/reports.json` has the losses, or `out/error.txt` says what was refused.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [
        forkserver().Process(target=_train_as, args=(rank, count, port, run, out, model, train))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    return [_wait(process) for process in processes]


def train_killed(
    when: "Kill", run: Path, out: Path, model: ModelSettings, train: TrainSettings
) -> int | None:
    """Trains in a process that kills itself; its exit code, -9 where it came to that."""
    process = forkserver().Process(target=_train_until, args=(when, run, out, model, train))
    process.start()
    return _wait(process)


class Kill:
    """SIGKILL to this process at the `number`-th call of a function of `model.training.saving`."""

    def __init__(self, function: str, number: int) -> None:
        self.function = function
        self.number = number

    def arm(self) -> None:
        """Puts the trap in place."""
        real: Callable[..., Any] = getattr(saving, self.function)
        left = self.number

        def trap(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        setattr(saving, self.function, trap)


def _wait(process: BaseProcess) -> int | None:
    process.join(_LONGEST_S)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode


def train_on_one_thread(run: Path, out: Path, model: ModelSettings, train: TrainSettings) -> None:
    """Trains, on as many threads as tests do: sums over another number of them are rounded otherwise."""
    torch.set_num_threads(1)
    pretrain(run, model, train, out)


def _train_until(when: Kill, run: Path, out: Path, model: ModelSettings, train: TrainSettings) -> None:
    when.arm()
    train_on_one_thread(run, out, model, train)


def _train_as(
    rank: int, count: int, port: int, run: Path, out: Path, model: ModelSettings, train: TrainSettings
) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    reports: list[StepReport] = []
    try:
        result = pretrain(run, model, train, out, reports.append)
    except ModelError as error:
        (out / "error.txt").write_text(str(error))
        sys.exit(1)
    if rank:
        assert not reports
        return
    steps = [[report.step, report.loss, report.gradient_norm, report.val_loss] for report in reports]
    facts = {"steps": steps, "tokens": result.tokens, "resumed_from": result.resumed_from}
    (out / "reports.json").write_text(json.dumps(facts))
