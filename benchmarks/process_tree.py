"""What a command took: its time, and the CPU time and memory of it and of every process that it started."""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SAMPLE_S = 0.2
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measured:
    """What a command and all that it started took."""

    output: str
    """Its standard output."""
    wall_s: float
    cpu_s: float
    """User's and system's."""
    peak_bytes: int
    """The most resident at one time, by the sum of the processes' own peaks: shared pages count in each."""
    at_once_bytes: int
    """The most at one time, by samples: a page that processes share is counted once."""


def measure(command: Sequence[str]) -> Measured:
    """Runs a command to its end; exits where it fails."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    sampler = _Sampler(process.pid)
    sampler.start()
    assert process.stdout
    output = process.stdout.read()
    sampler.stop()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    # The kernel's account leaves out processes that nobody waited for; the samples what came after the last.
    cpu_s = max(usage.ru_utime + usage.ru_stime, sum(sampler.cpu_s.values()))
    return Measured(output, wall_s, cpu_s, sampler.peak_bytes, sampler.at_once_bytes)


class _Sampler(threading.Thread):
    """Looks at a process and its descendants until it is told to stop."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self._root = root
        self._stopped = threading.Event()
        self.peak_bytes = self.at_once_bytes = 0
        self.cpu_s: dict[int, float] = {}  # by process, as seen last

    def stop(self) -> None:
        """Waits for the last look."""
        self._stopped.set()
        self.join()

    def run(self) -> None:
        while not self._stopped.wait(_SAMPLE_S):
            total = at_once = 0
            for pid in _tree(self._root):
                with contextlib.suppress(OSError, IndexError):  # it may end between two looks
                    self.cpu_s[pid] = _cpu_s(pid)
                    total += _bytes(pid, "status", "VmHWM:")
                    at_once += _bytes(pid, "smaps_rollup", "Pss:")
            self.at_once_bytes = max(self.at_once_bytes, at_once)
            self.peak_bytes = max(self.peak_bytes, total)


def _tree(root: int) -> list[int]:
    tree = [root]
    for pid in tree:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                tree += [int(child) for child in (task / "children").read_text().split()]
    return tree


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def _bytes(pid: int, file: str, name: str) -> int:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0  # it has ended
