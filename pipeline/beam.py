"""Running a stage's pipeline: the local runner by default, any other by its options."""

import contextlib
import ctypes
import io
import itertools
import logging
import os
import re
import shlex
import shutil
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import grpc
import pyarrow as pa
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import PipelineState, create_runner
from apache_beam.runners.worker import sdk_worker
from apache_beam.transforms.environments import EmbeddedPythonGrpcEnvironment, SubprocessSDKEnvironment

from pipeline.engines.beam import (
    Client,
    check_engine,
    client_of,
    finish,
    is_portable,
    set_defaults,
)
from pipeline.engines.words import last_words, meaning
from pipeline.errors import InputError, RunError, refusal
from pipeline.runners import check_runner
from pipeline.runs import Folder
from pipeline.stages import Job, Plan, Planned

# Starting local worker processes costs about six seconds each time; threads start at once.
PROCESSES_PAY_FROM_S = 12.0

Work = Callable[[Job, Any], Iterable[Any] | None]

_LOCAL = "FnApiRunner"  # by name: "DirectRunner" chooses between runners, and downloads one of them


class DoParts(beam.PTransform):
    """Does each part's work on whichever worker is free, once all that is in ``after`` is complete.

    ``work(job, part)`` writes the part and its sidecar. What it yields (packed columns with a key, for a
    shuffle that follows) is the output. A part is a Planned, or whatever else ``work`` takes.

    Of steps in a row each waits for all before it: one without parts is complete at once, whatever it was to
    wait for, and would let those behind it begin.
    """

    def __init__(
        self, job: Job, parts: Sequence[Any], work: Work, *, after: Sequence[beam.PCollection] = ()
    ) -> None:
        super().__init__()
        self._job = job.for_workers()
        self._parts = parts
        self._work = work
        self._after = tuple(after)

    def expand(self, pbegin: beam.pvalue.PBegin) -> beam.PCollection:
        """Create, spread over the workers, wait, do."""
        # A side input makes the work wait; nothing reads it.
        barrier = [beam.pvalue.AsIter(one) for one in self._after]
        return (
            pbegin
            | "Parts" >> beam.Create(list(self._parts), reshuffle=False)
            | "Spread" >> beam.Reshuffle()
            | "Work" >> beam.FlatMap(_do, self._job, self._work, client_of(pbegin, self._job), *barrier)
        )


class PartsInSteps(beam.PTransform):
    """A stage whose parts are done in steps (``part.spec["step"]``), each once those before are complete."""

    def __init__(self, job: Job, todo: Sequence[Planned]) -> None:
        super().__init__()
        self._job = job
        self._todo = todo

    def _step(self, step: str) -> list[Planned]:
        return [part for part in self._todo if part.spec["step"] == step]


def _do(part: Any, job: Job, work: Work, client: Client | None, *_after: Any) -> Iterator[Any]:
    if client is not None:
        client.greet(job)
    yield from work(job, part) or ()
    _give_back()


def _give_back() -> None:
    """Returns to the system what the work has freed: kept, the most of every step would add up."""
    pa.default_memory_pool().release_unused()
    if _trim is not None:
        _trim(0)


_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's


def run(transform: beam.PTransform, *, job: Job, plan: Plan, options: Sequence[str]) -> None:
    """Runs one stage's pipeline to its end.

    Raises:
        InputError: A part's work found its input wrong.
        RunError: The pipeline failed; the message is the cause's, the whole trace is in the run's folder.
    """
    _hush()
    name = f"webtext-{job.stage.name}-{uuid.uuid4().hex[:12]}"
    try:
        resolved = pipeline_options([*options, f"--job_name={name}"], plan)
        pipeline = beam.Pipeline(_runner(resolved), options=resolved)
        shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)  # unused; a kill would leave it
        _ = pipeline | job.stage.name.capitalize() >> transform
        with _deaths_noticed(job):
            state = finish(pipeline, job) if _is_elsewhere(resolved) else pipeline.run().wait_until_finish()
    except (InputError, RunError) as error:
        raise type(error)(_as_raised(str(error))) from error
    except Exception as error:
        if _as_raised(last_words(str(error))) == "KeyboardInterrupt":  # a worker in this thread has caught it
            raise KeyboardInterrupt from error
        raise _cause(error, job) from error
    if state not in (None, PipelineState.DONE):
        raise RunError(f"{job.stage.name}: the pipeline ended in state {state}; see the runner's log.")


