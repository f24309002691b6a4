"""collect against unpacking alone and against the usual script, over the same month-like dump.

The usual script is what most programs that read the dumps do, in one process: zstandard's stream in chunks of
128 MiB, split into lines, ``json.loads`` of each, and a look at the fields. Its harder form reads the lines
through ``io.TextIOWrapper``. Both use three of the rules only, and write nothing. Each side is a process of
its own, started anew, and its start counts; they take turns.
"""

import argparse
import contextlib
import io
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import zstandard

from benchmarks.month import write_month
from benchmarks.process_tree import Measured, measure
from benchmarks.results import record
from pipeline.config import CollectSettings
from pipeline.records import Reason
from pipeline.runs import Counts, Folder, read_sidecar
from pipeline.stages import BY_NAME, Job, Planned, execute, part_name

_WINDOW = 1 << 31
_CHUNK = 1 << 27  # what the usual script reads at once
_CHECKED_ROWS = 50_000
_MIN_KARMA = 3
_UNPACK = "unpack-128k"
_ROUNDS = (  # the sides in turn; what stands in several is measured as often, and the best counts
    (_UNPACK, "script", "part", "stage"),
    ("unpack-1m", "lines", "part", "stage"),
)


def main() -> None:
    """Writes the dump, reads it by every side, and records what it took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--only", choices=sorted(_SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--dump", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(_SIDES[arguments.only](arguments.dump)))
        return
    with tempfile.TemporaryDirectory(prefix="webtext-collect-") as folder:
        _compare(Path(folder), arguments.rows)


def _compare(folder: Path, num_rows: int) -> None:
    dump, quarter = folder / "RS_2025-12.zst", folder / "RS_2025-12-quarter.zst"
    month = write_month(dump, num_rows)
    first = write_month(quarter, num_rows // 4, of=num_rows)
    _check(dump, folder)
    runs: dict[str, list[_Run]] = {}
    for sides in _ROUNDS:
        for side in sides:
            runs.setdefault(side, []).append(_run(side, dump))
    for side in ("script", "lines", "part", "stage"):
        if any(run.num_read != num_rows for run in runs[side]):
            raise SystemExit(f"{side} did not read {num_rows:,} rows, but {runs[side][0].num_read:,}")
    unpacked = [*runs[_UNPACK], *runs["unpack-1m"]]
    best = {"unpack": _best(unpacked), **{side: _best(runs[side]) for side in _NAMES if side in runs}}
    record(
        f"collect against the usual script, {num_rows:,} rows",
        ["", "wall s", "CPU s", "rows/s", "rows a CPU s", *_RATIOS],
        [_row(side, best, num_rows) for side in best],
        "A ratio is how many times as fast a side is as the script, as the script by line, as unpacking "
        f"alone. The dump: {month.num_bytes / num_rows:,.0f} bytes a row, packed "
        f"{month.num_bytes / month.packed_bytes:.1f} times, {month.num_malformed} malformed lines; unpacked "
        f"alone at {month.num_bytes / best['unpack'].wall_s / 1e6:,.0f} MB/s. The best of two runs; of a "
        "script, the only one.",
    )
    record(
        "collect's memory by the size of the dump",
        ["peak MB", f"{num_rows // 4:,} rows", f"{num_rows:,} rows", "ratio"],
        [
            _memory(side, _run(_UNPACK if side == "unpack" else side, quarter), best[side])
            for side in _WATCHED
        ],
        "Resident memory of the process and its children. Most of it is the zstd window of 2 GiB, which "
        f"{first.num_bytes / 2**30:.1f} GiB {'fill' if first.num_bytes > _WINDOW else 'do not fill'} in the "
        "smaller dump.",
    )


_RATIOS = ("script: clock", "CPU", "by line: clock", "CPU", "unpacking: clock", "CPU")
_NAMES = {
    "unpack": "unpacking alone",
    "script": "the usual script",
    "lines": "the usual script by line",
    "part": "collect's own work",
    "stage": "collect as a stage of a build",
}
_WATCHED = ("unpack", "part", "stage")  # for their memory


@dataclass(frozen=True, slots=True)
class _Run:
    num_read: int
    wall_s: float
    cpu_s: float
    peak_bytes: int


def _run(side: str, dump: Path) -> _Run:
    command = [sys.executable, "-m", "benchmarks.collect", "--only", side, "--dump", str(dump)]
    measured: Measured = measure(command)
    return _Run(json.loads(measured.output), measured.wall_s, measured.cpu_s, measured.peak_bytes)


def _best(runs: list[_Run]) -> _Run:
    return _Run(
        runs[0].num_read,
        min(run.wall_s for run in runs),
        min(run.cpu_s for run in runs),
        max(run.peak_bytes for run in runs),
    )


def _row(side: str, best: dict[str, _Run], num_rows: int) -> list[str]:
    run = best[side]
    others = [best[other] for other in ("script", "lines", "unpack")]
    ratios = [(other.wall_s / run.wall_s, other.cpu_s / run.cpu_s) for other in others]
    return [
        _NAMES[side],
        f"{run.wall_s:.1f}",
        f"{run.cpu_s:.1f}",
        f"{num_rows / run.wall_s:,.0f}",
        f"{num_rows / run.cpu_s:,.0f}",
        *(f"{ratio:.2f}" for pair in ratios for ratio in pair),
    ]


def _memory(side: str, small: _Run, large: _Run) -> list[str]:
    peaks = small.peak_bytes, large.peak_bytes
    return [_NAMES[side], *(f"{peak / 1e6:,.0f}" for peak in peaks), f"{peaks[1] / peaks[0]:.2f}"]


# --- the sides; each gives how many rows it read (unpacking: how many bytes) --------------------------------


def _unpack(dump: Path, size: int) -> int:
    num_bytes = 0
    with dump.open("rb") as file, _unpacked(file) as reader:
        while chunk := reader.read(size):
            num_bytes += len(chunk)
    return num_bytes


def _script(dump: Path) -> int:
    with dump.open("rb") as file, _unpacked(file) as reader:
        return _choose(_split(reader))


def _lines(dump: Path) -> int:
    with dump.open("rb") as file, _unpacked(file) as reader:
        return _choose(io.TextIOWrapper(reader, encoding="utf-8"))


def _unpacked(file: Any) -> Any:
    return zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(file)


def _split(reader: Any) -> Iterator[str]:
    rest = ""
    while chunk := _decoded(reader):
        *lines, rest = (rest + chunk).split("\n")
        yield from lines


def _decoded(reader: Any) -> str:
    """A chunk as text; one that ends within a character takes the next with it."""
    chunk: bytes = reader.read(_CHUNK)
    while True:
        try:
            return chunk.decode()
        except UnicodeDecodeError:
            more: bytes = reader.read(_CHUNK)
            if not more:
                raise
            chunk += more


def _choose(lines: Iterable[str]) -> int:
    """How many lines there are; the URLs of the posts that are wanted are gathered on the way."""
    urls = []
    num_lines = 0
    for line in lines:
        num_lines += 1
        try:
            row = json.loads(line)
            if not row["is_self"] and not row["over_18"] and row["score"] >= _MIN_KARMA:
                urls.append(row["url"])
        except (KeyError, TypeError, ValueError):
            continue  # a malformed line
    assert urls
    return num_lines


def _stage(dump: Path) -> int:
    with tempfile.TemporaryDirectory() as folder:
        manifest = execute(_job(dump, folder), beam_options=[], watch=lambda *_: contextlib.nullcontext())
        return manifest.counts.num_in


def _part(dump: Path) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return _collect_part(dump, folder).num_in


def _collect_part(dump: Path, folder: str) -> Counts:
    """What became of a dump's rows by the stage's own work, with neither plan nor Beam."""
    from pipeline.collect.work import collect_part

    job = _job(dump, folder)
    planned = Planned(part_name(0), "made", {"path": str(dump), "kind": "dump"})
    collect_part(job, planned)
    part = read_sidecar(job.folder, planned.name)
    assert part
    assert part.counts
    return part.counts


def _job(dump: Path, folder: str) -> Job:
    return Job(BY_NAME["collect"], Folder(folder), CollectSettings(dumps=(str(dump),)), {})


_SIDES: dict[str, Callable[[Path], int]] = {
    _UNPACK: lambda dump: _unpack(dump, 1 << 17),
    "unpack-1m": lambda dump: _unpack(dump, 1 << 20),
    "script": _script,
    "lines": _lines,
    "part": _part,
    "stage": _stage,
}


# --- the same counts by a plain loop ------------------------------------------------------------------------


def _check(dump: Path, folder: Path) -> None:
    """Exits where collect's counts of the first rows differ from a plain loop's."""
    head = folder / "head.ndjson"
    with dump.open("rb") as file, _unpacked(file) as reader:
        head.write_bytes(b"".join(islice(io.BufferedReader(reader), _CHECKED_ROWS)))
    counts = _collect_part(head, str(folder / "head"))
    plain = Counter(_plainly(line) for line in head.read_bytes().split(b"\n")[:-1])
    collected = Counter({"kept": counts.kept, **counts.rejected})
    if collected != plain:
        raise SystemExit(f"the counts differ:\n{collected} by collect,\n{plain} by a plain loop")


def _plainly(line: bytes) -> str:
    """What becomes of a line, by its fields; of what made dumps hold."""
    try:
        row = json.loads(line)
    except ValueError:
        return Reason.NOT_JSON.value if line else Reason.BLANK_LINE.value
    if not isinstance(row, dict):
        return Reason.NOT_A_ROW.value
    url = row["url"].replace("&amp;", "&")
    host, path = urlsplit(url).hostname or "", urlsplit(url).path
    tests = {
        Reason.SELF_POST: row["is_self"],
        Reason.OVER_18: row["over_18"],
        Reason.REDDIT_MEDIA: host in ("i.redd.it", "v.redd.it"),
        Reason.REDDIT_INTERNAL: not host or host == "www.reddit.com",
    }
    later = {
        Reason.REMOVED: row["removed_by_category"] or row.get("_meta", {}).get("was_deleted_later"),
        Reason.AD: row.get("promoted") or row.get("is_created_from_ads_ui"),
        Reason.CROSSPOST_OF_SELF: any(parent["is_self"] for parent in row.get("crosspost_parent_list", ())),
        Reason.MEDIA_DOMAIN: _is_in(host, "media_domains.txt"),
        Reason.REDDIT_INTERNAL: host.endswith(("reddit.com", "redd.it")),
        Reason.MEDIA_EXTENSION: _is_in(path.rpartition("/")[2], "media_extensions.txt"),
    }
    applying = [reason.value for reasons in (tests, later) for reason, applies in reasons.items() if applies]
    return applying[0] if applying else "kept"


def _is_in(name: str, shipped: str) -> bool:
    """Whether a host or a file's name ends in what is on a list that ships with collect."""
    entries = files("pipeline.url_lists").joinpath(shipped).read_text("utf-8").split("\n")
    return any(f".{name}".endswith(f".{entry}") for entry in entries if entry and not entry.startswith("#"))


if __name__ == "__main__":
    main()
