"""A crawl's figures: while it is at work from its files, and afterwards from its ledgers."""

import io
import json
import os
import time
from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pipeline.fetch.figures import CLASSES, LATENCIES, LedgerFigures, read_ledgers
from pipeline.fetch.progress import OPEN, Figures, file_name, read_crawl, read_figures, total
from pipeline.fetch.summary import crawl_lines
from pipeline.records import Reason
from pipeline.runs import Counts, Folder, PartWriter, read_manifest
from tests.synthetic_run import write_run
from webtext import terminal
from webtext.progress import StageProgress

FIGURES = Figures(
    links=10_000,
    done=3_120,
    pages=2_871,
    bytes=86_130_000,
    hosts_in_flight=41,
    hosts_waiting=102,
    links_waiting=6_880,
    failures={"dns": 9, "http_4xx": 120, "timeout": 80, "tls": 3, "robots": 30, "connect": 7},
    seconds=2_100.0,
    pages_a_second=95.2,
    eta_s=4_320.0,
)


def say(pages: Folder, group: int, figures: Figures) -> None:
    """Writes what the process of a group says."""
    (pages / OPEN).write(file_name(group), json.dumps(figures.to_json()).encode())


def test_figures_pass_through_json() -> None:
    for figures in (FIGURES, replace(FIGURES, eta_s=None, failures={})):
        assert Figures.from_json(json.loads(json.dumps(figures.to_json()))) == figures


def test_several_processes_add_up_and_the_slowest_says_when_it_ends() -> None:
    other = replace(FIGURES, seconds=9.0, eta_s=5_000.0, failures={"dns": 1, "bad_port": 2})
    both = total([FIGURES, other])
    assert both.links == 20_000
    assert both.pages_a_second == pytest.approx(190.4)
    assert (both.seconds, both.eta_s) == (2_100, 5_000)
    assert both.failures == {**FIGURES.failures, "dns": 10, "bad_port": 2}
    assert total([FIGURES, replace(other, eta_s=None)]).eta_s is None
    assert total([]).eta_s is None
    assert total([FIGURES]) == FIGURES


def test_files_that_are_absent_or_torn_are_left_out(run: Folder) -> None:
    assert read_figures(run) is None
    assert read_crawl(run, time.time()) is None
    whole = json.dumps(FIGURES.to_json()).encode()
    for number, data in enumerate((b"", whole[:-9], b"[]", b"{}", b"\xff\xfe", b'{"links": 1}')):
        (run / OPEN).write(file_name(number), data)
    assert read_figures(run) is None
    assert read_crawl(run, time.time()) is None
    (run / OPEN).write("journal-00000.json", whole)
    (run / OPEN).write(f"{file_name(3)}.tmp", whole)
    say(run, 7, FIGURES)
    say(run, 8, FIGURES)
    assert read_figures(run) == total([FIGURES, FIGURES])


def test_figures_that_are_not_written_any_more_are_old(run: Folder) -> None:
    now = time.time()
    say(run, 0, FIGURES)
    say(run, 1, FIGURES)
    for name, written in ((file_name(0), now - 5_000), (file_name(1), now - 3)):
        os.utime((run / OPEN).path(name), (written, written))
    crawl = read_crawl(run, now)
    assert crawl is not None
    assert crawl.is_running  # one process may be done before the others
    assert crawl.to_json() == {**total([FIGURES, FIGURES]).to_json(), "age_s": 3.0, "running": True}
    later = read_crawl(run, now + 3_600)
    assert later is not None
    assert not later.is_running
    assert later.age_s == pytest.approx(3_603, abs=0.1)
    early = read_crawl(run, now - 86_400)  # the clock was set back
    assert early is not None
    assert early.age_s == 0


def test_figures_in_words() -> None:
    assert crawl_lines(FIGURES) == [
        "3,120 of 10,000 links done in 35 min, about 1.2 h to go",
        "95.2 pages/s, 2.9 MB/s; 2,871 pages, 86.1 MB",
        "41 hosts in flight, 102 hosts and 6,880 links waiting",
        "failed: 120 http_4xx, 80 timeout, 30 robots, 9 dns, 10 others",
    ]
    first = replace(FIGURES, pages=0, bytes=0, pages_a_second=0.0, eta_s=None, failures={})
    assert crawl_lines(first)[:2] == [
        "3,120 of 10,000 links done in 35 min",
        "0.0 pages/s, 0 bytes/s; 0 pages, 0 bytes",
    ]
    assert len(crawl_lines(first)) == 3


def watched(pages: Folder, *, is_terminal: bool) -> str:
    """What is shown of a fetch that ends after a look or two."""
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=is_terminal, soft_wrap=True)
    with StageProgress(console)("fetch", pages, ["part-00000", "part-00001"]):
        pass
    return stream.getvalue()


def test_a_crawl_at_work_is_shown_by_its_links(run: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "_PLAIN_LINE_EVERY_S", -1.0)
    say(run, 0, FIGURES)
    assert watched(run, is_terminal=False).splitlines()[0] == (
        "fetch: 3,120 of 10,000 links, about 1.2 h to go; 95.2 pages/s, 2.9 MB/s; 2,871 pages, 86.1 MB; "
        "41 hosts in flight, 102 hosts and 6,880 links waiting; "
        "failed: 120 http_4xx, 80 timeout, 30 robots, 9 dns, 10 others"
    )
    shown = watched(run, is_terminal=True)
    assert "about 1.2 h to go" in shown
    assert "3120/10000" in shown
    assert "failed: 120 http_4xx" in shown


