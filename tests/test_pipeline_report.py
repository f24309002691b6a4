"""The report's statistics against counts made by hand."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest

from pipeline import runs
from pipeline.errors import InputError
from pipeline.filter.contamination import Overlap
from pipeline.records import CORPUS
from pipeline.report.queries import QUERIES, Query
from pipeline.report.statistics import measure
from pipeline.report.tables import TABLES
from pipeline.runs import Folder, read_manifest
from tests.reported_run import write_reported_run
from tests.resealed import resealed
from tests.synthetic_run import write_run


def _rows(run: Folder, folder: str, suffix: str) -> list[dict[str, Any]]:
    manifest = read_manifest(run / folder)
    assert manifest is not None
    names = [file.name for part in manifest.parts for file in part.files]
    wanted = [name for name in names if name.partition(".")[2] == suffix]
    return [row for name in wanted for row in (run / folder).read_table(name).to_pylist()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return write_reported_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def stats(run: Folder) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(json.dumps(measure(run).to_json()))
    return value


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


def test_months_out_of_line_are_told(stats: dict[str, Any]) -> None:
    rows = stats["statistics"]["month_shares"]["rows"]
    assert [row["month"] for row in rows] == [one["month"] for one in stats["months"]]
    assert [row["share_3"] for row in rows] == [one["share_3"] for one in stats["months"]]
    assert [row["month"] for row in rows if row["out_of_line"]] == ["2023-05"]


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


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_a_query_needs_the_tables_that_it_names_and_no_others(query: Query) -> None:
    empty = {table.name: table.schema.empty_table() for table in TABLES if table.name in query.tables}
    with duckdb.connect() as connection:
        for name, table in empty.items():
            connection.register(name, table)
        assert connection.execute(query.sql).fetchall() in ([], [(0, 0, 0)])
        for name, table in empty.items():
            connection.unregister(name)
            with pytest.raises(duckdb.CatalogException, match=name):
                connection.execute(query.sql)
            connection.register(name, table)


# What the page, the card and the terminal draw from.
COLUMNS = {
    "corpus": "documents words bytes",
    "document_lengths": "words_from documents",
    "languages": "language documents words",
    "quality": "measure p1 p10 half p90 p99",
    "quality_shapes": "measure value_from documents",
    "frequent_lines": "line documents times",
    "frequent_ngrams": "words documents times",
    "years": "year documents words",
    "months": "month documents",
    "domains": "domain documents words",
    "domain_concentration": "domains share",
    "top_level_domains": "tld documents words",
    "subreddits": "subreddit documents",
    "karma": "karma_from documents",
    "latencies": "first_byte_ms_from tries",
    "host_latency": "domain tries half_ms p90_ms",
    "link_rot": "age_years outcome links share",
    "extractor_speed": "extractor pages seconds pages_a_second megabytes_a_second",
    "document_tokens": "tokens_from documents",
    "bytes_a_token": "bytes_a_token_from documents",
    "token_frequencies": "rank times token zipf",
    "zipf": "exponent constant",
}


@pytest.mark.parametrize("name", COLUMNS)
def test_statistics_have_rows_of_these_columns(stats: dict[str, Any], name: str) -> None:
    rows = stats["statistics"][name]["rows"]
    assert rows
    assert all(list(row) == COLUMNS[name].split() for row in rows)


def test_anyone_can_run_the_sql_over_the_files(run: Folder, stats: dict[str, Any]) -> None:
    files = {table.name: table.files for table in TABLES if table.files.endswith(".parquet")}
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'America/New_York'")
        for name, path in files.items():
            connection.execute(f"CREATE VIEW {name} AS FROM read_parquet('{run.path(path)}')")
        plain = [query for query in QUERIES if files.keys() >= set(query.tables)]
        assert len(plain) > 20
        for query in plain:
            one = stats["statistics"][query.name]
            rows = connection.execute(one["sql"]).fetchall()
            assert [tuple(row.values()) for row in one["rows"]] == rows


def test_a_run_elsewhere_gives_the_same(
    run: Folder, stats: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = pyarrow.fs.SubTreeFileSystem(run.path(), pyarrow.fs.LocalFileSystem())
    monkeypatch.setattr(runs, "_open_filesystem", lambda uri: (elsewhere, uri.removeprefix("far://run")))
    far = Folder("far://run")
    assert not far.is_local()
    assert json.dumps(measure(far).to_json()) == json.dumps(stats)


def test_paths_are_no_patterns(tmp_path: Path) -> None:
    write_run(tmp_path / "run1", num_links=20)
    run = write_run(tmp_path / "run[1]", num_links=60)
    assert measure(run).totals()["documents"] == len(_corpus(run))


def test_contamination_is_what_the_filter_found(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", num_links=20, upto="filter")
    assert measure(run).measured["contamination"].rows == ()
    overlap = Overlap("webqs", 8, 200, 3, 900, 9, 1, 5, 4)
    empty = Overlap("empty", 13, 0, 0, 0, 0, 0, 0, 0)
    found = [{**asdict(one), "share": one.share} for one in (overlap, empty)]
    manifest = (run / "filtered").read("manifest.json")
    told = resealed(manifest, lambda value: value["facts"].update(evaluation_sets=found))
    (run / "filtered").write("manifest.json", told)
    first, second = (tuple(row.values()) for row in measure(run).measured["contamination"].rows)
    assert first == ("empty", 13, 0, 0, 0, 0, 0, 0)
    assert second == ("webqs", 8, 900, 9, overlap.share, 200, 5, 0.025)


@pytest.mark.parametrize("upto", ["collect", "link", "fetch", "extract", "filter", "dedupe", "tokenizer"])
def test_a_run_on_its_way_tells_what_is_missing(tmp_path: Path, upto: str) -> None:
    statistics = measure(write_run(tmp_path / "run", num_links=40, upto=upto))
    assert statistics.missing["tokens"] == ("shard",)
    assert set(statistics.measured) | set(statistics.missing) == {query.name for query in QUERIES}
    assert ("corpus" in statistics.measured) == (upto in ("dedupe", "tokenizer"))
    assert "month_shares" in statistics.measured


def test_a_run_without_a_single_document_has_its_zeros(tmp_path: Path) -> None:
    statistics = measure(write_run(tmp_path / "run", num_links=0))
    assert not statistics.missing
    assert statistics.totals() == {"documents": 0, "words": 0, "bytes": 0, "tokens": 0}
    rows = {name: one.rows for name, one in statistics.measured.items() if one.rows}
    assert set(rows) == {"corpus", "karma_threshold"}


def test_a_measure_that_is_no_number_leaves_json_whole(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", num_links=40)
    name = "part-00000.parquet"
    corpus = (run / "corpus").read_table(name)
    place = corpus.column_names.index("gopher_hashes")
    column = pa.array([float("nan")] * corpus.num_rows)
    pq.write_table(corpus.set_column(place, CORPUS.field(place), column), run.path(f"corpus/{name}"))
    rows = measure(run).measured["quality"].rows
    json.dumps(rows, allow_nan=False)
    assert next(row["p99"] for row in rows if row["measure"] == "gopher_hashes") is None


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize("damage", [Path.unlink, _cut])
@pytest.mark.parametrize(
    "name",
    [
        "links/part-00000.parquet",
        "corpus/part-00001.parquet",
        "corpus/clusters.parquet",
        "shards/part-00001.documents.parquet",
        "shards/train-00001.bin",
        "tokenizer/tokenizer.json",
    ],
)
def test_a_damaged_file_says_what_to_do(tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    run = write_run(tmp_path / "run", num_links=20)
    damage(Path(run.path(name)))
    with pytest.raises(InputError, match="webtext verify"):
        measure(run)


def test_no_run_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run here"):
        measure(Folder(str(tmp_path / "none")))
