"""A removal that is stopped anywhere ends, once it is gone on with, in the same bytes."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InputError, RunError
from pipeline.records import Reason
from pipeline.remove import staged
from pipeline.remove.request import Kind
from pipeline.remove.staged import begin, pending, staging
from pipeline.remove.tombstones import PENDING, REMOVED
from pipeline.runs import Folder
from pipeline.seal import seal
from pipeline.verify import verify
from tests.command import webtext
from tests.removal_run import NEAR, copy_run, remove_in
from tests.resealed import resealed
from webtext.build import build, resume_removal, retry
from webtext.settings import load


def files_of(run: Folder) -> dict[str, bytes]:
    root = Path(run.path())
    files = [path for path in root.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in files
        if path.name not in (".lock", "webtext.toml")
    }


class StoppedError(Exception):
    """In the place of a kill."""


@contextlib.contextmanager
def stopping_at(number: int) -> Iterator[list[str]]:
    """Lets so many changes of files happen, and then none."""
    done: list[str] = []

    def counted(change: Callable[..., Any], name: str) -> Callable[..., Any]:
        def instead(*arguments: Any, **options: Any) -> Any:
            if len(done) == number:
                raise StoppedError
            done.append(name)
            return change(*arguments, **options)

        return instead

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Folder, "writing", counted(Folder.writing, "write"))
        patch.setattr(Folder, "remove", counted(Folder.remove, "remove"))
        patch.setattr(staged, "_move", counted(staged._move, "move"))
        yield done


@pytest.fixture(scope="module")
def undisturbed(
    small_built: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, bytes], list[str]]:
    """The files of the run after a removal that nothing stopped, and the changes that it made."""
    run = copy_run(small_built, tmp_path_factory.mktemp("undisturbed") / "copy")
    with stopping_at(-1) as changes:
        remove_in(run, Kind.URLS, NEAR)
    assert verify(run) == []
    return files_of(run), changes


def test_stopped_at_any_change_it_ends_in_the_same_bytes(
    small_built: Path, undisturbed: tuple[dict[str, bytes], list[str]], tmp_path: Path
) -> None:
    expected, changes = undisturbed
    first_move = changes.index("move")
    moments = {
        *range(0, first_move, 31),
        *range(first_move - 2, first_move + 3),
        *range(first_move, len(changes), 19),
        *range(len(changes) - 7, len(changes)),
    }
    was_pending = set()
    for moment in sorted(moments):
        run = copy_run(small_built, tmp_path / str(moment))
        before = files_of(run)
        with stopping_at(moment), pytest.raises(StoppedError):
            remove_in(run, Kind.URLS, NEAR)
        was_pending.add(pending(run) is not None)
        if pending(run) is None:
            assert files_of(run) in (before, expected)
            remove_in(run, Kind.URLS, NEAR)
        else:
            refuses_to_build(run)
            resume_removal(run) if moment % 2 else remove_in(run, Kind.URLS, NEAR)
        assert pending(run) is None
        assert files_of(run) == expected, moment
        shutil.rmtree(tmp_path / str(moment))
    assert was_pending == {False, True}


def refuses_to_build(run: Folder) -> None:
    settings = load(Path(run.path()).parent / "webtext.toml")
    before = files_of(run)
    with pytest.raises(InputError, match="--resume"):
        build(settings, run, watch=quietly, on_stage=lambda _: None)
    assert files_of(run) == before
    assert any("a removal was begun" in str(problem) for problem in verify(run))


def quietly(*_: object) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


def test_nothing_else_begins_in_between(
    small_built: Path, undisturbed: tuple[dict[str, bytes], list[str]], tmp_path: Path
) -> None:
    _, changes = undisturbed
    run = copy_run(small_built, tmp_path / "copy")
    with stopping_at(changes.index("move") + 1), pytest.raises(StoppedError):
        remove_in(run, Kind.URLS, NEAR)
    with pytest.raises(InputError, match="--resume"):
        remove_in(run, Kind.URLS, NEAR, dry_run=True)
    toml = Path(run.path()) / "webtext.toml"
    toml.write_text(toml.read_text().replace('source = "warc"', 'source = "web"'))
    with pytest.raises(InputError, match="--resume"):
        retry(run, {Reason.DNS}, watch=quietly)


@pytest.mark.parametrize("end", ["parquet", "json"])
def test_what_was_removed_must_be_known(small_built: Path, tmp_path: Path, end: str) -> None:
    """Else a build would take it in again."""
    run = copy_run(small_built, tmp_path / "copy")
    remove_in(run, Kind.URLS, NEAR)
    path = Path(run.path(f"removed/removal-00001.{end}"))
    path.write_bytes(path.read_bytes()[:-20])
    (problem,) = verify(run)
    assert str(path) in str(problem)
    assert "put it back" in str(problem)
    with pytest.raises(RunError, match="put it back from a copy"):
        build(load(tmp_path / "copy" / "webtext.toml"), run, watch=quietly, on_stage=lambda _: None)


def test_what_was_begun_is_carried_out_as_it_was_meant_or_not_at_all(run: Folder) -> None:
    """A name with another bit in it leads to no new file, and all new files go in the end."""
    new = staging(run)
    (new / "links").write("part-00000.parquet", b"new")
    intent = begin(new, {"report": ["index.html"]}, {"links": []})
    assert pending(run) == intent
    data = (run / REMOVED).read(PENDING)
    assert seal(intent) == data
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 1
        (run / REMOVED).write(PENDING, bytes(flipped))
        with pytest.raises(RunError, match=r"cannot be read .*: put it back from a copy"):
            pending(run)
    for key in intent:
        (run / REMOVED).write(PENDING, resealed(data, methodcaller("pop", key)))
        with pytest.raises(RunError, match=f"it has no {key}"):
            pending(run)


def test_there_is_nothing_to_go_on_with(small_built: Path, tmp_path: Path) -> None:
    run = copy_run(small_built, tmp_path / "copy")
    with pytest.raises(InputError, match="no removal"):
        resume_removal(run)


@pytest.mark.parametrize("seed", range(2))
def test_killed_it_goes_on_by_the_same_command(
    small_built: Path, undisturbed: tuple[dict[str, bytes], list[str]], tmp_path: Path, seed: int
) -> None:
    """A kill -9 at a moment by the seed."""
    expected, _ = undisturbed
    run = copy_run(small_built, tmp_path / "killed")
    (tmp_path / "killed" / "urls.txt").write_text(NEAR)
    command = [sys.executable, "-m", "webtext", "remove", "run", "--urls", "urls.txt"]
    process = subprocess.Popen(
        command, cwd=tmp_path / "killed", stdout=subprocess.DEVNULL, start_new_session=True
    )
    staging = Path(run.path("removed"))
    while process.poll() is None and not staging.exists():
        time.sleep(0.001)
    time.sleep(random.Random(seed).random() * 0.3)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    answer = webtext("remove", "run", "--urls", "urls.txt", cwd=tmp_path / "killed")
    assert answer.returncode == 0, answer.stderr
    assert files_of(run) == expected


def test_a_build_at_work_keeps_it_out(small_built: Path, tmp_path: Path) -> None:
    import fcntl

    run = copy_run(small_built, tmp_path / "copy")
    (tmp_path / "copy" / "urls.txt").write_text(NEAR)
    with (tmp_path / "copy" / "run" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = webtext("remove", "run", "--urls", "urls.txt", cwd=tmp_path / "copy")
    assert answer.returncode == 1
    assert "at work" in answer.stderr
    assert files_of(run) == files_of(Folder(str(small_built / "run")))
