"""Every command that the documents print is run as it is printed; every command there is they tell of."""

import argparse
import contextlib
import io
import itertools
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer
from rich.text import Text

from tests.documented import ROOT, Command, commands_in, documents, printed
from tests.documented_world import world
from tests.test_cli import commands
from webtext.cli import app, main

GROUP: Any = typer.main.get_command(app)
USAGE_ERROR: Any = typer.BadParameter.__base__

# What stands in a sentence for something of the reader's own, and what is put there.
STANDS_FOR = {
    "RUN": "runs/webtext",
    "FILE": "webtext.toml",
    "CHECKPOINT": "runs/webtext/checkpoints/gpt2-124M",
    "STAGE": "dedupe",
}

# Commands whose words stand for other things, or want more than a small run has, as they are run.
INSTEAD = {
    "webtext remove RUN --documents FILE": "webtext remove runs/webtext --documents documents.txt",
    "webtext export RUN --format FORMAT --out DIR": "webtext export runs/webtext --format jsonl --out made",
    "webtext evaluate CHECKPOINT --tasks '…' --contamination RUN": (
        "webtext evaluate gpt2 --tasks lambada --contamination runs/webtext"
        " --data lambada=lambada_test.jsonl --out made"
    ),
    "webtext finetune CHECKPOINT --task TASK --train FILE --dev FILE --out DIR": (
        "webtext finetune checkpoints/gpt2 --task classify"
        " --train SST-2/train.tsv --dev SST-2/dev.tsv --out made"
    ),
    "webtext model export CHECKPOINT --out FOLDER": "webtext model export checkpoints/gpt2 --out made",
    "webtext model import FOLDER --out CHECKPOINTS": "webtext model import gpt2 --out made",
    "webtext tokenizer train runs/2019 runs/2020 --vocab-size 32000 --out tokenizer": (
        "webtext tokenizer train runs/2019 runs/2020 --vocab-size 320 --out tokenizer"
    ),
}

# Commands that are not run here, by how they begin: why, and what runs them or their like. That they and
# their options are there is looked at all the same.
ELSEWHERE = {
    "make demo": ("it installs first", "tests/test_demo_run.py"),
    "make test-engines": ("it is minutes of tests", "tests/engines/test_flink.py"),
    "make": ("it installs, tests, measures or lays out", "Makefile"),
    "python -m benchmarks.": ("they measure, for minutes to hours", "benchmarks/RESULTS.md"),
    "python -m deploy.flink.local": ("it is a cluster", "tests/engines/test_flink.py"),
    "python -m model.evaluate.harness": ("its tasks come from a hub", "tests/test_evaluate_harness.py"),
    "python -m tests.drill": ("it is minutes of kills", "tests/test_drill.py"),
    "python -m tests.fuzz": ("it is minutes of cases", "tests/test_fuzz.py"),
    "torchrun --standalone --nproc-per-node 8": ("eight GPUs", "tests/test_model_processes.py"),
    "webtext demo": ("it is the whole way", "tests/test_demo_run.py"),
    "webtext inspect ": ("it serves until it is ended", "tests/test_inspector_command.py"),
    "webtext remove RUN --resume": ("it goes on from a kill", "tests/test_pipeline_remove_kills.py"),
    "webtext retry RUN --reason dns,dead-host,http-4xx --source wayback": (
        "the Internet Archive", "tests/test_pipeline_fetch_archives.py",
    ),
    "webtext build webtext.toml --run s3://": ("a store", "tests/test_object_store_run.py"),
    "webtext status s3://": ("a store", "tests/test_object_store_run.py"),
    "webtext build webtext.toml --run 'gs://": ("Google's account", "tests/engines/test_dataflow.py"),
    "webtext status 'gs://": ("Google's account", "tests/engines/test_dataflow.py"),
    "deploy/dataflow/build.sh": ("Google's account", "tests/engines/test_dataflow.py"),
    "webtext build webtext.toml -- --runner=FlinkRunner": ("a cluster", "tests/engines/test_flink.py"),
    "webtext build webtext.toml -- --runner=PortableRunner": ("a cluster", "tests/engines/test_flink.py"),
    "webtext build webtext.toml -- --runner=PrismRunner": ("a Go program", "tests/engines/test_prism.py"),
    "webtext build /srv/webtext/webtext.toml": ("Airflow", "tests/engines/test_airflow.py"),
    "webtext build webtext.toml --run runs/2020-01": ("the tutorial's", "tests/test_tutorial.py"),
    "webtext evaluate runs/webtext/checkpoints/gpt2-tiny": ("the tutorial's", "tests/test_tutorial.py"),
    "webtext generate runs/webtext/checkpoints/gpt2-tiny": ("the tutorial's", "tests/test_tutorial.py"),
    "webtext model export runs/webtext/checkpoints/gpt2-tiny": ("the tutorial's", "tests/test_tutorial.py"),
}  # fmt: skip

