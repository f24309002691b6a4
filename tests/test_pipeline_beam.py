"""What a stage's pipeline may rely on, whichever workers the local runner has."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pytest

from pipeline.beam import DoParts, _deaths_noticed, run
from pipeline.config import LinkSettings
from pipeline.errors import RunError
from pipeline.runs import Folder
from pipeline.stages import BY_NAME, Job, Plan, Planned

NUM, A_PART = 200_000, 1_000


class Change(NamedTuple):
    """As extract sends one for each document that another's page is."""

    id: str
    survivor: str


class Settle(beam.PTransform):  # type: ignore[misc]
    """One element becomes very many, gathered by part."""

    def __init__(self, folder: Folder) -> None:
        super().__init__()
        self._folder = folder

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """As many changes as take seconds to send, and what becomes of them."""
        changes = pbegin | "One" >> beam.Create([NUM], reshuffle=False) | beam.FlatMap(changes_of)
        parts = [(index, index) for index in range(NUM // A_PART)]
        gathered = {"parts": pbegin | "Parts" >> beam.Create(parts, reshuffle=False), "changes": changes}
        return gathered | beam.CoGroupByKey() | "Write" >> beam.Map(write, self._folder)


def changes_of(num: int) -> Iterator[tuple[int, Change]]:
    for number in range(num):
        yield number // A_PART, Change(f"{number:032x}", "0" * 32)


def write(gathered: tuple[int, Mapping[str, Iterable[Any]]], folder: Folder) -> None:
    part, found = gathered
    changes = sorted(found["changes"])
    expected = [(f"{number:032x}", "0" * 32) for number in range(part * A_PART, (part + 1) * A_PART)]
    folder.write(f"{part}", b"right" if changes == expected else b"wrong")


def test_what_threads_put_out_arrives_whole(tmp_path: Path) -> None:
    """It takes seconds, at each of which the runner would send on what there is, halves of elements too."""
    folder = Folder(str(tmp_path / "written"))
    job = Job(BY_NAME["link"], Folder(str(tmp_path / "run")), LinkSettings(), {})
    plan = Plan((Planned("a", "a"), Planned("b", "b")), waits=True)
    run(Settle(folder), job=job, plan=plan, options=[])
    assert {name: folder.read(name) for name in folder.sizes()} == {
        f"{part}": b"right" for part in range(NUM // A_PART)
    }


PROCESSES = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]


def fill_the_disk(_job: Job, _part: Planned) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/run/part-00000.parquet")


def press_ctrl_c(_job: Job, _part: Planned) -> None:
    raise KeyboardInterrupt


def run_work(work: Any, run_folder: Path, options: list[str]) -> None:
    job = Job(BY_NAME["link"], Folder(str(run_folder)), LinkSettings(), {})
    plan = Plan((Planned("a", "a"), Planned("b", "b")))
    run(DoParts(job, plan.parts, work), job=job, plan=plan, options=options)


@pytest.mark.parametrize("options", [[], PROCESSES], ids=["here", "in processes"])
def test_a_full_disk_is_told_in_words_and_once(
    options: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers of their own say nothing on standard error; and no folder is left among temporary files."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # for workers to find what is above
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    with pytest.raises(
        RunError, match=r"link stopped: No space left on device\. Make room, and run the same"
    ):
        run_work(fill_the_disk, tmp_path / "run", options)
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err
    assert "INFO" not in said.err
    assert not list((tmp_path / "tmp").glob("beam-pipeline-temp*"))


def test_a_ctrl_c_that_a_worker_has_caught_is_one(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_work(press_ctrl_c, tmp_path / "run", [])


def die(_job: Job, _part: Planned) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt_all(_job: Job, _part: Planned) -> None:
    os.killpg(0, signal.SIGINT)


def interrupt_itself(_job: Job, _part: Planned) -> None:
    os.kill(os.getpid(), signal.SIGINT)


RUNNING = """
import sys
from pathlib import Path
import test_pipeline_beam
work = getattr(test_pipeline_beam, sys.argv[1])
test_pipeline_beam.run_work(work, Path(sys.argv[2]), test_pipeline_beam.PROCESSES)
"""


def run_apart(work: Callable[[Job, Planned], None], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs work in worker processes, from a process that leads a group of its own."""
    tests = Path(__file__).parent
    return subprocess.run(
        [sys.executable, "-c", RUNNING, work.__name__, str(folder)],
        cwd=tests.parent,
        env={**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{tests.parent}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        start_new_session=True,
    )


def test_a_worker_process_that_is_killed_ends_the_run(tmp_path: Path) -> None:
    """As the system does where memory is short; the runner itself would wait for ever."""
    answer = run_apart(die, tmp_path / "run")
    assert answer.returncode == 1
    assert "RunError: link stopped: a worker process was ended" in answer.stderr
    assert "status -9" in answer.stderr
    assert "Exception in thread" not in answer.stderr


@pytest.mark.parametrize("work", [interrupt_all, interrupt_itself])
def test_a_ctrl_c_that_reaches_worker_processes_is_one(
    tmp_path: Path, work: Callable[[Job, Planned], None]
) -> None:
    """A terminal's reaches all of a build; for a worker that it has ended alone, nobody waits."""
    answer = run_apart(work, tmp_path / "run")
    assert answer.returncode == -signal.SIGINT, answer.stderr
    assert answer.stderr.count("Traceback") == 1, answer.stderr  # the process's own, of its end
    assert answer.stderr.endswith("\nKeyboardInterrupt\n")


def end(status: int) -> None:
    raise RuntimeError(f"Worker subprocess exited with return code {status}")


def test_a_death_is_noticed_where_ctrl_c_is_ignored(tmp_path: Path) -> None:
    """As it is of what a script's shell has started with &."""
    job = Job(BY_NAME["link"], Folder(str(tmp_path)), LinkSettings(), {})
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(RunError, match=r"link stopped: a worker process was ended.*status -9"):
            wait_while(job, lambda: end(-9))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def wait_while(job: Job, work: Callable[[], None]) -> None:
    """Waits for an answer, as the runner does, that does not come."""
    with _deaths_noticed(job):
        threading.Thread(target=work).start()
        threading.Event().wait(60)


@pytest.mark.parametrize("status", [-2, 1])
def test_a_worker_that_ends_while_a_ctrl_c_is_cleaned_up_after_breaks_nothing_off(
    tmp_path: Path, status: int
) -> None:
    job = Job(BY_NAME["link"], Folder(str(tmp_path)), LinkSettings(), {})
    cleaned: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        clean_up(job, threading.Thread(target=end, args=[status]), cleaned)
    assert cleaned


def clean_up(job: Job, worker: threading.Thread, cleaned: list[bool]) -> None:
    with _deaths_noticed(job):
        try:
            raise KeyboardInterrupt
        finally:
            worker.start()
            worker.join()
            cleaned.append(True)
