"""The report's page and its files, as readers, browsers and strangers' texts meet them."""

import html
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from playwright.sync_api import Browser

from pipeline.report import extract_audit_page, vocabulary_page
from pipeline.report.charts import CHARTS
from pipeline.report.comparison import CORPORA, SOURCES, Comparison, compare
from pipeline.report.files import FILES
from pipeline.report.page import draw, render_page, write_report
from pipeline.report.queries import QUERIES, SECTIONS
from pipeline.report.rendering import show_value
from pipeline.report.statistics import Measured, Statistics, measure
from pipeline.runs import Folder
from pipeline.verify import verify
from tests import synthetic_run
from tests.browser import browsing, fits, keep_picture, page_of
from tests.report_rows import HEBREW, ROWS
from tests.reported_run import write_reported_run
from tests.synthetic_run import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    run = write_reported_run(tmp_path_factory.mktemp("report") / "run")
    write_report(run)
    return run


@pytest.fixture(scope="module")
def statistics(run: Folder) -> Statistics:
    return measure(run)


@pytest.fixture(scope="module")
def stats(run: Folder) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((run / "report").read("stats.json"))
    return value


@pytest.fixture(scope="module")
def page(run: Folder) -> str:
    return (run / "report").read("index.html").decode()


@pytest.fixture(scope="module")
def large(statistics: Statistics) -> Statistics:
    """The run, with statistics as a large one has them."""
    rows = {
        query.name: Measured(query, tuple(ROWS.get(query.name, statistics.measured[query.name].rows)))
        for query in QUERIES
    }
    return replace(statistics, measured=rows)


@pytest.fixture(scope="module")
def large_page(large: Statistics) -> str:
    return render_page(large, draw(large))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


