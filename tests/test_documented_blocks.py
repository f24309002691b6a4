"""The queries, settings and file names that the documents print are right, and each how-to has one form."""

import re
from pathlib import Path

import duckdb
import pytest

from tests.documented import ROOT, documents
from tests.synthetic_run import write_run
from webtext.settings import load

DOCS = ROOT / "docs"
STAGES = ("collect", "link", "fetch", "extract", "filter", "dedupe", "tokenizer", "shard")
LAST_IN_A_HOW_TO = [
    "Look at what came out",
    "Common wishes",
    "When it goes wrong",
    "What it costs",
]


def blocks(language: str) -> list[tuple[str, str]]:
    """Each block of code in a language, with the place where it begins."""
    found = []
    for document in documents():
        text = document.read_text("utf-8")
        for block in re.finditer(rf"(?ms)^```{language}\n(.*?)^```", text):
            line = text.count("\n", 0, block.start()) + 1
            found.append((f"{document.relative_to(ROOT)}:{line}", block[1]))
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run where the documents have theirs."""
    folder = tmp_path_factory.mktemp("home")
    write_run(folder / "runs" / "webtext")
    return folder


QUERIES = blocks("sql")


@pytest.mark.parametrize("query", [query for _, query in QUERIES], ids=[place for place, _ in QUERIES])
def test_a_query_answers_something(query: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    assert duckdb.connect().execute(query).fetchall()


SETTINGS = blocks("toml")


@pytest.mark.parametrize("text", [text for _, text in SETTINGS], ids=[place for place, _ in SETTINGS])
def test_settings_load(text: str, tmp_path: Path) -> None:
    path = tmp_path / "webtext.toml"
    path.write_text(text)
    load(path)


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_has_a_how_to_in_the_same_form(stage: str) -> None:
    text = (DOCS / f"{stage}.md").read_text("utf-8")
    headings = re.findall(r"(?m)^## (.+)$", text)
    assert headings[:2] == ["The shortest settings", "Run it"]
    assert headings[-4:] == LAST_IN_A_HOW_TO
    assert re.match(r"# .+\n\n`" + stage + "` ", text), "a sentence on what it does stands first"
    assert f"[settings.md](settings.md#{stage})" in text


def test_the_index_leads_to_every_document() -> None:
    index = (DOCS / "README.md").read_text("utf-8")
    for document in DOCS.rglob("*.md"):
        name = document.relative_to(DOCS).as_posix()
        assert name == "README.md" or f"]({name})" in index, f"docs/README.md does not name {name}"
    assert "](docs/README.md)" in (ROOT / "README.md").read_text("utf-8")


def test_anchors_are_headings() -> None:
    for document in documents():
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text("utf-8")):
            there = document.parent / target if target else document
            headings = re.findall(r"(?m)^#+ (.+)$", there.read_text("utf-8"))
            slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{document} leads to {target}#{anchor}"


PACKAGES = ("webtext", "pipeline", "tokenizer", "model", "dags", "deploy", "tests", "benchmarks")


def test_modules_that_the_architecture_names_are_there() -> None:
    """Between backticks a module stands by its name, or by its path from its folder or from the top."""
    text = re.sub(r"(?ms)^```.*?^```", "", (ROOT / "ARCHITECTURE.md").read_text("utf-8"))
    paths = [
        f"/{path.relative_to(ROOT).as_posix()}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
    ]
    named = re.findall(r"`([\w/]+\.py|\w[\w/]*/)(?:: [\w.]+)?`", text)
    assert len(named) > 100
    written = ("pages/", "evaluation/")  # folders of a run
    for name in named:
        if not name.startswith(written):
            assert any(path.endswith(f"/{name.rstrip('/')}") for path in paths), name


def test_packages_have_what_the_architecture_says_of_them() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    (block,) = re.findall(r"## Packages, .*?\n```\n(.*?)```", text, re.S)
    for package in ("pipeline", "tokenizer", "model"):
        (listed,) = re.findall(rf"(?ms)^{package}/ +(.*?)→", block)
        names = re.findall(r"[\w*]+", listed)
        assert len(names) > 5
        for name in names:
            assert (ROOT / package / name).is_dir() or list((ROOT / package).glob(f"{name}.py")), name
