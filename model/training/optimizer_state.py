"""What an optimizer remembers, on the disk: tensors by torch.distributed.checkpoint, and where each one lies.

torch keeps the places as a pickle, and a pickle can name any function to call; a checkpoint may be anybody's.
So they are in `tensors.json` here, and of torch's own files nothing but tensors is read, with `weights_only`.
"""

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, _StorageInfo
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from model.devices import is_out_of_memory
from model.errors import ModelError
from model.training.processes import Processes

PLACES: Final = "tensors.json"
_PLACES_OF_TORCH: Final = ".metadata"

_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
_Count = Annotated[int, Field(ge=0, lt=2**60)]


class _Piece(BaseModel):
    """A part of a tensor, as one process has written it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    offsets: list[_Count]
    sizes: list[_Count]
    file: Annotated[str, Field(pattern=r"^\w{1,64}\.distcp$")]
    start: _Count
    bytes: _Count


class _Place(BaseModel):
    """Where a tensor lies."""

    model_config = ConfigDict(strict=True, extra="forbid")

    dtype: Literal["float16", "bfloat16", "float32"]
    shape: list[_Count]
    pieces: list[_Piece]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for piece in self.pieces:
            ends = [start + size for start, size in zip(piece.offsets, piece.sizes, strict=True)]
            if any(end > length for end, length in zip(ends, self.shape, strict=True)):
                raise ValueError("a piece lies outside of its tensor")
        if sum(math.prod(piece.sizes) for piece in self.pieces) != math.prod(self.shape):
            raise ValueError("the pieces are not the tensor")
        return self


_PLACES = TypeAdapter(dict[str, _Place])


def write_tensors(folder: Path, tensors: dict[str, Tensor], processes: Processes) -> None:
    """Writes tensors of float16, bfloat16 or float32 into a new folder; all processes call it."""
    with _alone_is_fine():
        metadata = save(tensors, checkpoint_id=folder, process_group=processes.saving)
    if processes.is_first:
        (folder / PLACES).write_bytes(_PLACES.dump_json(_places(metadata), indent=1) + b"\n")
        (folder / _PLACES_OF_TORCH).unlink()


def tensors_in(folder: Path) -> Mapping[str, tuple[torch.Size, torch.dtype]]:
    """The tensors of a folder that `write_tensors` wrote: shape and type by name.

    Raises:
        ModelError: It does not say where they are, or not soundly.
    """
    found = _read_places(folder)
    return {name: (torch.Size(place.shape), _DTYPES[place.dtype]) for name, place in found.items()}


def read_tensors(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Fills tensors, which may be spread over other processes than wrote them, by their names.

    Raises:
        ModelError: As `tensors_in`, or the file of a tensor is missing or damaged.
    """
    try:
        with _alone_is_fine():
            load(tensors, storage_reader=_Reader(folder))
    except CheckpointException as error:
        for failure, _ in error.failures.values():
            if _says_nothing_of_tensors(failure):
                raise failure from error
        raise ModelError(f"{folder}: its tensors are damaged, or are none; use another checkpoint") from error


def _says_nothing_of_tensors(failure: BaseException) -> bool:
    """Whether torch has caught Ctrl-C, a disk that fails, or want of memory."""
    if isinstance(failure, FileNotFoundError):
        return False
    return isinstance(failure, KeyboardInterrupt | OSError) or is_out_of_memory(failure)


class _Reader(FileSystemReader):
    """torch's own reader, but for the places."""

    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        folder = Path(self.path)
        facts: dict[str, Any] = {}
        storage: dict[MetadataIndex, _StorageInfo] = {}
        for name, place in _read_places(folder).items():
            pieces = [(torch.Size(one.offsets), torch.Size(one.sizes), one) for one in place.pieces]
            facts[name] = TensorStorageMetadata(
                TensorProperties(dtype=_DTYPES[place.dtype]),
                torch.Size(place.shape),
                [ChunkStorageMetadata(offsets, sizes) for offsets, sizes, _ in pieces],
            )
            storage |= {
                MetadataIndex(name, offsets): _StorageInfo(one.file, one.start, one.bytes)
                for offsets, _, one in pieces
            }
        return Metadata(facts, storage_data=storage, storage_meta=StorageMeta(load_id=self.load_id))


def _places(metadata: Metadata) -> dict[str, _Place]:
    """What `tensors.json` holds, by what torch says of the tensors that it has written."""
    found = {}
    for name, facts in metadata.state_dict_metadata.items():
        if not isinstance(facts, TensorStorageMetadata):
            raise TypeError(f"{name} is no tensor")
        pieces = []
        for chunk in facts.chunks:
            lies: _StorageInfo = metadata.storage_data[MetadataIndex(name, chunk.offsets)]
            offsets, sizes = list(chunk.offsets), list(chunk.sizes)
            pieces.append(
                _Piece(
                    offsets=offsets,
                    sizes=sizes,
                    file=lies.relative_path,
                    start=lies.offset,
                    bytes=lies.length,
                )
            )
        dtype: Any = str(facts.properties.dtype).removeprefix("torch.")
        found[name] = _Place(dtype=dtype, shape=list(facts.size), pieces=pieces)
    return found


def _read_places(folder: Path) -> dict[str, _Place]:
    file = folder / PLACES
    try:
        return _PLACES.validate_json(file.read_bytes())
    except (FileNotFoundError, ValueError) as error:
        raise ModelError(
            f"{file} is missing or damaged: it does not say where the optimizer's tensors are; use another"
            " checkpoint"
        ) from error


@contextmanager
def _alone_is_fine() -> Iterator[None]:
    """Without the warning that one process is all there is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")
        yield
