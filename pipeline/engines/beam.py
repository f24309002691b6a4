"""A stage's job on an engine that others run: checked before, watched until it works, never left behind.

The engine is whatever Beam's job API speaks to: a job server in front of Flink, Prism, another.
"""

import contextlib
import json
import queue
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import (
    DebugOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from apache_beam.runners.portability.portable_runner import TERMINAL_STATES, PortableRunner
from apache_beam.runners.runner import create_runner

from pipeline.engines.endpoint import A_LOCAL_CLUSTER, check_endpoint
from pipeline.engines.flink import Flink
from pipeline.engines.sign import JobRecord, Sign, SilenceError, Watch
from pipeline.engines.words import last_words, meaning
from pipeline.errors import InputError, RunError
from pipeline.runs import Folder
from pipeline.stages import BY_NAME, VERSION, Job

# From a job's submission to a worker's first work; with the client's own start that makes a minute.
_FIRST_WORK_WITHIN_S = 45.0
_JOB_SERVER_ANSWERS_WITHIN_S = 30.0
_A_LONG_TIME_S = 10 * 365 * 24 * 3600

# From step to step: where Flink itself has Beam's classes, workers need not be started again for each.
_WORKERS_STAY_MS = 20_000


def is_portable(options: PipelineOptions) -> bool:
    """Whether the job goes through Beam's job API."""
    runner = options.view_as(StandardOptions).runner
    return runner is not None and isinstance(create_runner(runner), PortableRunner)


def check_engine(options: PipelineOptions, given: Sequence[str]) -> None:
    """Raises InputError where no engine is there, or another than was named.

    Args:
        options: The options.
        given: The same, as the user has written them.
    """
    endpoint = _endpoint(options)
    if endpoint is not None:
        check_endpoint("--job_endpoint", endpoint, "Beam's job server")
        _check_job_server(endpoint)
    _worker_command(options)
    asked = options.view_as(FlinkRunnerOptions)
    flink = Flink.at(asked.flink_master)
    if flink is not None:
        there = flink.version()
        if endpoint is None and not asked.flink_job_server_jar:
            _check_flink_version(there, asked.flink_version if _names(given, "flink_version") else None)
    if endpoint is None:
        _check_own_job_server(options)


def _check_job_server(endpoint: str) -> None:
    """Raises InputError where what listens there does not speak as a job server does."""
    with grpc.insecure_channel(endpoint) as channel:
        service = beam_job_api_pb2_grpc.JobServiceStub(channel)
        try:
            service.DescribePipelineOptions(
                beam_job_api_pb2.DescribePipelineOptionsRequest(), timeout=_JOB_SERVER_ANSWERS_WITHIN_S
            )
        except grpc.RpcError as error:
            raise InputError(
                f"--job_endpoint={endpoint}: what listens there does not answer as Beam's job server does "
                f"({error.details() or error.code().name}). Name the job server's job port."
            ) from error


def _check_own_job_server(options: PipelineOptions) -> None:
    """Raises InputError where Beam is to start a job server and cannot."""
    runner = str(options.view_as(StandardOptions).runner).rpartition(".")[2]
    if runner == "PortableRunner" and not options.view_as(PortableOptions).job_endpoint:
        raise InputError(
            "--runner=PortableRunner needs --job_endpoint=HOST:PORT, the address of Beam's job server; "
            f"{A_LOCAL_CLUSTER}."
        )
    launcher = options.view_as(JobServerOptions).job_server_java_launcher
    if runner == "FlinkRunner" and shutil.which(launcher) is None:
        raise InputError(
            f"--runner=FlinkRunner starts Beam's job server, which needs Java, and {launcher} is not there: "
            "install Java 11 or later, or name a job server that runs by --job_endpoint=HOST:PORT."
        )


def _check_flink_version(there: str, given: str | None) -> None:
    minor = _minor(there)
    if given not in (None, minor):
        raise InputError(f"the cluster runs Flink {there}: give --flink_version={minor}, not {given}.")
    published = FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS
    if minor not in published:
        raise InputError(
            f"the cluster runs Flink {there}; Beam {beam.__version__} has job servers for Flink "
            f"{', '.join(published)}."
        )


def set_defaults(options: PipelineOptions, given: Sequence[str]) -> None:
    """Sets what builds on an engine want where the user has said nothing.

    Args:
        options: The options, which are changed.
        given: The same, as the user has written them.
    """
    # The list of what is installed here, which nobody reads, takes seconds to make.
    options.view_as(DebugOptions).add_experiment("disable_logging_submission_environment")
    portable = options.view_as(PortableOptions)
    portable.environment_cache_millis = portable.environment_cache_millis or _WORKERS_STAY_MS
    if not _names(given, "job_server_timeout"):  # to some servers, Prism's too, it ends jobs that take longer
        portable.job_server_timeout = _A_LONG_TIME_S
    asked = options.view_as(FlinkRunnerOptions)
    flink = Flink.at(asked.flink_master)
    if flink is not None and not _names(given, "flink_version"):
        asked.flink_version = _minor(flink.version())
    elsewhere = flink is not None or _endpoint(options) is not None
    if not elsewhere or portable.environment_type not in (None, "PROCESS"):
        return
    portable.environment_type = "PROCESS"
    if _worker_command(options) is None:
        portable.add_environment_option(f"process_command={Path(sys.executable).with_name('webtext-worker')}")


def _names(given: Sequence[str], name: str) -> bool:
    return any(option.partition("=")[0] == f"--{name}" for option in given)


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _worker_command(options: PipelineOptions) -> str | None:
    """The program that starts a worker where it is a process; InputError where that is not said well."""
    portable = options.view_as(PortableOptions)
    if not portable.environment_config:
        command: str | None = portable.lookup_environment_option("process_command")
        return command
    if portable.environment_type != "PROCESS":
        return None
    try:
        return str(json.loads(portable.environment_config)["command"])
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"--environment_config={portable.environment_config}: for PROCESS this is JSON with a command; "
            "simpler is --environment_option=process_command=PATH."
        ) from error


