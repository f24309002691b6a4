"""A real S3 server on loopback (moto's), in a process of its own, spoken to over HTTP."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pyarrow.fs
import pytest

_STARTS_S = 30.0

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "a-key",
    "AWS_SECRET_ACCESS_KEY": "its-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is up.

    Attributes:
        address: Its host and port.
        log: Where it writes a line a request.
        process: It.
    """

    address: str
    log: Path
    process: subprocess.Popen[bytes]

    def make_bucket(self, name: str) -> None:
        """Makes a bucket."""
        with urlopen(Request(f"http://{self.address}/{name}", method="PUT")):
            pass

    def uri(self, path: str) -> str:
        """The URI of what is at ``bucket/key``."""
        return f"s3://{path}?endpoint_override={self.address}&scheme=http"

    def files(self, path: str) -> dict[str, bytes]:
        """Every object below ``bucket/key``, by its name there: asked by itself, not by our code."""
        store = self.store()
        selector = pyarrow.fs.FileSelector(path, recursive=True, allow_not_found=True)
        found = {}
        for info in store.get_file_info(selector):
            if info.is_file:
                with store.open_input_stream(info.path, compression=None) as stream:
                    found[info.path.removeprefix(f"{path}/")] = stream.read()
        return found

    def store(self) -> pyarrow.fs.S3FileSystem:
        """What pyarrow itself opens it with."""
        return pyarrow.fs.S3FileSystem(endpoint_override=self.address, scheme="http", region="us-east-1")

    def know_keys(self, num_requests: float) -> None:
        """Takes any key for so many requests more, and then none."""
        data, kind = str(num_requests).encode(), {"Content-Type": "text/plain"}
        with urlopen(Request(f"http://{self.address}/moto-api/reset-auth", data, kind)):
            pass

    def requests(self) -> list[str]:
        """The requests so far, as ``PUT /bucket/key?…``."""
        return re.findall(r'"([A-Z]+ [^ ]+) HTTP/', self.log.read_text())


@contextmanager
def serving(log: Path, **environment: str) -> Iterator[Server]:
    """Runs a server until the block ends; this process and its children have a key for it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
                stdout=subprocess.DEVNULL,
                stderr=file,
                env={**os.environ, **environment},
            )
        try:
            yield Server(_address(process, log), log, process)
        finally:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _STARTS_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"Running on http://([\d.:]+)", log.read_text())
        if found:
            return found[1]
        time.sleep(0.02)
    raise AssertionError(f"moto's server has not started: {log.read_text()}")
