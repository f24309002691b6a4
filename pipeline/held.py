"""Finished files held against their checksums before they are read.

A bit that a disk has flipped need not make a file unreadable. What a stage made of it would stand, by the
fingerprint of what the file was meant to be, after the file itself was mended: so nothing is made of it.
"""

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pyarrow as pa

from pipeline.errors import RunError
from pipeline.runs import File, Folder, read_manifest, read_sidecar

# Files that were found as they were written, by this process: each is held once.
_WHOLE: set[tuple[str, File]] = set()


@dataclass(frozen=True, slots=True)
class HeldFolder(Folder):
    """A folder of which every file of a part is held against the part's sidecar before it is read."""

    def __truediv__(self, name: str) -> "HeldFolder":
        return held(Folder.__truediv__(self, name))

    def read(self, name: str) -> bytes:
        """A whole file; RunError if its bytes have changed since they were written."""
        _hold(self, name)
        return Folder.read(self, name)

    def open(self, name: str) -> AbstractContextManager[pa.NativeFile]:
        """A file opened for reading; RunError if its bytes have changed since they were written."""
        _hold(self, name)
        return Folder.open(self, name)


def held(folder: Folder) -> HeldFolder:
    """The same folder, whose files are held before they are read."""
    return HeldFolder(folder.uri, folder.options)


def hold(folder: Folder, file: File) -> None:
    """Raises RunError if a file's bytes have changed since they were written."""
    if (folder.address, file) in _WHOLE:
        return
    with Folder.open(folder, file.name) as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
            raise RunError(
                f"{folder.uri}/{file.name}: its bytes have changed since they were written (another "
                "SHA-256); delete it, and run the same `webtext build`: what is whole stays. "
                "`webtext verify` names every such file."
            )
    _WHOLE.add((folder.address, file))


def _hold(folder: HeldFolder, name: str) -> None:
    part_name, _, suffix = name.partition(".")
    if suffix == "json":  # a sidecar: it has its own checksum
        return
    part = read_sidecar(folder, part_name)
    if part is None:  # it may be damaged itself; the manifest of a finished stage says the same
        manifest = read_manifest(folder)
        part = next((one for one in manifest.parts if one.name == part_name), None) if manifest else None
    file = next((one for one in part.files if one.name == name), None) if part else None
    if file is not None:
        hold(folder, file)
