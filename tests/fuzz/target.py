"""What is fuzzed: a function that takes any bytes, and the valid inputs that damaged ones are made of."""

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Target:
    """A parser of foreign bytes.

    Attributes:
        run: Takes any bytes, and tells whether the parser took them. It raises only what a parser must not:
            the errors for people, where the parser may raise them, are a no.
        seeds: Makes some inputs that it takes.
        pieces: What the format gives meaning to.
        called: Its name, where that is not the function's.
    """

    run: Callable[[bytes], bool]
    seeds: Callable[[], tuple[bytes, ...]]
    pieces: tuple[bytes, ...] = ()
    called: str = ""

    @property
    def name(self) -> str:
        """As the command line knows it."""
        return self.called or self.run.__name__.replace("_", "-")


@cache
def scratch() -> Path:
    """A folder for parsers that want a file by its name; it goes with the process."""
    folder = tempfile.mkdtemp(prefix="webtext-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)  # noqa: S108
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def file_of(data: bytes, name: str) -> Path:
    """The bytes as a file of this name, in the place of the one before."""
    path = scratch() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def as_text(data: bytes) -> str:
    """Bytes as characters: what is not UTF-8 as lone surrogates, which are foreign too."""
    return data.decode("utf-8", "surrogateescape")
