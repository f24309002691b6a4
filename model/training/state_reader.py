"""Reading what an optimizer remembers from a checkpoint, which may be anybody's.

torch.distributed.checkpoint keeps its metadata as a pickle, and a pickle can name any function to call.
Here it is read by an unpickler that knows the few classes which such metadata consist of, and no others.
The tensors' own files are read by torch with `weights_only`.
"""

import pickle
import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

from model.errors import ModelError

_OF_METADATA = (
    "ChunkStorageMetadata",
    "Metadata",
    "MetadataIndex",
    "StorageMeta",
    "TensorProperties",
    "TensorStorageMetadata",
    "_MEM_FORMAT_ENCODING",
)
_PLAIN = re.compile(r"\w+\.distcp")  # a file of tensors, as torch calls it
_KNOWN = {
    *(("torch.distributed.checkpoint.metadata", name) for name in _OF_METADATA),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
    ("pathlib", "PosixPath"),
    ("pathlib._local", "PosixPath"),  # as Python 3.13 calls it
}


_InPython = pickle._Unpickler  # noqa: SLF001 (the one in C makes room for however many values a pickle names)


class _Unpickler(_InPython):
    dispatch: ClassVar[dict[int, Any]] = {
        code: action
        for code, action in _InPython.dispatch.items()
        if code != pickle.BYTEARRAY8[0]  # of which room is made before it is read
    }

    def find_class(self, module: str, name: str) -> Any:
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if not is_dtype and (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)


class _Reader(FileSystemReader):
    """torch's own reader, but for the metadata: named tensors in files of the folder, or ModelError."""

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        file = Path(self.path) / ".metadata"
        try:
            metadata = _Unpickler(BytesIO(file.read_bytes())).load()
            _check(metadata)
            metadata.storage_meta.load_id = self.load_id
        except Exception as error:  # whatever foreign bytes make of the classes above
            raise ModelError(
                f"{file} is damaged, or no metadata of tensors alone ({error}); use another checkpoint"
            ) from error
        metadata.planner_data = None
        checked: Metadata = metadata
        return checked


def _check(metadata: Any) -> None:
    """Raises ValueError, TypeError or AttributeError for metadata that say more than where tensors are."""
    if type(metadata) is not Metadata:
        raise TypeError(f"it is a {type(metadata).__name__}")
    for key, facts in metadata.state_dict_metadata.items():
        if type(key) is not str or type(facts) is not TensorStorageMetadata:
            raise TypeError(f"{key!r} is no tensor")  # torch would unpickle it, whatever it is
        if type(facts.size) is not torch.Size or not isinstance(facts.properties.dtype, torch.dtype):
            raise TypeError(f"{key!r} has no shape or no type")
    for place in metadata.storage_data.values():
        if place.transform_descriptors or not _PLAIN.fullmatch(str(place.relative_path)):
            raise ValueError(f"{place.relative_path!r} is no plain file in the folder")


def tensors_in(folder: Path) -> Mapping[str, tuple[torch.Size, torch.dtype]]:
    """The tensors of a folder that `torch.distributed.checkpoint` wrote: shape and type by name.

    Raises:
        ModelError: Its metadata are damaged, or hold something else than tensors; no code of theirs is run.
    """
    found: dict[str, Any] = _Reader(folder).read_metadata().state_dict_metadata
    return {key: (facts.size, facts.properties.dtype) for key, facts in found.items()}


def read_tensors(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Fills tensors, which may be spread over processes, from such a folder, by their names.

    Raises:
        ModelError: As `tensors_in`, or the file of a tensor is damaged.
    """
    try:
        load(tensors, storage_reader=_Reader(folder))
    except CheckpointException as error:
        raise ModelError(f"{folder}: its tensors are damaged, or are none; use another checkpoint") from error
