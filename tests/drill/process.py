"""The command under test as the supervisor has it: started with limits, watched by its files, ended."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.stages import PLAN, STAGES

_POLL_S = 0.005
_REQUESTS = 120  # of a round of fetch, the most
_ENDS_AT_LAST_S = 300.0
HANG = -1000  # the status of what does not end by itself


@dataclass(frozen=True, slots=True)
class Limits:
    """What the command is started with: open files and bytes of a file at the most, its environment."""

    num_files: int | None = None
    file_bytes: int | None = None
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its status (negative: a signal), and what it said."""

    status: int
    said: str


class Command:
    """A running ``webtext`` command, in a session of its own."""

    def __init__(self, folder: Path, arguments: list[str], limits: Limits, log: Path) -> None:
        self.started = time.time()
        self._log = log

        with self._log.open("wb") as said:
            self.process = subprocess.Popen(
                [
                    "/bin/sh",
                    "-c",
                    f'{_limiting(limits)}exec "$0" -m webtext "$@"',
                    sys.executable,
                    *arguments,
                ],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "COLUMNS": "1000", **(limits.environment or {})},
            )

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def descendants(self) -> list[int]:
        """The ids of its children, and of theirs."""
        found: list[int] = []
        todo = [self.process.pid]
        while todo:
            pid = todo.pop()
            for file in Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    children = list(map(int, file.read_text().split()))
                    found += children
                    todo += children
        return found

    def signal_all(self, number: int) -> None:
        """Sends a signal to the whole group, as a terminal does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def wait(self, timeout_s: float = _ENDS_AT_LAST_S) -> Ended:
        """Waits for the end; what has not ended in time is killed, and its status is HANG."""
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.signal_all(signal.SIGKILL)
            self.process.wait()
            status = HANG
        return Ended(status, self._log.read_text(errors="replace"))


def _limiting(limits: Limits) -> str:
    """The shell's words for limits."""
    files = f"ulimit -n {limits.num_files}; " if limits.num_files is not None else ""
    size = f"ulimit -f {-(-limits.file_bytes // 512)}; " if limits.file_bytes is not None else ""
    return files + size


@dataclass(frozen=True, slots=True)
class Moment:
    """When a fault strikes: so far into what a stage has left to do, and so much later (seconds).

    ``in_processes`` has the build start processes for its work, though there be little of it.
    """

    stage: str
    fraction: float
    later_s: float
    in_processes: bool = False


def await_moment(command: Command, run: Path, moment: Moment, num_asked: Callable[[], int]) -> bool:
    """Waits until a command is at a moment, or beyond it; False where it has ended before.

    Args:
        command: It.
        run: The run directory.
        moment: The stage and how much of it.
        num_asked: Gives the requests that the web has seen: fetch's parts end all at once.
    """
    names = [stage.name for stage in STAGES]
    wanted = names.index(moment.stage) if moment.stage in names else len(names)
    first: int | None = None
    asked = num_asked()
    begun = 0.0
    while command.is_running():
        at_work = _at_work(run, command.started)
        if at_work is not None:
            index, num_parts, num_done = at_work
            if index > wanted:
                return True
            if index == wanted:
                first = num_done if first is None else first
                begun = begun or time.monotonic()
                if moment.stage == "fetch":
                    reached = num_asked() - asked >= moment.fraction * _REQUESTS
                else:
                    reached = num_done - first >= moment.fraction * (num_parts - first)
                reached = reached or time.monotonic() - begun > 4 * moment.fraction
                if reached:
                    time.sleep(moment.later_s)
                    return command.is_running()
        time.sleep(_POLL_S)
    return False


def _at_work(run: Path, since: float) -> tuple[int, int, int] | None:
    """The stage that a build is at, by its plan's file: its number, its parts, and those that are done."""
    for index, stage in reversed(list(enumerate(STAGES))):
        plan = run / stage.folder / PLAN
        try:
            if plan.stat().st_mtime < since:
                continue
            parts = json.loads(plan.read_bytes())["parts"]
            there = {path.name for path in (run / stage.folder).iterdir()}
        except (OSError, ValueError):
            continue
        return index, len(parts), sum(f"{name}.json" in there for name in parts)
    return None
