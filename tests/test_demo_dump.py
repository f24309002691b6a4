"""The month of submissions that links to the small web."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import zstandard

from webtext.demo.dump import FILE_NAME, MIN_KARMA, DumpSummary, write_dump
from webtext.demo.site import build_site
from webtext.demo.submissions import base36
from webtext.demo.web import Kind, Site

WINDOW = 2**31


@pytest.fixture(scope="module")
def site() -> Site:
    return build_site(150)


@pytest.fixture(scope="module")
def written(site: Site, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DumpSummary]:
    path = tmp_path_factory.mktemp("dump") / FILE_NAME
    return path, write_dump(site, path)


@pytest.fixture(scope="module")
def lines(written: tuple[Path, DumpSummary]) -> list[bytes]:
    with written[0].open("rb") as file:
        content = zstandard.ZstdDecompressor(max_window_size=WINDOW).stream_reader(file).read()
    return content.removesuffix(b"\n").split(b"\n")


@pytest.fixture(scope="module")
def rows(lines: list[bytes]) -> list[dict[str, Any]]:
    found = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            found.append(row)
    return found


def links_to(row: dict[str, Any]) -> str:
    return str(row["url"]).replace("&amp;", "&")


def test_the_window_is_that_of_the_real_dumps(written: tuple[Path, DumpSummary]) -> None:
    content = written[0].read_bytes()
    assert zstandard.get_frame_parameters(content).window_size == WINDOW
    with pytest.raises(zstandard.ZstdError, match="too much memory"):
        zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)).read()


def test_the_summary_says_what_is_there(
    site: Site, written: tuple[Path, DumpSummary], lines: list[bytes], rows: list[dict[str, Any]]
) -> None:
    _, summary = written
    assert summary.lines == len(lines) == summary.submissions + summary.malformed
    assert summary.submissions == len(rows)
    assert summary.links == len(site.linked)
    best: Counter[str] = Counter()
    for row in rows:
        best[links_to(row)] = max(best[links_to(row)], row["score"])
    at_least = sum(best[page.url] >= MIN_KARMA for page in site.linked)
    # A page may have its karma under another spelling only.
    assert at_least <= summary.links_with_karma <= summary.links


def test_every_page_is_linked_to_and_most_have_enough_karma(site: Site, rows: list[dict[str, Any]]) -> None:
    urls = {links_to(row) for row in rows}
    assert {page.url for page in site.linked} <= urls
    articles = {page.url for page in site.linked if page.kind is Kind.ARTICLE}
    popular = {links_to(row) for row in rows if row["score"] >= MIN_KARMA} & articles
    assert 0.5 < len(popular) / len(articles) < 0.8


def test_rows_look_like_those_of_2019(rows: list[dict[str, Any]]) -> None:
    assert all(len(row) >= 100 for row in rows)
    created = [row["created_utc"] for row in rows]
    assert created == sorted(created)
    assert 1_559_347_200 <= created[0] <= created[-1] < 1_561_939_200
    numbers = [int(row["id"], 36) for row in rows]
    assert numbers == sorted(set(numbers))
    assert all(base36(int(row["id"], 36)) == row["id"] for row in rows)
    assert {row["author"] for row in rows} == {"[deleted]"}


def test_what_is_to_be_rejected_is_there(rows: list[dict[str, Any]]) -> None:
    for field in ("is_self", "promoted", "over_18", "removed_by_category", "crosspost_parent_list"):
        assert any(row.get(field) for row in rows), field
    urls = [links_to(row) for row in rows]
    for part in ("i.redd.it", "youtube", "imgur", ".pdf", "//127.0.0.1", "//10.", "//localhost", "//[::1]"):
        assert any(part in url for url in urls), part
    assert "" in urls


def test_links_are_spelled_in_many_ways(site: Site, rows: list[dict[str, Any]]) -> None:
    urls = [row["url"] for row in rows]
    for part in ("https://", ".EXAMPLE/", "utm_source", "#introduction", ".example:80/", "&amp;"):
        assert any(part in url for url in urls), part
    spellings = {links_to(row) for row in rows} - {page.url for page in site.linked}
    assert len(spellings) > 20


def test_some_lines_are_no_submissions(lines: list[bytes], rows: list[dict[str, Any]]) -> None:
    assert len(lines) - len(rows) == 5
    assert b"" in lines
    with pytest.raises(UnicodeDecodeError):
        b"\n".join(lines).decode()
