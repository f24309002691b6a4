"""Flink, a real cluster of separate processes, as the engine: the same bytes, whatever happens on the way."""

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.flink.local import Cluster, free_ports, running
from pipeline.engines.sign import JobRecord
from pipeline.runs import Folder
from pipeline.stages import BY_NAME
from tests.command import webtext
from tests.engines.redone import digests, undone

ROOT = Path(__file__).resolve().parents[2]
PATIENT = "--experiments=first_work_within_s=300"  # the machine may have other work
HASTY = "--experiments=first_work_within_s=10"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two task managers of one slot each; nothing of it is left afterwards."""
    with running(tmp_path_factory.mktemp("flink")) as healthy:
        yield healthy
    assert not left(healthy)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> str:
    """``webtext-worker`` of this checkout, whatever is installed."""
    main = "from pipeline.engines.worker.beam import main; main()"
    return program(
        tmp_path_factory.mktemp("worker"), f"cd {ROOT} && exec {sys.executable} -c '{main}' \"$@\""
    )


def program(folder: Path, line: str) -> str:
    path = folder / "worker"
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return str(path)


def left(cluster: Cluster) -> list[str]:
    """The processes of a cluster's groups that still run."""
    stats = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            stats.append(path.read_text())
    behind_names = [stat.rpartition(")")[2].split() for stat in stats]
    groups = [int(group) for state, _, group, *_ in behind_names if state != "Z"]
    return [name for name, process in cluster.processes.items() if process.pid in groups]


def on(cluster: Cluster, worker: str, *more: str, parallelism: int = 2) -> list[str]:
    return [*cluster.options(parallelism), f"--environment_option=process_command={worker}", *more]


def start(folder: Path, until: str, options: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "webtext", "build", "webtext.toml", "--until", until, "--", *options],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def build(folder: Path, until: str, options: list[str]) -> subprocess.CompletedProcess[str]:
    return webtext("build", "webtext.toml", "--until", until, "--", *options, cwd=folder)


def only_link(built: Path, folder: Path) -> Path:
    """A copy of the run in which just link is to be done, which is quick."""
    copy = undone(built, folder)
    for stage in ("fetch", "filter", "tokenizer", "shard"):
        shutil.rmtree(copy / "run" / BY_NAME[stage].folder)
    return copy


def states(cluster: Cluster) -> dict[str, str]:
    """The jobs by name."""
    return {job["name"]: job["state"] for job in cluster.ask("/jobs/overview")["jobs"]}


def wait_for_job(cluster: Cluster, run: Path, client: subprocess.Popen[str]) -> str:
    """The name of the job that a build has submitted, once Flink has it."""
    while client.poll() is None:
        record = JobRecord.read(Folder(str(run)))
        if record is not None and states(cluster).get(record.name) == "RUNNING":
            return record.name
        time.sleep(0.2)
    raise AssertionError(client.communicate())


def wait_until_over(cluster: Cluster, name: str) -> str:
    while (state := states(cluster)[name]) in ("RUNNING", "CANCELLING", "CREATED", "INITIALIZING"):
        time.sleep(0.2)
    return state


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) == 0


def test_link_extract_and_dedupe_give_the_same_bytes(
    built: Path, cluster: Cluster, worker: str, tmp_path: Path
) -> None:
    copy = undone(built, tmp_path)
    answer = build(copy, "dedupe", on(cluster, worker, PATIENT))
    assert answer.returncode == 0, answer.stderr
    assert "Traceback" not in answer.stderr
    assert digests(copy) == digests(built)
    assert webtext("verify", "run", cwd=copy).returncode == 0
    assert not list(copy.rglob("at-work-*"))
    assert JobRecord.read(Folder(str(copy / "run"))) is None


def test_a_task_manager_killed_in_the_middle_changes_nothing(
    built: Path, cluster: Cluster, worker: str, tmp_path: Path
) -> None:
    copy = undone(built, tmp_path)
    documents = copy / "run" / BY_NAME["extract"].folder
    client = start(copy, "dedupe", on(cluster, worker, PATIENT))
    while not list(documents.glob("at-work-*")):
        assert client.poll() is None, client.communicate()
        time.sleep(0.05)
    victim = cluster.processes["taskmanager-0"]
    victim.kill()
    victim.wait()
    assert not (documents / "manifest.json").exists()
    cluster.start_task_manager("taskmanager-0")
    _, said = client.communicate()
    assert client.returncode == 0, said
    assert digests(copy) == digests(built)


def test_beam_s_own_job_server_serves_too(built: Path, cluster: Cluster, worker: str, tmp_path: Path) -> None:
    copy = only_link(built, tmp_path)
    options = [
        "--runner=FlinkRunner",
        f"--flink_master={cluster.flink_master}",
        f"--flink_job_server_jar={cluster.job_server_jar}",
        f"--environment_option=process_command={worker}",
        PATIENT,
    ]
    answer = build(copy, "link", options)
    assert answer.returncode == 0, answer.stderr
    folder = BY_NAME["link"].folder
    manifest = (copy / "run" / folder / "manifest.json").read_bytes()
    assert manifest == (built / "run" / folder / "manifest.json").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_cancels_its_job(
    built: Path, cluster: Cluster, tmp_path: Path, number: signal.Signals
) -> None:
    copy = only_link(built, tmp_path)
    client = start(copy, "link", on(cluster, program(tmp_path, "exec sleep 600"), PATIENT))
    name = wait_for_job(cluster, copy / "run", client)
    client.send_signal(number)
    _, said = client.communicate()
    assert client.returncode == 130
    assert said == "stopped; the same command goes on from what is there\n"
    assert wait_until_over(cluster, name) == "CANCELED"
    assert JobRecord.read(Folder(str(copy / "run"))) is None


