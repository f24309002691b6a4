"""What the report of a large run takes: seconds and memory, and which steps take them.

No other project makes such a report, so there are no two sides to compare. Beside it stands what any report
must do at least: DuckDB reads every column of the same tables once, and does nothing with them. Each is a
process of its own, in turns, over files that the system has in memory.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.corpus_run import write_run
from benchmarks.kept_folder import kept_folder
from benchmarks.process_tree import Measured, measure
from benchmarks.results import record

_GOAL_S, _GOAL_BYTES = 60, 2_000_000_000
_TABLES = (
    "links/part-*.parquet",
    "pages/part-*.ledger.parquet",
    "corpus/part-?????.parquet",
    "corpus/clusters.parquet",
    "shards/part-*.documents.parquet",
)


def main() -> None:
    """Measures the report of a run and records what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?", help="of benchmarks.corpus_run; left out, one is made")
    parser.add_argument("--documents", type=int, default=1_000_000, help="of a run that is made")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--only", choices=sorted(_SIDES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        _SIDES[arguments.only](arguments.run)
        return
    with kept_folder(arguments.run, "report") as folder:
        run = arguments.run or Path(write_run(folder / "run", arguments.documents).path())
        compare(run, arguments.times)


def compare(run: Path, times: int) -> None:
    """Runs both sides in turns, then the steps one by one, and records the medians."""
    _measure("scan", run)  # so that the files are in memory
    scans, reports = [], []
    for _ in range(times):
        scans.append(_measure("scan", run))
        reports.append(measure([sys.executable, "-m", "webtext", "report", str(run)]))
    steps = _measure("steps", run).output
    seconds = median(one.wall_s for one in reports)
    peak = max(one.peak_bytes for one in reports)
    num_documents = int(scans[0].output)
    met = "met" if seconds < _GOAL_S and peak < _GOAL_BYTES else "missed"
    record(
        f"report on {num_documents:,} documents",
        ["", "wall s", "CPU s", "peak MB", "wall s of each"],
        [_row("DuckDB reads every column once", scans), _row("webtext report", reports)],
        f"Goal: under {_GOAL_S} s and {_GOAL_BYTES / 1e9:.0f} GB, {met}. Medians of {times} turns, of memory "
        f"the most; files in the system's cache. Seconds by step, in another process: {steps.strip()}.",
    )


def _measure(side: str, run: Path) -> Measured:
    return measure([sys.executable, "-m", "benchmarks.report", str(run), "--only", side])


def _row(name: str, measured: list[Measured]) -> list[str]:
    walls = [one.wall_s for one in measured]
    return [
        name,
        f"{median(walls):.1f}",
        f"{median(one.cpu_s for one in measured):.1f}",
        f"{max(one.peak_bytes for one in measured) / 1e6:,.0f}",
        ", ".join(f"{one:.1f}" for one in walls),
    ]


def _scan(run: Path) -> None:
    """Reads every column of the tables that the report knows, and prints how many documents there are."""
    import duckdb

    with duckdb.connect(config={"threads": os.cpu_count() or 1}) as connection:
        for name in _TABLES:
            files = connection.read_parquet(str(run / name))
            files.aggregate("bit_xor(hash(COLUMNS(*)))").fetchall()
        print(len(connection.read_parquet(str(run / "corpus/part-?????.parquet"))))


def _steps(run: Path) -> None:
    """Does what the command does, step by step, and prints the seconds of each."""
    ends = [("", time.monotonic())]

    def done(name: str) -> None:
        ends.append((name, time.monotonic()))

    from pipeline.report.page import draw, render_page
    from pipeline.report.statistics import measure as take
    from pipeline.runs import Folder
    from pipeline.status import read_status

    done("imports")
    read_status(Folder(str(run)))
    done("status")
    statistics = take(Folder(str(run)))
    done("status again and statistics")
    pictures = draw(statistics)
    done("charts")
    render_page(statistics, pictures)
    done("page")
    print(", ".join(f"{name} {end - begin:.1f}" for (_, begin), (name, end) in pairwise(ends)))


_SIDES: dict[str, Callable[[Path], None]] = {"scan": _scan, "steps": _steps}


if __name__ == "__main__":
    main()
