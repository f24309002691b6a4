"""Where a benchmark keeps what it has made: a folder that was named, for the next time, or one that goes."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def kept_folder(given: Path | None, name: str) -> Iterator[Path]:
    """The folder that was named, made if need be; without one, a temporary one for the benchmark ``name``."""
    if given:
        given.mkdir(parents=True, exist_ok=True)
        yield given
    else:
        with tempfile.TemporaryDirectory(prefix=f"webtext-{name}-") as made:
            yield Path(made)
