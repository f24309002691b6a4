"""The report against counts made by hand, and the page as browsers and strangers' texts meet it."""

import html
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from pipeline.errors import InputError
from pipeline.report.card import cell
from pipeline.report.charts import CHARTS, columns
from pipeline.report.page import show_value, write_report
from pipeline.report.queries import QUERIES
from pipeline.report.statistics import TABLES
from pipeline.runs import Folder, read_manifest
from pipeline.verify import verify
from tests import synthetic_run
from tests.synthetic_run import write_run


def _rows(run: Folder, folder: str, suffix: str) -> list[dict[str, Any]]:
    manifest = read_manifest(run / folder)
    assert manifest is not None
    names = [file.name for part in manifest.parts for file in part.files]
    wanted = [name for name in names if name.partition(".")[2] == suffix]
    return [row for name in wanted for row in (run / folder).read_table(name).to_pylist()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    months = {f"2023-{month:02d}": (1000, 4 if month == 5 else 310) for month in range(1, 10)}
    path = tmp_path_factory.mktemp("report") / "run"
    run = write_run(path, num_links=300, months=months, retried=True)
    lines = [
        {"step": n, "loss": 9 - n / 500, "val_loss": 8.5 if n % 500 == 0 else None} for n in range(1, 2001)
    ]
    checkpoints = Path(run.path("checkpoints/gpt2"))
    checkpoints.mkdir(parents=True)
    log = "".join(json.dumps(line) + "\n" for line in lines) + '{"step": 2001, "lo'
    (checkpoints / "log.jsonl").write_text(log)
    write_report(run)
    return run


@pytest.fixture(scope="module")
def stats(run: Folder) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((run / "report").read("stats.json"))
    return value


@pytest.fixture(scope="module")
def page(run: Folder) -> str:
    return (run / "report").read("index.html").decode()


def _answer(stats: dict[str, Any], name: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in stats["statistics"][name]["rows"]]


def _corpus(run: Folder) -> list[dict[str, Any]]:
    return [row for row in _rows(run, "corpus", "parquet") if "text" in row]


def test_totals_are_those_of_the_tables(run: Folder, stats: dict[str, Any]) -> None:
    corpus = _corpus(run)
    assert stats["totals"] == {
        "documents": len(corpus),
        "words": sum(len(row["text"].split()) for row in corpus),
        "bytes": sum(len(row["text"].encode()) for row in corpus),
        "tokens": sum(row["num_tokens"] for row in _rows(run, "shards", "documents.parquet")),
    }


def test_counts_are_those_of_the_tables(run: Folder, stats: dict[str, Any]) -> None:
    corpus = _corpus(run)
    assert not stats["missing"]
    assert dict(_answer(stats, "months")) == Counter(row["created"].strftime("%Y-%m") for row in corpus)
    assert dict(_answer(stats, "subreddits")) == Counter(name for row in corpus for name in row["subreddits"])
    assert {row[0]: row[1] for row in _answer(stats, "languages")} == Counter(
        row["language"] for row in corpus
    )
    assert {row[0]: row[1] for row in _answer(stats, "domains")} == Counter(
        row["url"].split("/")[2] for row in corpus
    )
    for name, column in (("document_lengths", "num_words"), ("karma", "karma")):
        assert dict(_answer(stats, name)) == Counter(1 << (row[column].bit_length() - 1) for row in corpus)


def test_fetch_outcomes_are_those_of_the_last_try(stats: dict[str, Any]) -> None:
    fetch = stats["stages"]["fetch"]
    assert dict(_answer(stats, "fetch_outcomes")) == fetch["rejected"] | {"fetched": fetch["kept"]}


def test_a_crawl_is_told_from_its_ledgers_and_nothing_else(stats: dict[str, Any]) -> None:
    ledger = stats["fetch"]["ledger"]
    assert stats["fetch"]["live"] is None
    assert dict(_answer(stats, "fetch_failures")) == ledger["classes"]
    pages = _answer(stats, "fetch_sources")
    assert {source: num for source, num, _ in pages} == ledger["sources"]
    assert sum(size for _, _, size in pages) == ledger["bytes"]
    steps = _answer(stats, "fetch_seconds")
    assert [step for step, *_ in steps] == ["look_up", "connection", "first_byte", "whole"]
    for (_, num, *quantiles), measured in zip(steps, ledger["latencies"].values(), strict=True):
        assert num == measured["requests"]
        expected = [1000 * measured[name] for name in ("p50", "p90", "p99", "max")]
        assert quantiles == pytest.approx(expected, rel=0.025)


def test_the_threshold_of_the_run_gives_its_number_of_links(run: Folder, stats: dict[str, Any]) -> None:
    scores: dict[bytes, list[int]] = {}
    for row in _rows(run, "submissions", "parquet"):
        scores.setdefault(row["key"], []).append(row["score"])
    assert _answer(stats, "karma_threshold") == [
        (
            least,
            sum(max(one) >= least for one in scores.values()),
            sum(sum(one) >= least for one in scores.values()),
        )
        for least in (1, 2, 3, 5, 10)
    ]
    assert _answer(stats, "karma_threshold")[2][1] == stats["stages"]["link"]["kept"]
    assert [row[1] for row in _answer(stats, "karma_threshold")] == list(stats["sensitivity"]["max"].values())


def test_months_out_of_line_stand_out(stats: dict[str, Any], page: str) -> None:
    rows = stats["statistics"]["month_shares"]["rows"]
    assert [row["month"] for row in rows] == [one["month"] for one in stats["months"]]
    assert [row["share_3"] for row in rows] == [one["share_3"] for one in stats["months"]]
    assert [row["month"] for row in rows if row["out_of_line"]] == ["2023-05"]
    (warning,) = stats["warnings"]
    assert warning in html.unescape(page)
    svg = CHARTS["month_shares"](rows)
    # A bar of the second colour; where all is as it should be, neither that nor a legend.
    assert re.search(r'aria-label="month of the post: 2023-05;[^"]*out of line"[^>]*var\(--second\)', svg)
    calm = CHARTS["month_shares"]([row for row in rows if not row["out_of_line"]])
    assert "--second" not in calm
    assert "2023-05" in calm  # as a gap


def test_every_split_is_told_in_its_order(run: Folder, stats: dict[str, Any]) -> None:
    rows = _rows(run, "shards", "documents.parquet")
    tokens = Counter[str]()
    for row in rows:
        tokens[row["split"]] += row["num_tokens"]
    found = _answer(stats, "tokens")
    assert [row[0] for row in found] == ["train", "val", "test"]
    assert {row[0]: row[3] for row in found} == tokens
    assert [row[0] for row in _answer(stats, "shards")] == [
        split for split in ("train", "val", "test") for _ in {r["shard"] for r in rows if r["split"] == split}
    ]


def test_clusters_are_counted_in_the_classes_of_the_status() -> None:
    sizes = [2, 2, 3, 4, 5, 9, 10, 99, 100, 1000]
    rows = [
        {"cluster": f"{place}", "id": f"{place}-{i:04d}", "run": None, "survivor": f"{place}-0000"}
        for place, size in enumerate(sizes)
        for i in range(size)
    ]
    # A document that was removed for another run's stands in a cluster with that one.
    rows += [{"cluster": "x", "id": f"x-{i}", "run": "may", "survivor": "y"} for i in range(2)]
    with duckdb.connect() as connection:
        connection.register("clusters", pa.Table.from_pylist(rows))
        sql = next(query.sql for query in QUERIES if query.name == "cluster_sizes")
        found = connection.execute(sql).fetchall()
    assert found == [("2", 2), ("3", 2), ("4", 1), ("5-9", 2), ("10-99", 2), ("100-999", 1), ("1000+", 1)]


def test_duplicates_are_grouped_and_placed(run: Folder, stats: dict[str, Any]) -> None:
    lost = [row for row in _rows(run, "corpus", "parquet") if "survivor" in row and not row["kept"]]
    assert _answer(stats, "cluster_sizes") == [("2", len(lost))]
    assert {name: num for name, num in stats["clusters"]["sizes"].items() if num} == {"2": len(lost)}
    classes = Counter(int(round(row["similarity"], 3) * 100 + 1e-6) // 5 * 5 for row in lost)
    assert {round(100 * key): num for key, num in _answer(stats, "similarities")} == classes


def test_training_is_thinned_and_its_torn_line_left_out(stats: dict[str, Any]) -> None:
    [one] = stats["training"]
    assert one["name"] == "gpt2"
    assert one["steps"][-1] == {"step": 2000, "loss": 5.0, "val_loss": 8.5}
    assert 300 < len(one["steps"]) < 500


class _Links(HTMLParser):
    """What a page loads or runs."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "iframe", "img", "object"):
            self.found.append(tag)
        self.found += [
            f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href", "xlink:href")
        ]


def test_the_page_stands_by_itself(page: str) -> None:
    links = _Links()
    links.feed(page)
    assert links.found == []
    assert "@import" not in page
    assert "url(" not in page
    assert page.count("<svg") == len(CHARTS) + 1
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_the_page_shows_each_statistic_with_its_definition_and_sql(page: str, stats: dict[str, Any]) -> None:
    assert list(stats["statistics"]) == [query.name for query in QUERIES]
    text = html.unescape(page)
    for query in QUERIES:
        assert query.title in text
        assert query.definition in text
        assert query.sql in text
    for reason in stats["stages"]["collect"]["rejected"]:
        assert reason in page
    assert f"{stats['stages']['collect']['in']:,} posts" in page
    assert f"{stats['totals']['tokens']:,}" in page


def test_queries_name_known_tables() -> None:
    known = {table.name for table in TABLES}
    for query in QUERIES:
        named = set(re.findall(r"(?:FROM|JOIN) ([a-z_]+)", query.sql))
        assert named == set(query.tables) <= known


def test_the_same_run_gives_the_same_bytes(run: Folder) -> None:
    names = ("stats.json", "index.html", "card.md")
    before = [(run / "report").read(name) for name in names]
    write_report(run)
    assert [(run / "report").read(name) for name in names] == before


def test_the_card_says_sizes_rejections_and_settings(run: Folder, stats: dict[str, Any]) -> None:
    card = (run / "report").read("card.md").decode()
    assert f"| tokens | {stats['totals']['tokens']:,} |" in card
    assert "| link.min\\_karma | 3 |" in card
    assert "| filter.wikipedia | no |" in card
    assert "self\\_post" in card
    assert "\n\n\n" not in card


def test_texts_of_strangers_stay_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "<script>alert(1)</script>|`x`"
    monkeypatch.setattr(synthetic_run, "SUBREDDITS", (evil, "a & b"))
    report = write_report(write_run(tmp_path / "run"))
    assert "<script" not in report.read("index.html").decode()
    assert "<script" not in report.read("card.md").decode().replace("\\<", "")
    rows = json.loads(report.read("stats.json"))["statistics"]["subreddits"]["rows"]
    assert {row["subreddit"] for row in rows} == {evil, "a & b"}
    assert cell("a|b\n<i>") == "a\\|b \\<i\\>"


@pytest.mark.parametrize("upto", ["collect", "fetch", "filter", "tokenizer"])
def test_a_run_on_its_way_says_what_follows(tmp_path: Path, upto: str) -> None:
    run = write_run(tmp_path / "run", num_links=40, upto=upto)
    report = write_report(run)
    stats = json.loads(report.read("stats.json"))
    assert stats["missing"]["tokens"] == ["shard"]
    assert "month_shares" in stats["statistics"]
    assert ("karma_threshold" in stats["statistics"]) == (upto != "collect")
    page = report.read("index.html").decode()
    assert "More follows when these stages are finished" in page
    assert "shard" in page


def test_a_run_that_only_just_began_says_so(tmp_path: Path) -> None:
    run = Folder(str(tmp_path / "run"))
    run.write("webtext.toml", b"")
    report = write_report(run)
    assert "This run is empty" in report.read("index.html").decode()
    assert "No stage of this run is finished" in report.read("card.md").decode()


def test_a_run_without_a_single_document_has_a_report(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", num_links=0)
    report = write_report(run)
    assert "There are none." in report.read("index.html").decode()
    assert json.loads(report.read("stats.json"))["totals"] == {
        "documents": 0,
        "words": 0,
        "bytes": 0,
        "tokens": 0,
    }
    assert verify(run) == []


def test_a_missing_table_says_what_to_do(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", num_links=20)
    Path(run.path("corpus/part-00001.parquet")).unlink()
    with pytest.raises(InputError, match="webtext verify"):
        write_report(run)


def test_no_run_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run here"):
        write_report(Folder(str(tmp_path / "none")))


def test_classes_that_nothing_is_of_stand_as_gaps() -> None:
    rows = [{"month": "2019-11", "documents": 1}, {"month": "2020-02", "documents": 2}]
    svg = CHARTS["months"](rows)
    assert "2019-12" in svg
    assert "2020-01" in svg
    far = columns([{"n": 1, "m": 1}, {"n": 10**9, "m": 1}], "n", "m", "n", lambda n: n + 1)
    assert "1,000,000,000" in far


def test_numbers_are_grouped() -> None:
    assert [show_value(one) for one in (1234567, 1234.5, "x", 0)] == ["1,234,567", "1,234.50", "x", "0"]
    assert [show_value(one) for one in (True, False)] == ["yes", "no"]
