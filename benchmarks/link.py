"""link against DuckDB: the same group-by over the same tables of submissions, on the same cores.

The tables are as collect writes them: several dumps of made submissions, most URLs submitted once, the others
with a Zipf tail, domains too. Each submission stands in one dump only, so that a plain GROUP BY has the same
answer, which is checked. Keys and domain hashes are hashes of made numbers.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.results import record
from pipeline.config import CollectSettings, LinkSettings, deciding
from pipeline.records import SUBMISSIONS
from pipeline.runs import MANIFEST, Counts, Folder, Manifest, PartWriter, read_manifest
from pipeline.stages import BY_NAME, VERSION, Job, execute, part_name

_NUM_DUMPS = 8
_TINY = 1_000  # rows of the build whose peak is the runner's floor
_ROWS_AT_ONCE = 100_000  # of a table, in one row group
_SAMPLE_S = 0.1
_SEED = 7


def main() -> None:
    """Makes the tables, groups them by both, and records what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--only", choices=sorted(_SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        _SIDES[arguments.only](arguments.folder)
        return
    with tempfile.TemporaryDirectory(prefix="webtext-link-") as folder:
        rows = compare(Path(folder), arguments.rows)
    record(
        f"link against DuckDB, {arguments.rows:,} submissions",
        ["", "wall s", "CPU s", "peak MB", "bytes a row above the floor", "links"],
        rows,
        "The floor is the peak of the same stage over "
        f"{_TINY:,} submissions. Memory is the proportional set size of the process and its children.",
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """What a process and its children took."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def compare(folder: Path, num_rows: int) -> list[list[str]]:
    """Rows for the record: DuckDB, the stage, how they compare. Exits where the answers differ."""
    make_submissions(folder / "tiny", _TINY)
    make_submissions(folder / "run", num_rows)
    floor = _measure("link", folder / "tiny")
    database = _measure("duckdb", folder / "run")
    link = _measure("link", folder / "run")
    answers = _answer(folder / "run" / "duckdb.parquet"), _answer(folder / "run" / "links" / "part-*.parquet")
    if answers[0] != answers[1]:
        raise SystemExit(f"the answers differ: (links, karma) {answers[0]} of DuckDB and {answers[1]}")
    links = f"{answers[0][0]:,}"
    return [
        [
            "DuckDB",
            f"{database.wall_s:.1f}",
            f"{database.cpu_s:.1f}",
            f"{database.peak_bytes / 1e6:,.0f}",
            "",
            links,
        ],
        [
            "link",
            f"{link.wall_s:.1f}",
            f"{link.cpu_s:.1f}",
            f"{link.peak_bytes / 1e6:,.0f}",
            f"{(link.peak_bytes - floor.peak_bytes) / num_rows:.0f}",
            links,
        ],
        ["ratio", f"{link.wall_s / database.wall_s:.2f}", f"{link.cpu_s / database.cpu_s:.2f}", "", "", ""],
        ["floor", f"{floor.wall_s:.1f}", f"{floor.cpu_s:.1f}", f"{floor.peak_bytes / 1e6:,.0f}", "", ""],
    ]


def _answer(pattern: Path) -> tuple[int, int]:
    with duckdb.connect() as connection:
        query = "SELECT count(*), sum(karma_max + karma_sum) FROM read_parquet($1)"
        ((num_links, karma),) = connection.execute(query, [str(pattern)]).fetchall()
    return int(num_links), int(karma)


# --- the two sides, each in a process of its own ----------------------------------------------------------


_QUERY = """
SELECT key, max(score) AS karma_max, sum(score) AS karma_sum, min(created) AS created,
    arg_max(url, score) AS url,
    list({id: id, score: score, subreddit: subreddit, created: created}) AS submissions
FROM read_parquet($1)
GROUP BY key HAVING karma_max >= 3
"""


def _with_duckdb(folder: Path) -> None:
    with duckdb.connect(config={"threads": os.cpu_count() or 1}) as connection:
        links = connection.sql(_QUERY, params=[str(folder / "submissions" / "part-*.parquet")])
        links.write_parquet(str(folder / "duckdb.parquet"), compression="zstd")


def _with_link(folder: Path) -> None:
    run = Folder(str(folder))
    submissions = read_manifest(run / "submissions")
    assert submissions is not None
    job = Job(BY_NAME["link"], run, LinkSettings(), {"collect": submissions})
    execute(job, beam_options=[], watch=lambda *_: contextlib.nullcontext())


_SIDES = {"duckdb": _with_duckdb, "link": _with_link}


def _measure(side: str, folder: Path) -> Measured:
    command = [sys.executable, "-m", "benchmarks.link", "--only", side, "--folder", str(folder)]
    os.sync()  # what was written before is not this side's to wait for
    started = time.monotonic()
    process = subprocess.Popen(command)
    sampler = _Sampler(process.pid)
    sampler.start()
    status = process.wait()
    wall_s = time.monotonic() - started
    sampler.join()
    if status:
        raise SystemExit(f"{side} ended with status {status}")
    return Measured(wall_s, sum(sampler.cpu_s.values()), sampler.peak_bytes)


class _Sampler(threading.Thread):
    """Watches a process and its descendants until it ends."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self._root = root
        self.peak_bytes = 0
        self.cpu_s: dict[int, float] = {}  # by process, as seen last

    def run(self) -> None:
        while tree := _tree(self._root):
            total = 0
            for pid in tree:
                # A process may end between two looks; a zombie has no memory, and its CPU time still.
                with contextlib.suppress(OSError, IndexError):
                    self.cpu_s[pid] = _cpu_s(pid)
                    total += _pss(pid)
            self.peak_bytes = max(self.peak_bytes, total)
            time.sleep(_SAMPLE_S)


def _tree(root: int) -> list[int]:
    """The process and its descendants; nothing once it has ended."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                parents[int(entry.name)] = int(parent)
                if int(entry.name) == root and state == "Z":
                    return []
    if root not in parents:
        return []
    tree = [root]
    for pid in tree:
        tree += [child for child, parent in parents.items() if parent == pid]
    return tree


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


# --- submissions ------------------------------------------------------------------------------------------


def make_submissions(run: Path, num_rows: int) -> None:
    """A finished collect stage in the folder of a run."""
    folder = Folder(str(run)) / "submissions"
    world = _World(num_rows)
    bounds = np.linspace(0, num_rows, _NUM_DUMPS + 1).astype(int).tolist()
    parts = []
    for dump, (start, stop) in enumerate(pairwise(bounds)):
        writer = PartWriter(folder, part_name(dump), "made")
        with (
            writer.open("parquet") as sink,
            pq.ParquetWriter(sink, SUBMISSIONS, compression="zstd") as table,
        ):
            for first in range(start, stop, _ROWS_AT_ONCE):
                table.write_table(world.submissions(first, min(first + _ROWS_AT_ONCE, stop)))
        writer.rows(stop - start)
        parts.append(writer.commit(Counts(stop - start, stop - start), seconds=0.0))
    manifest = Manifest(
        stage="collect",
        version=VERSION,
        fingerprint="made",
        settings=deciding(CollectSettings()),
        inputs={},
        counts=Counts(num_rows, num_rows),
        parts=tuple(parts),
        facts={},
    )
    folder.write(MANIFEST, manifest.encode())


class _World:
    """The pages, domains and subreddits that submissions are made of; all by hashes of their numbers."""

    def __init__(self, num_rows: int) -> None:
        self._random = np.random.default_rng(_SEED)
        self._num_rows = num_rows
        self._num_shared = 1 + num_rows // 7  # pages that are submitted more than once, mostly
        letters = np.frombuffer(b"etaoinshrdlucmfwypvbgkqjxz", np.uint8)
        lengths = self._random.integers(3, 10, 4096)
        self._words = pa.array([bytes(self._random.choice(letters, n)).decode() for n in lengths])
        numbers = np.arange(1 + num_rows // 20)
        self._domains = pc.binary_join_element_wise(
            self._word(_mixed(numbers, 1)),
            pa.array(numbers).cast(pa.string()),
            pa.array(_TLDS).take(_mixed(numbers, 2) % 4),
            "",
        )
        self._subreddits = pc.binary_join_element_wise(
            self._word(_mixed(np.arange(20_000), 3)), self._word(_mixed(np.arange(20_000), 4)), "_"
        )

    def submissions(self, start: int, stop: int) -> pa.Table:
        """Rows of SUBMISSIONS: the submissions of these numbers, in the order of time."""
        random, number = self._random, np.arange(start, stop)
        shared = (self._num_shared * random.random(len(number)) ** 2).astype(np.int64)
        page = np.where(random.random(len(number)) < 0.4, shared, self._num_shared + number)
        domain = _log_uniform(_mixed(page, 5), len(self._domains))
        created = (1_559_347_200_000 + number * (2_592_000_000 / self._num_rows)).astype(np.int64)
        scores = np.exp(random.normal(0.3, 1.6, len(number))).clip(0, 100_000)
        columns = {
            "key": _binary(np.stack([_mixed(page, 6), _mixed(page, 7)], axis=1)),
            "domain_hash": _mixed(domain, 8),
            "url": self._urls(page, domain, _mixed(number, 9)),
            "id": _base36(880_000_000 + 3 * number),
            "score": scores.astype(np.int32),
            "subreddit": self._subreddits.take(_log_uniform(_mixed(number, 10), len(self._subreddits))),
            "created": pa.array(created // 1000 * 1000).cast(SUBMISSIONS.field("created").type),
            "retrieved": pa.array(created // 1000 * 1000 + 129_600_000).cast(
                SUBMISSIONS.field("created").type
            ),
        }
        return pa.table([columns[name] for name in SUBMISSIONS.names], schema=SUBMISSIONS)

    def _urls(
        self, page: NDArray[np.int64], domain: NDArray[np.int64], variant: NDArray[np.uint64]
    ) -> pa.Array:
        """URLs of about 70 bytes; a page is submitted in three spellings."""
        address = pc.binary_join_element_wise(
            pa.array(_SPELLINGS).take(variant % 3), self._domains.take(domain), "/2019/06", ""
        )
        words = (self._word(_mixed(page, place)) for place in range(11, 15))
        title = pc.binary_join_element_wise(*words, pa.array(page).cast(pa.string()), "-")
        return pc.binary_join_element_wise(address, title, "/")

    def _word(self, hashes: NDArray[np.uint64]) -> pa.Array:
        return self._words.take(hashes % len(self._words))


_TLDS = (".com", ".org", ".net", ".co.uk")
_SPELLINGS = ("https://www.", "https://", "http://www.")


def _mixed(numbers: NDArray[np.int64], salt: int) -> NDArray[np.uint64]:
    """64 bits that look random, the same for the same number and salt (SplitMix64)."""
    mixed = numbers.astype(np.uint64) * np.uint64(2) + np.uint64(salt * 0x9E3779B97F4A7C15 % (1 << 64))
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _log_uniform(hashes: NDArray[np.uint64], num: int) -> NDArray[np.int64]:
    """Numbers under ``num`` by Zipf's law: as often under 10 as from 10 to 100."""
    return ((num + 1.0) ** (hashes / 2.0**64)).astype(np.int64).clip(1, num) - 1


def _binary(values: NDArray[np.uint64]) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(values), [None, pa.py_buffer(values)])


def _base36(numbers: NDArray[np.int64]) -> pa.Array:
    """Reddit's ids: six digits."""
    digits = numbers[:, None] // 36 ** np.arange(5, -1, -1) % 36
    text = np.frombuffer(b"0123456789abcdefghijklmnopqrstuvwxyz", np.uint8)[digits]
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * 6
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(text))


if __name__ == "__main__":
    main()
