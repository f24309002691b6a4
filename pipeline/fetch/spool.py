"""Parts that are being fetched: a WARC file and a journal each, which only grow.

What a try brought is appended to the part's WARC file, and then a line about it to the journal. A kill loses
what is in no line; whatever the files end with that no line accounts for is cut off when they are opened
again. Each line begins with its own checksum, so that one that is damaged is as one that is torn. When all
links of a part are settled, its files become the part's, and the sidecar comes last.

The files stand in ``pages/open``. Where the run is on an object store, which cannot append, they stand in the
user's cache: a crawl that is killed goes on from them on the same machine, and on another one its open parts
begin anew. Of a retry, whose parts were finished before, the store has the header, so that no page is lost.
"""

import fcntl
import io
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from pipeline.fetch.ledger import Entry
from pipeline.fetch.progress import OPEN
from pipeline.object_store import beside, side_by_side
from pipeline.runs import Folder, Part, are_there
from pipeline.stages import Planned

_CHUNK = 1 << 20
_AGAIN = ".again"
_SEAL_BYTES = 17  # of a journal's line: its checksum, and a space


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """A journal's first line: which part it is, and for a retry what there was of it before.

    ``base`` is the sidecar of the finished part, ``due`` are the links that are tried again (by id, with the
    number of the try), and ``source`` is where: the web, or an archive. ``generation`` counts from 1.
    """

    fingerprint: str
    generation: int = 1
    base: dict[str, Any] | None = None
    due: dict[str, int] | None = None
    source: str = "web"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A try: its row of the ledger, its records' bytes in the WARC file, and their index.

    ``end`` is the file's length with them, and ``checksum`` the XXH3 of what they have added to it.
    """

    entry: Entry
    final: bool
    end: int
    checksum: int = 0
    num_records: int = 0
    cdxj: list[str] = []


# msgspec lets the second pass, where bytes in a string are not UTF-8.
_NO_LINE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_encoder = msgspec.json.Encoder()
_headers = msgspec.json.Decoder(Header)
_lines = msgspec.json.Decoder(Line)


def directory(pages: Folder) -> Path:
    """Where the open parts of a run are: beside the finished ones, if those are on a local disk."""
    if pages.is_local():
        return Path(pages.path(OPEN))
    return beside(pages.address, OPEN)


def discard(pages: Folder) -> None:
    """Removes every open part of a run."""
    folder, opened = directory(pages), pages / OPEN
    # A store may not list the header of a retry yet; whoever has opened a part has its journal too.
    again = {f"{path.stem}{_AGAIN}" for path in folder.glob("*.journal")}
    shutil.rmtree(folder, ignore_errors=True)
    if not pages.is_local():
        opened.remove(again | opened.sizes().keys())


def begin_again(pages: Folder, name: str, header: Header) -> None:
    """Opens a finished part again; of a remote run wherever it goes on."""
    if not pages.is_local():
        (pages / OPEN).write(f"{name}{_AGAIN}", _sealed(_encoder.encode(header)))
    begin(directory(pages), name, header)


def recall(pages: Folder, names: Iterable[str]) -> None:
    """Has, on this machine, those of the parts that were opened again, on whichever, and that can go on.

    One whose earlier files are not all there cannot: it was finished since, or has lost one.
    """
    folder, asked, is_local = directory(pages), list(names), pages.is_local()
    sizes = pages.sizes() if is_local else {}
    told = partial(read_header, folder) if is_local else partial(_told, pages / OPEN)
    for name, header in zip(asked, side_by_side(told, asked, is_local=is_local), strict=True):
        here = header if is_local else read_header(folder, name)
        base = None if header is None or header.base is None else Part.from_json(header.base)
        if header is not None and base is not None and are_there(pages, sizes, base.files):
            if header != here:
                begin(folder, name, header)
        elif here is not None and here.base is not None:
            OpenPart(str(folder), name, here).remove()


def _told(opened: Folder, name: str) -> Header | None:
    """The header of a part that was opened again, as the store has it: asked for by its name."""
    try:
        return _header(opened.read(f"{name}{_AGAIN}"))
    except FileNotFoundError:
        return None


def settle(pages: Folder, part: "OpenPart") -> None:
    """Takes the files of an open part away that is finished."""
    part.remove()
    if not pages.is_local():
        (pages / OPEN).remove([f"{part.name}{_AGAIN}"])


def lock(folder: Path, *, alone: bool = False) -> int:
    """A descriptor that keeps a lock on the open parts: shared by those who write, until they are gone.

    Args:
        folder: Where the open parts are.
        alone: Wait until nobody writes any more: the process that writes may outlive a crawl for a moment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
    return descriptor


def read_header(folder: Path, name: str) -> Header | None:
    """The header of an open part; None if there is no such part, or its journal cannot be read."""
    try:
        with _journal(folder, name).open("rb") as file:
            return _header(file.readline())
    except FileNotFoundError:
        return None


def _header(raw: bytes) -> Header | None:
    data = _unsealed(raw)
    try:
        return None if data is None else _headers.decode(data)
    except _NO_LINE:
        return None


