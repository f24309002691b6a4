"""A store whose listings are old, behind pyarrow's own interface: what object stores may do at their worst.

A file that was written, overwritten or deleted looks in the next listings of its folder as it did before;
asked for by its name it is there, or gone, at once. Nothing is renamed, and nothing half-written is seen.
"""

# ruff: noqa: ARG002, D102 - the methods are pyarrow's, which tells what they do

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.fs
import pytest

import pipeline.runs
from pipeline.runs import Folder

SCHEME = "lag://"


class LaggingStore(pyarrow.fs.FileSystemHandler):  # type: ignore[misc]
    """Objects in memory.

    Args:
        lag: In so many listings of a folder a change is not to be seen.
    """

    def __init__(self, lag: int) -> None:
        self.objects: dict[str, bytes] = {}
        self._lag = lag
        self._seen: dict[str, tuple[int, bytes | None]] = {}  # listings to come in which it looks so

    def get_type_name(self) -> str:
        return "lag"

    def normalize_path(self, path: str) -> str:
        return path

    def put(self, path: str, data: bytes | None) -> None:
        """Writes an object, or with None deletes it."""
        if path not in self._seen:
            self._seen[path] = (self._lag, self.objects.get(path))
        if data is None:
            del self.objects[path]
        else:
            self.objects[path] = data

    def get_file_info(self, paths: list[str]) -> list[pyarrow.fs.FileInfo]:
        return [self._info(path, self.objects.get(path)) for path in paths]

    def _info(self, path: str, data: bytes | None) -> pyarrow.fs.FileInfo:
        if data is not None:
            return pyarrow.fs.FileInfo(path, pyarrow.fs.FileType.File, size=len(data), mtime=1e9)
        is_folder = any(one.startswith(f"{path}/") for one in self.objects)
        kinds = pyarrow.fs.FileType
        return pyarrow.fs.FileInfo(path, kinds.Directory if is_folder else kinds.NotFound)

    def get_file_info_selector(self, selector: pyarrow.fs.FileSelector) -> list[pyarrow.fs.FileInfo]:
        shown = {path: data for path, data in self.objects.items() if path not in self._seen}
        for path, (left, before) in list(self._seen.items()):
            if path.rpartition("/")[0] != selector.base_dir:
                continue
            if before is not None:
                shown[path] = before
            self._seen[path] = (left - 1, before)
            if left <= 1:
                del self._seen[path]
        inside = {path: data for path, data in shown.items() if path.startswith(f"{selector.base_dir}/")}
        if selector.recursive:
            return [self._info(path, data) for path, data in inside.items()]
        return [
            self._info(path, data)
            for path, data in inside.items()
            if path.rpartition("/")[0] == selector.base_dir
        ]

    def create_dir(self, path: str, recursive: bool) -> None:
        pass

    def delete_dir(self, path: str) -> None:
        listed = [one for one in self.objects if one.startswith(f"{path}/") and one not in self._seen]
        for one in listed:  # by which alone a store knows what is in a folder
            self.put(one, None)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        raise NotImplementedError

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError

    def delete_file(self, path: str) -> None:
        if path not in self.objects:
            raise FileNotFoundError(path)
        self.put(path, None)

    def move(self, src: str, dest: str) -> None:
        raise AssertionError(f"{src}: a store knows no rename")

    def copy_file(self, src: str, dest: str) -> None:
        self.put(dest, self.objects[src])

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        if path not in self.objects:
            raise FileNotFoundError(path)
        return pa.BufferReader(self.objects[path])

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        return pa.PythonFile(_Upload(self, path), mode="w")

    def open_append_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        raise AssertionError(f"{path}: a store cannot append")


class _Upload(io.BytesIO):
    def __init__(self, store: LaggingStore, path: str) -> None:
        super().__init__()
        self._store = store
        self._path = path

    def close(self) -> None:
        if not self.closed:
            self._store.put(self._path, self.getvalue())
        super().close()


@contextmanager
def lagging(lag: int = 2) -> Iterator[tuple[LaggingStore, Folder]]:
    """A run directory in such a store, until the block ends."""
    store = LaggingStore(lag)
    filesystem = pyarrow.fs.PyFileSystem(store)
    opened = pipeline.runs._open_filesystem

    def open_filesystem(address: str) -> tuple[pyarrow.fs.FileSystem, str]:
        if address.startswith(SCHEME):
            return filesystem, address.removeprefix(SCHEME)
        return opened(address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline.runs, "_open_filesystem", open_filesystem)
        yield store, Folder(f"{SCHEME}bucket/run")
