"""Dataflow as far as it goes without an account: the command, the image's file, the jobs that are sent.

A stand-in takes the jobs (``dataflow_service``) and really runs the pipelines that are staged for them.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.pipeline_context import PipelineContext

from tests.engines.dataflow_service import SentJob, Service, dataflow
from tests.engines.packages import google_libraries
from tests.engines.redone import digests, undone

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy" / "dataflow"
IMAGE = "europe-west4-docker.pkg.dev/a-project/images/webtext:1"
# The tokenizer is trained where the build runs.
STAGES = ("collect", "link", "fetch", "extract", "filter", "dedupe", "shard")
GIVEN = {
    "PROJECT": "a-project",
    "REGION": "europe-west4",
    "BUCKET": "a-bucket",
    "IMAGE": IMAGE,
    "SERVICE_ACCOUNT": "worker@a-project.iam.gserviceaccount.com",
}
PRIMITIVES = {one.urn for one in common_urns.primitives.__dict__.values() if hasattr(one, "urn")}


def command(folder: Path, given: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """What deploy/dataflow/build.sh would start, an argument a line."""
    stand_in = folder / "webtext"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stand_in.chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", **given}
    script = DEPLOY / "build.sh"
    return subprocess.run([script, *arguments], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Beam's options of the documented command."""
    answer = command(
        tmp_path_factory.mktemp("command"), GIVEN, "webtext.toml", "--run", "gs://a-bucket/runs/one"
    )
    lines = answer.stdout.splitlines()
    assert lines[:5] == ["build", "webtext.toml", "--run", "gs://a-bucket/runs/one", "--"], answer.stderr
    return lines[5:]


@pytest.mark.parametrize("name", GIVEN)
def test_the_command_says_what_it_must_be_told(tmp_path: Path, name: str) -> None:
    given = {key: value for key, value in GIVEN.items() if key != name}
    answer = command(tmp_path, given, "webtext.toml")
    assert answer.returncode != 0
    assert f"{name}: must be " in answer.stderr
    assert not answer.stdout


