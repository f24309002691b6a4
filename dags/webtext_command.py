"""A task that is one ``webtext`` command, and what the two DAGs have in common.

Nothing of webtext is imported: the command is a program on the workers' PATH, and Airflow lives in an
environment of its own.
"""

import json
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from airflow.sdk import Asset, BaseOperator, Context, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException

CORPUS = Asset("webtext_corpus")
"""A finished corpus. Its events say where: the run directory is their extra's ``run``."""

RETRIES = {"retries": 3, "retry_delay": timedelta(minutes=5)}

_BAD_INPUT = 2  # webtext's exit status for input or settings that are wrong, however often they are tried


def settings_param() -> Param:
    """The settings file; all relative paths are relative to its folder."""
    return Param(
        os.environ.get("WEBTEXT_SETTINGS", "/srv/webtext/webtext.toml"),
        type="string",
        pattern="^/",
        description="The settings file, where the workers find it. The commands run in its folder.",
    )


class WebtextOperator(BaseOperator):
    """Runs ``webtext`` in the folder of the settings file; with ``--json``, what it prints becomes the XCom.

    A task that is tried again goes on from the parts that are there. Where the input or the settings are
    wrong it fails at once: another try would find the same.

    Args:
        arguments: The command's arguments, from the task's context. No shell and no template reads them.
        rest: As every operator's.
    """

    def __init__(self, *, arguments: Callable[[Context], Sequence[str]], **rest: Any) -> None:
        super().__init__(**rest)
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None

    def execute(self, context: Context) -> Any:
        """Runs the command to its end; what it tells people goes to the task's log as it comes."""
        command = ["webtext", *self._arguments(context)]
        folder = Path(context["params"]["settings"]).parent
        self.log.info("in %s: %s", folder, shlex.join(command))
        with tempfile.TemporaryFile("w+", encoding="utf-8") as answer:
            status = self._run(command, folder, answer if "--json" in command else None)
            if status:
                failure = AirflowFailException if status == _BAD_INPUT else AirflowException
                raise failure(
                    f"webtext {command[1]} ended with exit status {status}: see its messages above."
                )
            answer.seek(0)
            said = answer.read()
        # NaN is no JSON to Airflow.
        return json.loads(said, parse_constant=lambda _: None) if said else None

    def _run(self, command: list[str], folder: Path, answer: IO[str] | None) -> int:
        """The command's exit status; its standard output goes to ``answer``, or to the log with the rest."""
        try:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if answer is None else answer,
                stderr=subprocess.STDOUT if answer is None else subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,  # so that on_kill reaches its children too
            )
        except OSError as error:
            raise AirflowFailException(
                f"webtext cannot be started in {folder}: {error}. The worker needs the command on its PATH, "
                "and that folder."
            ) from error
        with self._process as process:
            for line in process.stdout or process.stderr or ():
                self.log.info(line.rstrip())
        return process.returncode

    def on_kill(self) -> None:
        """Ends the command with the task, so that it does not hold the run directory against the next try."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
