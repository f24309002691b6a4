"""How far a crawl is: figures that each of its processes leaves in a file, every second, for who looks."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from pipeline.runs import Folder

OPEN = "open"  # the folder in fetch's, where what is not finished lies

_FRESH_S = 10  # a crawl at work writes its figures each second


@dataclass(frozen=True, slots=True)
class Figures:
    """How far one process is with the parts that it crawls, or several processes together.

    ``links`` and ``done`` count those of the parts that were not finished when the crawl began, with what
    was done of them before; the rest is of this crawl alone.
    """

    links: int  # to be done in all
    done: int  # fetched, or failed for good
    pages: int
    bytes: int  # of pages' bodies
    hosts_in_flight: int  # of which a request is under way
    hosts_waiting: int  # that have links left, and their delay to wait out
    links_waiting: int
    failures: Mapping[str, int]  # links by reason
    seconds: float  # since the crawl began
    pages_a_second: float  # over the last half minute
    eta_s: float | None  # None where it cannot be told yet

    @property
    def bytes_a_second(self) -> float:
        """Of bodies, as pages come now."""
        return self.pages_a_second * self.bytes / self.pages if self.pages else 0.0

    def to_json(self) -> dict[str, Any]:
        """As it stands in the file, and in ``webtext status --json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of to_json; TypeError where the object is not one."""
        return cls(**value)


@dataclass(frozen=True, slots=True)
class Crawl:
    """What the processes of a crawl have said last, together, and how many seconds ago that was."""

    figures: Figures
    age_s: float

    @property
    def is_running(self) -> bool:
        """Whether the figures are as new as those of a crawl at work."""
        return self.age_s <= _FRESH_S

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``webtext status --json``."""
        return {**self.figures.to_json(), "age_s": round(self.age_s, 1), "running": self.is_running}


def file_name(group: int) -> str:
    """The file in the folder OPEN that the process of a group of parts writes."""
    return f"crawl-{group:05d}.json"


def clear(pages: Folder) -> None:
    """Removes what an earlier crawl has said."""
    (pages / OPEN).remove(_times(pages))


def total(figures: Sequence[Figures]) -> Figures:
    """The figures of several processes together: what is to be done takes as long as it takes the slowest.

    One that cannot tell its time to go leaves that of all untold.
    """
    failures: dict[str, int] = {}
    for one in figures:
        for reason, num in one.failures.items():
            failures[reason] = failures.get(reason, 0) + num
    etas = [one.eta_s for one in figures if one.eta_s is not None]
    return Figures(
        links=sum(one.links for one in figures),
        done=sum(one.done for one in figures),
        pages=sum(one.pages for one in figures),
        bytes=sum(one.bytes for one in figures),
        hosts_in_flight=sum(one.hosts_in_flight for one in figures),
        hosts_waiting=sum(one.hosts_waiting for one in figures),
        links_waiting=sum(one.links_waiting for one in figures),
        failures=failures,
        seconds=max((one.seconds for one in figures), default=0.0),
        pages_a_second=sum(one.pages_a_second for one in figures),
        eta_s=max(etas) if etas and len(etas) == len(figures) else None,
    )


def read_figures(pages: Folder) -> Figures | None:
    """What the processes of a crawl say together, in fetch's folder; None where none says anything.

    Files that are gone or torn are left out.
    """
    return _figures(pages, _times(pages))


def read_crawl(pages: Folder, now: float) -> Crawl | None:
    """The same with its age at ``now``, in seconds of the epoch."""
    times = _times(pages)
    figures = _figures(pages, times)
    return None if figures is None else Crawl(figures, max(0.0, now - max(times.values())))


def _figures(pages: Folder, names: Iterable[str]) -> Figures | None:
    read = (_read(pages / OPEN, name) for name in sorted(names))
    found = [one for one in read if one is not None]
    return total(found) if found else None


def _read(folder: Folder, name: str) -> Figures | None:
    try:
        return Figures.from_json(json.loads(folder.read(name)))
    except (FileNotFoundError, ValueError, TypeError, RecursionError):
        return None


def _times(pages: Folder) -> dict[str, float]:
    """The files that there are, and when each was written, in seconds of the epoch."""
    return {
        name: written
        for name, written in (pages / OPEN).times().items()
        if name.startswith("crawl-") and name.endswith(".json")
    }
