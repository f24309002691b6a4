"""What a person says of a run's documents: labels and a note, in the run itself.

A document's labels are a small file of their own, written whole: two who label different documents never
meet, a kill tears nothing, and an object store, which can neither append nor lock, serves as well as a disk.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from threading import Lock
from typing import Any, Self

from pipeline.errors import InputError
from pipeline.runs import Folder

FOLDER = "inspect/labels"

REMOVE = "remove"
SUGGESTED = (REMOVE, "boiler-plate", "wrong language", "good")

MAX_LABEL = 60  # characters
MAX_LABELS = 30
MAX_NOTE = 10_000  # characters

_ID = re.compile(r"[0-9a-f]{32}")
# What is raised for bytes that are no labels' file; dates may lie beyond all calendars in some time zone.
_NOT_ONE = (ValueError, KeyError, TypeError, OverflowError, RecursionError)
_FILES_AT_ONCE = 16  # an object store answers each in tens of milliseconds


@dataclass(frozen=True, slots=True)
class Labelled:
    """A document's labels, in their order, and the note on it; ``changed`` is None where nothing is said."""

    id: str
    url: str = ""
    labels: tuple[str, ...] = ()
    note: str = ""
    changed: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing."""
        return not self.labels and not self.note

    @property
    def choices(self) -> list[tuple[str, bool]]:
        """The suggested labels, and those that it has besides; each with whether it has it."""
        names = dict.fromkeys((*SUGGESTED, *self.labels))
        return [(name, name in self.labels) for name in names]

    @property
    def version(self) -> str:
        """Tells what is said from what is said later."""
        return sha256(json.dumps([self.labels, self.note]).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """As its file has it, and the export as JSON lines."""
        changed = None if self.changed is None else self.changed.isoformat(timespec="seconds")
        return {
            "id": self.id,
            "url": self.url,
            "labels": list(self.labels),
            "note": self.note,
            "changed": changed,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The inverse of to_json; ValueError, KeyError or TypeError where the object is not one."""
        changed = value["changed"]
        return cls(
            id=str(value["id"]),
            url=str(value["url"]),
            labels=tuple(str(name) for name in value["labels"]),
            note=str(value["note"]),
            changed=None if changed is None else datetime.fromisoformat(changed).astimezone(UTC),
        )


class Conflict(Exception):  # noqa: N818 - it is no error: somebody else was quicker
    """Somebody else changed the labels after they were shown."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of a run's documents, for several threads at once."""

    run: Folder
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def of(self, document: str) -> Labelled:
        """What is said of the document with this id: maybe nothing."""
        found = self._read(f"{document}.json") if _ID.fullmatch(document) else None
        return found or Labelled(document)

    def every(self) -> list[Labelled]:
        """All documents of which anything is said, the last changed first."""
        return self.look()[0]

    def look(self) -> tuple[list[Labelled], list[str]]:
        """As :meth:`every`, and the names of files that cannot be read."""
        names = sorted(name for name in (self.run / FOLDER).sizes() if name.endswith(".json"))
        with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
            found = dict(zip(names, pool.map(self._read, names), strict=True))
        start = datetime.min.replace(tzinfo=UTC)
        labelled = [one for one in found.values() if one is not None]
        labelled.sort(key=lambda one: (one.changed or start, one.id), reverse=True)
        return labelled, [name for name, one in found.items() if one is None]

    def put(self, labelled: Labelled, seen: str | None = None) -> None:
        """Says something of a document, or nothing any more.

        Args:
            labelled: All that is said of it from now on.
            seen: The version of what was said when its labels were shown; None: whatever it was.

        Raises:
            Conflict: Somebody else said something since.
            InputError: The run cannot be written to.
        """
        if not _ID.fullmatch(labelled.id):
            raise InputError(f"{labelled.id!r} is not a document's id (32 hexadecimal digits).")
        with self._lock:  # between the look at what is said and the word of it nobody else says anything
            if seen is not None and seen != self.of(labelled.id).version:
                raise Conflict
            self._write(labelled)

    def _write(self, labelled: Labelled) -> None:
        folder, name = self.run / FOLDER, f"{labelled.id}.json"
        try:
            if labelled.is_empty:
                folder.remove([name])
            else:
                folder.write(name, (json.dumps(labelled.to_json(), ensure_ascii=False) + "\n").encode())
        except OSError as error:
            raise InputError(
                f"{folder.uri} cannot be written to ({error}): labels are kept in the run, so give yourself "
                "the right to write there, or inspect a copy."
            ) from error

    def files_of(self, documents: Collection[str]) -> list[str]:
        """The names of the files on some documents, and of halves that a kill has left.

        Where a listing may lack files, as an object store's may, also of those on which nothing is said.
        """
        folder = self.run / FOLDER
        listed = {name for name in folder.sizes() if name.partition(".")[0] in documents} | folder.torn()
        unlisted = set() if folder.is_local() else {f"{one}.json" for one in documents}
        return sorted(listed | unlisted)

    def _read(self, name: str) -> Labelled | None:
        """A document's file; None where there is none, or none that can be read."""
        try:
            return Labelled.from_json(json.loads((self.run / FOLDER).read(name)))
        except (FileNotFoundError, NotADirectoryError, *_NOT_ONE):
            return None


def parse_names(names: Iterable[str]) -> tuple[str, ...]:
    """Labels as a form sends them, each once: inner space is one blank, and the length is limited."""
    found = (" ".join(name.split())[:MAX_LABEL].strip() for name in names)
    return tuple(dict.fromkeys(name for name in found if name))[:MAX_LABELS]


def removal_list(chosen: Sequence[Labelled]) -> str:
    """The documents as `webtext remove --documents` reads them: an id a line, the URL behind it a remark."""
    return "".join(f"{one.id} # {one.url}\n" for one in chosen)


def json_lines(chosen: Sequence[Labelled]) -> str:
    """An object a line."""
    return "".join(json.dumps(one.to_json(), ensure_ascii=False) + "\n" for one in chosen)


def csv_table(chosen: Sequence[Labelled]) -> str:
    """A row a document, its labels with a semicolon between them."""
    stream = io.StringIO()
    rows = csv.writer(stream)
    rows.writerow(["id", "url", "labels", "note", "changed"])
    rows.writerows(
        [one.id, one.url, "; ".join(one.labels), one.note, one.to_json()["changed"] or ""] for one in chosen
    )
    return stream.getvalue()


# By the name of a form: the file's name, its type, and what writes it.
EXPORTS: Mapping[str, tuple[str, str, Callable[[Sequence[Labelled]], str]]] = {
    "documents": ("documents.txt", "text/plain", removal_list),
    "jsonl": ("labels.jsonl", "application/x-ndjson", json_lines),
    "csv": ("labels.csv", "text/csv", csv_table),
}
