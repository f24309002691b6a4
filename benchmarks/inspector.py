"""How fast the inspector of a large run is, asked over HTTP as a browser asks, a new connection a request.

First while its catalogue and its index are being made, then with both. Each kind of question is asked with
several values, so that answers are not only remembered. An answer is a whole page; how long a browser takes
to draw it is not in it. No other project has such an inspector: it is compared with the goals alone.
"""

import argparse
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from benchmarks.corpus_run import write_run
from benchmarks.inspector_questions import Question, questions
from benchmarks.kept_folder import kept_folder
from benchmarks.results import record
from pipeline.inspector.catalogue.place import discard
from pipeline.runs import Folder

_FIRST_PAGE_MS, _SEARCH_MS = 300, 2_000  # the goals
_FIRST_PAGES = 50  # requests at least
_BETWEEN_S = 0.2  # requests, while the index is being made
_STARTING_S, _BUILDING_S, _ANSWERING_S, _ENDING_S = 60, 3_600, 120, 10  # at the most
_URL = re.compile(r"http://[\w.:\[\]]+\S*")


def main() -> None:
    """Measures the inspector of a run and records what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?", help="of benchmarks.corpus_run; left out, one is made")
    parser.add_argument("--documents", type=int, default=1_000_000, help="of a run that is made")
    parser.add_argument("--requests", type=int, default=14, help="of each kind")
    arguments = parser.parse_args()
    with kept_folder(arguments.run, "inspector") as folder:
        run = arguments.run or Path(write_run(folder / "run", arguments.documents).path())
        inspect(run, arguments.requests)


@dataclass(frozen=True, slots=True)
class Answers:
    """How long the answers to one kind of question took, and how long the pages were."""

    kind: str
    ms: list[float]
    sizes: list[int]

    def row(self) -> list[str]:
        """For the record."""
        figures = [*np.quantile(self.ms, [0.5, 0.99]), max(self.ms)]
        return [
            self.kind,
            f"{len(self.ms)}",
            *(f"{one:,.0f}" for one in figures),
            f"{max(self.sizes) / 1e3:,.0f}",
        ]


class Server:
    """An inspector in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, started: float) -> None:
        self._process = process
        self._address = urlsplit(url)
        self._started = started

    def age_s(self) -> float:
        """Seconds since its process was started."""
        return time.monotonic() - self._started

    def ask(self, path: str) -> tuple[float, bytes]:
        """Milliseconds until all of an answer is there, and its body; exits where it is not a page."""
        begun = time.monotonic()
        connection = http.client.HTTPConnection(self._address.netloc, timeout=_ANSWERING_S)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        if response.status != 200 or (path.startswith(("/?", "/sql")) and b'role="alert"' in body):
            raise SystemExit(f"{path} was not answered ({response.status}): {body.decode()}")
        return 1_000 * (time.monotonic() - begun), body

    def answers(self, question: Question, num: int) -> Answers:
        """Asks ``num`` times."""
        asked = [self.ask(path) for path in islice(cycle(question.paths), num)]
        return Answers(question.kind, [ms for ms, _ in asked], [len(body) for _, body in asked])

    def peak_bytes(self) -> int:
        """The most that the process has had in memory."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) * 1024


@contextlib.contextmanager
def serving(run: Path) -> Iterator[Server]:
    """Runs the inspector until the block ends."""
    started = time.monotonic()
    with tempfile.NamedTemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "webtext", "inspect", str(run), "--port", "0"],
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield Server(process, _read_url(process, Path(said.name)), started)
        finally:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ENDING_S)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its own group, what it started with it
            process.wait()


def _read_url(process: subprocess.Popen[bytes], said: Path) -> str:
    """The address that the inspector prints."""
    end = time.monotonic() + _STARTING_S
    while time.monotonic() < end and process.poll() is None:
        if found := _URL.search(said.read_text("utf-8", "replace")):
            return found[0]
        time.sleep(0.01)
    raise SystemExit(f"the inspector did not begin: {said.read_text('utf-8', 'replace')}")


@dataclass(frozen=True, slots=True)
class Built:
    """How the making of a catalogue and an index went: the first pages meanwhile, and when all was there."""

    first_page_s: float
    answers: Answers
    tables_s: float
    whole_s: float


def watch_building(server: Server) -> Built:
    """Asks for the first page again and again until everything is indexed."""
    _, body = server.ask("/")
    first_page_s = server.age_s()
    ms: list[float] = []
    sizes, tables_s = [len(body)], 0.0
    while server.age_s() < _BUILDING_S:
        state = json.loads(server.ask("/building.json")[1])
        if state["is_ready"]:
            return Built(
                first_page_s, Answers("first page while indexing", ms, sizes), tables_s, server.age_s()
            )
        if not tables_s and "ndexing" in state["line"]:
            tables_s = server.age_s()
        took_ms, body = server.ask("/")
        ms.append(took_ms)
        sizes.append(len(body))
        time.sleep(_BETWEEN_S)
    raise SystemExit(f"nothing was indexed within {_BUILDING_S:,} s: {state['line']}")


def inspect(run: Path, num: int) -> None:
    """Makes the catalogue and the index anew, asks everything, and records it."""
    discard(Folder(str(run)))
    with serving(run) as server:
        built = watch_building(server)
    with serving(run) as server:
        server.ask("/")
        first_page_s = server.age_s()
        asked = [
            server.answers(one, max(num, _FIRST_PAGES) if one.kind == "first page" else num)
            for one in questions(run)
        ]
        peak = server.peak_bytes()
    made = sum(path.stat().st_size for path in (run / "inspect").rglob("*") if path.is_file())
    every = [built.answers, *asked]
    pages = max(max(one.ms) for one in every if one.kind.startswith("first page"))
    searches = max(max(one.ms) for one in every if one.kind.startswith("search"))
    record(
        f"inspector of {_num_documents(run):,} documents",
        ["what is asked for", "requests", "p50 ms", "p99 ms", "worst ms", "longest page kB"],
        [one.row() for one in every],
        f"From the process's start to the first page: {built.first_page_s:.1f} s with nothing made, "
        f"{first_page_s:.1f} s with all; to the tables {built.tables_s:.0f} s, to the whole index "
        f"{built.whole_s:.0f} s, while pages are asked for; {made / 1e9:.1f} GB on disk, "
        f"{peak / 1e6:,.0f} MB of memory at most once made. Goals: first page "
        f"{_FIRST_PAGE_MS} ms, {_met(pages, _FIRST_PAGE_MS)}; any search {_SEARCH_MS:,} ms, "
        f"{_met(searches, _SEARCH_MS)}.",
    )


def _met(worst: float, goal: float) -> str:
    return f"{'met' if worst < goal else 'missed'} (worst {worst:,.0f})"


def _num_documents(run: Path) -> int:
    manifest = json.loads((run / "corpus" / "manifest.json").read_text("utf-8"))
    return int(manifest["counts"]["kept"])


if __name__ == "__main__":
    main()
