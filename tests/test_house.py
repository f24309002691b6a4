"""What the papers beside the code promise: README, locks and version say what is so."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import typer

from pipeline.stages import VERSION
from webtext.cli import app
from webtext.settings import Settings, load

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_every_webtext_command_in_the_readme_exists() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    named = set(re.findall(r"\.venv/bin/webtext ([\w-]+)", README))
    assert named >= {"init", "build", "status", "report", "verify", "pretrain", "generate"}
    assert named <= group.commands.keys()


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8")))
    for document in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / document).read_text("utf-8")
        assert set(re.findall(r"(?m)(?:^|`)make ([a-z-]+)", text)) <= targets, document


def test_the_settings_in_the_readme_load(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.S)
    path = tmp_path / "webtext.toml"
    path.write_text(block)
    settings = load(path)
    assert settings.fetch.contact == "you@example.org"
    assert settings.filter.languages == ("en",)
    assert settings.link == Settings().link


def test_files_that_the_documents_lead_to_are_there() -> None:
    documents = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")]
    documents += (ROOT / "docs").rglob("*.md")
    assert len(documents) > 15
    of_ours = re.compile(r"`((?:pipeline|tokenizer|model|webtext|tests|benchmarks)/[\w/]+\.[a-z]+)")
    for document in documents:
        text = document.read_text("utf-8")
        for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", text):
            assert (document.parent / target).exists(), f"{document} leads to {target}"
        for path in of_ours.findall(text):
            assert (ROOT / path).exists(), f"{document} names {path}"


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_locks_pin_by_hash_and_name_no_address(name: str) -> None:
    lock = (ROOT / name).read_text("utf-8")
    assert "://" not in lock
    assert "--index" not in lock
    requirements = re.split(r"(?m)^(?=[a-z])", lock)[1:]
    assert len(requirements) > 100
    for requirement in requirements:
        assert re.match(r"[a-z0-9_.-]+==\S+", requirement), requirement
        assert "--hash=sha256:" in requirement, requirement


def test_locks_pin_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"]
    locked = [
        asked for name, asked in extras.items() if name not in ("lm-eval", "wandb")
    ]  # pyproject.toml says why
    asked = [*project["project"]["dependencies"], *chain.from_iterable(locked)]
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    pinned = {one.replace("_", "-").replace(".", "-") for one in re.findall(r"(?m)^([a-z0-9_.-]+)==", lock)}
    assert {re.split(r"[><=;]", one)[0].replace(".", "-") for one in asked} <= pinned


def test_there_is_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["version"] == VERSION
    assert f"## {VERSION}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
