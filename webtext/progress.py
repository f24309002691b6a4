"""A stage's progress for people: how much is done, how fast, and the time to go, read from its folder."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from pipeline.collect.months import warnings
from pipeline.fetch.progress import Figures, read_crawl
from pipeline.fetch.schedule import duration
from pipeline.fetch.summary import crawl_lines, fetch_lines
from pipeline.runs import Folder, Manifest, read_sidecar
from pipeline.status import (
    cluster_sizes,
    largest_clusters,
    overlaps,
    read_status,
    sensitivity,
    waterfall,
)
from webtext.paths import near

_POLL_S = 0.5
_PLAIN_LINE_EVERY_S = 15.0


class StageProgress:
    """Shows the stages of one build on a console: a bar each on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def __call__(self, stage: str, folder: Folder, names: Sequence[str]) -> Iterator[None]:
        """Watches a stage's folder until the block ends."""
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(stage, folder, names, done), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()

    def _watch(self, stage: str, folder: Folder, names: Sequence[str], done: threading.Event) -> None:
        progress = _StageBar(
            TextColumn("[bold]{task.description:<10}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        tally = _Tally(stage, folder, names)
        task = progress.add_task(stage, total=None, unit="", rate="", left="")
        spoken = time.monotonic()
        with progress:
            finished = False
            while not finished:
                seen = tally.look()
                progress.below = "\n".join(seen.below)
                progress.update(
                    task, completed=seen.done, total=seen.of, unit=seen.unit, rate=seen.rate, left=seen.left
                )
                if not self._console.is_terminal and time.monotonic() - spoken > _PLAIN_LINE_EVERY_S:
                    spoken = time.monotonic()
                    self._console.print(f"{stage}: {seen.line()}", markup=False)
                finished = done.wait(_POLL_S)


class _StageBar(Progress):
    """A stage's bar, and lines below it."""

    below = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        if self.below:
            yield Text(self.below)


class _Seen(NamedTuple):
    """How far a stage is."""

    done: int
    of: int
    unit: str
    rate: str
    left: str
    below: tuple[str, ...] = ()

    def line(self) -> str:
        """All of it in words."""
        first = (f"{self.done:,} of {self.of:,} {self.unit}", self.rate, self.left)
        return "; ".join((", ".join(one for one in first if one), *self.below))


class _Tally:
    """What the sidecars in a folder say so far and, of a crawl, the figures that it leaves."""

    def __init__(self, stage: str, folder: Folder, names: Sequence[str]) -> None:
        self._stage = stage
        self._folder = folder
        self._names = set(names)
        self._seen: dict[str, int] = {}
        self._started = time.monotonic()
        self._before: tuple[int, int] | None = None  # parts and records at the start

    def look(self) -> _Seen:
        """Links of a crawl at work; parts of anything else."""
        crawl = read_crawl(self._folder, time.time()) if self._stage == "fetch" else None
        if crawl is not None and crawl.is_running:
            return _seen_of(crawl.figures)
        return self._parts()

    def _parts(self) -> _Seen:
        for name in (
            self._names
            & {file.removesuffix(".json") for file in self._folder.sizes() if file.endswith(".json")}
            - self._seen.keys()
        ):
            part = read_sidecar(self._folder, name)
            if part is not None:
                self._seen[name] = part.counts.num_in if part.counts else 0
        num, records = len(self._seen), sum(self._seen.values())
        if self._before is None:
            self._before = num, records
        elapsed = time.monotonic() - self._started
        num_new, records_new = num - self._before[0], records - self._before[1]
        left = (len(self._names) - num) * elapsed / num_new if num_new else None
        return _Seen(
            done=num,
            of=len(self._names),
            unit="parts",
            rate=f"{records_new / elapsed:,.0f} records/s" if elapsed > 0 and records_new else "",
            left="" if left is None else f"about {duration(left)} to go",
        )


def _seen_of(figures: Figures) -> _Seen:
    _, *below = crawl_lines(figures)
    return _Seen(
        done=figures.done,
        of=figures.links,
        unit="links",
        rate="",
        left="" if figures.eta_s is None else f"about {duration(figures.eta_s)} to go",
        below=tuple(below),
    )


class StageLines:
    """Prints a line for each stage that a build has brought to its manifest."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = time.monotonic()

    def __call__(self, manifest: Manifest) -> None:
        """What the stage has kept of what came in, and how long it took in this build."""
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        counts = manifest.counts
        num_parts = len(manifest.parts)
        self._console.print(
            f"[green]✓[/] [bold]{manifest.stage:<10}[/] {counts.kept:>9,} of {counts.num_in:,} kept, "
            f"{num_parts:,} {'part' if num_parts == 1 else 'parts'}, {seconds:.1f} s"
        )
        if manifest.stage == "collect":
            _warn(warnings(manifest.facts), self._console)


def show_waterfall(run: Folder, console: Console) -> None:
    """Prints what became of every record of a run, what other thresholds would keep, and what to mind."""
    status = read_status(run)
    console.print(waterfall(replace(status, run=near(status.run))))
    if status.links_by_max:
        console.print()
        console.print(sensitivity(status))
    if lines := fetch_lines(status):
        console.print()
        console.print("\n".join(lines), markup=False)
    if status.evaluation_sets:
        console.print()
        console.print(overlaps(status))
    if status.clusters and status.clusters.largest:
        console.print()
        console.print(cluster_sizes(status.clusters))
        console.print()
        console.print(largest_clusters(status.clusters))
    if status.warnings:
        console.print()
        _warn(status.warnings, console)


def _warn(texts: Iterable[str], console: Console) -> None:
    for text in texts:
        console.print(f"[yellow]![/] {escape(text)}")
