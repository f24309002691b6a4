"""A job's signs in the run's folders: that its client cares for it, and that a worker has begun with it."""

import json
import time
from dataclasses import asdict, dataclass

from pipeline.runs import Folder

_JOB = "job.json"


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job that an engine does for a run, noted in the run's folder as long as its client waits for it."""

    name: str
    endpoint: str | None  # of Beam's job server
    flink_master: str | None

    def write(self, run: Folder) -> None:
        """Notes it."""
        run.write(_JOB, (json.dumps(asdict(self)) + "\n").encode())

    @staticmethod
    def read(run: Folder) -> "JobRecord | None":
        """The job that a client has left behind; None if none has."""
        try:
            return JobRecord(**json.loads(run.read(_JOB)))
        except (FileNotFoundError, ValueError, TypeError, RecursionError):
            return None

    @staticmethod
    def clear(run: Folder) -> None:
        """Forgets it: the job is over."""
        run.remove([_JOB])


@dataclass(frozen=True, slots=True)
class Sign:
    """The file by which the first worker that begins with a part's work shows that it does."""

    folder: Folder
    job: str

    def show(self) -> None:
        """Leaves it: on a worker."""
        self.folder.write(self._name, b"")

    def is_there(self) -> bool:
        """Whether a worker has begun."""
        return self.folder.size(self._name) is not None  # a store may not list it yet

    def clear(self) -> None:
        """Takes it away."""
        self.folder.remove([self._name])

    @property
    def _name(self) -> str:
        return f"at-work-{self.job}"


class SilenceError(Exception):
    """No worker has shown a sign of work in time."""


class Watch:
    """Looks for a sign of work until it is there, or until it should have been.

    Args:
        sign: Whose.
        within_s: Until when it must be there, from now on.
    """

    _LOOKS_EVERY_S = 1.0

    def __init__(self, sign: Sign, within_s: float) -> None:
        self._sign: Sign | None = sign
        self._within_s = within_s
        self._deadline = time.monotonic() + within_s

    def look(self) -> float | None:
        """How long until it is to look again; None once work has begun.

        Raises:
            SilenceError: It is too late.
        """
        if self._sign is None or self._sign.is_there():
            self._sign = None
            return None
        if time.monotonic() > self._deadline:
            raise SilenceError(f"no worker has begun within {self._within_s:.0f} s")
        return self._LOOKS_EVERY_S
