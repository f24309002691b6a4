"""What other engines need besides the environment, kept in a cache outside the checkout."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from deploy.flink.packages import cache, whole_folder

BEAM = version("apache-beam")


def prism() -> Path:
    """Beam's Prism, built from the Go module of Beam's own version: minutes, once."""
    return _cached(f"prism-{BEAM}", _build_prism) / "prism"


def google_libraries() -> Path:
    """A folder for PYTHONPATH: what ``apache-beam[gcp]`` brings that the environment has not."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return _cached(f"google-{BEAM}-python{python}", _install_google)


def _build_prism(folder: Path) -> None:
    module = f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{BEAM}"
    _run(["go", "install", module], GOBIN=str(folder))


def _install_google(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    found = _run([*pip, "--dry-run", "--report=-", f"apache-beam[gcp]=={BEAM}"])
    missing = [one["metadata"] for one in json.loads(found)["install"]]
    names = [f"{one['name']}=={one['version']}" for one in missing]
    _run([*pip, "--no-deps", f"--target={folder}", *names])


def _cached(name: str, fill: Callable[[Path], None]) -> Path:
    return whole_folder(cache().parent / name, fill)


def _run(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout
