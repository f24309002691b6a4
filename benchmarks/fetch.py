"""fetch against a bare aiohttp loop and Scrapy, against its own schedule, and against what it may cost.

All on one server on loopback, each side in a process of its own; the sides take turns, and of each the best
run counts. Scrapy needs another Python: ``python -m venv DIR && DIR/bin/pip install scrapy uvloop``.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.fetch_ours import make_run
from benchmarks.fetch_server import serving
from benchmarks.results import record
from pipeline.config import FetchSettings

_CONNECTIONS = 100
_NUM_RUNS = 2
_NUM_DOMAINS = 128  # where speed is measured: more than connections, as each is asked one thing at a time
_NUM_POLITE_DOMAINS = 2_000
_LONGEST = 100  # links of a domain
_QUEUED = (10_000, 100_000, 1_000_000)
_LINKS_A_DOMAIN = 50  # where memory is measured
_ROOT = Path(__file__).parents[1]

Urls = dict[str, list[str]]
"""Links by registrable domain."""

Result = Mapping[str, Any]
"""What a side prints: pages, bytes, seconds, peak_bytes."""


def main() -> None:
    """Measures what is asked for, or everything, and records it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=20_000)
    parser.add_argument("--peer-python", type=Path, help="a Python that has Scrapy")
    parser.add_argument("--only", choices=sorted(_MEASURES), action="append")
    arguments = parser.parse_args()
    for name in arguments.only or _MEASURES:
        with tempfile.TemporaryDirectory(prefix="webtext-fetch-") as folder, serving() as port:
            _MEASURES[name](Path(folder), port, arguments)


# --- what is measured -------------------------------------------------------------------------------------


def speed(folder: Path, port: int, arguments: argparse.Namespace) -> None:
    """Manners off: the bare loop, the stage, Scrapy."""
    urls = _even(arguments.pages, _NUM_DOMAINS, port)
    flat = folder / "urls.txt"
    # Domains take turns in the list, as they do in the stage.
    flat.write_text("\n".join(url for turn in zip(*urls.values(), strict=True) for url in turn))
    settings = _settings(urls, port, delay_s=0.0)
    sides: dict[str, Callable[[], Result]] = {
        "bare aiohttp": lambda: _json(sys.executable, "-m", "benchmarks.fetch_aiohttp", flat),
        "fetch": lambda: _ours(folder / "run", urls, settings),
    }
    if arguments.peer_python:
        for loop in ("asyncio", "uvloop"):
            command = [arguments.peer_python, _ROOT / "benchmarks" / "fetch_scrapy.py", flat, "--loop", loop]
            sides[f"Scrapy, {loop}"] = lambda command=command: _json(*command)  # type: ignore[misc]
    best = _best(sides)
    bare, ours = _rate(best["bare aiohttp"]), _rate(best["fetch"])
    versions = "; ".join(f"Scrapy {one['version']}" for one in best.values() if "version" in one)
    record(
        f"fetch, no delays: {arguments.pages:,} pages of 30 kB, {_CONNECTIONS} at once, {_NUM_DOMAINS} hosts",
        ["", "pages/s", "MB/s", "peak MB", "of bare aiohttp", "fetch is faster by"],
        [
            [
                name,
                f"{_rate(one):,.0f}",
                f"{one['bytes'] / one['seconds'] / 1e6:,.0f}",
                f"{one['peak_bytes'] / 1e6:,.0f}",
                f"{_rate(one) / bare:.2f}",
                f"{ours / _rate(one):.2f}",
            ]
            for name, one in best.items()
        ],
        f"The best of {_NUM_RUNS} runs in turn. Goals: 0.7 of bare aiohttp, 4 times Scrapy. fetch asks for "
        f"robots.txt, writes WARC and ledger, and keeps one connection a domain. {versions}".rstrip(),
    )


def manners(folder: Path, port: int, _: argparse.Namespace) -> None:
    """One second a domain: the time against the longest domain's."""
    sizes = [max(1, round(_LONGEST / (rank + 1) ** 0.6)) for rank in range(_NUM_POLITE_DOMAINS)]
    urls = {_domain(number): _urls(number, size, port) for number, size in enumerate(sizes)}
    got = _ours(folder / "run", urls, _settings(urls, port, delay_s=1.0))
    assert got["pages"] == sum(sizes)
    bound_s = float(max(sizes))  # as many pauses as links: robots.txt is asked first
    record(
        f"fetch, 1 s a domain: {sum(sizes):,} links, {len(sizes):,} hosts, the longest {max(sizes)} links",
        ["the schedule's lower bound, s", "measured, s", "ratio"],
        [[f"{bound_s:.1f}", f"{got['seconds']:.1f}", f"{got['seconds'] / bound_s:.3f}"]],
        "From the first look at the links to the last part's sidecar. Goal: 1.05.",
    )


