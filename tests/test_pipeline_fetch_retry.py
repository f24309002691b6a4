"""Trying again what has failed: a finished fetch is opened for those links alone, and keeps the rest."""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.config import FetchSettings
from pipeline.errors import InputError, RunError
from pipeline.fetch import spool
from pipeline.fetch.plan import plan
from pipeline.fetch.retry import REASONS, parse_reasons, reopen
from pipeline.fetch.spool import Header
from pipeline.records import Reason
from pipeline.runs import MANIFEST, Manifest, read_manifest, read_sidecar
from pipeline.stages import Job
from pipeline.verify import verify
from tests.archive_standins import HISTORY, PAGE, Standins
from tests.archive_standins import serving as serving_archives
from tests.pipeline_fetch_site import Site, build, make_job, page, serving
from tests.test_pipeline_held import flip
from webtext.build import retry
from webtext.settings import Settings, render

HOST, OTHER = "a.example.com", "b.example.org"
GOOD, DOWN, GONE = (f"http://{HOST}/{name}" for name in ("good", "down", "gone"))
FINE = f"http://{OTHER}/fine"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as served:
        served.pages = {
            f"{HOST}/good": page("<p>good"),
            f"{HOST}/down": page("sorry", 500),
            f"{OTHER}/fine": page("<p>fine"),
        }
        yield served


def settings(site: Site, **values: Any) -> FetchSettings:
    usual = {"delay_s": 0.0, "tries": 1, "retry_wait_s": 0.0, "connections": 4}
    return FetchSettings(**{**usual, "resolve": site.resolve(HOST, OTHER), **values})


def made(root: Path, chosen: FetchSettings, *parts: list[str]) -> Job:
    """A run directory whose fetch is finished: by these settings, over these links."""
    job = make_job(root, parts or [[GOOD, DOWN, GONE], [FINE]], chosen)
    job.folder_of("link").write(MANIFEST, job.inputs["link"].encode())
    job.run.write("webtext.toml", render(Settings(fetch=chosen)).encode())
    build(job)
    return job


def again(job: Job, reasons: str, source: str = "web") -> tuple[Manifest, Manifest]:
    return retry(job.run, parse_reasons(reasons), source=source, watch=lambda *_: contextlib.nullcontext())


def tries(job: Job, name: str) -> list[tuple[str, int, str, str | None]]:
    """A ledger's rows: the URL, the number of the try, its outcome, and the file with its page."""
    table = job.folder.read_table(f"{name}.ledger.parquet")
    fields = ("url", "attempt", "outcome", "warc")
    return sorted(tuple(row[field] for field in fields) for row in table.to_pylist())


def files(job: Job) -> dict[str, tuple[bytes, int]]:
    """The stage's files, with when they were written."""
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in Path(job.folder.path()).iterdir()
        if path.is_file()
    }


def test_what_failed_for_a_reason_is_tried_again_and_all_else_stays(site: Site, tmp_path: Path) -> None:
    job = made(tmp_path, settings(site))
    before, asked = files(job), len(site.log)
    site.pages[f"{HOST}/down"] = page("<p>up again")
    first, second = again(job, "http-5xx")
    assert [one.path for one in site.log[asked:]] == ["/robots.txt", "/down"]
    assert tries(job, "part-00000.2") == [
        (DOWN, 1, "http_5xx", None),
        (DOWN, 2, "fetched", "part-00000.2.warc.gz"),
        (GONE, 1, "http_4xx", None),
        (GOOD, 1, "fetched", "part-00000.warc.gz"),
    ]
    assert (first.counts.kept, second.counts.kept) == (2, 3)
    assert second.counts.num_in == 4
    assert second.counts.rejected == {"http_4xx": 1}
    after = files(job)
    kept = ["part-00000.warc.gz", *(name for name in before if name.startswith("part-00001"))]
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert "part-00000.ledger.parquet" not in after
    assert "part-00000.cdxj" not in after
    index = after["part-00000.2.cdxj"][0].decode().splitlines()
    assert index == sorted(index)
    assert {json.loads(line.split(" ", 2)[2])["filename"] for line in index} == {
        "part-00000.warc.gz",
        "part-00000.2.warc.gz",
    }
    assert not list(Path(job.folder.path("open")).glob("part-*"))
    assert build(job).encode() == second.encode()
    assert files(job) == after
    assert [str(one) for one in verify(job.run) if "/pages" in one.where] == []


