"""``--json`` of the commands: JSON alone on standard output, with the facts that people are told."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.command import webtext
from tests.synthetic_run import write_run
from tests.test_cli import commands
from webtext.cli import app

# Commands without --json, and why.
WITHOUT = {
    "demo": "a show for people",
    "init": "it writes a file and nothing else",
    "inspect": "elsewhere than on a terminal it prints its address alone",
    "tokenizer encode": "its line of ids is for programs as it is",
}


def test_every_other_command_has_it() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    for name in commands():
        command: Any = group
        for piece in name:
            command = command.commands[piece]
        options = {option for parameter in command.params for option in parameter.opts}
        assert ("--json" in options) == (" ".join(name) not in WITHOUT), name


def answer(folder: Path, *arguments: str, status: int = 0) -> Any:
    """What a command says in JSON."""
    found = webtext(*arguments, "--json", cwd=folder)
    assert found.returncode == status, found.stderr
    return json.loads(found.stdout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run."""
    path = tmp_path_factory.mktemp("json")
    write_run(path / "run")
    return path


def test_verify(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", upto="link")
    assert answer(tmp_path, "verify", "run") == {"run": "run", "problems": []}
    Path(run.path("links/part-00001.parquet")).unlink()
    (problem,) = answer(tmp_path, "verify", "run", status=1)["problems"]
    assert problem["where"].endswith("links/part-00001.parquet")
    assert problem["what"] == "is missing"
    told = webtext("verify", "run", cwd=tmp_path)
    assert all(part in told.stdout for part in problem.values())


def test_report(folder: Path) -> None:
    before = sorted(path for path in folder.rglob("*"))
    value = answer(folder, "report", "run")
    assert sorted(path for path in folder.rglob("*")) == before
    assert webtext("report", "run", cwd=folder).returncode == 0
    assert json.loads((folder / "run" / "report" / "stats.json").read_text("utf-8")) == value


def test_export(folder: Path) -> None:
    value = answer(folder, "export", "run", "--format", "jsonl", "--out", "x")
    assert (value["out"], value["is_new"], value["form"]) == ("x", True, "jsonl")
    manifest = json.loads((folder / "x" / "manifest.json").read_text("utf-8"))
    assert {name: value[name] for name in manifest} == manifest
    assert answer(folder, "export", "run", "--format", "jsonl", "--out", "x")["is_new"] is False


def test_build_says_its_progress_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("https://example.org/a\n\nhttps://www.example.org/a/\nnot a url\n")
    (tmp_path / "webtext.toml").write_text('[run]\ndir = "run"\n[collect]\nlists = ["urls.txt"]\n')
    built = webtext("build", "webtext.toml", "--until", "link", "--json", cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    value = json.loads(built.stdout)
    assert re.search(r"✓ collect +2 of 4 kept", built.stderr)
    assert value["stages"]["link"]["rejected"] == {"same_link": 1}
    assert answer(tmp_path, "status", str(tmp_path / "run")) == value
    dry = answer(tmp_path, "build", "webtext.toml", "--dry-run")
    assert (dry["source"], dry["schedule"]["links"], dry["schedule"]["domains"]) == ("web", 1, 1)


def test_a_dry_run_of_files(tmp_path: Path) -> None:
    (tmp_path / "webtext.toml").write_text('[fetch]\nsource = "warc"\nwarcs = ["*.warc.gz"]\n')
    assert answer(tmp_path, "build", "webtext.toml", "--dry-run") == {"source": "warc", "schedule": None}


def test_tokenizers(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat sat on the mat\n\n" * 200)
    value = answer(tmp_path, "tokenizer", "train", "text.txt", "--vocab-size", "270", "--out", "t")
    assert value == {"out": "t", "vocab_size": 270}
    files = ("--vocab", "t/vocab.json", "--merges", "t/merges.txt")
    assert answer(tmp_path, "tokenizer", "import", *files, "--out", "i") == {"out": "i", "vocab_size": 270}


def test_errors_stay_where_they_are(tmp_path: Path) -> None:
    for command in (["status"], ["report"], ["verify"], ["tokenizer", "show"], ["extract-audit"]):
        found = webtext(*command, "nowhere", "--json", cwd=tmp_path)
        assert (found.returncode, found.stdout) == (2, "")
        assert "there is no run here" in found.stderr
