"""The data card, read as the Hugging Face Hub reads it, and as people do."""

import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt

from pipeline.filter.settings import FilterSettings, PIISettings
from pipeline.report.card import TO_BE_FILLED_IN, cell, render_card, size_category
from pipeline.report.page import write_report
from pipeline.report.statistics import Measured, Statistics, measure
from pipeline.runs import Folder
from tests import synthetic_run
from tests.synthetic_run import write_run

ALLOWED = {
    "annotations_creators": {"no-annotation"},
    "language_creators": {"found"},
    "multilinguality": {"monolingual", "multilingual"},
    "source_datasets": {"original"},
    "task_categories": {"text-generation", "fill-mask"},
    "task_ids": {"language-modeling", "masked-language-modeling"},
    "license": {"other"},
}

DATASHEET = (
    "Motivation",
    "Composition",
    "Collection process",
    "Preprocessing/cleaning/labeling",
    "Uses",
    "Distribution",
    "Maintenance",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return write_run(tmp_path_factory.mktemp("card") / "run", num_links=120)


@pytest.fixture(scope="module")
def statistics(run: Folder) -> Statistics:
    return measure(run)


@pytest.fixture(scope="module")
def card(statistics: Statistics) -> str:
    return render_card(statistics)


def _with_rows(statistics: Statistics, name: str, rows: list[dict[str, Any]]) -> Statistics:
    one = Measured(statistics.measured[name].query, tuple(rows))
    return replace(statistics, measured={**statistics.measured, name: one})


def _ahead(card: str) -> dict[str, Any]:
    """What stands ahead of a card, as the Hub's own client parses it."""
    values: dict[str, Any] = DatasetCard(card).data.to_dict()  # type: ignore[no-untyped-call]
    return values


def _html(card: str) -> str:
    """As a page shows it that lets HTML through."""
    shown: str = MarkdownIt("commonmark", {"html": True}).enable("table").render(DatasetCard(card).text)
    return shown


def test_the_hub_reads_what_stands_ahead(card: str, statistics: Statistics) -> None:
    data = _ahead(card)
    assert data["pretty_name"] == "run"
    assert data["language"] == ["en", "de"]
    assert data["size_categories"] == ["n<1K"]
    for name, allowed in ALLOWED.items():
        value = data[name]
        assert {value} if isinstance(value, str) else set(value) <= allowed, name
    assert data["multilinguality"] == ["multilingual"]
    assert statistics.totals()["documents"] < 1000


def test_languages_are_codes_and_no_booleans(statistics: Statistics) -> None:
    rows = [{"language": one, "documents": 5, "words": 50} for one in ("no", "ceb", "zh-Hant", "", "on: x")]
    data = _ahead(render_card(_with_rows(statistics, "languages", rows)))
    assert data["language"] == ["no", "ceb"]


@pytest.mark.parametrize(
    "name", ['a: "b" # c\n- d', "---\nlicense: mit", "名前 \u202e\x1b[31m 🎈", "null", "*x*"]
)
def test_a_runs_name_is_only_a_name(statistics: Statistics, name: str) -> None:
    named = replace(statistics, status=replace(statistics.status, run=name))
    data = _ahead(render_card(named))
    assert data["license"] == "other"
    assert "".join(data["pretty_name"].split()) == "".join(
        "".join(c for c in name if c.isprintable()).split()
    )


@pytest.mark.parametrize(
    ("num", "category"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1_000, "1K<n<10K"),
        (10_000, "10K<n<100K"),
        (999_999, "100K<n<1M"),
        (8_013_769, "1M<n<10M"),
        (10**9, "1B<n<10B"),
        (999 * 10**9, "100B<n<1T"),
        (10**12, "n>1T"),
    ],
)
def test_sizes_have_the_hubs_names(num: int, category: str) -> None:
    assert size_category(num) == category


def test_it_has_the_sections_of_the_hubs_template_and_of_datasheets(card: str) -> None:
    template = (files("huggingface_hub") / "templates" / "datasetcard_template.md").read_text()
    wanted = [title.removesuffix(" [optional]") for title in re.findall(r"^#+ (.*)$", template, re.M)]
    found = re.findall(r"^#+ (.*)$", card, re.M)
    # Sections that say nothing here are left out; annotations there are none.
    empty = {"Annotation process", "Who are the annotators?", "Glossary", "More Information"}
    titles = [
        title for title in wanted if "{{" not in title and "metadata" not in title and "http" not in title
    ]
    assert set(titles) - empty <= set(found)
    datasheet = found[found.index("Datasheet") + 1 :]
    assert tuple(datasheet) == DATASHEET