def test_a_retry_that_brings_nothing_and_then_one_that_does(site: Site, tmp_path: Path) -> None:
    job = made(tmp_path, settings(site))
    first, second = again(job, "http_5xx")
    assert second.counts == first.counts
    assert "part-00000.2.warc.gz" not in files(job)
    site.pages[f"{HOST}/down"] = page("<p>up again")
    _, third = again(job, "http_5xx,dns")
    assert tries(job, "part-00000.3") == [
        (DOWN, 1, "http_5xx", None),
        (DOWN, 2, "http_5xx", None),
        (DOWN, 3, "fetched", "part-00000.3.warc.gz"),
        (GONE, 1, "http_4xx", None),
        (GOOD, 1, "fetched", "part-00000.warc.gz"),
    ]
    assert third.counts.kept == 3
    present, asked = files(job), len(site.log)
    assert {one.encode() for one in again(job, "timeout")} == {third.encode()}
    assert (files(job), len(site.log)) == (present, asked)


def test_a_retry_that_is_stopped_before_the_sidecar_is_gone_has_not_begun(site: Site, tmp_path: Path) -> None:
    job = made(tmp_path, settings(site))
    part, asked = read_sidecar(job.folder, "part-00000"), len(site.log)
    assert part is not None
    due = {row["id"]: 2 for row in pq.read_table(job.folder.path("part-00000.ledger.parquet")).to_pylist()}
    header = Header(fingerprint=part.fingerprint, generation=2, base=part.to_json(), due=due)
    spool.begin(spool.directory(job.folder), part.name, header)
    before = files(job)
    build(job)
    assert (files(job), len(site.log)) == (before, asked)
    site.pages[f"{HOST}/down"] = page("<p>up again")
    again(job, "http_5xx")
    assert [one.path for one in site.log[asked:]] == ["/robots.txt", "/down"]
    assert [row[1] for row in tries(job, "part-00000.2")] == [1, 2, 1, 1]


def test_a_retry_that_is_stopped_after_it_has_begun_is_ended_by_a_build(site: Site, tmp_path: Path) -> None:
    job = made(tmp_path, settings(site))
    site.pages[f"{HOST}/down"] = page("<p>up again")
    asked = len(site.log)
    assert reopen(job.folder, [Reason.HTTP_5XX, Reason.HTTP_4XX]) == 2
    assert read_manifest(job.folder) is None
    manifest = build(job)
    assert [one.path for one in site.log[asked:]] == ["/robots.txt", "/down", "/gone"]
    assert manifest.counts.kept == 3
    assert sorted(row[1] for row in tries(job, "part-00000.2")) == [1, 1, 1, 2, 2]
    assert "part-00000.ledger.parquet" not in files(job)


def test_a_retry_that_is_stopped_once_its_sidecar_is_there_leaves_nothing_behind(
    site: Site, tmp_path: Path
) -> None:
    job = made(tmp_path, settings(site))
    reopen(job.folder, [Reason.HTTP_5XX])
    folder = spool.directory(job.folder)
    journal = (folder / "part-00000.journal").read_bytes()
    earlier = files(job)
    manifest = build(job)
    asked = len(site.log)
    job.folder.remove([MANIFEST])  # as a kill before the sweeping leaves it
    folder.mkdir(exist_ok=True)
    (folder / "part-00000.journal").write_bytes(journal)
    for name in ("part-00000.ledger.parquet", "part-00000.cdxj"):
        job.folder.write(name, earlier[name][0])
    assert build(job).encode() == manifest.encode()
    assert len(site.log) == asked
    assert not {"part-00000.ledger.parquet", "part-00000.cdxj"} & set(files(job))


@pytest.mark.parametrize("lost", ["part-00000.warc.gz", "part-00000.ledger.parquet"])
def test_a_retry_of_what_has_lost_a_file_since_asks_for_all_of_the_part(
    site: Site, tmp_path: Path, lost: str
) -> None:
    job = made(tmp_path, settings(site))
    asked = len(site.log)
    reopen(job.folder, [Reason.HTTP_5XX])
    job.folder.remove([lost])  # as `webtext verify` says of a damaged one
    manifest = build(job)
    assert {one.path for one in site.log[asked:]} == {"/robots.txt", "/good", "/down", "/gone"}
    assert [row[1] for row in tries(job, "part-00000")] == [1, 1, 1]
    assert manifest.counts.kept == 2
    listed = {file.name for part in manifest.parts for file in part.files}
    sidecars = {f"{part.name}.json" for part in manifest.parts}
    assert set(files(job)) == {*listed, *sidecars, MANIFEST}
    assert [str(one) for one in verify(job.run) if "/pages" in one.where] == []


