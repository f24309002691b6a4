"""The fetch stage by itself, over links of a run made by hand; prints what it took as JSON.

The time is that of the crawl from its first look at the links to the last part's sidecar.
"""

import argparse
import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from benchmarks.fetch_aiohttp import peak_bytes
from pipeline.config import FetchSettings
from pipeline.fetch import spool, web
from pipeline.fetch.ledger import FETCHED
from pipeline.fetch.plan import plan
from pipeline.fetch.writer import Writer
from pipeline.records import LINKS
from pipeline.runs import MANIFEST, Counts, Folder, Manifest, PartWriter, read_manifest
from pipeline.stages import BY_NAME, VERSION, Job, part_name

LINKS_A_PART = 5_000
_SETTINGS = "settings.json"


def make_run(folder: Path, urls: Mapping[str, Sequence[str]], settings: FetchSettings) -> None:
    """A run whose links are these, by registrable domain, in parts of LINKS_A_PART or more; and settings."""
    links = Folder(str(folder)) / "links"
    parts, num_links = [], 0
    for index, table in enumerate(_tables(urls)):
        writer = PartWriter(links, part_name(index), "made")
        writer.table("parquet", table)
        parts.append(writer.commit(Counts(table.num_rows, table.num_rows), seconds=0.0))
        num_links += table.num_rows
    counts = Counts(num_links, num_links)
    links.write(MANIFEST, Manifest("link", VERSION, "made", {}, {}, counts, tuple(parts), {}).encode())
    (folder / _SETTINGS).write_text(settings.model_dump_json())


def _tables(urls: Mapping[str, Sequence[str]]) -> Iterator[pa.Table]:
    """Whole domains, so many that a table is of the size of a part."""
    domains: list[str] = []
    gathered: list[str] = []
    for domain, of_domain in urls.items():
        domains += [domain] * len(of_domain)
        gathered += of_domain
        if len(gathered) >= LINKS_A_PART:
            yield _table(domains, gathered)
            domains, gathered = [], []
    if gathered:
        yield _table(domains, gathered)


def _table(domains: Sequence[str], urls: Sequence[str]) -> pa.Table:
    num = len(urls)
    threes = pa.array(np.full(num, 3, np.int64))
    submissions = LINKS.field("submissions").type
    columns = {
        "id": pa.array([xxhash.xxh3_128_hexdigest(url.encode()) for url in urls]),
        "url": pa.array(urls),
        "canonical": pa.array([url.partition("://")[2] for url in urls]),
        "domain": pa.array(domains),
        "karma": threes,
        "karma_max": threes,
        "karma_sum": threes,
        "created": pa.nulls(num, LINKS.field("created").type),
        "submissions": pa.ListArray.from_arrays(
            pa.array(np.zeros(num + 1, np.int32)), pa.array([], submissions.value_type), type=submissions
        ),
    }
    return pa.table([columns[name] for name in LINKS.names], schema=LINKS)


def main() -> None:
    """Crawls the links of a run, or for so many seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--stop-after", type=int, default=0, help="seconds; 0: at the end")
    parser.add_argument("--without-writing", action="store_true", help="forget what has been fetched")
    arguments = parser.parse_args()
    run = Folder(str(arguments.run))
    links = read_manifest(run / "links")
    assert links is not None
    settings = FetchSettings.model_validate_json((arguments.run / _SETTINGS).read_text())
    job = Job(BY_NAME["fetch"], run, settings, {"link": links})
    if arguments.stop_after:
        signal.signal(signal.SIGALRM, lambda *_: _stop(job))
        signal.alarm(arguments.stop_after)
    started = time.monotonic()
    if arguments.without_writing:
        with mock.patch.multiple(web, Writer=_Forgetful, finish=lambda *_: None):
            _crawl(job)
        result: dict[str, float] = {"pages": _Forgetful.num_pages, "bytes": _Forgetful.num_bytes}
    else:
        _crawl(job)
        result = _result(job)
    result |= {"seconds": time.monotonic() - started, "peak_bytes": peak_bytes()}
    print(json.dumps(result))


def _crawl(job: Job) -> None:
    for group in web.groups(job, plan(job).parts):
        web.crawl(job, group)


def _result(job: Job) -> dict[str, float]:
    pages = num_bytes = 0
    longest_s = 0.0
    for path in Path(job.folder.path()).glob("*.ledger.parquet"):
        rows = pq.read_table(path, columns=["outcome", "bytes", "seconds"])
        fetched = rows.filter(pc.equal(rows["outcome"], FETCHED))
        pages += fetched.num_rows
        num_bytes += pc.sum(fetched["bytes"]).as_py() or 0
        longest_s = max(longest_s, pc.max(rows["seconds"]).as_py() or 0.0)
    return {"pages": pages, "bytes": num_bytes, "longest_s": longest_s}


def _stop(job: Job) -> None:
    """Ends in the midst of the crawl, with how far it has come."""
    journals = spool.directory(job.folder).glob("*.journal")
    tries = sum(journal.read_bytes().count(b"\n") - 1 for journal in journals)
    result = {"pages": tries, "peak_bytes": peak_bytes(), "shared_bytes": _proportional_bytes()}
    print(json.dumps(result), flush=True)
    os._exit(0)


def _proportional_bytes() -> int:
    """What this process and the one that writes have in memory now, what they share counted once."""
    children = Path("/proc/thread-self/children").read_text().split()
    found = 0
    for pid in ("self", *children):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        found += 1024 * int(rollup.partition("\nPss:")[2].split()[0])
    return found


class _Forgetful(Writer):
    """Starts no process, and forgets every try at once."""

    num_pages = 0
    num_bytes = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing was written."""

    async def put(self, one: Any) -> None:
        """Counts it, and no more."""
        type(self).num_pages += one.outcome.refusal is None
        type(self).num_bytes += one.num_bytes
        part = self._parts[one.link.part]
        part.num_left -= one.final
        if one.final and not part.num_left:
            self._complete(one.link.part)

    async def flush(self) -> None:
        """Nothing waits."""

    async def watch(self) -> None:
        """Nobody is there to be heard."""
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
