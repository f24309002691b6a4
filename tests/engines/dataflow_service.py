"""A stand-in for Dataflow on this machine: its REST service, and workers that run what jobs describe.

What Google's client library sends is taken as the service takes it: the job as JSON, the pipeline from where
it was staged. Each pipeline is run by ``dataflow_worker`` in a process of its own, in place of the machines
that would start the job's image.
"""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_ROOT = Path(__file__).resolve().parents[2]
_JOBS = re.compile(r"/v1b3/projects/(?P<project>[^/]+)/locations/(?P<region>[^/]+)/jobs")


@dataclass(slots=True)
class SentJob:
    """A job as it was asked for, where, the process that does it, and what its client did about it."""

    id: str
    path: str
    asked: dict[str, Any]
    process: subprocess.Popen[bytes]
    looked_at: bool = False
    cancelled: bool = False

    @property
    def pipeline(self) -> Path:
        """Where the client has staged the pipeline."""
        return _staged(self.asked)

    @property
    def log(self) -> Path:
        """What the worker says."""
        return _log(self.asked)

    def answer(self) -> dict[str, Any]:
        """The job as the service tells it."""
        status = self.process.poll()
        state = "RUNNING" if status is None else "FAILED" if status else "DONE"
        if self.cancelled:
            state = "CANCELLED"
        return {"id": self.id, "name": self.asked["name"], "currentState": f"JOB_STATE_{state}"}

    def look(self) -> dict[str, Any]:
        """The same, to a client that asks."""
        self.looked_at = True
        return self.answer()

    def cancel(self) -> dict[str, Any]:
        """Ends it."""
        self.cancelled = True
        self.process.kill()
        self.process.wait()
        return self.answer()

    def messages(self) -> dict[str, Any]:
        """What there is to say of it: why it has failed."""
        if not self.process.poll():
            return {}
        message = {
            "id": "1",
            "time": "2026-01-01T00:00:00Z",
            "messageText": self.log.read_text("utf-8"),
            "messageImportance": "JOB_MESSAGE_ERROR",
        }
        return {"jobMessages": [message]}


def _staged(asked: dict[str, Any]) -> Path:
    return Path(asked["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"])


def _log(asked: dict[str, Any]) -> Path:
    return _staged(asked).with_name(f"{asked['name']}.log")


@dataclass(slots=True)
class Service:
    """The service: its address, and the jobs that it was sent."""

    port: int = 0
    jobs: list[SentJob] = field(default_factory=list)

    def create(self, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Begins a job."""
        command = [sys.executable, "-m", "tests.engines.dataflow_worker", str(_staged(asked))]
        with _log(asked).open("wb") as log:
            process = subprocess.Popen(command, cwd=_ROOT, stdout=log, stderr=log)
        self.jobs.append(SentJob(str(len(self.jobs)), path, asked, process))
        return self.jobs[-1].answer()

    def get(self, path: str) -> dict[str, Any]:
        """A job, or its messages."""
        number, _, what = path.removeprefix("/").partition("/")
        job = self.jobs[int(number)]
        return {"": job.look, "messages": job.messages}[what]()

    def update(self, path: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Cancels a job: nothing else is asked for."""
        assert asked["requestedState"] in (5, "JOB_STATE_CANCELLED"), asked
        return self.jobs[int(path.removeprefix("/"))].cancel()


@contextmanager
def dataflow() -> Iterator[Service]:
    """The service until the block ends; what it has begun is ended with it."""
    service = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._answer(service.create(urlsplit(self.path).path, self._asked()))

        def do_PUT(self) -> None:
            self._answer(service.update(self._job(), self._asked()))

        def do_GET(self) -> None:
            self._answer(service.get(self._job()))

        def _job(self) -> str:
            return _JOBS.sub("", urlsplit(self.path).path)

        def _asked(self) -> Any:
            return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, value: dict[str, Any]) -> None:
            data = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        for job in service.jobs:
            job.process.kill()
            job.process.wait()