class _Tags(HTMLParser):
    """What a page loads or runs, where its links lead, and the ids in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: Counter[str] = Counter()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "iframe", "img", "object", "form"):
            self.loads.append(tag)
        for name, value in attrs:
            if name == "href" and tag == "a":
                self.links.append(value or "")
            elif name in ("src", "href", "xlink:href") or name.startswith("on"):
                self.loads.append(f"{tag} {name}={value}")
            elif name == "id":
                self.ids[value or ""] += 1


def test_the_page_stands_by_itself(page: str) -> None:
    tags = _Tags(page)
    assert tags.loads == []
    assert "@import" not in page
    assert "url(" not in page
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    assert max(tags.ids.values()) == 1
    for link in tags.links:
        assert link.removeprefix("#") in tags.ids or link in {source.url for source in SOURCES.values()}


def test_a_removal_knows_the_names_of_all_that_may_quote_texts(run: Folder) -> None:
    files = (run / "report").sizes().keys()
    assert {name for name in files if not name.startswith("model-")} <= FILES
    assert {extract_audit_page.PAGE, vocabulary_page.PAGE, vocabulary_page.NUMBERS} <= FILES


def test_the_contents_name_every_section(page: str) -> None:
    contents = re.findall(r'<li><a href="#([^"]+)">([^<]+)</a></li>', page.partition("</nav>")[0])
    names = [name for _, name in contents]
    assert names[0] == "From submissions to tokens"
    assert names[-2:] == ["Beside WebText", "Models"]
    assert [name.lower() for name in names[1:-2]] == [
        section for section in SECTIONS if f'id="{section.replace(" ", "-")}"' in page
    ]
    assert {"Corpus", "Texts", "Time and place", "Links", "Fetch", "Duplicates", "Tokens"} <= set(names)


def test_the_page_shows_each_statistic_with_its_definition_and_sql(page: str, stats: dict[str, Any]) -> None:
    assert list(stats["statistics"]) == [query.name for query in QUERIES]
    text = html.unescape(page)
    for query in QUERIES:
        card = text.partition(f'<section id="figure-{query.name}"')[2].partition("</section>")[0]
        assert f'<h3 title="{query.definition}">{query.title}</h3>' in card
        assert f'<p class="soft">{query.definition}</p>' in card
        assert query.sql in card
        rows = stats["statistics"][query.name]["rows"]
        assert card.count("<tr>") == (len(rows) + 1 if rows else 0)
        assert ("<svg" in card) == (query.name in CHARTS and bool(rows))
        for name, value in rows[0].items() if rows else ():
            assert f">{show_value(value, name)}</td>" in card
    for reason in stats["stages"]["collect"]["rejected"]:
        assert reason in page
    assert f"{stats['stages']['collect']['in']:,} posts" in page
    assert f"{stats['totals']['tokens']:,}" in page
    assert html.escape(stats["warnings"][0]) in page


def test_each_chart_is_a_file_too(run: Folder, page: str, stats: dict[str, Any]) -> None:
    report = run / "report"
    files = {name for name in report.sizes() if name.endswith(".svg")}
    drawn = {name for name, one in stats["statistics"].items() if name in CHARTS and one["rows"]}
    assert files == {f"{name}.svg" for name in drawn | {"waterfall", "model-gpt2"}}
    assert page.count("<svg") == len(files)
    for name in files:
        svg = report.read(name).decode()
        assert "var(" not in svg
        assert "currentColor" not in svg
        root = ET.fromstring(svg)  # noqa: S314 - our own
        assert {root.tag, root[1].get("fill")} == {"{http://www.w3.org/2000/svg}svg", "white"}


def test_the_same_run_gives_the_same_bytes_and_no_old_pictures(run: Folder) -> None:
    report = run / "report"
    before = {name: report.read(name) for name in report.sizes()}
    report.write("model-gone.svg", b"<svg/>")
    report.write("tokenizer.html", b"another command's")
    write_report(run)
    assert {name: report.read(name) for name in report.sizes() if name != "tokenizer.html"} == before
    assert report.read("tokenizer.html") == b"another command's"
    report.remove(["tokenizer.html"])


def test_long_tables_scroll_and_long_texts_are_cut(large: Statistics, large_page: str) -> None:
    cards = dict(re.findall(r'<section id="figure-(\w+)"(.*?)</section>', large_page, re.S))
    assert 'class="scroll long"' in cards["subreddits"]
    assert 'class="scroll long"' not in cards["top_level_domains"]
    text = "word " * 1000
    query = large.measured["frequent_lines"].query
    long = Measured(query, ({"line": text, "documents": 2, "times": 2},))
    long_page = render_page(replace(large, measured={"frequent_lines": long}, training=()), {})
    assert f"{text[:200]}…" in long_page
    assert text[:201] not in long_page


def _own(comparison: Comparison) -> dict[str, Any]:
    return {line.name: line.entries[0].value for line in comparison.lines}


def test_the_comparison_has_this_runs_figures(statistics: Statistics, stats: dict[str, Any]) -> None:
    totals, stages = stats["totals"], stats["stages"]
    own = _own(compare(statistics))
    assert CORPORA[0] == "this run"
    assert own["links"] == stages["link"]["kept"]
    assert own["documents before cleaning"] == stages["extract"]["kept"]
    assert (own["documents"], own["text"], own["tokens"]) == tuple(
        totals[name] for name in ("documents", "bytes", "tokens")
    )
    assert own["bytes a document"] == pytest.approx(totals["bytes"] / totals["documents"])
    assert own["bytes a token"] == pytest.approx(totals["bytes"] / totals["tokens"])
    assert own["documents of links"] == pytest.approx(totals["documents"] / stages["link"]["kept"])
    assert own["kept of documents"] == pytest.approx(totals["documents"] / stages["extract"]["kept"])
    assert (own["least karma"], own["languages"], own["Wikipedia"]) == ("3", "en, de", "left out")
    assert own["submissions until"] == stats["statistics"]["months"]["rows"][-1]["month"]
    assert stats["comparison"] == json.loads(json.dumps(compare(statistics).to_json()))


def test_published_figures_have_a_source_or_a_reason(page: str, statistics: Statistics) -> None:
    comparison = compare(statistics)
    for line in comparison.lines:
        assert len(line.entries) == len(CORPORA)
        for entry in line.entries[1:]:
            assert (
                entry.note
                if entry.value is None
                else entry.source in SOURCES or isinstance(entry.value, float)
            )
    text = html.unescape(page)
    for shown in (
        "45,000,000",
        "8,013,769",
        "17,103,059",
        "69,547,149",
        "9,040,017,095",
        "24.6 %",
        "65.9 GB",
    ):
        assert f">{shown}" in text
    assert f"{statistics.totals()['documents']:,} documents, 0.0" in comparison.note
    assert comparison.note in text


def test_texts_of_strangers_stay_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "<script>alert(1)</script>|`x`"
    monkeypatch.setattr(synthetic_run, "SUBREDDITS", (evil, "a & b"))
    report = write_report(write_run(tmp_path / "run"))
    assert _Tags(report.read("index.html").decode()).loads == []
    assert "<script" not in report.read("subreddits.svg").decode()
    rows = json.loads(report.read("stats.json"))["statistics"]["subreddits"]["rows"]
    assert {row["subreddit"] for row in rows} == {evil, "a & b"}


@pytest.mark.parametrize("upto", ["collect", "filter", "tokenizer"])
def test_a_run_on_its_way_says_what_follows(tmp_path: Path, upto: str) -> None:
    run = write_run(tmp_path / "run", num_links=40, upto=upto)
    report = write_report(run)
    stats = json.loads(report.read("stats.json"))
    assert stats["missing"]["tokens"] == ["shard"]
    assert "month_shares" in stats["statistics"]
    assert ("karma_threshold" in stats["statistics"]) == (upto != "collect")
    page = html.unescape(report.read("index.html").decode())
    assert "More follows when these stages are finished" in page
    follows = {
        stage: set(titles.split(" · "))
        for stage, titles in re.findall(r"<dt><b>(\w+)</b></dt><dd>([^<]*)</dd>", page)
    }
    assert list(follows)[-1] == "shard"
    assert set.union(*follows.values()) == {
        query.title for query in QUERIES if query.name in stats["missing"]
    }
    assert {"Tokens", "Shards"} <= follows["shard"]
    own = _own(compare(measure(run)))
    assert own["tokens"] is None
    assert (own["documents"] is None) == (upto != "tokenizer")


def test_a_run_that_only_just_began_says_so(tmp_path: Path) -> None:
    run = Folder(str(tmp_path / "run"))
    run.write("webtext.toml", b"# Settings digest: 0\n")
    page = write_report(run).read("index.html").decode()
    assert "This run is empty" in page
    assert "<svg" not in page


def test_a_run_without_a_single_document_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", num_links=0)
    report = write_report(run)
    page = report.read("index.html").decode()
    assert "The corpus is empty" in page
    assert "There are none." in page
    assert set(json.loads(report.read("stats.json"))["totals"].values()) == {0}
    assert verify(run) == []


def test_values_are_shown_for_people() -> None:
    numbers = (1234567, 1234.5, 3.14159, 0.05, 0.0, 0.000123, "x", 0, None, True, float("nan"))
    shown = ["1,234,567", "1,234", "3.14", "0.05", "0", "0.000123", "x", "0", "—", "yes", "—"]
    assert [show_value(one) for one in numbers] == shown
    assert [show_value(one, "share") for one in (0.12345, 0.00012, 0.0, 1)] == [
        "12.3 %",
        "0.012 %",
        "0.0 %",
        "100.0 %",
    ]
    assert [show_value(2019, name) for name in ("year", "documents")] == ["2019", "2,019"]


# Texts of one picture that lie on each other (but for slanted ones), or reach out of their card.
_MISPLACED = """() => {
  const found = [];
  const card_name = (svg) => svg.closest("figure").getAttribute("aria-label");
  for (const svg of document.querySelectorAll("figure svg")) {
    const card = svg.closest("section, .panel").getBoundingClientRect();
    const boxes = [...svg.querySelectorAll("text")]
      .filter((text) => text.textContent && text.getAttribute("opacity") !== "0")
      .filter((text) => !/rotate\\((-?45|315)/.test(text.getAttribute("transform")))
      .map((text) => [text.textContent, text.getBoundingClientRect()]);
    for (const [text, box] of boxes) {
      if (box.left < card.left || box.right > card.right) found.push(`${card_name(svg)}: ${text}`);
    }
    for (const [n, [text, box]] of boxes.entries()) {
      for (const [other, beside] of boxes.slice(n + 1)) {
        const wide = Math.min(box.right, beside.right) - Math.max(box.left, beside.left);
        const high = Math.min(box.bottom, beside.bottom) - Math.max(box.top, beside.top);
        if (wide > 1 && high > 3) found.push(`${card_name(svg)}: ${text} and ${other}`);
      }
    }
  }
  return found;
}"""


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_a_browser_shows_it_with_nothing_on_top_of_each_other(
    browser: Browser, large_page: str, tmp_path: Path, look: str
) -> None:
    file = tmp_path / "index.html"
    file.write_text(large_page, "utf-8")
    requests = []
    with page_of(browser, dark=look == "dark", phone=look == "phone", javascript=False) as page:
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file.as_uri())
        assert fits(page)
        assert page.evaluate(_MISPLACED) == []
        card = page.locator("#figure-frequent_lines")
        card.get_by_text("numbers (30 rows)").click()
        hebrew = card.get_by_role("cell", name=HEBREW)
        assert hebrew.evaluate("cell => getComputedStyle(cell).direction") == "rtl"
        keep_picture(page, f"report-{look}")
    assert requests == [file.as_uri()]