def _hush() -> None:
    """A failure is told once, by its cause, and not once more by all who have met it."""
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    logging.getLogger("PrismJobServer").disabled = True
    logging.getLogger().addFilter(_is_not_beams)  # Beam logs what engines say as nobody in particular
    # A worker prints each failure's trace before it reports it. Where that cannot be written, the disk of the
    # log being full too, it never reports, and the runner waits for ever.
    vars(sdk_worker)["print"] = _print_nothing


def _print_nothing(*_: object, **__: object) -> None:
    """In the place of ``print``."""


def _is_not_beams(record: logging.LogRecord) -> bool:
    return "/apache_beam/" not in record.pathname


def _is_elsewhere(options: PipelineOptions) -> bool:
    return options.view_as(StandardOptions).runner not in (None, _LOCAL)


def check_options(options: Sequence[str], run: Folder) -> None:
    """Raises InputError for options that Beam would refuse or, silently, ignore, or that no build can use.

    What a runner other than the local one may understand beyond Beam's own is left to it.
    """
    for before, word in itertools.pairwise(["=", *options]):
        if not word.startswith("-") and ("=" in before or not before.startswith("-")):
            raise InputError(
                f"{word}: is no option. webtext build takes one settings file; Beam's own options stand "
                "behind --, as in -- --runner=FlinkRunner."
            )
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):  # its whole help
            parsed = PipelineOptions(list(options))
            known = parsed.get_all_options()
    except SystemExit:  # argparse's
        problem = said.getvalue().rpartition("error: ")[2].strip() or "they ask for help, and nothing else"
        raise InputError(f"Beam refuses its options (those after --): {problem}") from None
    check_runner(known, run)
    try:
        runner = create_runner(known["runner"] or _LOCAL)
    except (ValueError, ImportError) as error:
        raise InputError(f"--runner={known['runner']}: {error}") from error
    unknown = parsed.get_all_options(retain_unknown_options=True).keys() - known.keys()
    if unknown and known["runner"] in (None, _LOCAL):
        names = ", ".join(f"--{name}" for name in sorted(unknown))
        raise InputError(f"Beam has no such option: {names}. What follows -- goes to Beam.")
    if isinstance(runner, PortableRunner):
        check_engine(parsed, options)


def pipeline_options(options: Sequence[str], plan: Plan) -> PipelineOptions:
    """Beam's options: what the user gave, else the local runner with as much of the machine as pays."""
    resolved = PipelineOptions(list(options))
    if not _is_elsewhere(resolved):
        workers = resolved.view_as(WorkerOptions)
        workers.default_sdk_harness_log_level = workers.default_sdk_harness_log_level or "CRITICAL"
    if resolved.view_as(StandardOptions).runner is not None:
        if is_portable(resolved):
            set_defaults(resolved, options)
        return resolved
    resolved.view_as(StandardOptions).runner = _LOCAL
    direct = resolved.view_as(DirectOptions)
    cores = os.cpu_count() or 1
    if plan.processes is not None:
        if plan.processes > 1:
            direct.direct_running_mode = "multi_processing"
        direct.direct_num_workers = plan.processes
    elif plan.waits and len(plan.parts) > 1:
        direct.direct_running_mode = "multi_threading"
        direct.direct_num_workers = min(len(plan.parts), max(4, cores))
    elif len(plan.parts) > 1 and cores > 1 and plan.work_s > PROCESSES_PAY_FROM_S:
        direct.direct_running_mode = "multi_processing"
        direct.direct_num_workers = min(len(plan.parts), cores)
    return resolved


def _runner(options: PipelineOptions) -> FnApiRunner | None:
    """The local runner with threads or processes of ours; None where the options' own is as it should be.

    Left to itself that runner sends on what its threads have put out at every second, and Beam 2.77 does so
    without a look at whether an element is whole: some are torn, and the next worker reads nonsense. Its
    processes tell everything that they do, and of what fails the whole trace, on standard error.
    """
    direct = options.view_as(DirectOptions)
    if _is_elsewhere(options) or direct.direct_running_mode not in {"multi_threading", "multi_processing"}:
        return None
    by_size_alone = EmbeddedPythonGrpcEnvironment(data_buffer_time_limit_ms=-1)
    ignores = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    # Python would trace a Ctrl-C that comes while it starts; one that is ignored then, the build tells of.
    quiet = SubprocessSDKEnvironment.from_command_string(
        f"trap '' INT; exec {shlex.quote(sys.executable)} -c {shlex.quote(_QUIET_WORKER)} {int(ignores)}"
    )
    environment = by_size_alone if direct.direct_running_mode == "multi_threading" else quiet
    direct.direct_running_mode = "in_memory"  # of which the environment makes threads or processes
    return FnApiRunner(default_environment=environment)


