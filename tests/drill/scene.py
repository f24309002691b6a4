"""What a fault finds: a build's folder on a small disk, the web it asks, and the round's luck."""

import hashlib
import os
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from pipeline.runs import MANIFEST, Folder, are_there, read_sidecar
from pipeline.stages import BY_NAME
from tests.drill.disk import Disk
from tests.drill.process import Command, Ended, Limits, Moment, await_moment
from tests.drill.web import Web

SETTINGS = "webtext.toml"
IN_PROCESSES = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")

# What `webtext retry` is asked to try again: all that a network's failure leaves of links.
REASONS = (
    "dns,connect,timeout,cut-short,bad-encoding,bad-redirect,protocol,http-09,http-5xx,dead-host,"
    "robots-unreachable"
)

_TOLD = re.compile(r"(\S+/[^\s:]+)(?::| is) [^\n]*?delete it")


@dataclass
class Scene:
    """The drilled build."""

    folder: Path
    web: Web
    disk: Disk
    log: Path
    """What the last command has said."""
    chance: random.Random = field(default_factory=random.Random)
    """Of the round that it is, by the seed."""
    settled: set[tuple[str, str]] = field(default_factory=set)
    """Pages (host and path) that the run has as this round begins: none of them is to be asked for again."""

    @property
    def run(self) -> Path:
        """The run directory."""
        return self.folder / "run"

    def start(self, moment: Moment, limits: Limits | None = None) -> Command:
        """Starts the build up to a moment's stage, which is done or tried again if nothing of it is left."""
        arguments = ["build", SETTINGS, "--until", moment.stage]
        is_done = (self.run / BY_NAME[moment.stage].folder / MANIFEST).exists()
        if is_done and moment.stage == "fetch":
            return self.command(["retry", "run", "--reason", REASONS], limits)
        if is_done:
            arguments += ["--force", moment.stage]
        if moment.in_processes:
            arguments += ["--", "--runner=FnApiRunner", *IN_PROCESSES]
        return self.command(arguments, limits)

    def command(self, arguments: list[str], limits: Limits | None = None) -> Command:
        """Starts a ``webtext`` command."""
        given = limits or Limits()
        environment = {"TMPDIR": str(self.temporary), **(given.environment or {})}
        limited = Limits(given.num_files, given.file_bytes, environment)
        return Command(self.folder, arguments, limited, self.log)

    @property
    def temporary(self) -> Path:
        """Where the command leaves what it leaves behind."""
        return self.folder / "tmp"

    def reach(self, command: Command, moment: Moment) -> bool:
        """Waits for a moment of a build; False where it ended before."""
        return await_moment(command, self.run, moment, lambda: self.web.num_asked)

    def do(self, *arguments: str) -> Ended:
        """Runs a command to its end."""
        return replace(self, log=self.log.with_suffix(".beside.txt")).command(list(arguments)).wait()

    def obey(self, said: str) -> list[Path]:
        """Deletes the files of the run that a message says to delete; gives those that were there."""
        told = {Path(os.path.normpath(self.folder / name)) for name in _TOLD.findall(said)}
        there = [path for path in sorted(told) if self.run in path.parents and path.is_file()]
        for path in there:
            path.unlink()
        return there

    def finished_files(self) -> list[Path]:
        """What a build has left: every file of its folders, but locks."""
        found = (path for path in self.run.rglob("*") if path.is_file())
        return sorted(path for path in found if path.name not in {".lock", "lock"})

    def count_settled(self) -> None:
        """Looks up which pages the run has, now that no build is at work."""
        self.settled = set(self._settled())

    def _settled(self) -> Iterator[tuple[str, str]]:
        pages = Folder(str(self.run / "pages"))
        sizes = pages.sizes()
        for name in sizes:
            stem, _, suffix = name.partition(".")
            if suffix != "json" or not stem.startswith("part-"):
                continue
            part = read_sidecar(pages, stem)
            if part is None or not are_there(pages, sizes, part.files):
                continue
            ledger = part.file(".ledger.parquet")
            data = pages.read(ledger.name)
            if hashlib.sha256(data).hexdigest() != ledger.sha256:  # a bit was flipped: it tells of nothing
                continue
            table = pq.read_table(pa.BufferReader(data), columns=["url", "outcome"])
            yield from _places(table.filter(pc.equal(table["outcome"], "fetched"))["url"].to_pylist())
        for journal in (self.run / "pages" / "open").glob("*.journal"):
            yield from _places(_fetched(journal))


def _places(urls: Iterable[str]) -> Iterator[tuple[str, str]]:
    for url in urls:
        parts = urlsplit(url)
        path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        yield (parts.hostname or "").lower(), path


def _fetched(journal: Path) -> Iterator[str]:
    """The URLs of the pages that an open part has, up to the first line or record that is damaged."""
    warc = journal.with_suffix(".warc.gz").read_bytes() if journal.with_suffix(".warc.gz").exists() else b""
    end = 0
    for number, raw in enumerate(journal.read_bytes().splitlines(keepends=True)):
        data = raw[17:-1]
        if raw != b"%016x %s\n" % (xxhash.xxh3_64_intdigest(data), data):
            return
        if number == 0:
            continue
        line = msgspec.json.decode(data)
        records = warc[end : line["end"]]
        if (xxhash.xxh3_64_intdigest(records) if records else 0) != line.get("checksum", 0):
            return
        end = line["end"]
        if line["entry"]["outcome"] == "fetched":
            yield line["entry"]["url"]