COMMANDS = [command for document in documents() for command in printed(document)]


def elsewhere(command: Command) -> str | None:
    """The entry of a command that is not run here."""
    return max((start for start in ELSEWHERE if command.text.startswith(start)), key=len, default=None)


def as_run(command: Command) -> list[str]:
    """The words of a command, with what stands for something else replaced."""
    if command.text not in INSTEAD:
        return [STANDS_FOR.get(word, word) for word in command.words]
    ((_, words),) = commands_in(INSTEAD[command.text])
    return list(words)


def parse(words: list[str]) -> None:
    """Has a command of ours read its words, and do nothing.

    Raises:
        USAGE_ERROR: There is no such command or option, or something is missing.
    """
    command: Any = GROUP
    while hasattr(command, "commands"):
        if not words or words[0] not in command.commands:
            raise USAGE_ERROR(f"no such command: webtext {' '.join(words)}")
        command, words = command.commands[words[0]], words[1:]
    # What --help and --list print while they are read is not asked for.
    with contextlib.suppress(typer.Exit), contextlib.redirect_stdout(io.StringIO()):
        command.make_context("webtext", words)


def is_name(command: Command) -> bool:
    """Whether a command in a sentence is no whole one but a name, maybe with options, which there must be."""
    if not command.is_inline:
        return False
    if command.words[1:] in {("tokenizer",), ("model",)}:
        return True
    try:
        parse(list(command.words[1:]))
    except typer.BadParameter as error:
        return type(error).__name__ == "MissingParameter"
    except USAGE_ERROR:
        pass
    return False


RUN_HERE: dict[str, Command] = {}
NOT_HERE: dict[str, Command] = {}
for one in COMMANDS:
    if elsewhere(one) is not None:
        NOT_HERE.setdefault(one.text, one)
    elif not is_name(one):
        RUN_HERE.setdefault(shlex.join(as_run(one)), one)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with everything that the commands name."""
    with world(tmp_path_factory.mktemp("documented") / "home") as folder:
        yield folder


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to work in."""
    shutil.copytree(made, tmp_path / "home", symlinks=True)
    monkeypatch.chdir(tmp_path / "home")
    monkeypatch.setattr("webtext.planning._CALIBRATION_S", 0.1)
    return tmp_path / "home"


