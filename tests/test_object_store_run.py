"""Whole runs on an object store, over real HTTP: the same bytes as on a local disk, whatever is killed."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.runs import Folder
from pipeline.verify import verify
from tests import s3_server
from tests.command import webtext
from tests.removal_run import NEAR
from tests.s3_server import Server
from webtext.build import build
from webtext.cli import app
from webtext.settings import load


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with s3_server.serving(tmp_path_factory.mktemp("s3") / "log") as one:
        one.make_bucket("bucket")
        yield one


@pytest.fixture(scope="module")
def built(small_built: Path, server: Server) -> str:
    """The URI of the same run, built on the store."""
    uri = server.uri("bucket/built")
    build_on(small_built, uri)
    return uri


def build_on(folder: Path, uri: str) -> None:
    build(
        load(folder / "webtext.toml"),
        Folder(uri),
        watch=lambda *_: contextlib.nullcontext(),
        on_stage=lambda _: None,
    )


def content(files: dict[str, bytes]) -> dict[str, bytes]:
    """What depends on the input alone: no sidecars, which tell times, no settings, no traces."""
    return {
        name: data
        for name, data in files.items()
        if name not in {".lock", "webtext.toml"}
        and not name.endswith("-error.txt")
        and (name.endswith("manifest.json") or not re.fullmatch(r".*/[a-z]+(-\d{5})?\.json", name))
    }


def files_in(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_the_same_bytes_as_on_a_local_disk(small_built: Path, server: Server, built: str) -> None:
    there = content(server.files("bucket/built"))
    assert there == content(files_in(small_built / "run"))
    assert not any(name.endswith(".tmp") for name in there)
    assert verify(Folder(built)) == []


def test_no_key_is_in_it(server: Server, built: str) -> None:
    assert built
    for name, data in server.files("bucket/built").items():
        assert s3_server.ENVIRONMENT["AWS_SECRET_ACCESS_KEY"].encode() not in data, name
        assert s3_server.ENVIRONMENT["AWS_ACCESS_KEY_ID"].encode() not in data, name


def test_built_again_it_writes_its_settings_alone(small_built: Path, server: Server, built: str) -> None:
    before = len(server.requests())
    build_on(small_built, built)
    asked = server.requests()[before:]
    changed = {one for one in asked if one.startswith(("PUT", "POST", "DELETE"))}
    assert all("/bucket/built/webtext.toml" in one for one in changed), changed


def test_killed_anywhere_it_goes_on(small_built: Path, server: Server) -> None:
    """Kill -9 at moments by a seed, until a build ends by itself."""
    draw = random.Random(12)
    uri, kills = server.uri("bucket/killed"), 0
    command = [sys.executable, "-m", "webtext", "build", "webtext.toml", "--run", uri]
    for limit_s in (4.0, 6.0, None):
        process = subprocess.Popen(
            command,
            cwd=small_built,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stderr is not None
        with process.stderr:
            while process.poll() is None and not server.files("bucket/killed/submissions"):
                time.sleep(0.05)
            wait_s = None if limit_s is None else draw.random() * (limit_s - 3)
            try:
                process.wait(wait_s)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
    assert process.returncode == 0
    assert kills
    assert content(server.files("bucket/killed")) == content(files_in(small_built / "run"))
    assert verify(Folder(uri)) == []


def command_here(*arguments: str) -> str:
    """What a command prints; a process of its own would take longer to start than the work takes."""
    answer = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def test_commands_look_at_it(server: Server, built: str, small_built: Path, tmp_path: Path) -> None:
    stages = json.loads(command_here("status", built, "--json"))["stages"]
    of_local = json.loads(command_here("status", str(small_built / "run"), "--json"))["stages"]
    assert {name: one["kept"] for name, one in stages.items()} == {
        name: one["kept"] for name, one in of_local.items()
    }
    for command in (
        ["verify", built],
        ["report", built],
        ["tokenizer", "show", built],
        ["tokenizer", "train", built, "--vocab-size", "300", "--out", str(tmp_path / "tokenizer")],
        ["export", built, "--format", "jsonl", "--out", server.uri("bucket/exported")],
    ):
        # What is in a folder is named without its options.
        assert "scheme=http/" not in command_here(*command)
    written = server.files("bucket/built")
    assert {"report/index.html", "report/card.md", "report/tokenizer.html"} <= written.keys()
    assert "manifest.json" in server.files("bucket/exported")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("s3")]


def test_documents_are_removed_from_it(small_built: Path, server: Server, tmp_path: Path) -> None:
    """The same as from a local run, and killed in the middle too."""
    uri = server.uri("bucket/removal")
    store = server.store()
    for name, data in server.files("bucket/built").items():
        with store.open_output_stream(f"bucket/removal/{name}", compression=None) as stream:
            stream.write(data)
    (tmp_path / "urls.txt").write_text(NEAR)
    answer = webtext("remove", uri, "--urls", str(tmp_path / "urls.txt"), "--json")
    assert answer.returncode == 0, answer.stderr
    assert len(json.loads(answer.stdout)["links"]) == 2
    assert verify(Folder(uri)) == []
    left = server.files("bucket/removal")
    assert not [name for name in left if "staging" in name or name.endswith("pending.json")]
    before = len(server.requests())
    build_on(small_built, uri)  # there is nothing to do
    changed = [one for one in server.requests()[before:] if one.startswith(("PUT", "POST", "DELETE"))]
    assert all("webtext.toml" in one for one in changed), changed


def test_two_builders_do_no_harm(small_built: Path, server: Server) -> None:
    """Nothing keeps them apart: one may end because of the other, and the run is right all the same."""
    uri = server.uri("bucket/both")
    command = [sys.executable, "-m", "webtext", "build", "webtext.toml", "--run", uri, "--until", "dedupe"]
    builders = [
        subprocess.Popen(
            command, cwd=small_built, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for said in [one.communicate()[1] for one in builders]:
        assert not said or said.startswith("error: "), said
    assert {one.returncode for one in builders} <= {0, 1}
    build_on(small_built, uri)
    assert content(server.files("bucket/both")) == content(files_in(small_built / "run"))
    assert verify(Folder(uri)) == []
