"""What can be told of one of Beam's runners before any work: that it cannot do a build, or what it lacks."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from pipeline.errors import InputError
from pipeline.runs import Folder

_THIS_MACHINE = "Leave --runner out: the build then uses this machine's cores."
_DIRECT = (
    "it looks for another runner, first for one to download, and does the work anew where that one fails. "
    f"{_THIS_MACHINE}"
)

# By the last part of their name, without "Runner": Beam takes "Direct" for DirectRunner too.
_REFUSED: Mapping[str, str] = {
    "dask": "it passes over the steps that it does not know, and ends as if all were done: Beam 2.77 left an "
    "empty output, without an error. For several machines there are FlinkRunner and DataflowRunner "
    "(docs/engines.md).",
    "direct": _DIRECT,
    "switchingdirect": _DIRECT,
    "interactive": f"it is for notebooks. {_THIS_MACHINE}",
}

# With these, Beam describes a job, or begins one, and comes back as if it were done.
_NOT_TO_THE_END = ("dry_run", "no_wait_until_finish", "output_executable_path", "template_location")

_DATAFLOW_NEEDS = ("project", "region", "temp_location", "sdk_container_image")


def check_runner(options: Mapping[str, Any], run: Folder) -> None:
    """Raises InputError where a build with these options cannot come to its end.

    Args:
        options: Beam's options by name, those that were not given too.
        run: The run directory.
    """
    asked = options["runner"] or ""
    runner = asked.rpartition(".")[2].lower().removesuffix("runner")
    if runner in _REFUSED:
        raise InputError(f"--runner={asked} is refused: {_REFUSED[runner]}")
    for name in _NOT_TO_THE_END:
        if options[name]:
            raise InputError(
                f"--{name}: each stage's job must be run to its end, as the next is planned from what it has "
                "written. Leave the option out."
            )
    if runner == "dataflow":
        _check_dataflow(options, run)


def _check_dataflow(options: Mapping[str, Any], run: Folder) -> None:
    missing = [f"--{name}" for name in _DATAFLOW_NEEDS if not options[name]]
    if missing:
        raise InputError(
            f"--runner=DataflowRunner needs {', '.join(missing)} as well: docs/dataflow.md has all of it."
        )
    if run.is_local():
        raise InputError(
            f"--runner=DataflowRunner: Google's machines cannot reach {run.uri}. Give a run directory in a "
            "bucket: --run gs://BUCKET/runs/NAME."
        )
    if not _has_google():
        raise InputError(
            "--runner=DataflowRunner needs Google's client libraries, which are not installed: "
            "pip install 'apache-beam[gcp]' (docs/dataflow.md)."
        )


def _has_google() -> bool:
    try:
        return find_spec("google.cloud.dataflow") is not None
    except ModuleNotFoundError:  # google.cloud is not there either
        return False
