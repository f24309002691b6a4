"""Where figures are written down: with the commit, the machine and the command that gave them."""

import datetime as dt
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"


def record(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], remarks: str = "") -> None:
    """Prints a table, and appends it to RESULTS.md."""
    lines = [f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *rows)]
    text = "\n".join([f"## {title}", _where(), "", *lines, *([""] if remarks else []), remarks]).rstrip()
    print(text)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(f"\n{text}\n")


def _where() -> str:
    module = Path(sys.argv[0]).stem
    named = [Path(one).name if one.startswith("/") else one for one in sys.argv[1:]]  # no one machine's paths
    arguments = "".join(f" {shlex.quote(one)}" for one in named)
    today = dt.datetime.now(dt.UTC).date()
    return (
        f"{today}, commit {_commit()}, {_cpu()}, {os.cpu_count()} cores, Python {platform.python_version()}: "
        f"`python -m benchmarks.{module}{arguments}`"
    )


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=RESULTS.parent).stdout

    changed = [line for line in git("status", "--porcelain").splitlines() if "RESULTS.md" not in line]
    return git("rev-parse", "--short", "HEAD").strip() + (" with changes" if changed else "")


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith("model name"):
            return " ".join(line.partition(":")[2].split())
    return platform.machine()
