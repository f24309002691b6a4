"""A stage's progress for people: parts done, rate and time to go, read from the sidecars as they appear."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.collect.months import warnings
from pipeline.runs import Folder, Manifest, read_sidecar
from pipeline.status import read_status, sensitivity, waterfall
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
        progress = Progress(
            TextColumn("[bold]{task.description:<10}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("parts"),
            TextColumn("{task.fields[rate]}"),
            TextColumn("to go"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        tally = _Tally(folder, names)
        task = progress.add_task(stage, total=len(names), rate="", completed=tally.look())
        spoken = time.monotonic()
        with progress:
            finished = False
            while not finished:
                finished = done.wait(_POLL_S)
                progress.update(task, completed=tally.look(), rate=tally.rate())
                if not self._console.is_terminal and time.monotonic() - spoken > _PLAIN_LINE_EVERY_S:
                    spoken = time.monotonic()
                    self._console.print(f"{stage}: {tally.line()}")


class _Tally:
    """What the sidecars in a folder say so far."""

    def __init__(self, folder: Folder, names: Sequence[str]) -> None:
        self._folder = folder
        self._names = set(names)
        self._seen: dict[str, int] = {}
        self._started = time.monotonic()
        self._before: tuple[int, int] | None = None  # parts and records at the start

    def look(self) -> int:
        """Parts done."""
        for name in (
            self._names
            & {file.removesuffix(".json") for file in self._folder.sizes() if file.endswith(".json")}
            - self._seen.keys()
        ):
            part = read_sidecar(self._folder, name)
            if part is not None:
                self._seen[name] = part.counts.num_in if part.counts else 0
        if self._before is None:
            self._before = (len(self._seen), sum(self._seen.values()))
        return len(self._seen)

    def rate(self) -> str:
        """Records a second since the start."""
        records = sum(self._seen.values()) - (self._before or (0, 0))[1]
        elapsed = time.monotonic() - self._started
        return f"{records / elapsed:,.0f} records/s" if elapsed > 0 and records else ""

    def line(self) -> str:
        """All of it in words."""
        before = (self._before or (0, 0))[0]
        num = len(self._seen)
        elapsed = time.monotonic() - self._started
        left = (len(self._names) - num) * elapsed / (num - before) if num > before else None
        eta = f", about {left:,.0f} s to go" if left is not None else ""
        rate = self.rate()
        return f"{num:,} of {len(self._names):,} parts{', ' + rate if rate else ''}{eta}"


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
    if status.warnings:
        console.print()
        _warn(status.warnings, console)


def _warn(texts: Iterable[str], console: Console) -> None:
    for text in texts:
        console.print(f"[yellow]![/] {escape(text)}")
