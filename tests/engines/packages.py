"""What other engines need besides the environment, kept in a cache outside the checkout."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

BEAM = version("apache-beam")


def prism() -> Path:
    """Beam's Prism, built from the Go module of Beam's own version: minutes, once."""
    return _whole(f"prism-{BEAM}", _build_prism) / "prism"


def google_libraries() -> Path:
    """A folder for PYTHONPATH: what ``apache-beam[gcp]`` brings that the environment has not."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return _whole(f"google-{BEAM}-python{python}", _install_google)


def _build_prism(folder: Path) -> None:
    module = f"github.com/apache/beam/sdks/v2/go/cmd/prism@v{BEAM}"
    _run(["go", "install", module], GOBIN=str(folder))


def _install_google(folder: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    found = _run([*pip, "--dry-run", "--report=-", f"apache-beam[gcp]=={BEAM}"])
    missing = [one["metadata"] for one in json.loads(found)["install"]]
    names = [f"{one['name']}=={one['version']}" for one in missing]
    _run([*pip, "--no-deps", f"--target={folder}", *names])


def _whole(name: str, fill: Callable[[Path], None]) -> Path:
    """A folder of the cache that is there whole or not at all."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "webtext"
    folder = cache / name
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            made = Path(temporary) / name
            made.mkdir()
            fill(made)
            made.rename(folder)
    return folder


def _run(command: list[str], **environment: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout
