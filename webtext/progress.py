"""Progress for people: how much is done, how fast, and the time to go; a stage's is read from its folder."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
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
from pipeline.tokenizer.progress import Training, read_training
from webtext.paths import near
from webtext.terminal import PlainLines

_POLL_S = 0.5


class Seen(NamedTuple):
    """How far a piece of work is."""

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


class StageProgress:
    """Shows the stages of one build on a console: a bar each on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, stage: str, folder: Folder, names: Sequence[str]) -> AbstractContextManager[None]:
        """Watches a stage's folder until the block ends."""
        return watching(stage, _Tally(stage, folder, names).look, self._console)


@contextmanager
def watching(title: str, look: Callable[[], Seen], console: Console) -> Iterator[None]:
    """Shows what ``look`` sees, twice a second, until the block ends."""
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(title, look, console, done), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _watch(title: str, look: Callable[[], Seen], console: Console, done: threading.Event) -> None:
    progress = _StageBar(
        TextColumn("[bold]{task.description:<10}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[left]}"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    task = progress.add_task(title, total=None, unit="", rate="", left="")
    plain = PlainLines(console)
    with progress:
        finished = False
        while not finished:
            seen = look()
            progress.below = "\n".join(seen.below)
            progress.update(
                task, completed=seen.done, total=seen.of, unit=seen.unit, rate=seen.rate, left=seen.left
            )
            plain.say(f"{title}: {seen.line()}")
            finished = done.wait(_POLL_S)


class _StageBar(Progress):
    """A stage's bar, and lines below it."""

    below = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        if self.below:
            yield Text(self.below)


class _Tally:
    """What the sidecars in a folder say so far and, of a crawl, the figures that it leaves."""

    def __init__(self, stage: str, folder: Folder, names: Sequence[str]) -> None:
        self._stage = stage
        self._folder = folder
        self._names = set(names)
        self._seen: dict[str, int] = {}
        self._started = time.monotonic()
        self._before: tuple[int, int] | None = None  # parts and records at the start

    def look(self) -> Seen:
        """Links of a crawl at work, megabytes of a training; parts of anything else."""
        crawl = read_crawl(self._folder, time.time()) if self._stage == "fetch" else None
        if crawl is not None and crawl.is_running:
            return _seen_of(crawl.figures)
        training = read_training(self._folder) if self._stage == "tokenizer" else None
        return self._parts() if training is None else seen_of_training(training, time.time())

    def _parts(self) -> Seen:
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
        return Seen(
            done=num,
            of=len(self._names),
            unit="parts",
            rate=f"{records_new / elapsed:,.0f} records/s" if elapsed > 0 and records_new else "",
            left="" if left is None else f"about {duration(left)} to go",
        )


def _seen_of(figures: Figures) -> Seen:
    _, *below = crawl_lines(figures)
    return Seen(
        done=figures.done,
        of=figures.links,
        unit="links",
        rate="",
        left="" if figures.eta_s is None else f"about {duration(figures.eta_s)} to go",
        below=tuple(below),
    )


def seen_of_training(training: Training, now: float) -> Seen:
    """How far a training is at ``now``, in seconds of the epoch: how much is read, or how long it learns."""
    read, merges = training.num_bytes, f"{training.num_merges:,} merges"
    if training.learning_since is not None:
        learning = f"learning {merges} for {duration(now - training.learning_since)}"
        return Seen(round(read / 1e6), round(read / 1e6), "MB read", "", learning)
    of = max(read, training.of_bytes)
    rate = read / max(now - training.began, 1e-9)
    left = f"about {duration((of - read) / rate)} to go, then {merges}" if read else ""
    return Seen(round(read / 1e6), round(of / 1e6), "MB read", f"{rate / 1e6:,.1f} MB/s", left)


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
