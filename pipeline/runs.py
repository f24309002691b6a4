"""A run directory on any file system: parts, their sidecars, and the manifests that commit a stage.

A part's files are written under temporary names and put in place whole; its sidecar comes last, so
a part with a valid sidecar is done. A manifest lists everything that a finished stage has written;
readers read what it lists and nothing else.
"""

import hashlib
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from pipeline.damage import damage_named
from pipeline.errors import InputError, RunError
from pipeline.hashing_sink import HashingSink
from pipeline.object_store import in_words, open_filesystem, side_by_side, upload
from pipeline.seal import seal, unseal

MANIFEST = "manifest.json"

_TEMPORARY = ".tmp"  # the end of a local file's name until it is whole
_HELD_BYTES = 1 << 23  # of a file that is to go to a store; what is more waits on the local disk
_BUFFER_BYTES = 1 << 20  # of each column, while a table is read


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of a part's or a stage's input: ``num_in == kept + sum(rejected.values())``."""

    num_in: int
    kept: int
    rejected: Mapping[str, int] = field(default_factory=dict)

    def reconcile(self, where: str) -> None:
        """Raises RunError, naming ``where``, if what came in is not what was kept plus what was rejected."""
        num_out = self.kept + sum(self.rejected.values())
        if self.num_in != num_out:
            raise RunError(
                f"{where}: counts do not reconcile: {self.num_in:,} came in, {num_out:,} are accounted for "
                f"({self.kept:,} kept, rejected {dict(self.rejected)}). This is a defect: please report it."
            )

    @classmethod
    def total(cls, counts: Iterable["Counts"]) -> Self:
        """The sum over parts; reasons in alphabetical order."""
        num_in = kept = 0
        rejected: dict[str, int] = {}
        for one in counts:
            num_in += one.num_in
            kept += one.kept
            for reason, num in one.rejected.items():
                rejected[reason] = rejected.get(reason, 0) + num
        return cls(num_in, kept, dict(sorted(rejected.items())))

    def to_json(self) -> dict[str, Any]:
        """As it stands in sidecars, manifests and ``webtext status --json``."""
        return {
            "in": self.num_in,
            "kept": self.kept,
            "rejected": dict(sorted(self.rejected.items())),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of to_json."""
        return cls(value["in"], value["kept"], value["rejected"])


@dataclass(frozen=True, slots=True)
class File:
    """A file of a part: its name in the stage's folder, bytes, rows (records, tokens), and checksum."""

    name: str
    bytes: int
    rows: int
    sha256: str


def _is_plain(name: str) -> bool:
    """Whether it is a name, and no path that could lead elsewhere: manifests may be anybody's."""
    return name not in {"", ".", ".."} and not {"/", "\\", "\0"}.intersection(name)


@dataclass(frozen=True, slots=True)
class Part:
    """A finished part as its sidecar tells it; ``counts`` is None for a part that only prepares others."""

    name: str
    fingerprint: str
    counts: Counts | None
    files: tuple[File, ...]
    facts: Mapping[str, Any]
    seconds: float  # in the sidecar only: a manifest is the same bytes again

    def file(self, suffix: str) -> File:
        """The file of this part whose name ends with ``suffix``; KeyError where there is none."""
        for one in self.files:
            if one.name.endswith(suffix):
                return one
        raise KeyError(f"{self.name} has no file {suffix}")

    def kind(self, file: File) -> str:
        """What a file of this part is: its name's end, behind the part's and, after a retry, a number."""
        return file.name.removeprefix(self.name).lstrip(".0123456789")

    def to_json(self) -> dict[str, Any]:
        """As it stands in the sidecar."""
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "counts": None if self.counts is None else self.counts.to_json(),
            "files": [asdict(one) for one in self.files],
            "facts": dict(self.facts),
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of to_json; ValueError, KeyError or TypeError where the object is not one."""
        files = tuple(File(**one) for one in value["files"])
        for name in (value["name"], *(file.name for file in files)):
            if not _is_plain(name):
                raise ValueError(f"{name!r} is not the name of a file in the folder")
        return cls(
            name=value["name"],
            fingerprint=value["fingerprint"],
            counts=None if value["counts"] is None else Counts.from_json(value["counts"]),
            files=files,
            facts=value["facts"],
            seconds=value.get("seconds", 0.0),
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """A finished stage: what made it, from what, and every file of it."""

    stage: str
    version: str
    fingerprint: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]  # stage or file → digest
    counts: Counts
    parts: tuple[Part, ...]
    facts: Mapping[str, Any]

    def encode(self) -> bytes:
        """The bytes of manifest.json: the same for the same content, and so without times."""
        value = {
            "stage": self.stage,
            "version": self.version,
            "fingerprint": self.fingerprint,
            "settings": dict(self.settings),
            "inputs": dict(self.inputs),
            "counts": self.counts.to_json(),
            "parts": [
                {key: value for key, value in part.to_json().items() if key != "seconds"}
                for part in self.parts
            ],
            "facts": dict(self.facts),
        }
        return seal(value)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The inverse of encode; ValueError, KeyError or TypeError where the bytes are not a manifest."""
        value = unseal(data, [one.name for one in fields(cls)])
        return cls(
            stage=value["stage"],
            version=value["version"],
            fingerprint=value["fingerprint"],
            settings=value["settings"],
            inputs=value["inputs"],
            counts=Counts.from_json(value["counts"]),
            parts=tuple(Part.from_json(part) for part in value["parts"]),
            facts=value["facts"],
        )

    def digest(self) -> str:
        """What later stages record of this one: the SHA-256 of its bytes, in hex."""
        return hashlib.sha256(self.encode()).hexdigest()

    def counted(self) -> list[Part]:
        """The parts that carry records, in order."""
        return [part for part in self.parts if part.counts is not None]


