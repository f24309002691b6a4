"""A crawl of the hostile web by the command, killed as often as asked for, and what it has left."""

import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.config import CollectSettings, FetchSettings, LinkSettings, RunSettings
from pipeline.runs import Folder, read_manifest
from pipeline.urls import parse
from tests.command import start_build, webtext
from tests.hostile_log import asked_in_pause, asked_too_often, asked_twice, forbidden, indiscreet, private
from tests.hostile_web import Running, Web
from webtext.settings import Settings, render

DELAY_S = 0.05


@dataclass
class Crawled:
    """What a crawl has left: by link the outcome of its last try, and what is to be complained of."""

    outcomes: dict[str, str] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    seconds: float = 0.0
    num_kills: int = 0


def write_settings(folder: Path, web: Running) -> None:
    """A list of the web's links, and a settings file that crawls them."""
    (folder / "urls.txt").write_text("\n".join(web.web.links()) + "\n", "utf-8")
    settings = Settings(
        run=RunSettings(dir="run"),
        collect=CollectSettings(lists=("urls.txt",)),
        link=LinkSettings(submissions_per_part=1000),
        fetch=FetchSettings(
            delay_s=DELAY_S,
            timeout_s=2.0,
            retry_wait_s=0.5,
            max_pause_s=2.5,
            max_crawl_delay_s=5.0,
            max_bytes=200_000,
            resolve=web.resolve(),
        ),
    )
    (folder / "webtext.toml").write_text(render(settings), "utf-8")
    # Where the command is given, people have modules of their own.
    (folder / "pipeline.py").write_text("raise SystemExit('this is not ours')\n")


def crawl(folder: Path, web: Running, num_kills: int, seed: int = 7) -> Crawled:
    """Builds until fetch is done; the builds before are killed (-9) after some hundred requests."""
    started = time.monotonic()
    chance = random.Random(seed)
    kills = [at for _ in range(num_kills) if (at := _kill_one(folder, web, chance)) is not None]
    done = webtext("build", "webtext.toml", "--until", "fetch", cwd=folder)
    if done.returncode:
        raise AssertionError(done.stderr)
    outcomes = dict(_outcomes(folder))
    log = web.log
    description = web.web
    complaints = [
        *asked_too_often(log, description.delays(DELAY_S)),
        *asked_in_pause(log, kills=kills),
        *forbidden(log, description),
        *asked_twice(log, description, kills=kills),
        *private(log, description),
        *indiscreet(log),
        *_wrong(description, outcomes),
    ]
    return Crawled(outcomes, complaints, time.monotonic() - started, len(kills))


def _kill_one(folder: Path, web: Running, chance: random.Random) -> float | None:
    """When a build was killed; None if it was done before."""
    before = web.path.stat().st_size
    wanted = before + chance.randrange(20_000, 60_000)  # bytes of the log: some hundred requests
    process = start_build(folder, "--until", "fetch")
    while process.poll() is None and web.path.stat().st_size < wanted:
        time.sleep(0.02)
    if process.poll() is not None:
        return None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return time.monotonic()


def _outcomes(folder: Path) -> Iterator[tuple[str, str]]:
    pages = Folder(str(folder / "run" / "pages"))
    manifest = read_manifest(pages)
    assert manifest is not None
    for part in manifest.counted():
        name = part.file(".ledger.parquet").name
        rows = pq.read_table(pages.path(name), columns=["url", "attempt", "outcome"]).sort_by("attempt")
        yield from zip(rows["url"].to_pylist(), rows["outcome"].to_pylist(), strict=True)


def _wrong(web: Web, outcomes: dict[str, str]) -> list[str]:
    """Links whose outcome is none of the right ones. A host may have died of what a kill has cut off."""
    found = []
    for submitted, right in web.expected.items():
        url = parse(submitted)
        got = outcomes.get(url.href if url else submitted, "no row")
        if got not in right:
            found.append(f"{submitted}: {got}, not {' or '.join(sorted(right))}")
    return found
