"""What each stage costs by the size of its input, and the line from there to WebText and to all of Reddit.

    python -m benchmarks.scale --links 50000 200000 --folder DIR            # about twenty minutes
    python -m benchmarks.scale --links 50000 200000 1000000 --folder DIR    # an hour and a half more

Each stage is given as many records as that many links bring it (a link is a canonical URL that karma lets
through), made by the other benchmarks' makers, and runs as ``webtext build`` runs it in a process of its own.
What is measured stays in ``DIR/measured``: the same command goes on from there, and one with more sizes adds
to it. Inputs are removed once they are used. What grows with the number of parts is scale_parts.py's.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.kept_folder import kept_folder
from benchmarks.process_tree import measure
from benchmarks.results import record
from benchmarks.scale_stages import folder_of, prepared

_WEBTEXT_LINKS, _REDDIT_LINKS = 45_000_000, 120_000_000


@dataclass(frozen=True, slots=True)
class _Stage:
    """What a stage takes in, and how much of it there is.

    Attributes:
        noun: Its records.
        a_link: Records that are made a link.
        webtext: Records at WebText's size (docs/scale.md says from where).
        reddit: Records of all that was ever submitted.
    """

    noun: str
    a_link: float
    webtext: float
    reddit: float


_STAGES = {
    "collect": _Stage("rows of a dump", 10, 420e6, 2.4e9),
    "link": _Stage("submissions", 5, 225e6, 600e6),
    "fetch": _Stage("links", 1, _WEBTEXT_LINKS, _REDDIT_LINKS),
    "extract": _Stage("pages", 0.1, 31.5e6, 84e6),  # a seventh of what there are: it takes longest
    "joining": _Stage("extracted documents", 0.5, 22.5e6, 60e6),
    "filter": _Stage("documents", 0.5, 22.5e6, 60e6),
    "dedupe": _Stage("documents", 0.25, 11e6, 30e6),
    "tokenizer": _Stage("documents", 0.2, 8e6, 21e6),
    "shard": _Stage("documents", 0.2, 8e6, 21e6),
}


class Point(NamedTuple):
    """A stage at one size."""

    links: int
    records: int
    wall_s: float
    cpu_s: float
    at_once_bytes: int
    peak_bytes: int
    written_bytes: int


@dataclass(frozen=True, slots=True)
class Line:
    """A floor and a slope by least squares; ``residual``: how far the worst point is off, as its share."""

    floor: float
    slope: float
    residual: float

    @classmethod
    def through(cls, sizes: Sequence[float], values: Sequence[float]) -> "Line":
        """The line of two points or more."""
        slope, floor = np.polyfit(sizes, values, 1).tolist()
        off = [abs(floor + slope * size - value) / value for size, value in zip(sizes, values, strict=True)]
        return cls(floor, slope, max(off))

    def at(self, size: float) -> float:
        """The line's value."""
        return self.floor + self.slope * size


