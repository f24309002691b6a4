"""The command as people type it."""

import subprocess
import sys
from pathlib import Path

_WEBTEXT = str(Path(sys.executable).with_name("webtext"))


def webtext(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs ``webtext`` with these arguments to its end."""
    return subprocess.run([_WEBTEXT, *arguments], capture_output=True, text=True, check=False, cwd=cwd)


def start_build(cwd: Path, *options: str) -> subprocess.Popen[bytes]:
    """Starts ``webtext build webtext.toml`` in a process group of its own, to be killed as a whole."""
    return subprocess.Popen(
        [_WEBTEXT, "build", "webtext.toml", *options],
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
