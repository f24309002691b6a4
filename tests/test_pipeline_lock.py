"""Two at work in one run: the second is refused, and the first's lock goes with it, however it ends."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.errors import InputError, RunError
from pipeline.lock import is_locked, locked
from pipeline.runs import Folder
from tests.command import webtext

# Holds a run's lock, with a child that lives on; says the child's number once both are there.
HOLDER = """
import subprocess, sys, time
from pipeline.lock import locked
from pipeline.runs import Folder
with locked(Folder(sys.argv[1])):
    child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    time.sleep(60)
"""


@contextmanager
def held_by_another(run: Folder) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that holds the lock, and its child's number."""
    command = [sys.executable, "-c", HOLDER, run.uri]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    ) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            yield holder, child
        finally:
            holder.kill()
            subprocess.run(["kill", str(child)], check=False)


def test_a_killed_owner_has_no_lock_though_its_child_lives_on(run: Folder) -> None:
    with held_by_another(run) as (holder, child):
        with pytest.raises(RunError, match="another build is at work"), locked(run):
            pass
        holder.kill()
        holder.wait()
        assert Path(f"/proc/{child}").exists() or not Path("/proc").exists()
        assert is_locked(run) is False
        with locked(run):
            assert is_locked(run) is True


def test_a_second_thread_is_refused_too(run: Folder) -> None:
    refused: list[BaseException] = []

    def second() -> None:
        try:
            with locked(run):
                pass
        except RunError as error:
            refused.append(error)

    with locked(run):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(refused) == 1
    second()
    assert len(refused) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["build", "webtext.toml"],
        ["remove", "run", "--urls", "urls.txt"],
        ["remove", "run", "--resume"],
        ["retry", "run", "--reason", "dns"],
    ],
    ids=lambda arguments: " ".join(arguments[:1] + arguments[-1:]),
)
def test_every_command_that_changes_a_run_is_refused(
    small_built: Path, tmp_path: Path, arguments: list[str]
) -> None:
    shutil.copytree(small_built, tmp_path / "copy")
    run = tmp_path / "copy" / "run"
    # Pages from the web, so that retry has something to say of them.
    settings = run / "webtext.toml"
    settings.write_text(settings.read_text("utf-8").replace('source = "warc"', 'source = "web"'), "utf-8")
    (tmp_path / "copy" / "urls.txt").write_text("https://site1.example/\n")
    with held_by_another(Folder(str(run))):
        answer = webtext(*arguments, cwd=tmp_path / "copy")
    assert answer.returncode == 1, answer.stderr
    assert "another build is at work in" in answer.stderr
    assert "wait for it" in answer.stderr


def test_a_place_that_takes_no_lock_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match=r"file.*name another"),
        locked(Folder(str(tmp_path / "file" / "run"))),
    ):
        pass


@pytest.mark.parametrize(
    ("number", "kind", "said"),
    [
        (errno.ENOSPC, RunError, "Make room, and run the same command again"),
        (errno.EMFILE, RunError, "ulimit -n"),
        (errno.EIO, RunError, "See to its disk"),
        (errno.EACCES, InputError, "may be written, or name another in run.dir or with --run"),
        (errno.EROFS, InputError, "may be written, or name another in run.dir or with --run"),
    ],
)
def test_what_the_machine_lacks_is_no_fault_of_the_place(
    run: Folder, number: int, kind: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(kind, match=said) as caught, locked(run):
        pass
    assert os.strerror(number) in str(caught.value)