def _open_filesystem(address: str) -> tuple[pyarrow.fs.FileSystem, str]:
    if "://" in address:
        return open_filesystem(address)
    path = str(Path(address).absolute())
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{path}: Arrow opens no path that is not UTF-8; rename the folder.") from error
    return pyarrow.fs.LocalFileSystem(), path


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of a run: a local path or a URI; cheap to make, pickle and compare.

    What follows a URI's ``?`` are options of its file system (``region=``, ``endpoint_override=``). They
    stand apart: ``uri`` names the folder, and ``address`` opens it again.
    """

    uri: str
    options: str = ""

    def __post_init__(self) -> None:
        if "://" in self.uri and "?" in self.uri:
            uri, _, options = self.uri.partition("?")
            object.__setattr__(self, "uri", uri)
            object.__setattr__(self, "options", options)

    def __truediv__(self, name: str) -> "Folder":
        return Folder(f"{self.uri.rstrip('/')}/{self._inside(name)}", self.options)

    @property
    def address(self) -> str:
        """The URI with its options: what makes the same folder again."""
        return f"{self.uri}?{self.options}" if self.options else self.uri

    @property
    def name(self) -> str:
        """The last piece of the path: what is shown to others, whose machine is another, names no more."""
        return self.uri.rstrip("/").rpartition("/")[2]

    @property
    def filesystem(self) -> pyarrow.fs.FileSystem:
        """What opens the folder's files."""
        return _open_filesystem(self.address)[0]

    def path(self, name: str = "") -> str:
        """The path of a file in the folder, as its file system wants it.

        Raises:
            InputError: The name, which a table of the run may have given, leads out of the folder.
        """
        root = _open_filesystem(self.address)[1].rstrip("/")
        return f"{root}/{self._inside(name)}" if name else root

    def _inside(self, name: str) -> str:
        if not all(map(_is_plain, name.split("/"))):
            raise InputError(f"{self.uri}: {name!r} is not the name of a file in it: do not trust this run.")
        return name

    def is_local(self) -> bool:
        """Whether plain file calls (memory maps, locks) work on the folder."""
        return isinstance(self.filesystem, pyarrow.fs.LocalFileSystem)

    def sizes(self) -> dict[str, int]:
        """The names of the files in the folder and their bytes; empty if there is no such folder.

        An object store's listing may be older than what it holds: see :meth:`size`.
        """
        return {one.base_name: one.size for one in self._listed()}

    def size(self, name: str) -> int | None:
        """The bytes of a file, asked for by its name; None if it is not there."""
        with in_words(self.uri):
            info = self.filesystem.get_file_info(self.path(name))
        return info.size if info.is_file else None

    def times(self) -> dict[str, float]:
        """The names of the files in the folder and when each was written, in seconds of the epoch.

        Those of which the file system does not know it are left out.
        """
        return {one.base_name: one.mtime.timestamp() for one in self._listed() if one.mtime is not None}

    def _listed(self) -> list[pyarrow.fs.FileInfo]:
        selector = pyarrow.fs.FileSelector(self.path(), allow_not_found=True)
        with in_words(self.uri):
            return [one for one in self.filesystem.get_file_info(selector) if one.is_file]

    def torn(self) -> set[str]:
        """The names of files that a kill has left half-written: who alone writes here may delete them."""
        return {name for name in self.sizes() if name.endswith(_TEMPORARY)}

    def read(self, name: str) -> bytes:
        """A whole file; FileNotFoundError if it is not there."""
        with (
            in_words(self.uri),
            self.filesystem.open_input_stream(self.path(name), compression=None) as stream,
        ):
            return bytes(stream.read())

    def open(self, name: str) -> AbstractContextManager[pa.NativeFile]:
        """A file opened for reading at any position; FileNotFoundError if it is not there.

        It is for ``with``: in the block too what a store answers is told in words.
        """
        with in_words(self.uri):
            return _reading(self.uri, self.filesystem.open_input_file(self.path(name)))

    def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A Parquet table in the folder; a pyarrow exception with the file's name where it is damaged."""
        with self.open(name) as stream, damage_named(f"{self.uri}/{name}"):
            return pq.read_table(stream, columns=columns)

    def read_batches(self, name: str, columns: list[str], num_rows: int) -> Iterator[pa.RecordBatch]:
        """A Parquet table in the folder, ``num_rows`` at a time, in little memory whatever its row groups."""
        with self.open(name) as stream, damage_named(f"{self.uri}/{name}"):
            # Both options are needed, or a whole column of a row group is held.
            file = pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False)
            yield from file.iter_batches(num_rows, columns=columns, use_threads=False)

    @contextmanager
    def writing(self, name: str) -> Iterator[HashingSink]:
        """Opens a file that appears under ``name``, whole, when the block ends without an exception.

        Locally that is a rename of a synced file. To a store nothing is sent before the file is complete.
        """
        if not self.is_local():
            with tempfile.SpooledTemporaryFile(_HELD_BYTES) as file:
                yield HashingSink(file)
                file.seek(0)
                with in_words(self.uri):
                    upload(file, self.filesystem, self.path(name))
            return
        self.filesystem.create_dir(self.path(), recursive=True)
        target = self.path(name)
        temporary = Path(f"{target}.{uuid.uuid4().hex}{_TEMPORARY}")
        stream = self.filesystem.open_output_stream(str(temporary), compression=None)
        try:
            yield HashingSink(stream)
        except BaseException:
            stream.close()
            temporary.unlink(missing_ok=True)
            raise
        stream.close()
        _sync(temporary)
        temporary.replace(target)

    def write(self, name: str, data: bytes) -> File:
        """Writes a small file whole."""
        with self.writing(name) as sink:
            sink.write(data)
        return File(name, sink.num_bytes, 1, sink.sha256())

    def adopt(self, name: str, path: Path, num_rows: int) -> File:
        """Moves a local file that is complete into the folder, whole."""
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
            if self.is_local():
                os.fsync(file.fileno())
                path.replace(self.path(name))
            else:
                file.seek(0)
                with in_words(self.uri):
                    upload(file, self.filesystem, self.path(name))
                path.unlink()
        return File(name, size, num_rows, sha256)

    def remove(self, names: Iterable[str]) -> None:
        """Removes files; those already gone are no error."""
        for _ in side_by_side(self._remove, names, is_local=self.is_local()):
            continue

    def _remove(self, name: str) -> None:
        try:
            with in_words(self.uri):
                self.filesystem.delete_file(self.path(name))
        except FileNotFoundError:
            return