DAMAGED = ["part-00000.ledger.parquet", "part-00000.cdxj"]


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_is_not_opened(
    site: Site, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be written on, and its damage stand under a new checksum."""
    job = made(tmp_path, settings(site))
    monkeypatch.setattr("pipeline.held._WHOLE", set())
    flip(Path(job.folder.path(name)))
    before = files(job)
    with pytest.raises(RunError, match=f"{re.escape(name)}: its bytes have changed"):
        again(job, "http_5xx")
    assert files(job) == before


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_since_it_was_opened_is_not_written_on(
    site: Site, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = made(tmp_path, settings(site))
    reopen(job.folder, [Reason.HTTP_5XX])
    monkeypatch.setattr("pipeline.held._WHOLE", set())
    flip(Path(job.folder.path(name)))
    with pytest.raises(RunError, match=f"{re.escape(name)}: its bytes have changed"):
        build(job)
    flip(Path(job.folder.path(name)))
    build(job)
    assert [row[1] for row in tries(job, "part-00000.2")] == [1, 2, 1, 1]


def test_reasons_are_spelled_either_way_and_unknown_ones_named() -> None:
    assert parse_reasons(" HTTP-5xx, dns ,http_5xx") == {Reason.HTTP_5XX, Reason.DNS}
    with pytest.raises(InputError, match=r"nope, worse: no such reason\. Reasons of fetch are: .*http_5xx"):
        parse_reasons("nope,dns,worse")
    with pytest.raises(InputError, match="no reason is named") as told:
        parse_reasons(" , ")
    assert all(str(reason) in str(told.value) for reason in REASONS)


def test_what_is_not_finished_or_of_other_settings_is_not_tried_again(site: Site, tmp_path: Path) -> None:
    job = made(tmp_path, settings(site))
    before = files(job)
    job.run.write("webtext.toml", render(Settings(fetch=settings(site, max_bytes=7))).encode())
    with pytest.raises(InputError, match="settings or links have changed since: run `webtext build` first"):
        again(job, "dns")
    job.run.write(
        "webtext.toml", render(Settings(fetch=FetchSettings(source="warc", warcs=("some.warc.gz",)))).encode()
    )
    with pytest.raises(InputError, match="has its pages from files"):
        again(job, "dns")
    assert files(job) == before
    job.run.write("webtext.toml", render(Settings(fetch=settings(site))).encode())
    job.folder.remove([MANIFEST])
    with pytest.raises(InputError, match="fetch is not finished"):
        again(job, "dns")
    with pytest.raises(InputError, match="is not finished: `webtext build` goes on with it"):
        reopen(job.folder, [Reason.DNS])
    job.run.remove(["webtext.toml"])
    with pytest.raises(InputError, match="there is no run here"):
        again(job, "dns")


def test_dead_links_are_tried_again_from_an_archive(site: Site, tmp_path: Path) -> None:
    unknown = "http://www.example.com/never"
    with serving_archives(Standins(HISTORY)) as standins:
        reach = standins.settings()
        table = {**reach.pop("resolve"), **site.resolve("www.example.com", HOST)}
        chosen = settings(site, resolve=table, **reach)
        job = made(tmp_path, chosen, [PAGE, unknown, GOOD])
        asked = len(site.log)
        _, manifest = again(job, "http_4xx", source="wayback")
        assert len(site.log) == asked
    ledger = job.folder.read_table("part-00000.2.ledger.parquet").to_pylist()
    rows = {(row["url"], row["attempt"]): row for row in ledger}
    assert rows.keys() == {(PAGE, 1), (PAGE, 2), (unknown, 1), (unknown, 2), (GOOD, 1)}
    found = rows[PAGE, 2]
    assert found["warc"] == "part-00000.2.warc.gz"
    kept = manifest.parts[0].file(".2.warc.gz")
    assert found["offset"] + found["length"] <= kept.bytes == job.folder.sizes()[kept.name]
    assert (found["outcome"], found["source"]) == ("fetched", "wayback")
    assert f"{found['fetched']:%Y%m%d%H%M%S}" == "20191206120000"
    refused = rows[unknown, 2]
    assert (refused["outcome"], refused["status"], refused["source"]) == ("http_4xx", 404, "wayback")
    assert refused["detail"].startswith("wayback: ")
    assert manifest.counts.kept == 2
    assert manifest.counts.rejected == {"http_4xx": 1}
    assert plan(job).keep == frozenset()