@dataclass(slots=True)
class OpenPart:
    """A part whose tries are being appended.

    Attributes:
        num_bytes: The length of its WARC file.
        num_left: Links without a last try yet.
    """

    folder: str
    name: str
    header: Header
    num_bytes: int = 0
    num_left: int = 0

    @property
    def stem(self) -> str:
        """What the names of its files will begin with.

        After a retry, which leaves the first WARC file as it is, that is ``part-00017.2``.
        """
        generation = self.header.generation
        return self.name if generation == 1 else f"{self.name}.{generation}"

    @property
    def warc(self) -> str:
        """The name that its WARC file will have."""
        return f"{self.stem}.warc.gz"

    @property
    def warc_path(self) -> Path:
        """Where its WARC file stands."""
        return Path(self.folder) / f"{self.name}.warc.gz"

    def append(self, tries: Iterable[tuple[bytes, Line]]) -> None:
        """Appends each try's records, then the line about them: where the disk is full, those before stay."""
        journal_path = _journal(self.folder, self.name)
        with self.warc_path.open("ab", buffering=0) as warc, journal_path.open("ab", buffering=0) as journal:
            for records, line in tries:
                _write(warc, records)
                self.num_bytes += len(records)
                _write(journal, _sealed(_encoder.encode(line)))

    def lines(self) -> Iterator[Line]:
        """The tries so far, in their order."""
        with _journal(self.folder, self.name).open("rb") as file:
            file.readline()
            for raw in file:
                yield _lines.decode(raw[_SEAL_BYTES:])

    def second_name(self) -> Path:
        """A further name of its WARC file, to be moved: a kill before the sidecar leaves the file here.

        On a file system without hard links it is the file itself, which such a kill then costs.
        """
        path = self._second_path
        path.unlink(missing_ok=True)
        try:
            path.hardlink_to(self.warc_path)
        except OSError:
            return self.warc_path
        return path

    @property
    def _second_path(self) -> Path:
        return Path(self.folder) / f"{self.name}.finished.warc.gz"

    def remove(self) -> None:
        """Takes its files away."""
        self._second_path.unlink(missing_ok=True)
        self.warc_path.unlink(missing_ok=True)
        _journal(self.folder, self.name).unlink(missing_ok=True)


def begin(folder: Path, name: str, header: Header) -> None:
    """Makes an open part, or begins one anew: from here on it goes on from its header."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.warc.gz").unlink(missing_ok=True)
    temporary = folder / f"{name}.journal.tmp"
    with temporary.open("wb") as file:
        file.write(_sealed(_encoder.encode(header)))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(_journal(folder, name))


def open_part(folder: Path, part: Planned) -> OpenPart:
    """Opens a part as its last line left it; makes it where there is none of this fingerprint."""
    header = read_header(folder, part.name)
    if header is None or header.fingerprint != part.fingerprint:
        header = Header(fingerprint=part.fingerprint)
        begin(folder, part.name, header)
    opened = OpenPart(str(folder), part.name, header)
    opened.num_bytes = _cut(opened)
    return opened


def _journal(folder: Path | str, name: str) -> Path:
    return Path(folder) / f"{name}.journal"


def _write(file: io.RawIOBase, data: bytes) -> None:
    """Writes all of it: the system may take a part at a time."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _cut(part: OpenPart) -> int:
    """Cuts off what no line accounts for, and lines whose records are damaged; returns the WARC's length."""
    part.warc_path.touch()
    journal_path = _journal(part.folder, part.name)
    with part.warc_path.open("r+b") as warc, journal_path.open("r+b") as journal:
        end, good = 0, len(journal.readline())
        for raw in journal:
            line = _whole_line(raw)
            if line is None or line.end < end or _checksum(warc, line.end - end) != line.checksum:
                break
            end, good = line.end, good + len(raw)
        journal.truncate(good)
        warc.truncate(end)
    return end


def _whole_line(raw: bytes) -> Line | None:
    """A journal's line; None where it is torn or damaged."""
    data = _unsealed(raw)
    try:
        return None if data is None else _lines.decode(data)
    except _NO_LINE:
        return None


def _sealed(data: bytes) -> bytes:
    """A journal's line: the XXH3 of what it says, in hex, and that."""
    return b"%016x %s\n" % (xxhash.xxh3_64_intdigest(data), data)


def _unsealed(raw: bytes) -> bytes | None:
    """What a journal's line says; None where it is torn or damaged."""
    data = raw[_SEAL_BYTES:-1]
    return data if raw == _sealed(data) else None


def checksum(records: bytes) -> int:
    """The XXH3 of bytes as a journal's lines have it; 0 of none."""
    return xxhash.xxh3_64_intdigest(records) if records else 0


def _checksum(file: Any, length: int) -> int:
    """That of the next bytes of a file; of fewer, where it ends."""
    digest, left = xxhash.xxh3_64(), length
    while left and (chunk := file.read(min(left, _CHUNK))):
        digest.update(chunk)
        left -= len(chunk)
    return digest.intdigest() if length else 0