def remove_outputs(words: list[str], home: Path) -> None:
    """Takes away what a command is to write: people run it before that is there."""
    outputs = [after for word, after in itertools.pairwise(words) if word in {"--out", "init"}]
    for path in (home / output for output in outputs):
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("command", RUN_HERE.values(), ids=lambda command: command.place)
def test_it_runs_as_it_is_printed(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = as_run(command)
    remove_outputs(words, home)
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, (
        f"{command.place} prints a command that fails:\n  {command.text}\n{capsys.readouterr().err}\n"
        "Mend it; or put what it names into tests/documented_world.py; or, where its words stand for others, "
        "put it into INSTEAD; or, where no test can run it, into ELSEWHERE with the reason."
    )


class _ParsedError(Exception):
    """A command has read its words, and is to go no further."""


def parse_module(module: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Has a module that is run with ``python -m`` read its words, and do nothing."""
    read = argparse.ArgumentParser.parse_args

    def read_only(parser: argparse.ArgumentParser, *arguments: Any) -> NoReturn:
        read(parser, *arguments)
        raise _ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", read_only)
    monkeypatch.setattr(sys, "argv", [module, *words])
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(_ParsedError):
        runpy.run_module(module, run_name="__main__")


@pytest.mark.parametrize("command", NOT_HERE.values(), ids=lambda command: command.place)
def test_what_is_not_run_is_there_with_its_options(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *words = command.words
    if program == "make":
        asked = subprocess.run(
            ["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert asked.returncode == 0, asked.stderr
    elif program == "python":
        module, *options = words[1:]
        if module == "model.evaluate.harness":
            assert find_spec(module)  # its options are lm_eval's own, of which the test named above has some
            return
        try:
            parse_module(module, options, monkeypatch)
        except SystemExit as ended:
            if not ended.code:  # of --help
                return
            told = capsys.readouterr().err
            assert command.is_inline, told
            assert "are required" in told, told
    elif program == "torchrun":
        parse(words[words.index("webtext") + 1 :])
    elif program == "webtext":
        if not is_name(command):
            parse(as_run(command)[1:])
    else:
        assert (ROOT / program).is_file()


def test_every_entry_is_of_a_command_that_is_printed() -> None:
    texts = {command.text for command in COMMANDS}
    assert INSTEAD.keys() <= texts
    assert ELSEWHERE.keys() == {elsewhere(command) for command in COMMANDS} - {None}
    for why, where in ELSEWHERE.values():
        assert why
        assert (ROOT / where).is_file(), where


def test_no_command_of_ours_is_overlooked() -> None:
    ours = re.compile(r"(?m)^(?:\.venv/bin/)?(?:webtext|make|torchrun|python3? -m (?!venv\b|pip\b)[\w.]+) \S")
    for document in documents():
        found = {command.line for command in printed(document)}
        text = document.read_text("utf-8")
        for block in re.finditer(r"(?ms)^```(?:sh|bash)?\n(.*?)^```", text):
            first = text.count("\n", 0, block.start(1)) + 1
            lines = {first + block[1].count("\n", 0, line.start()) for line in ours.finditer(block[1])}
            assert lines <= found, document.name


COMMAND_NAMES = [" ".join(name) for name in commands()]


@pytest.mark.parametrize("name", COMMAND_NAMES)
def test_every_command_has_its_place_in_the_documents(name: str) -> None:
    places = [command for command in COMMANDS if f"{command.text} ".startswith(f"webtext {name} ")]
    for_people = [one for one in places if one.document == "README.md" or one.document.startswith("docs/")]
    assert for_people, f"webtext {name} is in no document: tell of it in README.md or in docs/"


@pytest.mark.parametrize("name", COMMAND_NAMES)
def test_every_option_is_explained(name: str) -> None:
    command: Any = GROUP
    for piece in name.split():
        command = command.commands[piece]
    assert_shown_whole(command.help)
    for parameter in command.params:
        assert parameter.help, f"webtext {name} {parameter.opts}: no help"
        assert_shown_whole(parameter.help)


def assert_shown_whole(text: str) -> None:
    """Help is shown as rich's markup, in which a name in square brackets is a style."""
    assert Text.from_markup(text).plain == text


def test_every_program_for_people_has_its_place_in_the_documents() -> None:
    papers = "\n".join(path.read_text("utf-8") for path in documents())
    programs = ["model.evaluate.harness", "deploy.flink.local"]
    programs += [
        f"benchmarks.{path.stem}"
        for path in sorted((ROOT / "benchmarks").glob("*.py"))
        if '__name__ == "__main__"' in path.read_text("utf-8")
    ]
    for program in programs:
        assert re.search(rf"\b{re.escape(program)}\b", papers), f"{program} is in no document"
