"""A run's status: from manifests and sidecars, and as the table that people see."""

import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.dedupe.figures import SIZES, Cluster, ClusterFigures
from pipeline.errors import InputError
from pipeline.plain_table import byte_size
from pipeline.records import Reason
from pipeline.runs import Counts, Folder, PartWriter, read_manifest, read_sidecar
from pipeline.status import Status, largest_clusters, read_status, waterfall
from tests.synthetic_run import write_run
from webtext.progress import StageLines, show_waterfall

KEYS = {"in", "kept", "rejected", "parts", "parts_done", "bytes", "seconds"}
STAGES = ["collect", "link", "fetch", "extract", "filter", "dedupe", "shard"]


def test_a_finished_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    value = read_status(run).to_json()
    assert list(value) == [
        "run",
        "stages",
        "tokenizer",
        "fetch",
        "months",
        "sensitivity",
        "evaluation_sets",
        "clusters",
        "warnings",
    ]
    assert value["run"] == run.uri
    assert list(value["stages"]) == STAGES
    before = None
    for name, stage in value["stages"].items():
        assert set(stage) == KEYS
        assert stage["in"] == stage["kept"] + sum(stage["rejected"].values())
        assert stage["parts"] == stage["parts_done"] == {"dedupe": 3, "filter": 4}.get(name, 2)
        assert before in (None, stage["in"]), name
        before = stage["kept"]
    pages = value["stages"]["fetch"]
    assert pages["seconds"] == 60.5
    files = [p for p in Path(run.path("pages")).iterdir() if p.suffix != ".json"]
    assert pages["bytes"] == sum(p.stat().st_size for p in files)
    manifest = read_manifest(run / "tokenizer")
    assert manifest is not None
    assert value["tokenizer"] == {
        "vocab_size": 257,
        "documents": value["stages"]["dedupe"]["kept"],
        "digest": manifest.parts[0].file("tokenizer.json").sha256,
    }


def test_a_stage_not_begun_has_zeros(tmp_path: Path) -> None:
    value = read_status(write_run(tmp_path / "run", upto="link")).to_json()
    zeros = {"in": 0, "kept": 0, "rejected": {}, "parts": 0, "parts_done": 0, "bytes": 0, "seconds": 0}
    assert value["stages"]["fetch"] == zeros
    assert value["tokenizer"] is None


def test_months_and_thresholds_are_there_once_their_stage_is_finished(tmp_path: Path) -> None:
    begun = Folder(str(tmp_path / "begun"))
    begun.write("webtext.toml", b"# Settings digest: 0\n")
    value = read_status(begun).to_json()
    assert (value["months"], value["sensitivity"], value["warnings"]) == ([], {"max": {}, "sum": {}}, [])
    run = write_run(tmp_path / "run", upto="link")
    value = read_status(run).to_json()
    assert [one["month"] for one in value["months"]] == ["2019-10", "2019-11", "2019-12"]
    posts = value["stages"]["collect"]
    assert sum(one["submissions"] for one in value["months"]) == posts["in"] - posts["rejected"]["not_json"]
    submissions = [
        row["score"]
        for index in range(2)
        for row in (run / "submissions").read_table(f"part-0000{index}.parquet").to_pylist()
    ]
    share = sum(score >= 3 for score in submissions) / len(submissions)
    total = sum(one["submissions"] * one["share_3"] for one in value["months"])
    assert total / sum(one["submissions"] for one in value["months"]) == pytest.approx(share, abs=1e-3)
    for karma in ("max", "sum"):
        assert list(value["sensitivity"][karma]) == ["1", "2", "3", "5", "10"]
    assert value["sensitivity"]["max"]["3"] == value["stages"]["link"]["kept"]


SHARES = {f"2023-{month:02d}": (1000, 4 if month == 5 else 310) for month in range(1, 10)}


