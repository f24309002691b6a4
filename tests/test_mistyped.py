"""What beginners type: a wrong folder, a word in a wrong place, a name misspelt. It ends with what to do."""

import sys
from pathlib import Path

import pytest

from pipeline.where_runs_are import DIGEST
from tests.synthetic_run import write_run
from webtext.cli import main

CASES = {
    "bild webtext.toml": "Did you mean 'build'?",
    "--json status runs/one": "--json stands before the command",
    "build webtext.toml --until dedup": "did you mean dedupe?",
    "build webtext.toml --force x": "The stages are collect, link,",
    "build webtext.toml dedupe": "dedupe: is no option. webtext build takes one settings file",
    "build webtext.toml runner=FlinkRunner": "Beam's own options stand behind --",
    "build webtext.toml -- --runner FnApiRunner 4": "4: is no option",
    "build runs/one": "runs/one is a folder, and a settings file is wanted",
    "build webtext.toml --set filter.min_wrds=9": "did you mean min_words?",
    "pretrain runs": "runs is a folder, and a settings file is wanted",
    "status .": "there is no run here. Did you mean runs/one?",
    "status runs": "Did you mean runs/one?",
    "verify runs/two": "Did you mean runs/one?",
    "report runs/one/shards": "Did you mean runs/one?",
    "extract-audit runs/one/notes.txt": "Did you mean runs/one?",
    "try-filters webtext.toml --set filter.min_words=9": "It is a settings file: name the folder",
    "export elsewhere/runs --format jsonl --out x": "or start the run with `webtext build`",
    "generate runs/one --prompt x": "did you mean runs/one/checkpoints/gpt2-tiny?",
    "generate runs/one/checkpoints --prompt x": "did you mean runs/one/checkpoints/gpt2-tiny?",
    "generate gpt2 --prompt x": "make a checkpoint of it first: webtext model import gpt2 --out FOLDER",
    "demo --pages 59": "greater than or equal to 60",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as people have it: settings, a run among its runs, a model from elsewhere."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "RS.ndjson").touch()
    (folder / "webtext.toml").write_text(
        '[collect]\ndumps = ["RS.ndjson"]\n[fetch]\ncontact = "a@example.org"\n'
    )
    write_run(folder / "runs" / "one", upto="link")
    (folder / "runs" / "one" / "webtext.toml").write_text(f"{DIGEST}0\n")
    (folder / "runs" / "one" / "notes.txt").touch()
    for model, config in (
        ("runs/one/checkpoints/gpt2-tiny/step-00000001", "{}"),
        ("gpt2", '{"model_type": "gpt2"}'),
    ):
        (folder / model).mkdir(parents=True)
        (folder / model / "config.json").write_text(config)
    return folder


@pytest.mark.parametrize("line", CASES)
def test_it_ends_with_status_2_and_what_to_do(
    line: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setattr(sys, "argv", ["webtext", *line.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert ended.value.code == 2, said
    assert CASES[line] in said
    assert sorted(path.name for path in home.iterdir()) == ["RS.ndjson", "gpt2", "runs", "webtext.toml"]
