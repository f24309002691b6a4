"""How far a build is, how fast, and how long it will take: from what any runner leaves in the run's folders.

A part was finished when its sidecar was written, and a stage's plan is written when a build begins with it:
so the rate is that of the parts that were finished of late, and those of an earlier build say nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from pipeline.fetch.progress import OPEN, Crawl, Figures, read_crawl
from pipeline.fetch.summary import crawl_lines
from pipeline.lock import is_locked
from pipeline.plain_table import duration
from pipeline.runs import MANIFEST, Folder, Part
from pipeline.stages import PLAN, STAGES, read_plan
from pipeline.status import StageStatus, read_sidecars, stage_status
from pipeline.tokenizer.progress import Training, read_training

_LATE_S = 600.0
_FEW = 5  # parts at the least, if they took longer

_FRESH_S = 60.0  # a build at work has written something since


class Finished(NamedTuple):
    """A finished part: when, in seconds of the epoch, and the records that it took in."""

    at: float
    records: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a stage goes, and the seconds until it is done; None where it cannot be told."""

    records_a_second: float | None = None
    left_s: float | None = None


def pace(finished: Iterable[Finished], num_left: int, began: float | None, now: float) -> Pace:
    """How fast a stage goes, by the parts that were finished in the last ten minutes, or by the last five.

    Args:
        finished: Its parts, in any order.
        num_left: Parts that are to be done yet.
        began: When the build began with the stage, in seconds of the epoch: parts of before say nothing.
            None where that is not known: the first part then only says where to count from.
        now: The time.

    >>> pace([Finished(10.0, 500), Finished(20.0, 700)], num_left=6, began=0.0, now=24.0)
    Pace(records_a_second=50.0, left_s=72.0)
    """
    done = sorted(one for one in finished if began is None or one.at >= began)
    num = max(sum(one.at > now - _LATE_S for one in done), min(_FEW, len(done)))
    before, recent = done[: len(done) - num], done[len(done) - num :]
    since = before[-1].at if before else began
    if since is None and recent:
        since, recent = recent[0].at, recent[1:]
    if since is None or not recent:
        return Pace()
    seconds = max(now, recent[-1].at) - since  # another machine's clock may be ahead
    if seconds <= 0:
        return Pace()
    records = sum(one.records for one in recent)
    return Pace(records / seconds if records else None, num_left * seconds / len(recent))


class Seen(NamedTuple):
    """How far a piece of work is, in numbers and words."""

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