@contextmanager
def _reading(uri: str, stream: pa.NativeFile) -> Iterator[pa.NativeFile]:
    with in_words(uri), stream:
        yield stream


def _sync(path: Path) -> None:
    """Brings a local file's bytes to the disk: a power cut cannot leave a whole name on torn bytes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class PartWriter:
    """Writes the files of one part into a stage's folder, and its sidecar last."""

    def __init__(self, folder: Folder, name: str, fingerprint: str) -> None:
        self._folder = folder
        self._name = name
        self._fingerprint = fingerprint
        self._files: list[File] = []

    @contextmanager
    def open(self, suffix: str) -> Iterator[HashingSink]:
        """Opens ``NAME.suffix`` for writing; set ``rows`` of it afterwards with :meth:`rows`."""
        with self.open_named(f"{self._name}.{suffix}") as sink:
            yield sink

    @contextmanager
    def open_named(self, name: str) -> Iterator[HashingSink]:
        """Opens a file of this part under a name of its own (``train-00017.bin``)."""
        with self._folder.writing(name) as sink:
            yield sink
        self._files.append(File(name, sink.num_bytes, 0, sink.sha256()))

    def adopt(self, name: str, path: Path, num_rows: int) -> None:
        """Takes a local file that is complete over as one of this part's: it is gone from where it was."""
        self._files.append(self._folder.adopt(name, path, num_rows))

    def keep(self, files: Iterable[File]) -> None:
        """Counts files that are in the folder already among this part's."""
        self._files.extend(files)

    def rows(self, num_rows: int) -> None:
        """Says how many rows (records, tokens) the file written last holds."""
        last = self._files.pop()
        self._files.append(File(last.name, last.bytes, num_rows, last.sha256))

    def table(self, suffix: str, table: pa.Table) -> None:
        """Writes a table as Parquet (zstd) under ``NAME.suffix``."""
        with self.open(suffix) as sink:
            pq.write_table(table, sink, compression="zstd")
        self.rows(table.num_rows)

    def commit(
        self, counts: Counts | None, *, seconds: float, facts: Mapping[str, Any] | None = None
    ) -> Part:
        """Writes the sidecar: from here on the part is done. Raises RunError if counts do not reconcile."""
        if counts is not None:
            counts.reconcile(f"{self._folder.uri}/{self._name}")
        part = Part(self._name, self._fingerprint, counts, tuple(self._files), dict(facts or {}), seconds)
        write_sidecar(self._folder, part)
        return part


