"""Progress for people: how much is done, how fast, and the time to go; a stage's is read from its folder."""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from pipeline.collect.months import warnings
from pipeline.fetch.summary import fetch_lines
from pipeline.live import Live, Lookout, Seen, Tally
from pipeline.runs import Folder, Manifest
from pipeline.status import (
    cluster_sizes,
    largest_clusters,
    overlaps,
    read_status,
    sensitivity,
    waterfall,
)
from webtext.paths import near
from webtext.terminal import PlainLines

_POLL_S = 0.5


class StageProgress:
    """Shows the stages of one build on a console: a bar each on a terminal, plain lines elsewhere.

    Attributes:
        begun: The stages at which there was something to do.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self.begun: set[str] = set()

    def __call__(self, stage: str, folder: Folder, names: Sequence[str]) -> AbstractContextManager[None]:
        """Watches a stage's folder until the block ends."""
        self.begun.add(stage)
        tally = Tally(stage, folder, names)

        def look() -> Seen:
            now = time.time()
            return tally.look(now).seen(now)

        return watching(stage, look, self._console)


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


class StageLines:
    """Prints a line for each stage that a build has brought to its manifest.

    Args:
        console: Where.
        begun: The stages at which this build had something to do; those of earlier builds are not in it.
    """

    def __init__(self, console: Console, begun: Collection[str]) -> None:
        self._console = console
        self._begun = begun
        self._last = time.monotonic()

    def __call__(self, manifest: Manifest) -> None:
        """What the stage has kept of what came in, and how long it took in this build."""
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        counts = manifest.counts
        num_parts = len(manifest.parts)
        took = f"{seconds:.1f} s" if manifest.stage in self._begun else "done before"
        self._console.print(
            f"[green]✓[/] [bold]{manifest.stage:<10}[/] {counts.kept:>9,} of {counts.num_in:,} kept, "
            f"{num_parts:,} {'part' if num_parts == 1 else 'parts'}, {took}"
        )
        if manifest.stage == "collect":
            _warn(warnings(manifest.facts), self._console)


def status_facts(run: Folder) -> dict[str, Any]:
    """All that ``show_waterfall`` tells, as ``webtext status --json`` prints it."""
    return {**read_status(run).to_json(), "live": Lookout(run).look(time.time()).to_json()}


def show_waterfall(run: Folder, console: Console) -> None:
    """Prints what became of every record of a run, what other thresholds would keep, and what to mind."""
    status = read_status(run)
    console.print(waterfall(replace(status, run=near(status.run))))
    if status.links_by_max:
        console.print()
        console.print(sensitivity(status))
    for lines in (live_lines(Lookout(run).look(time.time())), fetch_lines(status)):
        if lines:
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


def live_lines(live: Live) -> list[str]:
    """Whether a build is at work, and how far the stages are that it has begun; none where there is neither.

    A crawl has lines of its own.
    """
    shown = {name: seen for name, seen in live.seen().items() if live.stages[name].crawl is None}
    if not live.at_work and not shown:
        return []
    return [live.line(), *(f"  {name}: {seen.line()}" for name, seen in shown.items())]


def _warn(texts: Iterable[str], console: Console) -> None:
    for text in texts:
        console.print(f"[yellow]![/] {escape(text)}")
