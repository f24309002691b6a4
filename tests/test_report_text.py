"""The report's numbers in a terminal and in a pipe."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.report.queries import Query
from pipeline.report.statistics import Measured, Statistics, measure
from pipeline.report.text import render
from pipeline.runs import Folder
from pipeline.status import read_status
from tests.command import webtext
from tests.synthetic_run import write_run


@pytest.fixture(scope="module")
def statistics(tmp_path_factory: pytest.TempPathFactory) -> Statistics:
    return measure(write_run(tmp_path_factory.mktemp("text") / "run", num_links=300))


def shown(statistics: Statistics, width: int | None = None) -> str:
    """What a terminal of a width shows, or without one what a pipe is given."""
    console = Console(
        file=io.StringIO(),
        width=width or 1_000_000,
        force_terminal=width is not None,
        soft_wrap=True,
        highlight=False,
    )
    for one in render(statistics, plain=width is None):
        console.print(one)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def of_rows(*rows: Any, definition: str = "What it is.") -> Statistics:
    """A statistic alone, of a run that is not begun."""
    query = Query("texts", "name", "Title", definition, (), "")
    return Statistics(
        status=read_status_of_nothing(),
        measured={"name": Measured(query, rows)},
        missing={},
        settings={},
        training=(),
    )


def read_status_of_nothing() -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        run = Folder(folder)
        run.write("webtext.toml", b"# Settings digest: 0\n")
        return read_status(run)


def table(text: str, title: str = "Title") -> list[str]:
    """The lines below a title and its definition."""
    lines = text.split(f"## {title}\n", 1)[1].splitlines()
    end = next((number for number, line in enumerate(lines) if not line.strip()), len(lines))
    return [line.rstrip() for line in lines[1:end]]


def test_every_statistic_has_its_title_in_its_section(statistics: Statistics) -> None:
    text = shown(statistics)
    titles = re.findall(r"(?m)^#+ .*", text)
    expected = ["# From submissions to tokens"]
    for one in statistics.measured.values():
        section = f"# {one.query.section.capitalize()}"
        expected += [section] if section not in expected else []
        expected.append(f"## {one.query.title}")
    assert titles == expected
    totals = statistics.totals()
    assert text.startswith(
        f"run: {totals['documents']:,} documents, {totals['words']:,} words, {totals['tokens']:,} tokens, "
    )


def test_rows_stand_there_as_they_are(statistics: Statistics) -> None:
    rows = statistics.measured["domains"].rows
    head, *lines = table(shown(statistics), statistics.measured["domains"].query.title)
    assert head.split() == ["domain", "documents", "words"]
    assert [line.split() for line in lines] == [
        [row["domain"], f"{row['documents']:,}", f"{row['words']:,}"] for row in rows
    ]


def test_a_pipe_gets_plain_text_and_whole_lines(statistics: Statistics) -> None:
    text = shown(statistics)
    assert "\x1b" not in text
    assert not re.search("[─│┌╭━]", text)
    first_sentence = statistics.measured["months"].query.definition.partition(". ")[0]
    assert f"\n{first_sentence.rstrip('.')}.\n" in text


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_gets_bars_and_no_line_too_long(statistics: Statistics, width: int) -> None:
    text = shown(statistics, width)
    assert "\x1b[" in text
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    most = max(row["documents"] for row in statistics.measured["domains"].rows)
    assert any(re.search(rf"\b{most} +█{{12}} ", line) for line in lines)


def test_a_bar_is_for_what_is_counted() -> None:
    rows = ({"shard": n, "shard_of": 3, "documents": 10 * n, "words": n} for n in (1, 2, 4))
    lines = table(re.sub(r"\x1b\[[0-9;]*m", "", shown(of_rows(*rows), 80)))
    assert re.split(r"  +", lines[0]) == ["shard", "shard of", "documents", "words"]
    assert [line.count("█") for line in lines[2:]] == [3, 6, 12]


def test_of_a_long_curve_rows_are_left_out_evenly_and_the_last_is_there() -> None:
    *lines, words = table(shown(of_rows(*({"rank": n, "times": 1000 - n} for n in range(1, 101)))))
    assert [int(line.split()[0]) for line in lines[1:]] == list(range(5, 101, 5))
    assert words == "one row in 5, of 100 (--json has all)"


def test_of_a_long_ranking_the_first_are_shown() -> None:
    *lines, words = table(shown(of_rows(*({"line": f"l{n}", "times": 99 - n} for n in range(50)))))
    assert [line.split()[0] for line in lines[1:]] == [f"l{n}" for n in range(20)]
    assert words == "the first 20 rows, of 50 (--json has all)"


def test_measures_that_count_nothing_are_all_shown() -> None:
    lines = table(shown(of_rows(*({"measure": f"m{n}", "half": n / 7} for n in range(40)))))
    assert len(lines) == 41


def test_histograms_below_one_another_have_a_line_each() -> None:
    counts = {"a": [0, 1, 4, 8], "b": [3, 0, 0, 3]}
    rows = [
        {"measure": name, "value_from": n / 4, "documents": num}
        for name, nums in counts.items()
        for n, num in enumerate(nums)
    ]
    _, *lines = table(shown(of_rows(*rows)))
    assert [re.split("  +", line) for line in lines] == [
        ["a", "0 … 0.75", "0 1 4 8"],
        ["b", "0 … 0.75", "3 0 0 3"],
    ]
    drawn = re.sub(r"\x1b\[[0-9;]*m", "", shown(of_rows(*rows), 80))
    assert " ▁▄█" in drawn
    assert "█  █" in drawn


@pytest.mark.parametrize("width", [None, 80])
def test_foreign_text_does_nothing_to_a_terminal(width: int | None) -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J[bold]x[/bold]\r\n\u202eabc" + "y" * 5_000
    text = shown(of_rows({"line": hostile, "times": 2}, {"line": "שלום", "times": 1}), width)
    assert "␛]0;owned␇␛[2J[bold]x[/bold]␍␊\\u202eabc" in "".join(text.split("\n")) or width
    assert not re.search("[\x00-\x08\x0b-\x1a\x1c-\x1f\u202e]", text)
    assert set(re.findall(r"\x1b.", text)) <= {"\x1b["}
    assert "2J" not in re.sub(r"␛\[2J", "", text)
    assert "שלום" in text
    assert (text.count("y") > 4_000) == (width is None)  # a terminal has no room for it


def test_a_statistic_of_nothing_says_so() -> None:
    assert table(shown(of_rows())) == ["none"]
    assert table(shown(of_rows({"documents": 12_345, "share": 0.5, "known": None, "is_it": True}))) == [
        "documents: 12,345, share: 50.0 %, known: —, is it: yes"
    ]


@pytest.mark.parametrize("upto", ["collect", "link", "fetch", "filter", "dedupe"])
def test_stages_that_are_missing_are_named(tmp_path: Path, upto: str) -> None:
    write_run(tmp_path / "run", upto=upto)
    statistics = measure(Folder(str(tmp_path / "run")))
    text = shown(statistics)
    left_out = re.search(r"\nleft out, since it is not finished: what (.*) would tell\n", text)
    assert left_out is not None
    assert "shard" in left_out[1].split(", ")
    assert text.startswith("run: no corpus yet") == (upto != "dedupe")


def test_the_command(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    found = webtext("report", "run", "--text", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "## Domains\n" in found.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_table_is_told(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    Path(run.path("corpus/part-00000.parquet")).write_bytes(b"no parquet")
    found = webtext("report", "run", "--text", cwd=tmp_path)
    assert found.returncode == 2
    assert "webtext verify" in found.stderr
