"""A Flink cluster on this machine, of separate processes: a job manager, task managers, Beam's job server.

    python -m deploy.flink.local [--task-managers 2] [--slots 1]

It says how to build on it once it is healthy, and takes down what it started when it is interrupted.
"""

import argparse
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from deploy.flink.packages import PackageError, Packages, fetch

_HEALTHY_WITHIN_S = 90.0
_ENDS_WITHIN_S = 10.0
_INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# How Flink's own program marks the lines that are its answer.
_RESULT = "BASH_JAVA_UTILS_EXEC_RESULT:"

_LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.file.ref = File
appender.file.name = File
appender.file.type = FILE
appender.file.fileName = ${sys:log.file}
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{HH:mm:ss.SSS} %-5p %c{1} %m%n
"""

_TIMES = (
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)


class ClusterError(Exception):
    """The cluster did not become healthy."""


class Cluster:
    """The processes of a cluster, each with its log in a folder.

    Attributes:
        processes: By name: ``jobmanager``, ``taskmanager-0``, ``jobserver``.

    Args:
        folder: Where it keeps its configuration, its logs and its temporary files.
        packages: What it is made of.
        num_slots: How much each task manager does at once.
    """

    def __init__(self, folder: Path, packages: Packages, num_slots: int = 1) -> None:
        self._folder = folder
        self._packages = packages
        self._num_slots = num_slots
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._rest, self._rpc, self._blob, self._jobs = free_ports(4)

    @property
    def flink_master(self) -> str:
        """Where Flink's REST service answers."""
        return f"localhost:{self._rest}"

    @property
    def job_endpoint(self) -> str:
        """Where Beam's job server answers."""
        return f"localhost:{self._jobs}"

    @property
    def job_server_jar(self) -> Path:
        """The job server, for a client that starts its own (--runner=FlinkRunner)."""
        return self._packages.job_server

    def options(self, parallelism: int) -> list[str]:
        """What a build on it takes behind ``--``."""
        return [
            "--runner=PortableRunner",
            f"--job_endpoint={self.job_endpoint}",
            f"--flink_master={self.flink_master}",
            f"--parallelism={parallelism}",
        ]

    def start(self, num_task_managers: int) -> None:
        """Starts everything, and waits until all task managers and the job server answer.

        Raises:
            ClusterError: One of them ended, or does not answer in time.
        """
        (self._folder / "log4j.properties").write_text(_LOGGING, "utf-8")
        main = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        conf = self._configure("jobmanager")
        self._start_flink(
            "jobmanager", ["-Xmx768m"], [main, "--configDir", str(conf), "--executionMode", "cluster"]
        )
        for number in range(num_task_managers):
            self.start_task_manager(f"taskmanager-{number}")
        self.start_job_server("jobserver", self.flink_master, self._jobs)
        self.wait(num_task_managers)

    def start_task_manager(self, name: str) -> None:
        """Starts one more task manager."""
        conf = self._configure(name)
        flags, settings = self._memory(conf)
        main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        self._start_flink(name, flags, [main, "--configDir", str(conf), *settings])

    def start_job_server(self, name: str, flink_master: str, port: int) -> None:
        """Starts a job server in front of a Flink."""
        java = ["java", "-Xmx512m", *_TIMES, "-jar", str(self._packages.job_server)]
        ports = ["--job-port", str(port), "--artifact-port", "0", "--expansion-port", "0"]
        folder = ["--artifacts-dir", str(self._folder / "artifacts")]
        self._start(name, [*java, "--flink-master", flink_master, *ports, *folder])

    def ask(self, path: str, method: str = "GET") -> Any:
        """What Flink's REST service answers, read as JSON; OSError where it does not."""
        request = urllib.request.Request(f"http://{self.flink_master}{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.loads(answer.read() or b"{}")

    def wait(self, num_task_managers: int) -> None:
        """Waits until so many task managers and the job server answer.

        Raises:
            ClusterError: A process ended, or does not answer in time.
        """
        deadline = time.monotonic() + _HEALTHY_WITHIN_S
        while missing := self._missing(num_task_managers):
            for name, process in self.processes.items():
                if process.poll() is not None:
                    said = self._last_words(name)
                    raise ClusterError(f"{name} ended with status {process.returncode}:\n{said}")
            if time.monotonic() > deadline:
                raise ClusterError(f"{missing} did not answer within {_HEALTHY_WITHIN_S:.0f} s.")
            time.sleep(0.3)

    def stop(self) -> None:
        """Ends what was started, and what that has started: each has a process group of its own."""
        for process in self.processes.values():
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + _ENDS_WITHIN_S
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            _signal(process, signal.SIGKILL)  # its workers too, which outlive a task manager that was killed
            process.wait()

    def _last_words(self, name: str) -> str:
        """The ends of what a process has printed and logged."""
        files = [self._folder / f"{name}.log", self._folder / f"{name}.out"]
        texts = [file.read_text("utf-8", "replace")[-2000:] for file in files if file.exists()]
        return "\n".join(text.strip() for text in texts if text.strip())

    def _missing(self, num_task_managers: int) -> str:
        try:
            found = self.ask("/overview")["taskmanagers"]
        except (OSError, ValueError):
            return "the job manager"
        if found < num_task_managers:
            return f"{num_task_managers - found} of {num_task_managers} task managers"
        with socket.socket() as probe:
            return "the job server" if probe.connect_ex(("localhost", self._jobs)) else ""

    def _configure(self, name: str) -> Path:
        """Writes the configuration of a process into a folder of its own."""
        conf = self._folder / f"conf-{name}"
        conf.mkdir(parents=True, exist_ok=True)
        values = {
            "jobmanager.rpc.address": "localhost",
            "jobmanager.bind-host": "localhost",
            "jobmanager.rpc.port": self._rpc,
            "jobmanager.memory.process.size": "1200m",
            "taskmanager.host": "localhost",
            "taskmanager.bind-host": "localhost",
            "taskmanager.memory.process.size": "2g",
            # dedupe has dozens of shuffles, of which each takes its buffers at once.
            "taskmanager.memory.network.min": "512m",
            "taskmanager.memory.network.max": "512m",
            "taskmanager.network.sort-shuffle.min-buffers": 64,
            "taskmanager.numberOfTaskSlots": self._num_slots,
            # Beam's classes are loaded once, and a job's workers outlive its steps.
            "classloader.resolve-order": "parent-first",
            "parallelism.default": 1,
            "rest.port": self._rest,
            "rest.bind-address": "localhost",
            "blob.server.port": self._blob,
            "heartbeat.timeout": 15000,
            "heartbeat.interval": 3000,
            "restart-strategy.type": "fixed-delay",
            # A task manager that is lost may cost two: the first try may still be sent to it.
            "restart-strategy.fixed-delay.attempts": 5,
            "restart-strategy.fixed-delay.delay": "2s",
            "io.tmp.dirs": str(self._folder / "tmp"),
        }
        lines = "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())
        (conf / "config.yaml").write_text(lines, "utf-8")
        return conf

    def _memory(self, conf: Path) -> tuple[list[str], list[str]]:
        """A task manager's JVM flags and settings, which Flink computes from its configuration."""
        jars = f"{self._packages.flink}/*:{self._packages.memory}/*"
        main = "org.apache.flink.runtime.util.bash.BashJavaUtils"
        command = ["java", "-cp", jars, main, "GET_TM_RESOURCE_PARAMS", "--configDir", str(conf)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(f"Flink cannot divide a task manager's memory:\n{done.stderr.strip()[-2000:]}")
        found = [line.removeprefix(_RESULT) for line in done.stdout.splitlines() if line.startswith(_RESULT)]
        flags, settings = found
        return shlex.split(flags), shlex.split(settings)

    def _start_flink(self, name: str, flags: Sequence[str], main: Sequence[str]) -> None:
        logging = [
            f"-Dlog.file={self._folder / f'{name}.log'}",
            f"-Dlog4j.configurationFile={self._folder / 'log4j.properties'}",
        ]
        classes = f"{self._packages.flink}/*:{self._packages.beam}/*"
        self._start(name, ["java", *flags, *logging, "-cp", classes, *main])

    def _start(self, name: str, command: Sequence[str]) -> None:
        if name in self.processes:
            _signal(self.processes[name], signal.SIGKILL)  # what one of that name that has ended left behind
        with (self._folder / f"{name}.out").open("wb") as out:
            self.processes[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Lets nobody interrupt what takes things down; it is over in seconds."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def free_ports(num: int) -> list[int]:
    """Ports of this machine on which nothing listens."""
    probes = [socket.socket() for _ in range(num)]
    try:
        for probe in probes:
            probe.bind(("localhost", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@contextmanager
def running(folder: Path, num_task_managers: int = 2, num_slots: int = 1) -> Iterator[Cluster]:
    """A healthy cluster until the block ends; its logs are in the folder."""
    cluster = Cluster(folder, fetch(), num_slots)
    try:
        cluster.start(num_task_managers)
        yield cluster
    finally:
        with _undisturbed():
            cluster.stop()


def main() -> int:
    """Brings a cluster up, says how to use it, and takes it down on Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.flink.local", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--task-managers", type=int, default=2, help="how many (2)")
    parser.add_argument("--slots", type=int, default=1, help="how much each does at once (1)")
    given = parser.parse_args()
    for number in _INTERRUPTS:  # a closed terminal, too, takes the cluster down
        signal.signal(number, signal.default_int_handler)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="webtext-flink-") as folder,
            running(Path(folder), given.task_managers, given.slots) as cluster,
        ):
            options = shlex.join(cluster.options(given.task_managers * given.slots))
            print(f"Flink is up: http://{cluster.flink_master} (logs in {folder}). Build on it with\n")
            print(f"webtext build FILE -- {options}\n\nCtrl-C takes it down.", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("Flink is down.")
    except (PackageError, ClusterError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
