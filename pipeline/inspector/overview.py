"""A run at one moment, for a page that looks again and again: what is finished is read once."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.collect.months import Month, months, warnings
from pipeline.live import Live, Lookout
from pipeline.runs import MANIFEST, Folder, read_manifest
from pipeline.stages import BY_NAME
from pipeline.status import COUNTED, StageStatus, TokenizerStatus, read_stage, read_tokenizer, stage_status


@dataclass(frozen=True, slots=True)
class Overview:
    """A run: how a build goes, and what became of every record.

    Attributes:
        live: How the build goes.
        stages: The counted stages in their order, begun or not.
        tokenizer: The run's, once it is trained.
        months: What collect says of its months, once it is finished.
        warnings: What it warns of.
    """

    live: Live
    stages: Mapping[str, StageStatus]
    tokenizer: TokenizerStatus | None
    months: tuple[Month, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As ``/progress.json`` has it, by the names of ``webtext status --json``."""
        fetch = self.live.stages.get("fetch")
        crawl = None if fetch is None else fetch.crawl
        return {
            "stages": {name: stage.to_json() for name, stage in self.stages.items()},
            "tokenizer": None if self.tokenizer is None else self.tokenizer.to_json(),
            "fetch": {"live": None if crawl is None else crawl.to_json()},
            "months": [month.to_json() for month in self.months],
            "warnings": list(self.warnings),
            "live": self.live.to_json(),
        }


class Observer:
    """Looks at a run, for several threads at once."""

    def __init__(self, run: Folder) -> None:
        self._run = run
        self._lookout = Lookout(run)
        self._lock = threading.Lock()
        self._finished: dict[str, tuple[datetime | None, StageStatus]] = {}  # with when it was

    def look(self, now: float) -> Overview:
        """The run at ``now``, in seconds of the epoch. Raises InputError where a manifest is damaged."""
        collect = read_manifest(self._run / BY_NAME["collect"].folder)
        facts = {} if collect is None else collect.facts
        with self._lock:
            live = self._lookout.look(now)
            return Overview(
                live=live,
                stages={stage.name: self._stage(stage.name, live) for stage in COUNTED},
                tokenizer=read_tokenizer(self._run / BY_NAME["tokenizer"].folder),
                months=tuple(months(facts)),
                warnings=tuple(warnings(facts)),
            )

    def _stage(self, name: str, live: Live) -> StageStatus:
        if name in live.stages:
            return live.stages[name].status
        folder = self._run / BY_NAME[name].folder
        manifest = folder.filesystem.get_file_info(folder.path(MANIFEST))
        if not manifest.is_file:
            return stage_status([], 0)
        if name not in self._finished or self._finished[name][0] != manifest.mtime:
            self._finished[name] = manifest.mtime, read_stage(folder)
        return self._finished[name][1]