def test_it_says_sizes_rejections_settings_and_dates(run: Folder, card: str) -> None:
    stats = measure(run).to_json()
    assert f"| tokens | {stats['totals']['tokens']:,} |" in card
    assert "| link.min\\_karma | 3 |" in card
    assert "| filter.wikipedia | no |" in card
    assert "| filter.pii.mask | none |" in card
    assert "self\\_post" in card
    first, last = (stats["statistics"]["months"]["rows"][place]["month"] for place in (0, -1))
    assert f"from {first} to {last}" in card
    assert "None was masked" in card
    assert "| pii\\_emails | 0 | 0 | 0 |" in card
    assert "webtext remove" in card
    assert card.count(TO_BE_FILLED_IN) > 20
    assert "\n\n\n" not in card
    assert "Undefined" not in card
    tables = _html(card)
    assert tables.count("<table>") >= 6
    assert f"<td>{stats['statistics']['domains']['rows'][0]['domain']}</td>" in tables


def test_what_the_filter_did_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = FilterSettings(preset="fineweb", languages=(), pii=PIISettings(mask=("email", "card")))
    monkeypatch.setitem(synthetic_run.SETTINGS, "filter", settings)
    statistics = measure(write_run(tmp_path / "run", num_links=40, upto="filter"))
    found = {
        "name": "lambada",
        "n": 13,
        "num_grams": 2_000,
        "num_found": 30,
        "num_examples": 500,
        "num_examples_hit": 4,
    }
    card = render_card(replace(statistics, status=replace(statistics.status, evaluation_sets=(found,))))
    assert "- gopher\\_duplicate\\_lines: at most 0.3 of the lines are repeated" in card
    assert "- lines, min words: 3" in card
    assert "Masked in the texts: email, card." in card
    assert "| filter.languages | all |" in card
    assert "| lambada | 13 words | 30 | 1.5 % | 4 | 0.8 % |" in card
    assert "The corpus is not finished" in card
    assert not {"size_categories", "language"} & set(_ahead(card))


def test_texts_of_strangers_stay_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "<script>alert(1)</script>|`x`"
    link = "[a](https://evil.example) ![b](https://evil.example/x.png)"
    monkeypatch.setattr(synthetic_run, "SUBREDDITS", (evil, link, "a & b\n\n# c", "\u202eltr"))
    run = write_run(tmp_path / "run")
    card = write_report(run).read("card.md").decode()
    shown = _html(card)
    assert "<script" not in shown
    assert "<img" not in shown
    assert 'href="https://evil' not in shown
    assert "\u202e" not in card
    assert "&lt;script&gt;alert(1)&lt;/script&gt;|`x`</td>" in shown
    assert cell("a|b\n<i>") == "a\\|b \\<i\\>"


@pytest.mark.parametrize("upto", ["collect", "fetch", "dedupe"])
def test_a_run_on_its_way_has_a_card(tmp_path: Path, upto: str) -> None:
    card = render_card(measure(write_run(tmp_path / "run", num_links=40, upto=upto)))
    assert _ahead(card)["license"] == "other"
    assert f"| {upto} |" in card
    assert "| shard |" not in card
    assert ("The corpus is not finished" in card) == (upto != "dedupe")


def test_a_run_that_only_just_began_says_so(tmp_path: Path) -> None:
    run = Folder(str(tmp_path / "run"))
    run.write("webtext.toml", b"# Settings digest: 0\n")
    card = render_card(measure(run))
    assert "No stage of this run is finished" in card
    assert "\n\n\n" not in card


def test_settings_of_another_version_are_no_obstacle(statistics: Statistics) -> None:
    odd = {**statistics.settings, "filter": {**statistics.settings["filter"], "unheard_of": 1}}
    card = render_card(replace(statistics, settings=odd))
    assert "Quality rules in force" not in card
    assert "No quality rule" not in card
