"""Paths as people read them."""

from pathlib import Path


def near(path: str | Path) -> str:
    """A path relative to the current directory where it lies below it; else, and any URI, as it is."""
    text = str(path)
    here = Path.cwd()
    if "://" in text or not Path(text).is_relative_to(here):
        return text
    return str(Path(text).relative_to(here))
