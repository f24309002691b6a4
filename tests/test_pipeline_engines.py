"""Engines, as far as it goes without one: asking Flink, signs of work, words for failures, defaults."""

import json
import sys
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread

import pytest
from apache_beam.options.pipeline_options import DebugOptions, PortableOptions, WorkerOptions

from deploy.flink.packages import write_starter
from pipeline.beam import check_options, pipeline_options
from pipeline.engines.flink import Flink
from pipeline.engines.sign import JobRecord, Sign, SilenceError, Watch
from pipeline.engines.words import last_words, meaning
from pipeline.errors import InputError
from pipeline.runs import Folder
from pipeline.stages import Plan

ROOT = Path(__file__).resolve().parents[1]

Jobs = list[dict[str, str]]


class StandIn(BaseHTTPRequestHandler):
    """Flink's REST service, with a job that runs and one that is over."""

    jobs: Jobs

    def do_GET(self) -> None:
        """What is there."""
        answers = {
            "/config": {"flink-version": "1.19.3"},
            "/overview": {"slots-total": 4, "slots-available": 1},
            "/jobs/overview": {"jobs": self.jobs},
            "/jobs/a/exceptions": {"root-exception": 'java.io.IOException: Cannot run program "/w"'},
        }
        self._answer(answers[self.path])

    def do_PATCH(self) -> None:
        """Cancels."""
        identifier = self.path.removeprefix("/jobs/").removesuffix("?mode=cancel")
        next(job for job in self.jobs if job["jid"] == identifier)["state"] = "CANCELED"
        self._answer({})

    def _answer(self, value: object) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def jobs() -> Jobs:
    return [
        {"jid": "a", "name": "webtext-link-1", "state": "RUNNING"},
        {"jid": "b", "name": "webtext-link-2", "state": "RUNNING"},
    ]


@pytest.fixture
def flink(jobs: Jobs) -> Iterator[Flink]:
    handler = type("Handler", (StandIn,), {"jobs": jobs})
    with HTTPServer(("localhost", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        found = Flink.at(f"localhost:{server.server_port}")
        assert found is not None
        yield found
        server.shutdown()


def test_flink_is_asked_over_http(flink: Flink, jobs: Jobs) -> None:
    assert flink.version() == "1.19.3"
    assert flink.slots() == "1 of 4 are free"
    assert meaning(flink.complaint("webtext-link-1")) is not None
    flink.cancel("webtext-link-1")
    assert [job["state"] for job in jobs] == ["CANCELED", "RUNNING"]


@pytest.mark.parametrize("master", ["[auto]", "[local]", "", None])
def test_a_flink_in_beam_s_own_process_is_not_asked(master: str | None) -> None:
    assert Flink.at(master) is None


@pytest.mark.parametrize("given", ["1.20", "2.2"])
def test_another_version_of_flink_is_told_before_any_work(flink: Flink, run: Folder, given: str) -> None:
    java = f"--job_server_java_launcher={sys.executable}"  # which is there, whether Java is or not
    options = ["--runner=FlinkRunner", f"--flink_master={flink.address}", java]
    check_options(options, run)
    check_options([*options, "--flink_version=1.19"], run)
    with pytest.raises(InputError, match=rf"runs Flink 1\.19\.3: give --flink_version=1\.19, not {given}"):
        check_options([*options, f"--flink_version={given}"], run)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--runner=PortableRunner", "--job_endpoint=localhost:1"], "job server does not answer there"),
        (["--runner=PortableRunner", "--job_endpoint=localhost"], "this must be HOST:PORT"),
        (["--runner=PortableRunner", "--job_endpoint=localhost:99999"], "job server does not answer there"),
        (["--runner=PortableRunner"], "needs --job_endpoint=HOST:PORT"),
        (["--runner=FlinkRunner", "--flink_master=localhost:1"], "no Flink answers there"),
        (["--runner=FlinkRunner", "--flink_master=http://[x"], "no Flink answers there"),
        (
            ["--runner=FlinkRunner", "--environment_type=PROCESS", "--environment_config=worker"],
            "for PROCESS this is JSON with a command",
        ),
    ],
)
def test_no_engine_there_is_told_before_any_work(run: Folder, options: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        check_options(options, run)
    assert said in str(caught.value)


def test_what_listens_may_be_no_job_server(flink: Flink, run: Folder) -> None:
    endpoint = flink.address.removeprefix("http://")
    with pytest.raises(InputError, match="does not answer as Beam's job server does"):
        check_options(["--runner=PortableRunner", f"--job_endpoint={endpoint}"], run)


def test_flink_s_own_job_server_needs_java(run: Folder) -> None:
    options = ["--runner=FlinkRunner", "--flink_master=[local]", "--job_server_java_launcher=/nowhere/java"]
    with pytest.raises(InputError, match="needs Java, and /nowhere/java is not there"):
        check_options(options, run)


def test_defaults_on_an_engine() -> None:
    resolved = pipeline_options(["--runner=PortableRunner", "--job_endpoint=localhost:1"], Plan(()))
    portable = resolved.view_as(PortableOptions)
    assert portable.environment_type == "PROCESS"
    (option,) = portable.environment_options
    assert option.startswith("process_command=/")
    assert option.endswith("/webtext-worker")
    assert "disable_logging_submission_environment" in resolved.view_as(DebugOptions).experiments
    # To some job servers it is how long a job may take.
    assert portable.job_server_timeout > 365 * 24 * 3600
    # Job servers know no such level.
    assert resolved.view_as(WorkerOptions).default_sdk_harness_log_level is None


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (["--environment_option=process_command=/w"], "PROCESS"),
        (["--environment_type=EXTERNAL", "--environment_config=localhost:50000"], "EXTERNAL"),
    ],
)
def test_what_the_user_says_of_workers_stands(given: list[str], kind: str) -> None:
    options = ["--runner=PortableRunner", "--job_endpoint=localhost:1", *given]
    portable = pipeline_options(options, Plan(())).view_as(PortableOptions)
    assert portable.environment_type == kind
    assert portable.lookup_environment_option("process_command") == ("/w" if kind == "PROCESS" else None)


