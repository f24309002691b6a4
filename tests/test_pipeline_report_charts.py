"""Every chart on rows as large runs give them: what it says, how it looks, and what odd rows do."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from pipeline.report.charts import CHARTS, losses, standalone, waterfall
from pipeline.report.charts.bars import columns
from pipeline.report.charts.drawing import COLOURS, log_axis
from pipeline.report.statistics import Training
from pipeline.runs import Counts
from pipeline.status import read_status
from tests.report_rows import HEBREW, ROWS, SCRIPT
from tests.synthetic_run import write_run

# The names of the axes, with their units.
AXES = {
    "document_lengths": ("words, from", "documents"),
    "languages": ("documents",),
    "quality_shapes": ("gopher word length", "documents"),
    "frequent_lines": ("documents",),
    "frequent_ngrams": ("documents",),
    "years": ("year of the first submission", "documents"),
    "months": ("month of the first submission", "documents"),
    "domains": ("documents",),
    "domain_concentration": ("number of domains, the largest first", "share of documents"),
    "top_level_domains": ("documents",),
    "subreddits": ("documents",),
    "month_shares": ("month of the post", "posts with score ≥ 3"),
    "karma_threshold": ("least karma", "links"),
    "karma": ("karma, from", "documents"),
    "fetch_outcomes": ("links",),
    "fetch_failures": ("links",),
    "fetch_seconds": ("milliseconds",),
    "latencies": ("milliseconds to the first byte, from", "tries"),
    "host_latency": ("milliseconds to the first byte",),
    "link_rot": ("years from the first submission to the fetch", "share of links"),
    "cluster_sizes": ("documents in a cluster", "clusters"),
    "similarities": ("Jaccard similarity, from", "documents"),
    "bytes_a_token": ("bytes a token, from", "documents"),
    "document_tokens": ("tokens, from", "documents"),
    "token_frequencies": ("rank of the token", "times that it is used"),
    "contamination": ("share of its runs of words",),
}


@pytest.fixture(scope="module")
def svgs() -> dict[str, str]:
    return {name: draw(ROWS[name]) for name, draw in CHARTS.items()}


def _texts(svg: str, tag: str = "text") -> list[str]:
    found = ET.fromstring(svg).iter(f"{{http://www.w3.org/2000/svg}}{tag}")  # noqa: S314 - our own
    return [element.text or "" for element in found]


def _says(svg: str) -> list[str]:
    return _texts(svg, "title")


def test_every_chart_names_its_axes_and_units(svgs: dict[str, str]) -> None:
    assert set(AXES) == set(CHARTS) == set(ROWS)
    for name, titles in AXES.items():
        texts = _texts(svgs[name])
        assert set(titles) <= set(texts), name
        assert not {"undefined", "null", "NaN"} & set(texts), name
        assert "NaN" not in svgs[name], name


def test_every_mark_says_what_it_is(svgs: dict[str, str]) -> None:
    for name, svg in svgs.items():
        marks = re.findall(r'<(?:path|line|text)[^>]* role="graphics-symbol"', svg)
        assert len(_says(svg)) == len(marks) > 0, name
    assert "a-domain-that-has-a-long-name.example: 40,000 documents" in _says(svgs["domains"])
    assert "words, from 1,024: 90,001 documents" in _says(svgs["document_lengths"])
    assert "year of the first submission 2019: 171 documents" in _says(svgs["years"])
    assert "the 10,000 largest: 71.7 % of the documents" in _says(svgs["domain_concentration"])
    assert "site0.example: 90 % took no longer than 200.0 ms" in _says(svgs["host_latency"])
    assert "rank 1, ␣token1: 10,810,810 times" in _says(svgs["token_frequencies"])
    assert "squad, 13 words: 8,000 of 100,000 runs" in _says(svgs["contamination"])


def test_numbers_at_axes_are_grouped(svgs: dict[str, str]) -> None:
    for name, svg in svgs.items():
        if name not in ("years", "months", "month_shares"):
            assert not [text for text in _texts(svg) if re.search(r"\d{4}", text) and "1000+" not in text], (
                name
            )


def test_the_same_rows_give_the_same_bytes(svgs: dict[str, str]) -> None:
    assert {name: CHARTS[name](ROWS[name]) for name in ("domains", "link_rot")}.items() <= svgs.items()


def test_colours_are_the_pages_or_in_a_file_real_ones(svgs: dict[str, str]) -> None:
    for name, svg in svgs.items():
        painted = set(re.findall(r'(?:fill|stroke)="([^"]*)"', svg))
        assert painted <= {f"var(--{one})" for one in COLOURS} | {"currentColor", "none", "transparent"}, name
        alone = standalone(svg, "A & B")
        assert set(re.findall(r'(?:fill|stroke)="([^"]*)"', alone)) <= {
            *(light for light, _ in COLOURS.values()),
            *("#1d2327", "white", "none", "transparent"),
        }
        assert _says(alone)[0] == _texts(alone)[0] == "A & B"
        assert "system-ui" not in alone
    # A text is no colour.
    assert any("currentColor" in text for text in _says(standalone(svgs["frequent_lines"], "lines")))


def test_rankings_show_the_first_twenty_and_texts_as_texts(svgs: dict[str, str]) -> None:
    assert len(_says(svgs["subreddits"])) == 20
    assert "<script" not in svgs["frequent_lines"]
    says = _says(svgs["frequent_lines"])
    assert f"{SCRIPT}: 8,998 documents" in says
    assert f"{HEBREW}: 8,999 documents" in says


def test_months_out_of_line_stand_out(svgs: dict[str, str]) -> None:
    found = re.findall(r'aria-label="(2019-\d\d): [^>]*fill="var\(--second\)', svgs["month_shares"])
    assert found == ["2019-05"]
    # Where all is as it should be there is neither that colour nor a legend; a missing month is a gap.
    calm = CHARTS["month_shares"]([row for row in ROWS["month_shares"] if not row["out_of_line"]])
    assert "--second" not in calm
    assert "2019-05" in calm


def test_classes_that_nothing_is_of_stand_as_gaps() -> None:
    rows = [{"month": "2019-11", "documents": 1}, {"month": "2020-02", "documents": 2}]
    assert {"2019-12", "2020-01"} <= set(_texts(CHARTS["months"](rows)))
    assert "0.85" in _texts(CHARTS["similarities"](ROWS["similarities"]))
    far = columns([{"n": 1, "m": 1}, {"n": 10**9, "m": 1}], "n", "m", "n", lambda n: n + 1)
    assert "1,000,000,000" in far


def test_link_rot_is_whole_and_its_rarest_classes_are_one(svgs: dict[str, str]) -> None:
    totals: dict[str, float] = {}
    for says in _says(svgs["link_rot"]):
        age, share = re.fullmatch(r"(\d+) years, .*\(([\d.]+) %\)", says).groups()  # type: ignore[union-attr]
        totals[age] = totals.get(age, 0) + float(share)
    assert set(totals) == {"0", "1", "2", "3", "5", "8", "13"}
    assert list(totals.values()) == pytest.approx([100] * 7, abs=0.5)
    texts = _texts(svgs["link_rot"])
    assert "the rest" in texts
    assert "protocol" not in texts
    assert "4" in texts  # an age that no link has is a gap
    few = [row for row in ROWS["link_rot"] if row["outcome"] in ("fetched", "dns")]
    assert "the rest" not in _texts(CHARTS["link_rot"](few))


@pytest.mark.parametrize(
    ("numbers", "labels"),
    [
        ([1, 20_000], [1, 10, 100, 1_000, 10_000]),
        ([3, 400], [3, 10, 30, 100, 300]),
        ([2, 6], [2, 5]),
        ([7], [5, 10]),
        ([0, 0.02, 300], [0.1, 1, 10, 100]),
    ],
)
def test_logarithmic_axes_have_round_numbers(numbers: list[float], labels: list[float]) -> None:
    assert log_axis(numbers)["values"] == pytest.approx(labels)


ODD: dict[str, list[dict[str, Any]]] = {
    "contamination": [{**row, "found": 0, "share": 0.0} for row in ROWS["contamination"]],
    "fetch_seconds": [
        {**row, "half": 0.0, "99 %": None if n else 3.0} for n, row in enumerate(ROWS["fetch_seconds"])
    ],
    "host_latency": [{"domain": "a.example", "tries": 1, "half_ms": 5.0, "p90_ms": 5.0}],
    "domain_concentration": [{"domains": 1, "share": 1.0}],
    "token_frequencies": [{"rank": 1, "times": 3, "token": "a", "zipf": None}],
    "karma_threshold": [{"least_karma": 3, "links_by_max": 0, "links_by_sum": 0}],
    "bytes_a_token": [{"bytes_a_token_from": 3.5, "documents": 1}],
    "quality_shapes": [{"measure": "language_score", "value_from": 0.5, "documents": 1}],
    "link_rot": [{"age_years": 2, "outcome": "dns", "links": 1, "share": 1.0}],
    "years": [{"year": 2019, "documents": 1, "words": 1}],
    "subreddits": [{"subreddit": "", "documents": 1}, {"subreddit": "x" * 3000, "documents": 1}],
}


@pytest.mark.parametrize("name", ODD)
def test_odd_rows_are_drawn_all_the_same(name: str) -> None:
    svg = CHARTS[name](ODD[name])
    assert "NaN" not in svg
    assert "Infinity" not in svg
    assert _texts(svg)


def test_losses_are_drawn_with_their_unit() -> None:
    steps = tuple(
        {"step": n, "loss": 9 - n / 100, **({"val_loss": 8.0} if n % 50 == 0 else {})} for n in range(1, 101)
    )
    svg = losses(Training("gpt2", steps))
    assert {"step", "loss (nats a token)", "training", "validation"} <= set(_texts(svg))
    assert _says(svg) == ["step 50, validation: 8.0000 nats", "step 100, validation: 8.0000 nats"]


def test_the_waterfall_accounts_for_every_record(tmp_path: Path) -> None:
    status = read_status(write_run(tmp_path / "run"))
    svg = waterfall(status)
    assert svg is not None
    texts = _texts(svg)
    assert "records, on a logarithmic axis" in texts
    came_in, *lines = _says(svg)
    left = int(came_in.removesuffix(" that came in"))
    for line in lines:
        if " after " in line:
            assert int(line.partition(" ")[0]) == left  # what came in less all reasons
        else:
            left -= int(line.partition(": ")[2].partition(" of ")[0])
    assert left == status.stages["shard"].counts.kept
    reasons = [reason for stage in status.stages.values() for reason in stage.counts.rejected]
    assert set(reasons) <= set(texts)
    assert "fetch, dns: 4 of 59 (6.8 %)" in _says(svg)


def test_a_waterfall_may_end_in_nothing(tmp_path: Path) -> None:
    status = read_status(write_run(tmp_path / "run", num_links=0, upto="link"))
    svg = waterfall(status)
    assert svg is not None
    assert "NaN" not in svg
    assert "0 after collect, 0.0 % of what came in" in _says(svg)
    nothing = {name: replace(stage, counts=Counts(0, 0)) for name, stage in status.stages.items()}
    assert waterfall(replace(status, stages=nothing)) is None


def test_rare_reasons_share_a_line(tmp_path: Path) -> None:
    status = read_status(write_run(tmp_path / "run", num_links=20, upto="collect"))
    rejected = {"ad": 900_000, "bad_url": 3, "no_id": 2}
    stage = replace(status.stages["collect"], counts=Counts(1_000_005, 100_000, rejected))
    svg = waterfall(replace(status, stages={**status.stages, "collect": stage}))
    assert svg is not None
    assert {"2 other reasons", "−5", "ad", "−900,000", "100,000"} <= set(_texts(svg))