def start(service: Service, folder: Path, temp: Path, options: list[str]) -> subprocess.Popen[str]:
    """Begins to bring the run in a folder to its end, by jobs."""
    temp.mkdir()
    command = [sys.executable, "-m", "tests.engines.dataflow_client", str(service.port), str(temp), *options]
    path = os.pathsep.join([str(ROOT), str(google_libraries()), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def sent(
    built: Path, options: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, list[SentJob]]]:
    """The run with its stages done by jobs, and the jobs."""
    folder = tmp_path_factory.mktemp("dataflow")
    copy = undone(built, folder, STAGES)
    with dataflow() as service:
        client = start(service, copy, folder / "temp", options)
        said = client.communicate()[1]
        assert client.returncode == 0, said
        yield copy, service.jobs


def test_what_the_jobs_leave_is_what_the_local_runner_makes(
    built: Path, sent: tuple[Path, list[SentJob]]
) -> None:
    copy, jobs = sent
    names = [re.sub(r"-[0-9a-f]+$", "", job.asked["name"]) for job in jobs]
    assert names == [f"webtext-{stage}" for stage in STAGES]
    assert digests(copy, STAGES) == digests(built, STAGES)


def test_the_service_is_asked_for_what_the_command_says(sent: tuple[Path, list[SentJob]]) -> None:
    for job in sent[1]:
        assert job.path == "/v1b3/projects/a-project/locations/europe-west4/jobs"
        environment = job.asked["environment"]
        assert environment["serviceAccountEmail"] == GIVEN["SERVICE_ACCOUNT"]
        (pool,) = environment["workerPools"]
        assert pool["machineType"] == "n2-highmem-4"
        assert pool["diskSizeGb"] == 50
        assert pool["autoscalingSettings"]["maxNumWorkers"] == 20
        assert [one["containerImage"] for one in pool["sdkHarnessContainerImages"]] == [IMAGE]
        assert not pool.get("packages")  # nothing is installed when workers start


@pytest.mark.parametrize("place", range(len(STAGES)))
def test_the_pipelines_are_such_as_any_service_can_run(sent: tuple[Path, list[SentJob]], place: int) -> None:
    """Known transforms only, keys of one encoding, and no environment but the image."""
    pipeline = beam_runner_api_pb2.Pipeline.FromString(sent[1][place].pipeline.read_bytes())
    components = pipeline.components
    context = PipelineContext(components)
    used = {one.environment_id for one in components.transforms.values() if one.environment_id}
    for name in used:
        environment = components.environments[name]
        assert environment.urn == common_urns.environments.DOCKER.urn
        payload = beam_runner_api_pb2.DockerPayload.FromString(environment.payload)
        assert payload.container_image == IMAGE
        assert not environment.dependencies
    grouped = 0
    for transform in components.transforms.values():
        if not transform.subtransforms and transform.outputs:
            assert transform.spec.urn in PRIMITIVES, transform.unique_name
        if transform.spec.urn == common_urns.primitives.GROUP_BY_KEY.urn:
            (gathered,) = transform.inputs.values()
            coder = context.coders.get_by_id(components.pcollections[gathered].coder_id)
            assert coder.key_coder().is_deterministic(), transform.unique_name
            grouped += 1
    assert grouped


def test_what_a_part_s_work_says_against_its_input_is_what_is_told(
    built: Path, options: list[str], tmp_path: Path
) -> None:
    copy = undone(built, tmp_path)
    damaged = copy / "run" / "submissions" / "part-00000.parquet"
    damaged.write_bytes(bytes(damaged.stat().st_size))
    with dataflow() as service:
        client = start(service, copy, tmp_path / "temp", options)
        said = client.communicate()[1]
    assert client.returncode == 1
    assert "Traceback" not in said
    assert said.startswith(f"{damaged}: its bytes have changed since they were written")


def test_an_interrupted_build_cancels_its_job(built: Path, options: list[str], tmp_path: Path) -> None:
    copy = undone(built, tmp_path)
    with dataflow() as service:
        client = start(service, copy, tmp_path / "temp", options)
        while client.poll() is None and not (service.jobs and service.jobs[0].looked_at):
            time.sleep(0.05)
        client.send_signal(signal.SIGINT)
        said = client.communicate()[1]
        assert client.returncode == 130, said
        assert [job.cancelled for job in service.jobs] == [True]


def test_the_image_is_made_of_what_is_pinned() -> None:
    """Beam's image of our Beam and of the Python that the locks are for, and every package of ours."""
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    assert f"FROM apache/beam_python3.11_sdk:{version('apache-beam')}\n" in text
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    assert f"apache-beam=={version('apache-beam')} " in lock
    assert "--python-version 3.11" in (ROOT / "Makefile").read_text("utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = {name for names in re.findall(r"(?m)^COPY (.*) \S+$", text) for name in names.split()}
    assert copied >= {*packages, "requirements.lock", "pyproject.toml", "README.md", "LICENSE"}
    sent = re.findall(r"(?m)^!(\S+)$", (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8"))
    assert set(sent) == copied
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_leaves_out_what_workers_do_not_import(tmp_path: Path) -> None:
    """The Dockerfile's own filter of the lock, and its own last command in an environment without torch."""
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    (program,) = re.findall(r"awk '(.*)' requirements.lock", text)
    lock = ROOT / "requirements.lock"
    needed = subprocess.run(["awk", program, lock], capture_output=True, text=True, check=True).stdout
    names = re.findall(r"(?m)^([a-z0-9_.-]+)==", needed)
    assert "apache-beam" in names
    assert not [name for name in names if re.match(r"torch|triton|nvidia|cuda", name)]
    assert needed.count("--hash=sha256:") > len(names)
    (imports,) = re.findall(r'python -c "(.*?)"', text.replace("\\\n", ""), re.S)
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tokenizer", tmp_path / "tokenizer", ignore=shutil.ignore_patterns("__pycache__"))
    blocked = "import sys; sys.modules['torch'] = None; " + imports
    subprocess.run([sys.executable, "-c", blocked], cwd=tmp_path, check=True)
