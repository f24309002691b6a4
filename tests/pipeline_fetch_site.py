"""What the tests of fetch share: a site on loopback under any host names, and a job made by hand."""

import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from aiohttp import web

from pipeline import urls
from pipeline.config import FetchSettings
from pipeline.records import LINKS
from pipeline.runs import Counts, Folder, Manifest, PartWriter
from pipeline.stages import BY_NAME, Job, execute, part_name
from tests.on_a_thread import Handler, listening, on_a_thread

CREATED = datetime(2019, 12, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the server saw it."""

    host: str
    path: str
    began: float
    ended: float
    user_agent: str


@dataclass
class Site:
    """A server that answers by "host/path", and its own log; what it does not know is 404."""

    pages: dict[str, Handler] = field(default_factory=dict)
    log: list[Asked] = field(default_factory=list)
    port: int = 0

    def paths(self, host: str) -> list[str]:
        """What a host was asked for, in order."""
        return [one.path for one in self.log if one.host == host]

    def resolve(self, *hosts: str) -> dict[str, str]:
        """A resolve table that leads hosts to this server."""
        return dict.fromkeys(hosts, f"127.0.0.1:{self.port}")

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers and logs."""
        began = time.monotonic()
        host = request.host.partition(":")[0]
        handler = self.pages.get(f"{host}{request.path_qs}")
        try:
            if handler is None:
                return web.Response(status=404, text="no such page")
            return await handler(request)
        finally:
            agent = request.headers.get("User-Agent", "")
            self.log.append(Asked(host, request.path_qs, began, time.monotonic(), agent))


def page(body: bytes | str = "<html><p>A page.</p></html>", status: int = 200, **headers: str) -> Handler:
    """A handler that always gives this; header names with _ for -."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    data = body.encode() if isinstance(body, str) else body
    fields.setdefault("Content-Type", "text/html; charset=utf-8")

    async def handler(_: web.BaseRequest) -> web.Response:
        return web.Response(body=data, status=status, headers=fields)

    return handler


def redirect(to: str, status: int = 302) -> Handler:
    """A handler that leads elsewhere."""
    return page(b"", status, Location=to)


@contextlib.contextmanager
def serving(site: Site, address: str = "127.0.0.1") -> Iterator[Site]:
    """Runs a site on its port of loopback, or a free one, on a thread of its own."""

    @contextlib.asynccontextmanager
    async def service() -> AsyncIterator[None]:
        async with listening(site.answer, address, site.port) as site.port:
            yield

    with on_a_thread(service()):
        yield site


def make_job(root: Path | str, parts: Sequence[Sequence[str]], settings: FetchSettings) -> Job:
    """A fetch job over links parts with these URLs."""
    run = Folder(str(root))
    written = []
    for index, addresses in enumerate(parts):
        table = pa.Table.from_pylist([_link(one) for one in addresses], schema=LINKS)
        writer = PartWriter(run / "links", part_name(index), "made by hand")
        writer.table("parquet", table)
        written.append(writer.commit(Counts(table.num_rows, table.num_rows), seconds=0))
    counts = Counts.total(part.counts for part in written if part.counts)
    manifest = Manifest("link", "0", "made by hand", {}, {}, counts, tuple(written), {})
    return Job(BY_NAME["fetch"], run, settings, {"link": manifest})


def build(job: Job) -> Manifest:
    """The stage on the local runner."""
    return execute(job, beam_options=[], watch=lambda *_: contextlib.nullcontext())


def ledger(job: Job, index: int = 0) -> dict[str, dict[str, Any]]:
    """A part's ledger, by the links' URLs."""
    rows = job.folder.read_table(f"{part_name(index)}.ledger.parquet").to_pylist()
    return {row["url"]: row for row in rows}


def _link(address: str) -> dict[str, Any]:
    url = urls.parse(address)
    assert url is not None
    return {
        "id": url.key.hex(),
        "url": address,
        "canonical": url.canonical,
        "domain": url.domain,
        "karma": 3,
        "karma_max": 3,
        "karma_sum": 3,
        "created": CREATED,
        "submissions": [],
    }