def memory(folder: Path, port: int, _: argparse.Namespace) -> None:
    """Peak memory by how many links are queued; the crawl is stopped while it works."""
    rows = []
    for queued in _QUEUED:
        urls = _even(queued, queued // _LINKS_A_DOMAIN, port)
        settings = _settings(urls, port, delay_s=1.0, connections=256)
        got = _ours(folder / "run", urls, settings, "--stop-after", 15 + queued // 20_000)
        memory_mb = [f"{got[name] / 1e6:,.0f}" for name in ("peak_bytes", "shared_bytes")]
        rows.append([f"{queued:,}", f"{len(urls):,}", f"{got['pages']:,}", *memory_mb])
    record(
        "fetch, memory by the links that are queued",
        ["links", "domains", "fetched when stopped", "peak MB", "with the process that writes, MB"],
        rows,
        "The peak is the crawl's resident memory; with the process that writes, it is what both have when "
        "stopped, what they share counted once. Goal: 300 MB at 1,000,000.",
    )


def writing(folder: Path, port: int, arguments: argparse.Namespace) -> None:
    """Bytes a second with WARC records and without."""
    urls = _even(arguments.pages, _NUM_DOMAINS, port)
    settings = _settings(urls, port, delay_s=0.0)
    best = _best(
        {
            "without writing": lambda: _ours(folder / "run", urls, settings, "--without-writing"),
            "with writing": lambda: _ours(folder / "run", urls, settings),
        }
    )
    rates = {name: one["bytes"] / one["seconds"] / 1e6 for name, one in best.items()}
    ratio = rates["with writing"] / rates["without writing"]
    record(
        f"fetch, writing: {arguments.pages:,} pages of 30 kB, {_CONNECTIONS} at once",
        ["", "MB/s", "ratio"],
        [[name, f"{rate:,.0f}", f"{rate / rates['without writing']:.2f}"] for name, rate in rates.items()],
        f"The best of {_NUM_RUNS} runs in turn: {ratio:.2f}. Goal: 0.9.",
    )


def bomb(folder: Path, port: int, _: argparse.Namespace) -> None:
    """What 1 GB of gzip costs above one plain page."""
    results = []
    for path in ("/page", "/bomb"):
        urls = {_domain(0): [f"http://www.{_domain(0)}:{port}{path}"]}
        results.append(_ours(folder / "run", urls, _settings(urls, port, delay_s=0.0)))
    floor, got = results
    record(
        "fetch, a gzip bomb of 1 GB",
        ["", "request s", "peak MB"],
        [
            ["a page", f"{floor['longest_s']:.3f}", f"{floor['peak_bytes'] / 1e6:.0f}"],
            ["the bomb", f"{got['longest_s']:.3f}", f"{got['peak_bytes'] / 1e6:.0f}"],
            ["above", "", f"{(got['peak_bytes'] - floor['peak_bytes']) / 1e6:.0f}"],
        ],
        "Goals: 1 s and 60 MB above the floor.",
    )


_MEASURES: dict[str, Callable[[Path, int, argparse.Namespace], None]] = {
    "speed": speed,
    "writing": writing,
    "bomb": bomb,
    "memory": memory,
    "manners": manners,
}


# --- links ------------------------------------------------------------------------------------------------


def _even(num_links: int, num_domains: int, port: int) -> Urls:
    """As many links of each domain."""
    return {_domain(number): _urls(number, num_links // num_domains, port) for number in range(num_domains)}


def _urls(number: int, num: int, port: int) -> list[str]:
    return [f"http://www.{_domain(number)}:{port}/articles/{page}.html" for page in range(num)]


def _domain(number: int) -> str:
    return f"bench-{number:05}.org"


# --- the sides --------------------------------------------------------------------------------------------


def _settings(urls: Urls, port: int, *, delay_s: float, connections: int = _CONNECTIONS) -> FetchSettings:
    table = {f"www.{domain}": f"127.0.0.1:{port}" for domain in urls}
    return FetchSettings(resolve=table, delay_s=delay_s, connections=connections)


def _ours(run: Path, urls: Urls, settings: FetchSettings, *options: object) -> Result:
    """The stage in a process of its own, over a run made anew."""
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    make_run(run, urls, settings)
    return _json(sys.executable, "-m", "benchmarks.fetch_ours", run, *options)


def _best(sides: Mapping[str, Callable[[], Result]]) -> dict[str, Result]:
    """The fastest run of each side, all taking turns. Exits where the sides had different pages."""
    runs: dict[str, list[Result]] = {name: [] for name in sides}
    for _ in range(_NUM_RUNS):
        for name, side in sides.items():
            runs[name].append(side())
    found = {(one["pages"], one["bytes"]) for results in runs.values() for one in results}
    if len(found) > 1:
        raise SystemExit(f"the sides differ in (pages, bytes): {sorted(found)}")
    return {name: max(results, key=_rate) for name, results in runs.items()}


def _rate(one: Result) -> float:
    return float(one["pages"] / one["seconds"])


def _json(*command: object) -> Result:
    arguments: Sequence[str] = [str(part) for part in command]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True, cwd=_ROOT)
    result: Result = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
