"""A real Airflow in an environment and a home of its own; what is installed stays in the cache."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "dags" / "requirements.lock"

_PATIENCE_S = 900.0


def environment() -> Path:
    """The folder with Airflow's ``bin``: installed as locked, once for each lock."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "webtext" / "airflow"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = LOCK.read_bytes()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed = folder / "installed.lock"
        if not installed.is_file() or installed.read_bytes() != wanted:
            venv.create(folder / "venv", clear=True, with_pip=True)
            python = str(folder / "venv" / "bin" / "python")
            wants = ["--quiet", "--no-deps", "--require-hashes", "--requirement", str(LOCK)]
            subprocess.run([python, "-m", "pip", "install", *wants], check=True)
            installed.write_bytes(wanted)
    return folder / "venv"


@dataclass(frozen=True, slots=True)
class Airflow:
    """An Airflow whose DAGs are the checkout's, and whose workers have the checkout's ``webtext``."""

    python: Path
    variables: Mapping[str, str]

    def run(self, *arguments: str, timeout_s: float = _PATIENCE_S) -> str:
        """What ``airflow`` with these arguments prints; fails where it does."""
        answer = self.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out: str
        out, said = answer.communicate(timeout=timeout_s)
        assert answer.returncode == 0, f"airflow {arguments}:\n{out[-5000:]}\n{said[-5000:]}"
        return out

    def start(self, *arguments: str, **options: Any) -> "subprocess.Popen[Any]":
        """Starts ``airflow`` with these arguments in a process group of its own."""
        command = [str(self.python), "-m", "airflow", *arguments]
        return subprocess.Popen(command, env=dict(self.variables), start_new_session=True, **options)


def at_home(home: Path, **variables: str) -> Airflow:
    """An Airflow with a new database, below an empty folder."""
    found = environment() / "bin"
    programs = home / "bin"
    programs.mkdir(parents=True)
    command = programs / "webtext"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m webtext "$@"\n')
    command.chmod(0o755)
    settled = {
        "PATH": f"{programs}:{found}:{os.environ['PATH']}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        # A busy machine is no reason to fail, and then to wait for the next try.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "PYTHONDONTWRITEBYTECODE": "1",
        **variables,
    }
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    airflow = Airflow(found / "python", kept | settled)
    airflow.run("db", "migrate")
    return airflow


@dataclass(frozen=True, slots=True)
class Served:
    """A whole Airflow at work, and where its API is."""

    airflow: Airflow
    address: str

    def ask(self, path: str, method: str = "GET", **body: Any) -> dict[str, Any]:
        """What the API answers: ``ask("/dags/NAME", "PATCH", is_paused=False)``."""
        with urllib.request.urlopen(f"{self.address}/auth/token") as reply:  # noqa: S310 (loopback)
            token = json.load(reply)["access_token"]
        request = urllib.request.Request(  # noqa: S310 (loopback)
            f"{self.address}/api/v2{path}",
            json.dumps(body).encode() if body else None,
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request) as reply:  # noqa: S310 (loopback)
            answer: dict[str, Any] = json.load(reply)
        return answer

    def answers(self) -> bool:
        """Whether the API is there."""
        try:
            self.ask("/dags")
        except OSError:
            return False
        return True


@contextmanager
def served(airflow: Airflow, log: Path) -> Iterator[Served]:
    """A whole Airflow on loopback: scheduler, API server, DAG processor and triggerer, as processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    variables = {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
    }
    whole = Airflow(airflow.python, {**airflow.variables, **variables})
    with log.open("wb") as file:
        process = whole.start("standalone", stdout=file, stderr=file)
        try:
            yield Served(whole, address)
        finally:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
