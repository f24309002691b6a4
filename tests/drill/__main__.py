"""``python -m tests.drill``."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from pipeline.stages import STAGES
from tests.drill.deal import Wanted
from tests.drill.supervisor import Supervisor
from tests.drill.table import show


def main() -> int:
    """Drills as the command line says; status 1 where something was not survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.drill", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=int(time.time()), help="repeats which faults strike, and when"
    )
    parser.add_argument("--pages", type=int, default=2_000, help="of the demo's web")
    parser.add_argument("--kills", type=int, default=7, help="in each of the eight stages")
    parser.add_argument("--others", type=int, default=4, help="other faults in each stage")
    parser.add_argument("--network", type=int, default=9, help="faults of the web, while it is fetched")
    every = [stage.name for stage in STAGES]
    parser.add_argument("--stages", nargs="+", choices=every, default=every, help="that faults strike in")
    asked = parser.parse_args()
    console = Console()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="webtext-drill-") as folder:
        wanted = Wanted(asked.pages, asked.kills, asked.others, asked.network, tuple(asked.stages))
        supervisor = Supervisor(Path(folder) / "d", wanted, asked.seed, console)
        survived = supervisor.drill()
    show(supervisor.lines, supervisor.not_tried, console)
    ending = "all survived" if survived else "NOT survived"
    console.print(f"seed {asked.seed}, {time.monotonic() - began:.0f} s: {ending}")
    return 0 if survived else 1


if __name__ == "__main__":
    sys.exit(main())