@dataclass(frozen=True, slots=True)
class Working:
    """A stage that is begun and not finished.

    Attributes:
        status: Its parts, and what became of their records.
        pace: How fast its parts are finished.
        newest: When the newest of its files was written, in seconds of the epoch.
        crawl: What a crawl says of itself.
        training: What a tokenizer's training says of itself.
    """

    status: StageStatus
    pace: Pace
    newest: float | None
    crawl: Crawl | None
    training: Training | None

    def seen(self, now: float) -> Seen:
        """How far it is: a crawl at work by its links, a training by its text, all else by parts."""
        if self.crawl is not None and self.crawl.is_running:
            return seen_of_crawl(self.crawl.figures)
        if self.training is not None:
            return seen_of_training(self.training, now)
        rate, left = self.pace.records_a_second, self.pace.left_s
        return Seen(
            done=self.status.num_done,
            of=self.status.num_parts,
            unit="parts",
            rate="" if rate is None else f"{rate:,.{0 if rate >= 10 else 1}f} records/s",
            left="" if left is None else f"about {duration(left)} to go",
        )

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``webtext status --json``, where ``fetch`` has the crawl."""
        rate, left = self.pace.records_a_second, self.pace.left_s
        return {
            "parts": self.status.num_parts,
            "parts_done": self.status.num_done,
            "records_a_second": None if rate is None else round(rate, 1),
            "left_s": None if left is None else round(left, 1),
        }


class Tally:
    """The finished parts of one stage, counted as they come: each sidecar is read once.

    Args:
        stage: Its name.
        folder: Its folder.
        names: Its parts; None: those that the plan in the folder names.
    """

    def __init__(self, stage: str, folder: Folder, names: Sequence[str] | None = None) -> None:
        self._stage = stage
        self._folder = folder
        self._names = names
        self._read: dict[str, tuple[float, Part]] = {}  # by name: when it was written, and what it says

    def look(self, now: float) -> Working:
        """How far the stage is at ``now``, in seconds of the epoch."""
        times = self._folder.times()
        names = read_plan(self._folder) if self._names is None else self._names
        self._update(times, names)
        parts = [part for _, part in self._read.values()]
        status = stage_status(parts, len(parts) if names is None else len(names))
        done = (Finished(at, part.counts.num_in if part.counts else 0) for at, part in self._read.values())
        is_fetch = self._stage == "fetch"
        opened = (self._folder / OPEN).times() if is_fetch else {}
        return Working(
            status=status,
            pace=pace(done, status.num_parts - status.num_done, times.get(PLAN), now),
            newest=max([*times.values(), *opened.values()], default=None),
            crawl=read_crawl(self._folder, now) if is_fetch else None,
            training=read_training(self._folder) if self._stage == "tokenizer" else None,
        )

    def _update(self, times: Mapping[str, float], names: Sequence[str] | None) -> None:
        """Reads the sidecars that are new, and forgets those that are gone or were written anew."""
        present = {name.removesuffix(".json"): at for name, at in times.items() if name.endswith(".json")}
        wanted = present.keys() if names is None else present.keys() & set(names)
        self._read = {
            name: (at, part)
            for name, (at, part) in self._read.items()
            if name in wanted and present[name] == at
        }
        for part in read_sidecars(self._folder, sorted(wanted - self._read.keys())):
            if part.name in present:
                self._read[part.name] = present[part.name], part


@dataclass(frozen=True, slots=True)
class Live:
    """A build at one moment.

    Attributes:
        now: The moment, in seconds of the epoch.
        at_work: Whether a build (or a retry, or a removal) is at work; None where that cannot be seen.
        stages: Those that are begun and not finished, in their order: the first is the one at work.
        is_finished: Whether all stages are.
    """

    now: float
    at_work: bool | None
    stages: Mapping[str, Working]
    is_finished: bool

    @property
    def age_s(self) -> float | None:
        """How old the newest file is of the stages that are not finished."""
        written = [one.newest for one in self.stages.values() if one.newest is not None]
        return max(0.0, self.now - max(written)) if written else None

    def line(self) -> str:
        """Whether a build is at work, in words."""
        old = "" if self.age_s is None else f"; the newest file is {duration(self.age_s)} old"
        if self.at_work:
            return f"a build is at work{old}"
        if self.is_finished:
            return "every stage is finished"
        if self.at_work is None and self.age_s is not None and self.age_s < _FRESH_S:
            return f"a build seems to be at work{old}"
        if self.at_work is None:
            return f"whether a build is at work cannot be seen from here{old}"
        return f"no build is at work, and `webtext build` goes on from what is there{old}"

    def seen(self) -> dict[str, Seen]:
        """How far each of the stages is."""
        return {name: working.seen(self.now) for name, working in self.stages.items()}

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``webtext status --json``."""
        return {
            "at_work": self.at_work,
            "newest_file_age_s": None if self.age_s is None else round(self.age_s, 1),
            "stages": {name: one.to_json() for name, one in self.stages.items()},
            "training": next((asdict(one.training) for one in self.stages.values() if one.training), None),
        }


class Lookout:
    """Looks at a build again and again: what has not changed is not read again."""

    def __init__(self, run: Folder) -> None:
        self._run = run
        self._tallies = {stage.name: Tally(stage.name, run / stage.folder) for stage in STAGES}

    def look(self, now: float) -> Live:
        """How far the build is at ``now``, in seconds of the epoch."""
        at_work = is_locked(self._run)
        unfinished = [stage for stage in STAGES if (self._run / stage.folder).size(MANIFEST) is None]
        found = {stage.name: self._tallies[stage.name].look(now) for stage in unfinished}
        begun = {name: working for name, working in found.items() if working.status.num_parts}
        if at_work is False:  # nothing goes on at the pace that it had
            begun = {name: replace(one, pace=Pace(), training=None) for name, one in begun.items()}
        return Live(now, at_work, begun, is_finished=not unfinished)


def seen_of_crawl(figures: Figures) -> Seen:
    """How far a crawl is."""
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
        learning = f"learning {merges} for {duration(max(0.0, now - training.learning_since))}"
        return Seen(round(read / 1e6), round(read / 1e6), "MB read", "", learning)
    of = max(read, training.of_bytes)
    seconds = now - training.began
    rate = read / seconds if seconds > 0 else 0.0  # the clock may have been set back
    left = f"about {duration((of - read) / rate)} to go, then {merges}" if rate else ""
    return Seen(round(read / 1e6), round(of / 1e6), "MB read", f"{rate / 1e6:,.1f} MB/s", left)