def _endpoint(options: PipelineOptions) -> str | None:
    """The address of a job server that others run."""
    endpoint: str | None = options.view_as(PortableOptions).job_endpoint
    return endpoint if endpoint != "embed" else None


@dataclass(frozen=True, slots=True)
class Client:
    """What a worker that an engine started must know of the build that it works for."""

    versions: str
    sign: Sign

    def greet(self, job: Job) -> None:
        """A worker's first act: it makes sure that it is of the build's version, and shows that it works.

        Raises:
            RunError: The worker's environment is another than the build's.
        """
        if self in _greeted:
            return
        ours = _versions(job)
        if ours != self.versions:
            raise RunError(
                f"a worker has {ours}, the build {self.versions}: install the same in both environments."
            )
        self.sign.show()
        _greeted.add(self)


_greeted: set[Client] = set()


def client_of(pbegin: beam.pvalue.PBegin, job: Job) -> Client | None:
    """What is sent to the workers of a pipeline; None where no engine of others does the work."""
    options = pbegin.pipeline.options
    if not is_portable(options):
        return None
    return Client(_versions(job), Sign(job.folder, options.view_as(GoogleCloudOptions).job_name))


def _versions(job: Job) -> str:
    stage = BY_NAME[job.stage.name]
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"webtext {VERSION} ({stage.name} {stage.format}), Beam {beam.__version__}, Python {python}"


def finish(pipeline: beam.Pipeline, job: Job) -> Any:
    """Runs a pipeline elsewhere and waits for its end; what ends the waiting, a kill aside, cancels its job.

    Returns:
        The state in which it ended.

    Raises:
        RunError: No worker began in time.
    """
    options = pipeline.options
    portable = is_portable(options)
    name = options.view_as(GoogleCloudOptions).job_name
    record = JobRecord(name, _endpoint(options), options.view_as(FlinkRunnerOptions).flink_master)
    sign = Sign(job.folder, name)
    result = None
    record.write(job.run)
    with _terminated_as_interrupted():
        try:
            result = pipeline.run()
            state = _wait(result, Watch(sign, _first_work_within_s(options)) if portable else None)
        except BaseException as error:
            complaint = _complaint(record)  # before its end is another
            done = _try_to_cancel(record, result, portable=portable)
            if done is not None:
                JobRecord.clear(job.run)
            if isinstance(error, SilenceError):
                raise RunError(_silent(job, options, error, complaint, done)) from error
            # Beam tells the last cause's message alone; Flink has all of them.
            if portable and isinstance(error, RuntimeError) and complaint:
                raise RuntimeError(f"{error}\n{complaint}") from error
            raise
        finally:
            sign.clear()
    JobRecord.clear(job.run)
    return state


