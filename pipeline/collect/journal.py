"""Answers of an API kept page by page as they come, and the dump that is made of them in the end.

A line of the journal is a page: what listing it is of, whether it is the last, and its rows. A line that was
not written to its end does not count, so that an interruption costs one page.
"""

import json
import os
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pipeline.collect.dumps import zstd
from pipeline.errors import InputError


class Page(NamedTuple):
    """An answer: some rows of a listing, in a dump's shape, each with an id."""

    listing: str
    last: bool
    rows: list[dict[str, Any]]


def pages(journal: Path) -> Iterator[Page]:
    """The pages of a journal; none where there is no file.

    Raises InputError where a whole line is no page.
    """
    if not journal.exists():
        return
    with journal.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                page = _page(line)
            except (ValueError, KeyError, TypeError, RecursionError):
                raise InputError(
                    f"{journal}: line {number} is none that an earlier run has written. Delete the file (all "
                    "is then asked for again) and run again."
                ) from None
            yield page


def _page(line: bytes) -> Page:
    """A line's page; ValueError, KeyError or TypeError where it holds none."""
    page = Page(**json.loads(line))
    if not isinstance(page.listing, str) or not all(isinstance(row["id"], str) for row in page.rows):
        raise ValueError
    return page


@contextmanager
def appending(journal: Path) -> Iterator[BinaryIO]:
    """The journal, made where there is none, to be written on from where its last whole line ends."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a+b") as file:
        file.seek(0)
        file.truncate(sum(len(line) for line in file if line.endswith(b"\n")))
        yield file


def append(journal: BinaryIO, page: Page) -> None:
    """Writes a page down at once."""
    journal.write(_line(page._asdict()))
    journal.flush()


def write_dump(journal: Path, wanted: Container[str], dump: Path) -> int:
    """Makes a dump (NDJSON in zstd) of the journal's rows of some listings, and puts it in place whole.

    A row whose id comes again later is left out there, so that the latest stands. The order is the
    journal's. Returns how many rows the dump has.
    """

    def rows() -> Iterator[dict[str, Any]]:
        return (row for page in pages(journal) if page.listing in wanted for row in page.rows)

    latest = {row["id"]: number for number, row in enumerate(rows())}
    writing = dump.with_name(f"{dump.name}.writing")
    with writing.open("wb") as file:
        with zstd.ZstdFile(file, "wb") as packed:
            for number, row in enumerate(rows()):
                if latest[row["id"]] == number:
                    packed.write(_line(row))
        file.flush()
        os.fsync(file.fileno())
    writing.replace(dump)
    return len(latest)


def _line(value: dict[str, Any]) -> bytes:
    # In ASCII: a lone surrogate, which JSON allows, has no bytes in UTF-8.
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