def test_without_figures_and_with_old_ones_parts_are_shown(
    run: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "_PLAIN_LINE_EVERY_S", -1.0)
    PartWriter(run, "part-00001", "x").commit(Counts(9, 9), seconds=1)
    assert watched(run, is_terminal=False).startswith("fetch: 1 of 2 parts")
    say(run, 0, FIGURES)
    os.utime((run / OPEN).path(file_name(0)), (1e9, 1e9))
    assert watched(run, is_terminal=False).startswith("fetch: 1 of 2 parts")
    assert "1/2" in watched(run, is_terminal=True)


# --- ledgers ----------------------------------------------------------------------------------------------


def read(run: Folder) -> tuple[LedgerFigures, list[list[dict[str, Any]]]]:
    """What the ledgers say together, and the rows of each."""
    pages = run / "pages"
    manifest = read_manifest(pages)
    assert manifest is not None
    parts = [pages.read_table(part.file(".ledger.parquet").name).to_pylist() for part in manifest.counted()]
    return read_ledgers(pages, manifest), parts


@pytest.mark.parametrize("retried", [False, True])
def test_ledgers_add_up_to_what_their_rows_say(tmp_path: Path, retried: bool) -> None:
    run = write_run(tmp_path / "run", num_links=400, upto="fetch", retried=retried)
    (run / "pages").write("part-00001.9.ledger.parquet", b"no manifest lists it")
    figures, parts = read(run)
    rows = [row for part in parts for row in part]
    last = {row["id"]: row for row in sorted(rows, key=lambda row: row["attempt"])}.values()
    fetched = [row for row in last if row["outcome"] == "fetched"]
    assert (figures.links, figures.tries, figures.pages) == (len(last), len(rows), len(fetched))
    assert figures.tries > figures.links
    assert figures.bytes == sum(row["bytes"] for row in fetched)
    assert figures.hosts == len({row["url"].split("/")[2] for row in rows}) == 7
    assert figures.sources == Counter(row["source"] for row in fetched)
    assert list(figures.sources) == ["web", "wayback"]
    assert figures.failures == Counter(row["outcome"] for row in last if row["outcome"] != "fetched")
    assert list(figures.failures.values()) == sorted(figures.failures.values(), reverse=True)
    assert figures.classes["http 4xx"] == figures.failures["http_4xx"]
    times = [row["fetched"] for row in rows if row["source"] == "web" and row["fetched"] is not None]
    assert (figures.first, figures.last) == (min(times), max(times))
    span = (max(times) - min(times)).total_seconds()
    assert figures.pages_a_second == pytest.approx(figures.sources["web"] / span)


def test_quantiles_are_right_to_two_per_cent(tmp_path: Path) -> None:
    figures, parts = read(write_run(tmp_path / "run", num_links=900, upto="fetch"))
    rows = [row for part in parts for row in part if row["source"] == "web"]
    assert tuple(figures.latencies) == LATENCIES
    for name, found in figures.latencies.items():
        seconds = [row[name] for row in rows if row[name] is not None]
        assert (found.num, found.max) == (len(seconds), max(seconds))
        quantiles = np.quantile(seconds, [0.5, 0.9, 0.99], method="inverted_cdf")
        assert [found.p50, found.p90, found.p99] == pytest.approx(quantiles.tolist(), rel=0.021)


def test_ledger_figures_are_json(tmp_path: Path) -> None:
    figures, _ = read(write_run(tmp_path / "run", upto="fetch"))
    value = json.loads(json.dumps(figures.to_json()))
    assert list(value) == [
        "links", "tries", "hosts", "pages", "bytes", "sources", "classes", "failures", "first", "last",
        "pages_a_second", "latencies",
    ]  # fmt: skip
    assert (
        sum(value["classes"].values()) == sum(value["failures"].values()) == value["links"] - value["pages"]
    )
    assert datetime.fromisoformat(value["first"]) == figures.first
    assert list(value["latencies"]["dns_s"]) == ["requests", "p50", "p90", "p99", "max"]


def test_a_fetch_of_nothing_has_no_times(tmp_path: Path) -> None:
    figures, _ = read(write_run(tmp_path / "run", num_links=0, upto="fetch"))
    assert (figures.links, figures.tries, figures.hosts, figures.bytes) == (0, 0, 0, 0)
    assert (figures.first, figures.pages_a_second, figures.latencies) == (None, None, {})


def test_hosts_are_told_apart_from_all_else_in_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    urls = ["http://A.example", "https://a.example:8080/x", "http://me:word@a.example/?q=//b", "rubbish"]
    urls += ["http://[2001:db8::1]:80/", "http://[2001:db8::1]/", "http://b.example?x", "http://b.example#/"]
    from tests import synthetic_run

    whole = synthetic_run._last_try
    taken = iter(urls * 100)
    monkeypatch.setattr(synthetic_run, "_last_try", lambda row: whole(row) | {"url": next(taken)})
    monkeypatch.setattr(synthetic_run, "_split", lambda rows: {0: rows})
    figures, _ = read(write_run(tmp_path / "run", num_links=60, upto="fetch"))
    assert figures.hosts == 3


def test_every_reason_of_fetch_has_a_class() -> None:
    reasons = list(Reason)
    of_fetch = reasons[reasons.index(Reason.ROBOTS) : reasons.index(Reason.TOO_LARGE)]
    assert set(of_fetch) == set(CLASSES)
