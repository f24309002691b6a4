"""Submissions to links: karma over all submissions of a URL, each counted once."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import CollectSettings, LinkSettings
from pipeline.link.deal import parts_of
from pipeline.link.group import DEALT, group
from pipeline.runs import Folder
from pipeline.urls import domain_hash, parse
from tests.conftest import RunStage

PAGES = [f"https://{host}/{page}" for host in ("a.example.com", "b.example.org") for page in "xyz"]

rows = st.lists(
    st.tuples(
        st.sampled_from(PAGES),
        st.integers(0, 30),  # of the submission's id
        st.integers(-5, 20),  # score
        st.integers(1, 1000),  # created
        st.integers(0, 2),  # dump
    ),
    max_size=40,
)


def dealt(submissions: list[tuple[str, int, int, int, int]]) -> pa.Table:
    """The rows as they come out of the shuffle; an id always belongs to one URL."""
    columns = defaultdict(list)
    for page, number, score, created, dump in submissions:
        url = parse(page)
        assert url is not None
        post = f"{PAGES.index(page)}-{number}"
        values = (url.key, domain_hash(url.domain), page, post, score, "s", created * 1000, dump)
        for name, value in zip(DEALT.names, values, strict=True):
            columns[name].append(value)
    return pa.table({name: columns[name] for name in DEALT.names}, schema=DEALT)


@given(rows, st.sampled_from(["max", "sum"]), st.integers(0, 10))
def test_grouping_agrees_with_a_plain_loop(
    submissions: list[tuple[str, int, int, int, int]], karma: str, min_karma: int
) -> None:
    settings = LinkSettings.model_validate({"karma": karma, "min_karma": min_karma})
    # Rows with one id and one dump would leave open which of them counts.
    submissions = list({(row[0], row[1], row[4]): row for row in submissions}.values())
    links, counts = group(dealt(submissions), settings)
    latest = {}
    for row in sorted(submissions, key=lambda row: row[4]):
        latest[row[0], row[1]] = row
    by_page = defaultdict(list)
    for row in latest.values():
        by_page[row[0]].append(row)
    expected = {}
    for page, group_rows in by_page.items():
        scores = [row[2] for row in group_rows]
        best = max(scores) if karma == "max" else sum(scores)
        if best >= min_karma:
            expected[page] = (best, max(scores), sum(scores), len(scores), min(row[3] for row in group_rows))
    found = {
        link["url"]: (
            link["karma"], link["karma_max"], link["karma_sum"], len(link["submissions"]),
            int(link["created"].timestamp()),
        )
        for link in links.to_pylist()
    }  # fmt: skip
    assert found == expected
    counts.reconcile("group")
    assert counts.num_in == len(submissions)
    assert counts.kept == len(expected)
    assert counts.rejected.get("same_submission", 0) == len(submissions) - len(latest)


def test_the_url_with_the_highest_karma_is_fetched_and_submissions_are_in_order_of_time() -> None:
    table = dealt(
        [
            ("https://a.example.com/x", 1, 5, 300, 0),
            ("https://a.example.com/x", 2, 9, 200, 0),
            ("https://a.example.com/x", 3, 9, 100, 0),
        ]
    )
    urls = pa.array(["https://a.example.com/x", "http://www.a.example.com/x", "https://a.example.com/x#z"])
    links, _ = group(table.set_column(2, DEALT.field("url"), urls), LinkSettings())
    (link,) = links.to_pylist()
    assert link["url"] == "https://a.example.com/x#z"  # of two with 9 the earlier
    assert [one["id"] for one in link["submissions"]] == ["0-3", "0-2", "0-1"]


def test_opt_out_takes_subdomains_with_it() -> None:
    table = dealt([(page, n, 9, 10, 0) for n, page in enumerate(PAGES)])
    links, counts = group(table, LinkSettings(opt_out=("example.com",)))
    assert {link["domain"] for link in links.to_pylist()} == {"example.org"}
    assert counts.rejected == {"opt_out": 3}


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1), st.integers(1, 5000))
def test_parts_are_contiguous_ranges(hashes: list[int], num_parts: int) -> None:
    parts = parts_of(np.array(sorted(hashes), np.uint64), num_parts)
    assert (np.diff(parts) >= 0).all()
    assert parts.min() >= 0
    assert parts.max() < num_parts


@pytest.mark.parametrize("karma", ["max", "sum"])
def test_realweb_links(realdata: Path, run: Folder, run_stage: RunStage, karma: str) -> None:
    realweb = realdata / "realweb"
    expected = json.loads((realweb / "expected.json").read_text("utf-8"))
    submissions = run_stage("collect", CollectSettings(dumps=(str(realweb / "RS_2019-12.zst"),)))
    settings = LinkSettings.model_validate({"karma": karma, "submissions_per_part": 40})
    manifest = run_stage("link", settings, collect=submissions)
    assert len(manifest.parts) > 3
    found, domains = {}, defaultdict(set)
    for part in manifest.counted():
        for link in (run / "links").read_table(part.file(".parquet").name).to_pylist():
            found[link["canonical"]] = link
            domains[link["domain"]].add(part.name)
    assert all(len(parts) == 1 for parts in domains.values()), "a domain lives in one part"
    wikipedia = found.pop("en.wikipedia.org/wiki/Language_model")
    assert [one["id"] for one in wikipedia["submissions"]] == [expected["wikipedia"]]
    pages = {}
    for page, facts in expected["pages"].items():
        url = parse(page)
        assert url is not None
        if facts[karma] >= 3:
            pages[url.canonical] = facts
    assert found.keys() == pages.keys()
    for canonical, facts in pages.items():
        link = found[canonical]
        assert {one["id"] for one in link["submissions"]} == set(facts["submissions"])
        assert (link["karma_max"], link["karma_sum"]) == (facts["max"], facts["sum"])
        assert link["submissions"][0]["id"] == facts["min_created_first"]


def test_the_csvs_ids_count_once_over_two_dumps(tmp_path: Path, run: Folder, run_stage: RunStage) -> None:
    """A submission in two dumps counts once, and its later score is taken."""
    for month, score in (("2019-01", 2), ("2019-02", 8)):
        line = {"id": "abc", "created_utc": 1546300800, "score": score, "url": "https://example.com/"}
        (tmp_path / f"RS_{month}").write_text(json.dumps(line) + "\n")
    submissions = run_stage("collect", CollectSettings(dumps=(str(tmp_path / "RS_2019-0*"),)))
    manifest = run_stage("link", LinkSettings(), collect=submissions)
    assert manifest.counts.to_json() == {"in": 2, "kept": 1, "rejected": {"same_submission": 1}}
    (link,) = (run / "links").read_table("part-00000.parquet").to_pylist()
    assert link["karma"] == 8
