"""Runners that cannot do a build, and options without which they cannot: told before any work."""

import sys
from pathlib import Path

import pytest

from pipeline.beam import check_options
from pipeline.errors import InputError
from pipeline.runs import Folder
from tests.command import webtext

DATAFLOW = [
    "--runner=DataflowRunner",
    "--project=a-project",
    "--region=europe-west4",
    "--temp_location=gs://a-bucket/temp",
    "--sdk_container_image=europe-west4-docker.pkg.dev/a-project/images/webtext",
]


@pytest.fixture
def remote() -> Folder:
    """A run directory that is not on this machine; nothing asks for what is in it."""
    return Folder("s3://a-bucket/runs/one?region=eu-central-1")


def refusal(options: list[str], run: Folder) -> str:
    with pytest.raises(InputError) as caught:
        check_options(options, run)
    return str(caught.value)


@pytest.mark.parametrize(
    ("runner", "reason"),
    [
        ("DaskRunner", "left an empty output, without an error"),
        ("dask", "left an empty output"),
        ("apache_beam.runners.dask.dask_runner.DaskRunner", "left an empty output"),
        ("DirectRunner", "one to download"),
        ("direct", "this machine's cores"),
        ("SwitchingDirectRunner", "one to download"),
        ("InteractiveRunner", "for notebooks"),
    ],
)
def test_runners_that_cannot_are_refused_by_name(run: Folder, runner: str, reason: str) -> None:
    message = refusal([f"--runner={runner}"], run)
    assert f"--runner={runner} is refused" in message
    assert reason in message


def test_options_that_ask_for_help_build_nothing(run: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert "they ask for help" in refusal(["--help"], run)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("runner", ["FnApiRunner", "PrismRunner", "FlinkRunner"])
def test_others_are_not(run: Folder, runner: str) -> None:
    java = f"--job_server_java_launcher={sys.executable}"  # which is there, whether Java is or not
    check_options([f"--runner={runner}", *([java] if runner == "FlinkRunner" else [])], run)


@pytest.mark.parametrize(
    "option",
    [
        "--template_location=gs://a-bucket/template",
        "--no_wait_until_finish",
        "--dry_run=true",
        "--output_executable_path=job.jar",
    ],
)
def test_a_job_that_is_not_run_to_its_end_is_refused(run: Folder, option: str) -> None:
    message = refusal(["--runner=FlinkRunner", option], run)
    assert message.startswith(f"{option.partition('=')[0]}: each stage's job must be run to its end")


@pytest.mark.parametrize("place", range(1, len(DATAFLOW)))
def test_what_dataflow_needs_is_asked_for(remote: Folder, place: int) -> None:
    name = DATAFLOW[place].partition("=")[0]
    message = refusal(DATAFLOW[:place] + DATAFLOW[place + 1 :], remote)
    assert message.startswith(f"--runner=DataflowRunner needs {name} as well")


def test_dataflow_cannot_reach_this_disk(run: Folder) -> None:
    message = refusal(DATAFLOW, run)
    assert run.uri in message
    assert "--run gs://BUCKET/runs/NAME" in message


def test_dataflow_needs_google_s_libraries(remote: Folder) -> None:
    """Which the tests' environment has not; tests/engines/test_dataflow.py has them."""
    assert "pip install 'apache-beam[gcp]'" in refusal(DATAFLOW, remote)


def test_the_command_says_it_and_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "RS").touch()
    (tmp_path / "webtext.toml").write_text('[collect]\ndumps = ["RS"]\n')
    answer = webtext("build", "webtext.toml", "--until", "link", "--", "--runner=DaskRunner", cwd=tmp_path)
    assert answer.returncode == 2
    assert "DaskRunner is refused" in answer.stderr
    assert not (tmp_path / "runs").exists()
