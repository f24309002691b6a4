"""fetch as a stage: what a crawl owes to opt-outs, to archives, and to parts that were damaged afterwards."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import FetchSettings
from pipeline.fetch.plan import plan
from pipeline.fetch.web import Group, crawl, groups
from pipeline.hosts import domain_hash
from pipeline.urls import parse
from tests import archive_standins
from tests.archive_standins import HISTORY, PAGE, Standins
from tests.pipeline_fetch_site import Site, build, ledger, make_job, page, redirect, serving

A = "http://a.example.com"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as served:
        yield served


def settings(site: Site, *hosts: str, **values: Any) -> FetchSettings:
    usual = {"delay_s": 0.0, "timeout_s": 5.0, "tries": 1, "retry_wait_s": 0.0, "connections": 16}
    return FetchSettings(**{**usual, "resolve": site.resolve(*hosts), **values})


def test_no_redirect_leads_to_whoever_asked_to_be_left_out(site: Site, tmp_path: Path) -> None:
    hosts = ("a.example.com", "deep.b.example.org", "c.example.net")
    site.pages = {
        "a.example.com/1": redirect("http://deep.b.example.org/page"),
        "a.example.com/2": redirect("http://c.example.net/asked?utm_source=x"),
        "a.example.com/3": redirect("http://c.example.net/other"),
        "deep.b.example.org/page": page(),
        "c.example.net/asked": page(),
        "c.example.net/other": page(),
    }
    job = make_job(tmp_path, [[f"{A}/{number}" for number in (1, 2, 3)]], settings(site, *hosts))
    asked = parse("http://c.example.net/asked")
    assert asked is not None
    facts = {
        "opted_out_domains": [f"{domain_hash('example.org'):016x}"],
        "opted_out_keys": [asked.key.hex()],
    }
    job = replace(job, inputs={"link": replace(job.inputs["link"], facts=facts)})
    crawl(job, Group(0, plan(job).parts))
    assert {url[-1]: row["outcome"] for url, row in ledger(job).items()} == {
        "1": "opt_out",
        "2": "opt_out",
        "3": "fetched",
    }
    assert site.paths("deep.b.example.org") == []
    assert site.paths("c.example.net") == ["/robots.txt", "/other"]


def test_dead_links_come_from_an_archive_in_the_same_crawl(site: Site, tmp_path: Path) -> None:
    site.pages = {"a.example.com/good": page()}
    with archive_standins.serving(Standins(HISTORY)) as archives:
        reach = archives.settings()
        table = {**site.resolve("a.example.com", "example.com", "www.example.com"), **reach.pop("resolve")}
        chosen = settings(site, resolve=table, rescue=("wayback",), **reach)
        job = make_job(tmp_path, [[f"{A}/good", f"{A}/gone", PAGE]], chosen)
        crawl(job, Group(0, plan(job).parts))
    rows = job.folder.read_table("part-00000.ledger.parquet").to_pylist()
    found = {(row["url"], row["attempt"]): (row["outcome"], row["source"]) for row in rows}
    assert found == {
        (f"{A}/good", 1): ("fetched", "web"),
        (f"{A}/gone", 1): ("http_4xx", "web"),
        (f"{A}/gone", 2): ("http_4xx", "wayback"),
        (PAGE, 1): ("http_4xx", "web"),
        (PAGE, 2): ("fetched", "wayback"),
    }


def test_a_finished_part_whose_file_was_cut_is_fetched_again_and_alone(site: Site, tmp_path: Path) -> None:
    hosts = ("a.example.com", "b.example.org")
    site.pages = {"a.example.com/1": page(), "b.example.org/1": page()}
    job = make_job(tmp_path, [[f"{A}/1"], ["http://b.example.org/1"]], settings(site, *hosts))
    before = build(job)
    warc = tmp_path / "pages" / "part-00001.warc.gz"
    for cut in (0, 1, warc.stat().st_size - 1):
        warc.write_bytes(warc.read_bytes()[:cut])
        asked = len(site.paths("a.example.com"))
        again = build(job)
        assert len(site.paths("a.example.com")) == asked
        assert again.counts == before.counts
        assert warc.stat().st_size == again.parts[1].file(".warc.gz").bytes


def test_parts_are_dealt_to_the_processes(site: Site, tmp_path: Path) -> None:
    links = [[f"http://h{number}.example.com/"] for number in range(5)]
    job = make_job(tmp_path, links, settings(site, "h0.example.com", contact="me@example.org", processes=2))
    dealt = [[part.name for part in group.parts] for group in groups(job, plan(job).parts)]
    assert dealt == [["part-00000", "part-00002", "part-00004"], ["part-00001", "part-00003"]]