class _DeathError(KeyboardInterrupt):
    """In the main thread: a worker process has died. Beam lets it through, as it does a Ctrl-C."""


# A signal wakes the main thread, which waits for a lock. Shells have what they start with & ignore SIGINT;
# this one nobody does, and where it comes too late, it does nothing.
_WAKING = signal.SIGURG

_INTERRUPTED = str(int(-signal.SIGINT))  # the status of a process that SIGINT has ended


@contextlib.contextmanager
def _deaths_noticed(job: Job) -> Iterator[None]:
    """Has the death of a worker process end the run: the local runner waits for its answer for ever.

    A worker that SIGINT has ended was interrupted, and so is the run: a terminal's Ctrl-C reaches all.

    Raises:
        RunError: One has died, of a want of memory for example.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    main = threading.get_ident()
    died: list[str] = []
    before = threading.excepthook

    def notice(what: threading.ExceptHookArgs) -> None:
        if died or isinstance(what.exc_value, grpc.RpcError):  # what follows of it is of no use to anybody
            return
        if "Worker subprocess exited" not in str(what.exc_value):
            before(what)
            return
        died.append(str(what.exc_value).rpartition(" ")[2])
        signal.pthread_kill(main, _WAKING)

    def wake(*_: object) -> None:
        # Where it is on its way out already, it is not to be torn from its cleaning up.
        if died and not isinstance(sys.exc_info()[1], KeyboardInterrupt):
            raise KeyboardInterrupt if died[0] == _INTERRUPTED else _DeathError

    threading.excepthook = notice
    woken_before = signal.signal(_WAKING, wake)
    try:
        yield
    except _DeathError:
        raise RunError(
            f"{job.stage.name} stopped: a worker process was ended by something else (status {died[0]}; -9 "
            "often is the system's, for want of memory). Run the same command again: it goes on from what is "
            "there."
        ) from None
    finally:
        signal.signal(_WAKING, woken_before)
        if not died:
            threading.excepthook = before


_QUIET_WORKER = """
import signal, sys
if sys.argv.pop(1) == "0":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no trace: the build tells of a Ctrl-C
import ctypes, logging
prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux's
if prctl:
    prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no build leaves a worker behind, however it ends
logging.disable(logging.CRITICAL)
from apache_beam.runners.worker import sdk_worker, sdk_worker_main
sdk_worker.print = lambda *_, **__: None
sdk_worker_main.main(sys.argv)
"""


_OURS = re.compile(
    r"pipeline\.errors\.(InputError|RunError): (.*?)(?: \[while running '|\n(?:\n|Traceback)|\Z)", re.S
)


_ERRNO = re.compile(r"\[[Ee]rrno (\d+)\]")  # as Python says it, and as Arrow does


def _as_raised(message: str) -> str:
    """An error's message without what Beam adds to it."""
    return message.partition(" [while running '")[0]


def _cause(error: Exception, job: Job) -> Exception:
    """The exception to show: our own if one stands in the runner's trace, else its last line."""
    text = str(error)
    ours = _OURS.search(text)
    if ours:
        return (InputError if ours.group(1) == "InputError" else RunError)(ours.group(2).strip())
    refused = _ERRNO.findall(text)
    told = refusal(int(refused[-1])) if refused else None
    if told:
        return RunError(f"{job.stage.name} stopped: {told}")
    job.run.write(f"{job.stage.name}-error.txt", (text + "\n").encode())
    said = meaning(text)
    lines = [
        f"{job.stage.name} failed: {_as_raised(last_words(text)) or repr(error)}",
        *([f"It seems that {said}."] if said else []),
        f"The whole trace: {job.run.uri}/{job.stage.name}-error.txt",
    ]
    return RunError("\n".join(lines))
