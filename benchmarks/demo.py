"""How long the demo takes, and which stage how much of it."""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.results import record

_STAGE = re.compile(r"✓ (\w+) +([\d,]+) of ([\d,]+) kept, ([\d,]+) parts?, ([\d.]+) s")


def main() -> None:
    """Runs ``webtext demo`` in a folder of its own and reads its lines with the time that they came at."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", default="1200")
    parser.add_argument("--minutes", default="1")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "webtext", "demo", "--dir", str(Path(folder) / "demo")]
        command += ["--pages", arguments.pages, "--minutes", arguments.minutes]
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        assert process.stdout is not None
        stages: list[tuple[str, ...]] = []
        for line in process.stdout:
            stage = _STAGE.match(line)
            if stage:
                stages.append(stage.groups())
        if process.wait():
            raise SystemExit("the demo failed")
        whole_s = time.monotonic() - started
    rest_s = whole_s - sum(float(stage[-1]) for stage in stages)
    stages.append(("web, dump, report, and the two models with their start", "", "", "", f"{rest_s:.1f}"))
    stages.append(("the whole demo", "", "", "", f"{whole_s:.1f}"))
    record(
        f"The demo by stage, {arguments.pages} pages",
        ["stage", "kept", "in", "parts", "seconds", "share"],
        [[*stage, f"{float(stage[-1]) / whole_s:.0%}"] for stage in stages],
        f"Each model is trained for {arguments.minutes} min at the most.",
    )


if __name__ == "__main__":
    main()
