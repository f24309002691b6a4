"""What was rejected: counts that manifests have, records that tables have, and histograms by hand."""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.filter.rules import RULES
from pipeline.filter.settings import FilterSettings
from pipeline.inspector.catalogue.tables import read_contents
from pipeline.inspector.judging.reasons import Limit, limit, meaning
from pipeline.inspector.judging.rejected import ROWS_A_PAGE, WITH_ROWS, _Records, read_page, read_reasons
from pipeline.inspector.web.rejected import draw
from pipeline.records import REJECTED, Reason
from pipeline.runs import Folder, read_manifest
from pipeline.stages import BY_NAME
from pipeline.status import COUNTED
from tests.browser import browsing, fits, keep_picture, page_of
from tests.inspected import ask, inspecting
from tests.synthetic_run import write_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return write_run(tmp_path_factory.mktemp("rejected") / "run", 600, retried=True)


@pytest.fixture(scope="module")
def tables(made: Folder) -> Iterator[duckdb.DuckDBPyConnection]:
    """The run's ledger and rejected ones, as the catalogue names them."""
    with duckdb.connect() as connection:
        connection.read_parquet(made.path("pages/*ledger.parquet")).create_view("ledger")
        pieces = [
            connection.read_parquet((made / BY_NAME[stage].folder).path("part-*.rejected.parquet")).project(
                f"'{stage}' AS stage, *"
            )
            for stage in ("extract", "filter", "dedupe")
        ]
        pieces[0].union(pieces[1]).union(pieces[2]).create_view("rejected")
        yield connection


def test_reasons_are_those_of_the_manifests(made: Folder) -> None:
    found = read_reasons(read_contents(made).manifests)
    assert [one.stage for one in found] == [stage.name for stage in COUNTED]
    for one in found:
        manifest = read_manifest(made / BY_NAME[one.stage].folder)
        assert manifest is not None
        assert one.num_in == manifest.counts.num_in
        assert {reason.reason: reason.num for reason in one.reasons} == manifest.counts.rejected
        assert [reason.num for reason in one.reasons] == sorted((r.num for r in one.reasons), reverse=True)
        assert one.has_rows == (one.stage in WITH_ROWS)


def test_an_unfinished_stage_says_so(tmp_path: Path) -> None:
    manifests = read_contents(write_run(tmp_path / "run", 30, "fetch")).manifests
    found = {one.stage: one.num_in for one in read_reasons(manifests)}
    assert found["fetch"] is not None
    assert found["extract"] is None


def test_every_reason_has_words() -> None:
    rules = {rule.reason for rule in RULES}
    for reason in Reason:
        assert bool(meaning(reason)) != (reason in rules), reason
    assert meaning("of a later version") == ""


def test_limits_are_those_in_force(made: Folder) -> None:
    in_force = {
        stage: manifest.settings
        for stage in BY_NAME
        if (manifest := read_manifest(made / BY_NAME[stage].folder)) is not None
    }
    words = limit("filter", "too_short", in_force["filter"])
    assert words is not None
    assert (words.text, words.number) == ("at least 10 words", 10)
    language = limit("filter", "language", in_force["filter"])
    assert language is not None
    assert language.text.startswith("en or de")
    assert language.number == 0.5
    karma = limit("link", "low_karma", in_force["link"])
    assert karma is not None
    assert karma.number == 3
    assert limit("filter", "gopher_hashes", in_force["filter"]) is None
    gopher = FilterSettings(preset="gopher").model_dump()
    hashes = limit("filter", "gopher_hashes", gopher)
    assert hashes is not None
    assert hashes == Limit("at most 0.1 number signs a word", 0.1, "gopher_hashes")
    for stage in WITH_ROWS:
        for reason in Reason:
            found = limit(stage, reason, in_force[stage])
            assert found is None or found.number is None or found.measured


def records_of(made: Folder, tables: duckdb.DuckDBPyConnection, stage: str, reason: str, **asked: Any) -> Any:
    with tables.cursor() as cursor:
        return read_page(cursor, read_contents(made).manifests[stage], reason, **asked)


def test_records_are_as_many_as_counted(made: Folder, tables: duckdb.DuckDBPyConnection) -> None:
    stages = [one for one in read_reasons(read_contents(made).manifests) if one.has_rows]
    assert any(one.reasons for one in stages)
    for one in stages:
        for reason in one.reasons:
            found = records_of(made, tables, one.stage, reason.reason)
            assert found.total == reason.num, (one.stage, reason.reason)
            assert len(found.rows) == min(reason.num, ROWS_A_PAGE)
            if found.histogram is not None:
                assert sum(found.histogram.nums) + found.histogram.num_above == reason.num