def test_a_sign_of_work_ends_the_watch(run: Folder) -> None:
    sign = Sign(run, "job")
    watch = Watch(sign, within_s=60)
    assert watch.look() is not None
    sign.show()
    assert watch.look() is None
    sign.clear()
    assert watch.look() is None
    with pytest.raises(SilenceError, match="no worker has begun"):
        Watch(sign, within_s=-1).look()


def test_a_job_is_noted_in_the_run(run: Folder) -> None:
    assert JobRecord.read(run) is None
    record = JobRecord("job", "localhost:1", None)
    record.write(run)
    assert JobRecord.read(run) == record
    run.write("job.json", b"[]")
    assert JobRecord.read(run) is None
    JobRecord.clear(run)
    assert "job.json" not in run.sizes()


@pytest.mark.parametrize(
    ("trace", "means"),
    [
        (
            'Caused by: java.io.IOException: Cannot run program "/a/w" (in directory "."): error=2',
            "program /a/w",
        ),
        ("java.lang.IllegalStateException: Process died with exit code 127", "ended with status 127"),
        ("ModuleNotFoundError: No module named 'pipeline'", "lacks the package pipeline"),
        ("NoResourceAvailableException: Could not acquire", "no free slot"),
        ("java.io.InvalidClassException: local class incompatible", "another version of Flink"),
        ("Insufficient number of network buffers: required 512", "too little network memory"),
        ("something else", None),
    ],
)
def test_what_engines_say_in_words(trace: str, means: str | None) -> None:
    said = meaning(trace)
    assert said is None if means is None else said is not None and means in said


def test_the_last_cause_is_what_a_trace_says() -> None:
    trace = "java.lang.RuntimeException: all\n\tat x.Y\nCaused by: a.B: c.D: the disk is full\n\t... 3 more\n"
    assert last_words(trace) == "the disk is full"
    assert last_words("") == ""
    python = (
        f"{trace}Caused by: a.B: in a worker: Traceback (most recent call last):\n  File x\nKeyError: 'a'\n"
    )
    assert last_words(python) == "KeyError: 'a'"


def test_the_installed_worker_is_a_function() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    module, _, name = project["project"]["scripts"]["webtext-worker"].partition(":")
    assert callable(getattr(import_module(module), name))


def test_a_jar_s_manifest_has_short_lines(tmp_path: Path) -> None:
    import zipfile

    jars = [f"folder/{number:050d}.jar" for number in range(9)]
    write_starter(tmp_path / "starter.jar", jars)
    with zipfile.ZipFile(tmp_path / "starter.jar") as jar:
        manifest = jar.read("META-INF/MANIFEST.MF").decode()
    assert max(map(len, manifest.splitlines())) <= 70
    assert f"Class-Path: {' '.join(jars)}\r\n" in manifest.replace("\r\n ", "")
