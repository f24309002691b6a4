"""A small disk of the drill's own: it can be filled to the last byte, and parts of it made read-only.

Where mounting is allowed it is a tmpfs; without, it is a folder, and what needs a mount is not tried.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BALLAST = "ballast"


@dataclass(frozen=True, slots=True)
class Disk:
    """The folder, and whether it is a file system of its own."""

    path: Path
    is_mounted: bool

    def fill(self, num_free: int) -> None:
        """Takes all room but so many bytes, or a page of them more."""
        with (self.path / _BALLAST).open("wb") as file:
            for _ in range(100):
                left = os.statvfs(self.path)
                size = max(1, left.f_bavail * left.f_frsize - num_free)
                with contextlib.suppress(OSError):  # the build has taken of it meanwhile: once more
                    os.posix_fallocate(file.fileno(), 0, size)
                    break

    def clear(self) -> None:
        """Gives the room back."""
        (self.path / _BALLAST).unlink(missing_ok=True)


@contextlib.contextmanager
def small_disk(path: Path, num_bytes: int) -> Iterator[Disk]:
    """A new disk of that size at a path."""
    path.mkdir(parents=True)
    is_mounted = _run("mount", "-t", "tmpfs", "-o", f"size={num_bytes},mode=755", "tmpfs", str(path))
    try:
        yield Disk(path, is_mounted)
    finally:
        if is_mounted:
            _run("umount", "--lazy", str(path))


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[bool]:
    """Lets nobody write below a folder for as long as the block lasts; gives whether that could be had.

    A mount binds root too. Without one the folders' permissions are taken, which bind everybody else.
    """
    if _run("mount", "--bind", str(folder), str(folder)):
        try:
            yield _run("mount", "-o", "remount,bind,ro", str(folder))
        finally:
            _run("umount", "--lazy", str(folder))
    elif os.geteuid():
        folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
        for one in folders:
            one.chmod(0o555)
        try:
            yield True
        finally:
            for one in folders:
                one.chmod(0o755)
    else:
        yield False


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