def test_pages_and_orders_together_show_every_record(made: Folder, tables: duckdb.DuckDBPyConnection) -> None:
    total = records_of(made, tables, "filter", "language").total
    for order in ("value", "-value", "url"):
        rows = [
            row
            for page in range(-(-total // ROWS_A_PAGE))
            for row in records_of(made, tables, "filter", "language", order=order, page=page).rows
        ]
        assert len({row.id for row in rows}) == total
        values = [row.value if order != "url" else row.url for row in rows]
        assert values == sorted(values, reverse=order == "-value")


def test_values_choose_records(made: Folder, tables: duckdb.DuckDBPyConnection) -> None:
    found = records_of(made, tables, "filter", "language")
    for value, num in found.values:
        chosen = records_of(made, tables, "filter", "language", value=value)
        assert chosen.total == num
        assert all(row.value.split()[0] == value for row in chosen.rows)
    assert sum(num for _, num in found.values) == found.total


def test_only_the_last_try_counts(made: Folder, tables: duckdb.DuckDBPyConnection) -> None:
    tried_again = tables.execute("SELECT count(*) FROM ledger WHERE outcome = 'timeout'").fetchall()[0][0]
    assert tried_again > records_of(made, tables, "fetch", "timeout").total


QUARTERS = st.integers(-4_000, 4_000).map(lambda number: number / 4)


@settings(max_examples=40)
@given(st.lists(QUARTERS, min_size=1, max_size=60), st.none() | QUARTERS)
def test_histograms_count_what_lies_in_each_bar(values: list[float], limit: float | None) -> None:
    rows = [{"id": "", "url": "", "reason": "x", "value": f"{value} words"} for value in values]
    rejected = pa.Table.from_pylist(rows, REJECTED).append_column("stage", [["s"] * len(rows)])
    with duckdb.connect() as connection:
        connection.register("rejected", rejected)
        found = _Records(connection, "s", "x", None).histogram(limit)
    assert found is not None
    counted = Counter(math.floor((value - found.start) / found.width + 1e-7) for value in values)
    assert list(found.nums) == [counted.pop(bar, 0) for bar in range(len(found.nums))]
    assert sum(counted.values()) == found.num_above
    assert len(found.nums) <= 33
    if limit is not None:
        assert found.start - 1e-6 <= limit <= found.end + 1e-6
    drawing = draw(found)
    assert all(0 <= left <= 640 and 0 <= top <= 120 for left, top, *_ in drawing.bars)


# --- in the inspector -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(made: Folder) -> Iterator[str]:
    with inspecting(made) as address:
        yield address


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 200),
        ("?stage=filter&reason=too_short", 200),
        ("?stage=filter&reason=too_short&page=9999&order=nonsense", 200),
        ("?stage=filter&reason=language&value=%FF%00", 200),
        ("?stage=filter&reason=gopher_hashes", 200),  # of which there are none
        ("?stage=link&reason=low_karma", 404),
        ("?stage=filter&reason=nonsense", 404),
        ("?stage=filter", 404),
        ("?reason=too_short", 404),
    ],
)
def test_whatever_is_asked_for_is_answered(address: str, query: str, status: int) -> None:
    assert ask(f"{address}/rejected{query}").status == status


def test_a_damaged_table_is_told(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 30)
    Path(run.path("filtered/part-00000.rejected.parquet")).write_bytes(b"PAR1 no")
    with inspecting(run) as address:
        assert ask(f"{address}/rejected").status == 200
        answer = ask(f"{address}/rejected?stage=filter&reason=too_short")
        assert answer.status == 500
        assert "webtext verify" in answer.text


def test_a_run_without_stages_says_what_to_do(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 30, "link")
    with inspecting(run) as address:
        assert "not finished" in ask(f"{address}/rejected").text
        answer = ask(f"{address}/rejected?stage=filter&reason=too_short")
        assert answer.status == 404
        assert "webtext build" in answer.text


def test_rejected_in_a_browser(made: Folder) -> None:
    with inspecting(made, indexed=True) as address, browsing() as browser:
        with page_of(browser) as page:
            page.goto(f"{address}/rejected")
            keep_picture(page, "rejected")
            page.locator("#dedupe ~ table").get_by_text("near_duplicate").click()
            assert page.locator(".histogram rect").count() > 1
            assert page.locator(".histogram .limit").count() == 1
            assert "less similar than 0.7" in page.inner_text("main")
            values = [float(cell) for cell in page.locator(".records .what").all_inner_texts()]
            page.get_by_text("by value, down").click()
            down = [float(cell) for cell in page.locator(".records .what").all_inner_texts()]
            assert (values, down) == (sorted(values), sorted(down, reverse=True))
            keep_picture(page, "rejected-reason")
            page.keyboard.press("j")
            link = page.evaluate("document.activeElement.pathname")
            assert link.startswith("/documents/")
        with page_of(browser, dark=True, phone=True, javascript=False) as page:
            page.goto(f"{address}/rejected?stage=filter&reason=too_short")
            assert fits(page)
            keep_picture(page, "rejected-reason-phone-dark")
            page.goto(f"{address}/rejected")
            assert fits(page)