def test_a_job_left_behind_is_cancelled_by_the_next_build(
    built: Path, cluster: Cluster, worker: str, tmp_path: Path
) -> None:
    """The client was killed; its job holds all slots, and would hold them for ever."""
    copy = only_link(built, tmp_path)
    silent = on(cluster, program(tmp_path, "exec sleep 600"), PATIENT)
    client = start(copy, "link", silent)
    name = wait_for_job(cluster, copy / "run", client)
    client.kill()
    client.communicate()
    assert states(cluster)[name] == "RUNNING"
    answer = build(copy, "link", on(cluster, worker, PATIENT))
    assert answer.returncode == 0, answer.stderr
    assert states(cluster)[name] == "CANCELED"


def failure(built: Path, folder: Path, options: list[str]) -> tuple[int, str]:
    answer = build(only_link(built, folder), "link", options)
    assert "Traceback" not in answer.stderr
    return answer.returncode, answer.stderr


def test_no_job_server_there(built: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    status, said = failure(built, tmp_path, ["--runner=PortableRunner", f"--job_endpoint=localhost:{port}"])
    assert status == 2
    assert (
        f"--job_endpoint=localhost:{port}: Beam's job server does not answer there (Connection refused)"
        in said
    )
    assert "python -m deploy.flink.local" in said


def test_no_flink_there(built: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    status, said = failure(built, tmp_path, ["--runner=FlinkRunner", f"--flink_master=localhost:{port}"])
    assert status == 2
    assert f"--flink_master=http://localhost:{port}: no Flink answers there (Connection refused)" in said


def test_a_job_server_without_its_cluster(built: Path, cluster: Cluster, worker: str, tmp_path: Path) -> None:
    """The job server of a cluster that is gone takes the job, and tells nothing."""
    gone, port = free_ports(2)
    cluster.start_job_server("lost", f"localhost:{gone}", port)
    while not answers(port):
        time.sleep(0.2)
    options = ["--runner=PortableRunner", f"--job_endpoint=localhost:{port}", HASTY]
    status, said = failure(built, tmp_path, [*options, f"--environment_option=process_command={worker}"])
    assert status == 1
    assert (
        "link: no worker has begun within 10 s; the job server was told" in said
        or "does not reach its" in said
    )


def test_another_version_of_flink(built: Path, cluster: Cluster, tmp_path: Path) -> None:
    options = ["--runner=FlinkRunner", f"--flink_master={cluster.flink_master}", "--flink_version=1.20"]
    status, said = failure(built, tmp_path, options)
    assert status == 2
    assert "the cluster runs Flink 1.19.3: give --flink_version=1.19, not 1.20" in said


def test_a_worker_of_another_version(built: Path, cluster: Cluster, tmp_path: Path) -> None:
    code = (
        "import pipeline.stages; pipeline.stages.VERSION = '0.0.1'; "
        "from pipeline.engines.worker.beam import main; main()"
    )
    other = program(tmp_path, f'cd {ROOT} && exec {sys.executable} -c "{code}" "$@"')
    status, said = failure(built, tmp_path, on(cluster, other, PATIENT))
    assert status == 1
    assert "a worker has webtext 0.0.1 (link" in said
    assert "install the same in both environments" in said


def test_a_worker_that_is_not_there(built: Path, cluster: Cluster, tmp_path: Path) -> None:
    status, said = failure(built, tmp_path, on(cluster, "/nowhere/webtext-worker", PATIENT))
    assert status == 1
    assert (
        "cannot start the workers' program /nowhere/webtext-worker: install webtext on every machine" in said
    )


def test_a_worker_that_ends_at_once(built: Path, cluster: Cluster, tmp_path: Path) -> None:
    status, said = failure(built, tmp_path, on(cluster, program(tmp_path, "exit 3"), PATIENT))
    assert status == 1
    assert "the workers' program ended with status 3 before it took any work" in said


def test_a_worker_without_the_package(built: Path, cluster: Cluster, tmp_path: Path) -> None:
    boot = ROOT / "pipeline" / "engines" / "worker" / "beam.py"
    code = f"import runpy, sys; sys.modules['pipeline'] = None; runpy.run_path('{boot}', run_name='__main__')"
    lacking = program(tmp_path, f'cd / && exec {sys.executable} -c "{code}" "$@"')
    status, said = failure(built, tmp_path, on(cluster, lacking, PATIENT))
    assert status == 1
    assert "a worker's environment lacks the package pipeline: install the same webtext there" in said


def test_a_worker_that_never_says_a_word(built: Path, cluster: Cluster, tmp_path: Path) -> None:
    status, said = failure(built, tmp_path, on(cluster, program(tmp_path, "exec sleep 600"), HASTY))
    assert status == 1
    assert "link: no worker has begun within 10 s; the job was cancelled" in said
    assert f"workers start there by {tmp_path}/worker, and their environment has webtext" in said


def test_no_free_slot(built: Path, cluster: Cluster, worker: str, tmp_path: Path) -> None:
    status, said = failure(built, tmp_path, on(cluster, worker, HASTY, parallelism=5))
    assert status == 1
    assert "no worker has begun within 10 s; the job was cancelled" in said
    assert "the cluster has 5 free slots (" in said
    assert " of 2 are free)" in said
