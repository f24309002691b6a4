"""Running a stage's pipeline: the local runner by default, any other by its options."""

import contextlib
import ctypes
import io
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.runners.runner import PipelineState, create_runner

from pipeline.errors import InputError, RunError
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
        self._job = job
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
            | "Work" >> beam.FlatMap(_do, self._job, self._work, *barrier)
        )


class PartsInSteps(beam.PTransform):
    """A stage whose parts are done in steps (``part.spec["step"]``), each once those before are complete."""

    def __init__(self, job: Job, todo: Sequence[Planned]) -> None:
        super().__init__()
        self._job = job
        self._todo = todo

    def _step(self, step: str) -> list[Planned]:
        return [part for part in self._todo if part.spec["step"] == step]


def _do(part: Any, job: Job, work: Work, *_after: Any) -> Iterator[Any]:
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
    # A failure is shown once, by its cause, and not once more for each worker that met it.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    name = f"webtext-{job.stage.name}-{int(time.time())}"
    resolved = pipeline_options([*options, f"--job_name={name}"], plan)
    try:
        pipeline = beam.Pipeline(options=resolved)
        _ = pipeline | job.stage.name.capitalize() >> transform
        result = pipeline.run()
        state = result.wait_until_finish()
    except (InputError, RunError) as error:
        raise type(error)(_as_raised(str(error))) from error
    except Exception as error:
        raise _cause(error, job) from error
    if state not in (None, PipelineState.DONE):
        raise RunError(f"{job.stage.name}: the pipeline ended in state {state}; see the runner's log.")


def check_options(options: Sequence[str]) -> None:
    """Raises InputError for options that Beam would refuse or, silently, ignore.

    What a runner other than the local one may understand beyond Beam's own is left to it.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed = PipelineOptions(list(options))
            known = parsed.get_all_options()
    except SystemExit:  # argparse's
        problem = said.getvalue().strip().splitlines()[-1].partition("error: ")[2]
        raise InputError(f"Beam refuses its options (those after --): {problem}") from None
    try:
        create_runner(known["runner"] or _LOCAL)
    except (ValueError, ImportError) as error:
        raise InputError(f"--runner={known['runner']}: {error}") from error
    unknown = parsed.get_all_options(retain_unknown_options=True).keys() - known.keys()
    if unknown and known["runner"] in (None, _LOCAL):
        names = ", ".join(f"--{name}" for name in sorted(unknown))
        raise InputError(f"Beam has no such option: {names}. What follows -- goes to Beam.")


def pipeline_options(options: Sequence[str], plan: Plan) -> PipelineOptions:
    """Beam's options: what the user gave, else the local runner with as much of the machine as pays."""
    resolved = PipelineOptions(list(options))
    workers = resolved.view_as(WorkerOptions)
    workers.default_sdk_harness_log_level = workers.default_sdk_harness_log_level or "CRITICAL"
    if resolved.view_as(StandardOptions).runner is not None:
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


_OURS = re.compile(
    r"pipeline\.errors\.(InputError|RunError): (.*?)(?: \[while running '|\n(?:\n|Traceback)|\Z)", re.S
)


def _as_raised(message: str) -> str:
    """An error's message without what Beam adds to it."""
    return message.partition(" [while running '")[0]


def _cause(error: Exception, job: Job) -> Exception:
    """The exception to show: our own if one stands in the runner's trace, else its last line."""
    text = str(error)
    ours = _OURS.search(text)
    if ours:
        return (InputError if ours.group(1) == "InputError" else RunError)(ours.group(2).strip())
    job.run.write(f"{job.stage.name}-error.txt", (text + "\n").encode())
    last = _as_raised(text.strip().splitlines()[-1]) if text.strip() else repr(error)
    return RunError(
        f"{job.stage.name} failed: {last}\nThe whole trace: {job.run.uri}/{job.stage.name}-error.txt"
    )
