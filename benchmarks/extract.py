"""extract: how exact, how fast beside trafilatura and datatrove, what guard and early look cost or save.

    python -m benchmarks.extract --documentation DIR --peer-python PYTHON [--only NAME]

DIR holds Debian's package debian-handbook, unpacked (``apt-get download``, ``dpkg -x``); PYTHON is one that
has datatrove: ``pip install "datatrove[processing]" lxml_html_clean faust-cchardet python-magic warcio``.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path

from fastwarc.warc import ArchiveIterator, WarcRecordType

from benchmarks.extract_pages import Sample, gold, make_job, mixed_pages, real_pages
from benchmarks.results import record
from pipeline.config import Extraction, Hopeless
from pipeline.extract.documents import extract_pages
from pipeline.extract.extractor import Extractor
from pipeline.extract.wire import Extracted, Request
from pipeline.records import Reason
from pipeline.stages import Job, part_name

_NUM_RUNS = 5
_SMALL_BYTES = 100_000  # of a page where memory is measured, so that it takes minutes
_CORES = os.cpu_count() or 1
_FETCHED = date(2020, 1, 2)

PLAIN = Extraction(reject_early=False)
EARLY = Extraction(hopeless=Hopeless(languages=("en",), min_words=50))


def main() -> None:
    """Measures what is asked for, or everything, and records it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documentation", type=Path, default=Path())
    parser.add_argument("--peer-python", type=Path, action="append", default=[])
    parser.add_argument("--pages", type=int, default=440)
    parser.add_argument("--many", type=int, default=50_000, help="pages whose memory is measured")
    parser.add_argument("--only", choices=sorted(_MEASURES), action="append")
    arguments = parser.parse_args()
    for name in arguments.only or _MEASURES:
        with tempfile.TemporaryDirectory(prefix="webtext-extract-") as folder:
            _MEASURES[name](Path(folder), arguments)


def exactness(_: Path, __: argparse.Namespace) -> None:
    """F1 on the labelled pages, words as multisets, the mean over pages."""
    texts, rows = gold(), []
    for name in ("trafilatura", "trafilatura-fast", "resiliparse"):
        started = time.monotonic()
        found = _extract_all(real_pages(), PLAIN.model_copy(update={"extractor": name}))
        rate = len(found) / (time.monotonic() - started)
        scores = [_f1(answer, texts[url]) for url, answer in found.items()]
        rows.append([name, f"{sum(scores) / len(scores):.4f}", f"{min(scores):.3f}", f"{rate:.0f}"])
    record(
        f"extract, {len(texts)} labelled pages",
        ["extractor", "F1", "worst page", "pages/s, one core"],
        rows,
        "Words as multisets, the mean over the pages; with the start of the child, and the pages' metadata. "
        "Goal: 0.955 for the default, trafilatura.",
    )


