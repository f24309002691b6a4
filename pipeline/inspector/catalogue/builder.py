"""The process that makes a catalogue, and how far it is."""

import json
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Self

from pipeline.runs import Folder

TABLES = "reading tables"
TEXTS = "indexing texts"
WAITING = "waiting"

_ENDS_S = 5.0  # what a process is given to end


@dataclass(frozen=True, slots=True)
class Building:
    """How far the making of the catalogue and the index is.

    Attributes:
        is_ready: Both are whole: every table is fast, and the whole corpus can be searched.
        what: "reading tables" or "indexing texts", or "waiting" for another inspector that makes the same.
        done: Rows of tables, or documents.
        total: As many as there will be; 0 where nothing is being made.
        error: Why nothing more will come, and what to do; None while all goes well.
    """

    is_ready: bool
    what: str = TABLES
    done: int = 0
    total: int = 0
    error: str | None = None

    def line(self) -> str:
        """In a sentence or two, for people."""
        if self.is_ready:
            return "Everything is indexed."
        slower = "filters and sorts read the run's own files, which is slower"
        if self.error is not None:
            return f"{self.error} Until then {slower}, and texts cannot be searched."
        if self.what == WAITING:
            return f"Another inspector indexes this run. Until it is done {slower}; search comes then."
        if self.what == TEXTS:
            return f"Indexing texts: {self.done:,} of {self.total:,} documents. Search comes once all are."
        far = f": {self.done:,} of {self.total:,} rows" if self.total else ""
        return f"Reading tables{far}. Until they are read {slower}; search comes after."


class Builder:
    """The process that makes a run's catalogue (build.py): it ends with this one."""

    def __init__(self, run: Folder, folder: Path) -> None:
        self.state = Building(is_ready=False)
        command = [sys.executable, "-m", "pipeline.inspector.catalogue.build", run.address, str(folder)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).resolve().parents[3],
            start_new_session=True,  # a key that ends the inspector is not for it
            encoding="utf-8",
            errors="replace",
        )
        assert self._process.stdout is not None  # noqa: S101 it is a pipe
        self._thread = threading.Thread(target=self._listen, args=[self._process.stdout], daemon=True)
        self._thread.start()

    def _listen(self, said: IO[str]) -> None:
        """Keeps ``state`` at what the process says last."""
        last = ""
        with said:
            for line in said:
                try:
                    self.state = replace(self.state, **json.loads(line))
                except ValueError:  # no progress, but what it dies of
                    last = line.strip() or last
        if self._process.wait() != 0:
            why = last or f"it ended with status {self._process.returncode}"
            error = f"The run could not be indexed ({why}): start the inspector again."
            self.state = replace(self.state, error=error)

    def wait(self) -> None:
        """Until it has ended, well or not."""
        self._thread.join()

    def close(self) -> None:
        """Ends the process, whatever it does; what is whole stays."""
        self._process.terminate()
        try:
            self._process.wait(_ENDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