def _first_work_within_s(options: PipelineOptions) -> float:
    given = options.view_as(DebugOptions).lookup_experiment("first_work_within_s", _FIRST_WORK_WITHIN_S)
    return float(given)


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Lets SIGTERM end the work as Ctrl-C does: so that there is time to cancel it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait(result: Any, watch: Watch | None) -> Any:
    """The state in which a pipeline ends, or its exception; SilenceError where no work begins."""
    outcome: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def wait() -> None:
        try:
            outcome.put(result.wait_until_finish())
        except Exception as error:
            outcome.put(error)

    threading.Thread(target=wait, daemon=True).start()
    while True:
        try:
            ended = outcome.get(timeout=watch.look() if watch else None)
        except queue.Empty:
            continue
        if isinstance(ended, Exception):
            raise ended
        return ended


def _silent(
    job: Job, options: PipelineOptions, silence: SilenceError, complaint: str, done: str | None
) -> str:
    """What to look at where no worker has begun."""
    flink = Flink.at(options.view_as(FlinkRunnerOptions).flink_master)
    said = meaning(complaint) or last_words(complaint)
    worker = _worker_command(options)
    looks = [
        f"- workers start there{f' by {worker}' if worker else ''}, and their environment has webtext;",
        f"- they see {job.folder.uri}: several machines need a shared folder, or an object store.",
    ]
    if flink is not None:
        num = max(1, options.view_as(FlinkRunnerOptions).parallelism)
        looks.insert(0, f"- the cluster has {num} free slots ({flink.slots()}), and its task managers run;")
    return "\n".join(
        [
            f"{job.stage.name}: {silence}; {done or 'the job could not be cancelled, and may go on there'}.",
            *([f"It seems that {said}."] if said else []),
            "Look whether",
            *looks,
            "Where workers only take long to start: --experiments=first_work_within_s=600.",
        ]
    )


def _complaint(record: JobRecord) -> str:
    flink = Flink.at(record.flink_master)
    return flink.complaint(record.name) if flink else ""


def cancel_left_behind(run: Folder) -> None:
    """Cancels what an earlier build, whose client was killed, has left at work in this run."""
    record = JobRecord.read(run)
    if record is None:
        return
    with contextlib.suppress(Exception):  # an engine that is gone does no work
        _cancel(record)
    JobRecord.clear(run)


def _try_to_cancel(record: JobRecord, result: Any, *, portable: bool) -> str | None:
    """Cancels the job, and says in words what was done; None where it could not be."""
    try:
        if portable:
            return _cancel(record)
        if result is not None:
            result.cancel()
    except Exception:
        return None
    return "the job was cancelled"


def _cancel(record: JobRecord) -> str:
    """Cancels the job by its name, and says in words what was done.

    Beam's job server for Flink lets its jobs work on; it is told all the same, lest it submit one later.
    """
    flink = Flink.at(record.flink_master)
    done = "its engine ends with this build"  # which Beam itself has started
    if record.endpoint is not None:
        with contextlib.suppress(*[grpc.RpcError] if flink else []):
            _cancel_at_job_server(record.endpoint, record.name)
        done = "the job server was told to cancel the job"
    if flink is not None:
        flink.cancel(record.name)
        done = "the job was cancelled"
    return done


def _cancel_at_job_server(endpoint: str, name: str) -> None:
    with grpc.insecure_channel(endpoint) as channel:
        service = beam_job_api_pb2_grpc.JobServiceStub(channel)
        for job in service.GetJobs(beam_job_api_pb2.GetJobsRequest(), timeout=10).job_info:
            given = dict(job.pipeline_options)
            named = name in (job.job_name, given.get("beam:option:job_name:v1"))
            if named and job.state not in TERMINAL_STATES:
                service.Cancel(beam_job_api_pb2.CancelJobRequest(job_id=job.job_id), timeout=10)