def speed(folder: Path, arguments: argparse.Namespace) -> None:
    """The stage's work on all cores against a bare pool of processes, and against datatrove's step."""
    samples = (real_pages() * (arguments.pages // 88 + 1))[: arguments.pages]
    job = make_job(folder, [samples[place::_CORES] for place in range(_CORES)], PLAIN)
    warcs = [job.folder_of("fetch").path(f"{part_name(place)}.warc.gz") for place in range(_CORES)]
    sides: dict[str, Callable[[], float]] = {
        "bare pool, trafilatura": lambda: _bare(pool, warcs, metadata=False),
        "bare pool, its metadata too": lambda: _bare(pool, warcs, metadata=True),
        "extract, with metadata": lambda: _stage(job),
    }
    sides |= _peers(arguments.peer_python, warcs, len(samples))
    with get_context("spawn").Pool(_CORES) as pool:
        best = _in_turn(sides)
    ours = best["extract, with metadata"]
    record(
        f"extract, {len(samples)} real pages, {_CORES} cores, no early look",
        ["", "pages/s and core", "extract is faster by"],
        [[name, f"{len(samples) / s / _CORES:.1f}", f"{s / ours:.2f}"] for name, s in best.items()],
        f"The best of {_NUM_RUNS} runs in turn, WARC files read by each side, a process a core; extract "
        "writes nothing, and its children wait from run to run, as they do from part to part. "
        + _REMARK
        + " Goals: 0.95 of the first, 1.5 times datatrove's.",
    )


_REMARK = (
    "datatrove leaves out pages that it cannot decode, and its time is taken in "
    "proportion to those that it reads."
)


def guard(_: Path, arguments: argparse.Namespace) -> None:
    """What the child costs: the same pages by the same function in this process."""
    from pipeline.extract.child import extract

    samples = (real_pages() * (arguments.pages // 88 + 1))[: arguments.pages // 2]

    def here() -> float:
        started = time.monotonic()
        for sample in samples:
            extract(Request(sample.url, "text/html", _FETCHED), sample.body, PLAIN)
        return time.monotonic() - started

    def guarded() -> float:
        started = time.monotonic()
        _extract_all(samples, PLAIN)
        return time.monotonic() - started

    best = _in_turn({"in this process": here, "guarded": guarded})
    bare = best["in this process"]
    record(
        f"extract, what the guard costs, {len(samples)} real pages, one core",
        ["", "ms a page", "ratio"],
        [[name, f"{1e3 * s / len(samples):.2f}", f"{s / bare:.3f}"] for name, s in best.items()],
        f"The best of {_NUM_RUNS} runs in turn; the child's start (a second) is in it. Goal: 1.05.",
    )


def early(folder: Path, arguments: argparse.Namespace) -> None:
    """Pages as a crawl brings them, with the early look and without."""
    samples = mixed_pages(arguments.documentation, arguments.pages)
    parts = [samples[place::_CORES] for place in range(_CORES)]
    jobs = {
        "without": make_job(folder / "without", parts, PLAIN),
        "with": make_job(folder / "with", parts, EARLY),
    }
    warcs = [jobs["with"].folder_of("fetch").path(f"{part_name(place)}.warc.gz") for place in range(_CORES)]
    best = _in_turn(
        {
            "without": lambda: _stage(jobs["without"]),
            "with": lambda: _stage(jobs["with"]),
            **_peers(arguments.peer_python, warcs, len(samples)),
        }
    )
    kinds = Counter(sample.kind for sample in samples)
    rejected, lost = _early_answers(samples)
    record(
        f"extract, the early look, {len(samples)} pages as a crawl brings them, {_CORES} cores",
        ["early look", "pages/s and core", "of that without"],
        [
            [name, f"{len(samples) / s / _CORES:.1f}", f"{best['without'] / s:.2f}"]
            for name, s in best.items()
        ],
        "Rejected early, of each kind: "
        + ", ".join(f"{kind} {rejected[kind]} of {num}" for kind, num in kinds.items())
        + f". Of the articles, {lost} rejected that the filter would have kept. "
        + "Goals: 1.5 times, 0.5 % lost; 1.5 times datatrove's step. "
        + _REMARK,
    )


def memory(folder: Path, arguments: argparse.Namespace) -> None:
    """The most that this process and its child had, over many pages."""
    samples = [one for one in mixed_pages(arguments.documentation, 1_200) if len(one.body) <= _SMALL_BYTES]
    del folder
    rows, peaks = [], []
    with Extractor(EARLY) as extractor:
        for number in range(arguments.many):
            sample = samples[number % len(samples)]
            extractor.extract(Request(sample.url, "text/html", _FETCHED), sample.body)
            if number % 100 == 0:
                child = extractor._child  # noqa: SLF001
                assert child
                peaks.append((_resident_mb("self"), _resident_mb(str(child.process.pid))))
            if (number + 1) % (arguments.many // 10) == 0:
                ours, its = (max(column) for column in zip(*peaks, strict=True))
                rows.append([f"{number + 1:,}", f"{ours:.0f}", f"{its:.0f}"])
                peaks.clear()
    record(
        f"extract, memory over {arguments.many:,} pages as a crawl brings them",
        ["pages", "this process, MB", "its child, MB"],
        rows,
        f"The most seen in each tenth (every 100 pages), of {len(samples)} pages of up to "
        f"{_SMALL_BYTES / 1000:.0f} kB in turn. Goal: flat.",
    )


def _resident_mb(pid: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1000


def _early_answers(samples: Sequence[Sample]) -> tuple[Counter[str], int]:
    from pipeline.filter.language import load_detector

    rejected: Counter[str] = Counter()
    lost = 0
    with Extractor(EARLY) as quick, Extractor(PLAIN) as slow:
        for sample in samples:
            request = Request(sample.url, "text/html", _FETCHED)
            answer = quick.extract(request, sample.body)
            if isinstance(answer, Extracted) or answer.reason not in _EARLY_REASONS:
                continue
            rejected[sample.kind] += 1
            if sample.kind == "article":
                text = slow.extract(request, sample.body)
                words = text.text.split() if isinstance(text, Extracted) else []
                code, score = load_detector()(" ".join(words))
                lost += len(words) >= 50 and code == "en" and score >= 0.5
    return rejected, lost


_EARLY_REASONS = (Reason.TOO_SHORT, Reason.LANGUAGE, Reason.ERROR_PAGE)


def _extract_all(samples: Sequence[Sample], settings: Extraction) -> dict[str, str]:
    with Extractor(settings) as extractor:
        found = {}
        for sample in samples:
            answer = extractor.extract(Request(sample.url, "text/html", _FETCHED), sample.body)
            found[sample.url] = answer.text if isinstance(answer, Extracted) else ""
        return found


def _stage(job: Job) -> float:
    """Seconds of extract's work on all parts, a part a core."""

    def part(place: int) -> None:
        name = part_name(place)
        ledger = job.folder_of("fetch").read_table(f"{name}.ledger.parquet")
        links = job.folder_of("link").read_table(f"{name}.parquet")
        extract_pages(job.folder_of("fetch"), ledger, links, job.settings)

    started = time.monotonic()
    with ThreadPoolExecutor(_CORES) as pool:
        list(pool.map(part, range(len(job.inputs["fetch"].parts))))
    return time.monotonic() - started


def _bare(pool: Pool, warcs: Sequence[str], *, metadata: bool) -> float:
    started = time.monotonic()
    pool.starmap(_bare_worker, [(warc, metadata) for warc in warcs], chunksize=1)
    return time.monotonic() - started


def _bare_worker(warc: str, metadata: bool) -> int:
    import trafilatura

    num_texts = 0
    with Path(warc).open("rb") as stream:
        for page in ArchiveIterator(stream, record_types=WarcRecordType.response):
            body = page.reader.read()
            num_texts += bool(trafilatura.extract(body, include_comments=False, with_metadata=metadata))
    return num_texts


def _datatrove(python: Path, warcs: Sequence[str], num_pages: int) -> float:
    """Seconds of its step over all files, a process a file; its start is not counted."""
    script = Path(__file__).with_name("extract_datatrove.py")
    commands = [[str(python), str(script), str(Path(warc).parent), Path(warc).name] for warc in warcs]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for command in commands
    ]
    answers = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit(f"{commands[0]} failed")
    found = [json.loads(answer.strip().splitlines()[-1]) for answer in answers]
    num_read = sum(int(one["pages"]) for one in found)
    if num_read < 0.9 * num_pages:
        raise SystemExit(f"datatrove read {num_read} of {num_pages} pages only")
    return float(max(one["seconds"] for one in found)) * num_pages / num_read


def _peers(pythons: Sequence[Path], warcs: Sequence[str], num_pages: int) -> dict[str, Callable[[], float]]:
    """The step of datatrove in each Python, by the versions there."""
    return {_version(python): partial(_datatrove, python, warcs, num_pages) for python in pythons}


def _version(python: Path) -> str:
    command = (
        "from importlib.metadata import version as v; "
        'print(f\'datatrove {v("datatrove")}, trafilatura {v("trafilatura")}\')'
    )
    return subprocess.run([python, "-c", command], capture_output=True, text=True, check=True).stdout.strip()


def _in_turn(sides: dict[str, Callable[[], float]]) -> dict[str, float]:
    """The best of several runs of each side, which take turns."""
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(_NUM_RUNS):
        for name, side in sides.items():
            best[name] = min(best[name], side())
    return best


def _f1(found: str, wanted: str) -> float:
    one, other = (Counter(re.findall(r"\w+", text)) for text in (found, wanted))
    return 2 * (one & other).total() / ((one.total() + other.total()) or 1)


_MEASURES = {"exactness": exactness, "speed": speed, "guard": guard, "early": early, "memory": memory}

if __name__ == "__main__":
    main()