def main() -> None:
    """Measures what is not measured yet, and records all of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--links", type=int, nargs="+", default=[50_000, 200_000])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--stage", choices=list(_STAGES), action="append", help="only this one")
    arguments = parser.parse_args()
    stages = [name for name in _STAGES if name in (arguments.stage or _STAGES)]
    with kept_folder(arguments.folder, "scale") as folder:
        points = {name: [point(folder, name, links) for links in sorted(arguments.links)] for name in stages}
    record(
        f"every stage by its size, {os.cpu_count()} cores",
        _COLUMNS,
        [_row(name, one) for name, of_stage in points.items() for one in of_stage],
        _REMARK,
    )
    if len(arguments.links) > 1:
        _record_lines(points)


def point(folder: Path, name: str, links: int) -> Point:
    """A stage at a size: measured, or as it was measured before."""
    known = folder / "measured" / f"{name}-{links}.json"
    if known.exists():
        return Point(**json.loads(known.read_text()))
    # The shards are made of the tokenizer's corpus, with the tokenizer that is there then.
    run = folder / f"{'tokenizer' if name == 'shard' else name}-{links}"
    num = int(links * _STAGES[name].a_link)
    if name != "shard":
        shutil.rmtree(run, ignore_errors=True)  # what was left by a kill
    elif not (run / "tokenizer" / "manifest.json").exists():
        (folder / "measured" / f"tokenizer-{links}.json").unlink(missing_ok=True)
        point(folder, "tokenizer", links)
    print(f"{name}, {num:,} {_STAGES[name].noun}: making them", file=sys.stderr)
    with prepared(name, run, num):
        os.sync()  # what was written before is not the stage's to wait for
        print(f"{name}: at work", file=sys.stderr)
        measured = measure([sys.executable, "-m", "benchmarks.scale_stages", name, str(run)])
    written = sum(file.stat().st_size for file in (run / folder_of(name)).rglob("*") if file.is_file())
    found = Point(
        links,
        json.loads(measured.output)["in"],
        measured.wall_s,
        measured.cpu_s,
        measured.at_once_bytes,
        measured.peak_bytes,
        written,
    )
    known.parent.mkdir(exist_ok=True)
    known.write_text(json.dumps(found._asdict()))
    print(f"{name}: {json.dumps(found._asdict())}", file=sys.stderr)
    if name != "tokenizer":
        shutil.rmtree(run)
    return found


_COLUMNS = (
    *("stage", "links", "records", "wall s", "CPU s", "CPU ms a record"),
    *("MB at once", "sum of peaks MB", "MB"),
)


_REMARK = (
    "A process of its own for each, start included, local runner, defaults. MB at once: of the whole "
    "process tree, shared pages counted once. MB: what the stage has written. extract has a tenth of a "
    "page a link, real ones; joining is extract once its pages are extracted."
)


def _row(name: str, one: Point) -> list[str]:
    return [
        name,
        f"{one.links:,}",
        f"{one.records:,}",
        f"{one.wall_s:,.1f}",
        f"{one.cpu_s:,.1f}",
        f"{1e3 * one.cpu_s / one.records:.3f}",
        f"{one.at_once_bytes / 1e6:,.0f}",
        f"{one.peak_bytes / 1e6:,.0f}",
        f"{one.written_bytes / 1e6:,.0f}",
    ]


# --- lines --------------------------------------------------------------------------------------------------


def _record_lines(points: dict[str, list[Point]]) -> None:
    sizes_of_all = ", ".join(
        f"{name} {one.webtext / 1e6:,.0f} and {one.reddit / 1e6:,.0f}" for name, one in _STAGES.items()
    )
    rows = []
    for name, of_stage in points.items():
        stage, sizes = _STAGES[name], [one.records for one in of_stage]
        cpu = Line.through(sizes, [one.cpu_s for one in of_stage])
        memory = Line.through(sizes, [one.at_once_bytes for one in of_stage])
        wall = Line.through(sizes, [one.wall_s for one in of_stage])
        written = Line.through(sizes, [one.written_bytes for one in of_stage])
        rows.append(
            [
                name,
                stage.noun,
                f"{1e6 * cpu.slope / 3600:.2f}",
                f"{1e6 * wall.slope / 3600:.2f}",
                f"{max(cpu.residual, wall.residual):.0%}",
                f"{memory.floor / 1e6:,.0f}",
                f"{memory.slope:,.0f}",
                f"{memory.residual:.0%}",
                f"{written.slope:,.0f}",
                f"{cpu.at(stage.webtext) / 3600:,.1f}",
                f"{memory.at(stage.webtext) / 1e9:,.1f}",
                f"{cpu.at(stage.reddit) / 3600:,.1f}",
                f"{memory.at(stage.reddit) / 1e9:,.1f}",
            ]
        )
    record(
        f"the lines from {', '.join(f'{one.links:,}' for one in next(iter(points.values())))} links",
        [
            *("stage", "records", "core-hours a million", f"hours a million on {os.cpu_count()} cores"),
            *("off by", "floor MB", "bytes a record", "off by", "written bytes a record"),
            *("core-hours, WebText", "GB of memory", "core-hours, all of Reddit", "GB of memory"),
        ],
        rows,
        "Least squares; off by: the measured point that is farthest from its line. Records, in millions, of "
        f"WebText and of all of Reddit: {sizes_of_all}. Where a stage leaves its line: docs/scale.md.",
    )


if __name__ == "__main__":
    main()