def write_sidecar(folder: Folder, part: Part) -> None:
    """Writes a part's sidecar: from here on it is done."""
    folder.write(f"{part.name}.json", seal(part.to_json()))


def read_sidecar(folder: Folder, name: str) -> Part | None:
    """A part's sidecar; None if there is none that can be read (a torn one is as none)."""
    try:
        return Part.from_json(unseal(folder.read(f"{name}.json"), [one.name for one in fields(Part)]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def finished(folder: Folder, fingerprints: Mapping[str, str]) -> dict[str, Part]:
    """The parts (name → fingerprint) that are done: sidecar, fingerprint and the files' sizes are right."""
    sizes = folder.sizes()
    # A store may have sidecars that it does not list yet.
    is_local = folder.is_local()
    names = [name for name in fingerprints if f"{name}.json" in sizes or not is_local]
    found = side_by_side(partial(read_sidecar, folder), names, is_local=is_local)
    parts = [part for part in found if part is not None and part.fingerprint == fingerprints.get(part.name)]
    whole = side_by_side(lambda part: are_there(folder, sizes, part.files), parts, is_local=is_local)
    return {part.name: part for part, is_whole in zip(parts, whole, strict=True) if is_whole}


def true_size(folder: Folder, sizes: Mapping[str, int], name: str, expected: int | None = None) -> int | None:
    """The bytes of a file, None if it is not there; None is expected where any size is right.

    ``sizes`` lists the folder. Where the file is not in it, or not as expected, a store is asked for it.
    """
    size = sizes.get(name)
    is_doubtful = size is None or expected not in {None, size}
    return folder.size(name) if is_doubtful and not folder.is_local() else size


def are_there(folder: Folder, sizes: Mapping[str, int], files: Iterable[File]) -> bool:
    """Whether files are there in their sizes."""
    return all(true_size(folder, sizes, file.name, file.bytes) == file.bytes for file in files)


def read_manifest(folder: Folder) -> Manifest | None:
    """The manifest of a finished stage, None if it is not finished; InputError on a damaged one."""
    try:
        data = folder.read(MANIFEST)
    except FileNotFoundError:
        return None
    try:
        return Manifest.decode(data)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder.uri}/{MANIFEST} is damaged ({error!r}): delete it, and the next build writes it anew."
        ) from error