def test_what_to_mind_stands_below_the_waterfall_and_in_json(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", upto="link", months=SHARES, damage={"RS_[bold].zst": 1234})
    strange, damaged = read_status(run).to_json()["warnings"]
    assert strange.startswith(
        "2023-05: 0.4 % of the posts have a score of 3 or more, and 31.0 % in the months"
    )
    assert damaged.startswith("RS_[bold].zst is cut off or corrupt after 1,234 unpacked bytes")
    stream = io.StringIO()
    show_waterfall(run, Console(file=stream, width=80, soft_wrap=True, highlight=False))
    text = stream.getvalue()
    assert text.endswith(f"! {strange}\n! {damaged}\n")
    assert re.search(r"at least +1 +2 +3 +5 +10", text)
    links = read_status(run).links_by_sum
    assert re.search("sum: .* +" + " +".join(str(num) for num in links.values()), text)


def test_the_line_of_collect_has_its_warnings_behind_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", upto="link", months=SHARES)
    stream = io.StringIO()
    say = StageLines(Console(file=stream, width=80, soft_wrap=True, highlight=False), {"link"})
    for folder in ("submissions", "links"):
        manifest = read_manifest(run / folder)
        assert manifest is not None
        say(manifest)
    first, second, third = stream.getvalue().splitlines()
    assert "collect" in first
    assert first.endswith("done before")
    assert second.startswith("! 2023-05: 0.4 %")
    assert "link" in third
    assert third.endswith(" s")


def _shown(run: Folder, width: int = 80) -> list[str]:
    """What stands below the waterfall of a run, and below its table of karma."""
    stream = io.StringIO()
    show_waterfall(run, Console(file=stream, width=width, soft_wrap=True, highlight=False))
    return stream.getvalue().partition("\nsum: ")[2].splitlines()[2:]


def test_clusters_are_told_by_size_and_the_largest_by_name(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", num_links=2000, upto="dedupe")
    stages = read_status(run).to_json()["stages"]
    num = sum(stages["dedupe"]["rejected"].values())
    clusters = read_status(run).to_json()["clusters"]
    assert clusters["sizes"] == {"2": num, **dict.fromkeys(list(SIZES)[1:], 0)}
    assert len(clusters["largest"]) == 10
    lines = _shown(run)
    assert all(len(line) <= 80 for line in lines)
    text = "\n".join(lines)
    assert re.search(rf"\n2 documents +█{{6}} +{num} +100\.0 %\n3 documents +0 +0\.0 %\n", text)
    assert "\n1,000 or more documents " in text
    for one in clusters["largest"]:
        assert re.search(rf"\n2 documents +1 +{re.escape(one['url'])} *\n", text + "\n")


def test_clusters_are_told_as_soon_as_they_are_found(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", upto="dedupe")
    clusters = read_status(run).clusters
    Path(run.path("corpus/manifest.json")).unlink()
    assert clusters is not None
    assert read_status(run).clusters == clusters
    Path(run.path("corpus/clusters.json")).unlink()
    assert read_status(run).clusters is None


def test_a_run_without_clusters_says_nothing_of_them(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", upto="filter")
    assert read_status(run).to_json()["clusters"] is None
    assert "clusters" not in "\n".join(_shown(run))
    clusters = ClusterFigures(dict.fromkeys(SIZES, 0), ())
    assert ClusterFigures.from_facts(clusters.facts()) == clusters
    small = write_run(tmp_path / "small", num_links=2, upto="dedupe")
    assert read_status(small).clusters == clusters
    assert "clusters" not in "\n".join(_shown(small))


def test_a_long_or_strange_url_is_whole_at_80_columns() -> None:
    url = "https://example.com/" + "very/long/path/" * 8 + "?q=[bold]x[/bold]"
    figures = ClusterFigures(
        {**dict.fromkeys(SIZES, 0), "2": 1, "1000+": 1},
        (Cluster("a" * 32, 1_234_567, 1_234_566, "b" * 32, url), Cluster("c" * 32, 2, 2, "d" * 32, "")),
    )
    stream = io.StringIO()
    Console(file=stream, width=80, soft_wrap=True, highlight=False).print(largest_clusters(figures))
    lines = stream.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert url in "".join(line[30:].strip() for line in lines)
    assert "d" * 32 + " (not in this run)" in " ".join(stream.getvalue().split())


CRAWL = {
    "links": 1_234_567,
    "done": 234_567,
    "pages": 200_123,
    "bytes": 6_000_000_000,
    "hosts_in_flight": 240,
    "hosts_waiting": 1_822,
    "links_waiting": 1_000_000,
    "failures": {"dns": 20_123, "timeout": 10_000, "http_4xx": 31_111, "robots": 2_000, "tls": 13},
    "seconds": 5_400.0,
    "pages_a_second": 823.4,
    "eta_s": 7_200.0,
}


def test_a_crawl_says_how_it_goes_and_how_old_that_is(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", upto="link")
    assert read_status(run).to_json()["fetch"] == {"live": None, "ledger": None}
    assert _shown(run) == []
    (run / "pages").write("plan.json", b'{"parts": ["part-00000"]}')
    (run / "pages" / "open").write("crawl-00000.json", json.dumps(CRAWL).encode())
    live = read_status(run).to_json()["fetch"]["live"]
    assert live == {**CRAWL, "age_s": live["age_s"], "running": True}
    first, *lines = _shown(run)
    assert first == "fetch is running"
    assert lines == [
        "  234,567 of 1,234,567 links done in 1.5 h, about 2.0 h to go",
        "  823.4 pages/s, 24.7 MB/s; 200,123 pages, 6.0 GB",
        "  240 hosts in flight, 1,822 hosts and 1,000,000 links waiting",
        "  failed: 31,111 http_4xx, 20,123 dns, 10,000 timeout, 2,000 robots, 13 others",
    ]
    assert all(len(line) <= 80 for line in lines)
    hour_ago = time.time() - 3_600
    os.utime(run.path("pages/open/crawl-00000.json"), (hour_ago, hour_ago))
    assert read_status(run).to_json()["fetch"]["live"]["running"] is False
    first, *same = _shown(run)
    assert (
        first == "fetch is not running: these figures are 1.0 h old, and `webtext build` goes on from there"
    )
    assert same == [lines[0].removesuffix(", about 2.0 h to go"), *lines[1:]]  # nobody works towards it


@pytest.mark.parametrize("width", [80, 120])
def test_a_finished_fetch_says_what_its_ledgers_say(tmp_path: Path, width: int) -> None:
    run = write_run(tmp_path / "run", num_links=2000, upto="fetch", retried=True)
    value = read_status(run).to_json()
    (stage, ledger), live = (value["stages"]["fetch"], value["fetch"]["ledger"]), value["fetch"]["live"]
    assert live is None
    assert (ledger["links"], ledger["pages"]) == (stage["in"], stage["kept"])
    assert ledger["failures"] == stage["rejected"]
    lines = _shown(run, width)
    assert all(len(line) <= 80 for line in lines)
    text = "\n".join(lines)
    assert re.match(r"fetch: 1,986 links on 7 hosts, 2,\d{3} tries; 1,615 pages, 2.1 MB\n", text)
    assert "from 2020-01-02 00:00:00 to 2020-01-02 00:33:19 UTC, 0.75 pages/s" in text
    assert "from: 1,490 web, 125 wayback" in text
    assert "failed: 125 timeout, 123 dns, 123 http 4xx" in text
    assert re.search(r"to connect +1,613 +5\.\d{3} +9\.\d{3} +9\.\d{3} +9\.995", text)


def test_a_ledger_that_is_missing_is_to_be_minded(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", upto="fetch")
    Path(run.path("pages/part-00001.ledger.parquet")).unlink()
    status = read_status(run)
    assert status.ledger is None
    assert "webtext verify" in status.warnings[0]
    assert "part-00001.ledger.parquet" in status.warnings[0]


def test_a_stage_at_work_counts_the_parts_that_are_done(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", upto="link")
    pages = run / "pages"
    pages.write("plan.json", b'{"parts": ["part-00000", "part-00001", "sizes-00000"]}')
    writer = PartWriter(pages, "part-00001", "x")
    with writer.open("warc.gz") as sink:
        sink.write(b"12345")
    writer.commit(Counts(9, 7, {"dns": 2}), seconds=2.5)
    PartWriter(pages, "sizes-00000", "x").commit(None, seconds=1.0)
    PartWriter(pages, "part-00009", "of other settings").commit(Counts(5, 5), seconds=1.0)
    pages.write("part-00000.json", b"torn")
    status = read_status(run)
    assert status.stages["fetch"].to_json() == {
        "in": 9,
        "kept": 7,
        "rejected": {"dns": 2},
        "parts": 3,
        "parts_done": 2,
        "bytes": 5,
        "seconds": 3.5,
    }
    assert "2/3 parts" in _plain(status)
    assert read_sidecar(pages, "part-00001") is not None  # looking changes nothing


def _plain(status: Status) -> str:
    stream = io.StringIO()
    Console(file=stream, width=80).print(waterfall(status))
    return stream.getvalue()


def test_the_waterfall_says_units_reasons_and_shares(tmp_path: Path) -> None:
    status = read_status(write_run(tmp_path / "run", num_links=2000))
    text = _plain(status)
    assert "\x1b" not in text
    collect = status.stages["collect"].counts
    assert f"{collect.num_in:,}" in text
    assert f"{collect.kept:,}" in text
    assert re.search(r"posts +submissions", text)
    assert "25.0 %" in text
    assert "…" not in text  # it fits a terminal of 80 columns
    assert "self_post" in text
    assert "near_duplicate" in text
    assert "trained on" in text
    assert text.index("self_post") < text.index("media_domain") < text.index("not_json")


def _collected(run: Folder, counts: Counts) -> Status:
    folder = run / "submissions"
    folder.write("plan.json", b'{"parts": ["part-00000"]}')
    PartWriter(folder, "part-00000", "x").commit(counts, seconds=1)
    return read_status(run)


def test_rare_reasons_share_a_line_on_a_terminal(run: Folder) -> None:
    rejected = {"self_post": 90_000, "no_time": 5, "not_json": 4, "no_id": 3, "ad": 50}
    status = _collected(run, Counts(100_000, 9_938, rejected))
    lines = [line.rstrip() for line in _plain(status).splitlines()]
    assert any(line.endswith("     50 ad") for line in lines)  # 0.05 %: it has a line of its own
    assert any(line.endswith("     12 for 3 other reasons") for line in lines)
    assert not any("not_json" in line for line in lines)
    assert status.to_json()["stages"]["collect"]["rejected"] == rejected


def test_a_single_rare_reason_keeps_its_name(run: Folder) -> None:
    counts = Counts(10_000_000, 1, {"self_post": 9_999_998, "no_id": 1})
    assert "1 no_id" in _plain(_collected(run, counts))


def test_a_month_of_today_fits_a_terminal(run: Folder) -> None:
    rejected = {reason.value: 1_000_000 for reason in list(Reason)[:23]}
    text = _plain(_collected(run, Counts(42_900_000, 19_900_000, rejected)))
    assert "…" not in text
    assert all(f"1,000,000 {reason}" in text for reason in rejected)


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no run here.*webtext build"):
        read_status(Folder(str(tmp_path / "runs" / "none")))


def test_a_damaged_manifest(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", upto="link")
    Path(run.path("links/manifest.json")).write_bytes(b"{}")
    with pytest.raises(InputError, match="damaged"):
        read_status(run)


def test_the_import_is_light() -> None:
    code = (
        "import sys, pipeline.status; "
        "print({'apache_beam', 'duckdb', 'altair', 'rich', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_sizes_in_bytes() -> None:
    assert [byte_size(n) for n in (0, 999, 1000, 12_345_678)] == ["0 bytes", "999 bytes", "1.0 kB", "12.3 MB"]
