"""Reads the tensors of a TensorFlow checkpoint, without TensorFlow.

A checkpoint is `PREFIX.index` and `PREFIX.data-00000-of-00001`, or more such. The index is a table in
LevelDB's format: blocks of entries in the order of their keys, where a key leaves out what it shares with
the one before; one block that says where the others lie; and a footer that says where that one lies.
A key is the name of a variable, its value a message of type, shape, and bytes in a data file.

Sources: tensorflow/core/protobuf/tensor_bundle.proto, tensorflow/core/framework/tensor_shape.proto,
and LevelDB's doc/table_format.md. Sizes are checked; checksums are not, as they would take minutes here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from model.errors import ModelError

Array = npt.NDArray[np.generic]

_FOOTER_BYTES: Final = 48
_MAGIC: Final = bytes.fromhex("57fb808b247547db")
_UNCOMPRESSED: Final = 0
_LITTLE_ENDIAN: Final = 0
_DTYPES: Final = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}
"""By the number in tensorflow/core/framework/types.proto."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a variable lies: `size` bytes from `offset` on in data file `shard`."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    is_sliced: bool


def read_tensorflow_checkpoint(prefix: Path) -> dict[str, Array]:
    """The variables of the checkpoint whose index is `PREFIX.index`, by name.

    Returns:
        Read-only arrays over the data files, of which only what is looked at is read.

    Raises:
        ModelError: A file is missing, damaged or cut short, or has a form that is not read here; the
            message names the file and the variable.
    """
    index = prefix.with_name(f"{prefix.name}.index")
    try:
        table = dict(_read_table(_read(index)))
        header = _fields(table.pop(b""))
        shards, endianness = (_number(header, field) for field in (1, 2))
        entries = {key.decode(): _parse_entry(value) for key, value in table.items()}
    except (IndexError, KeyError, ValueError) as error:
        raise ModelError(
            f"{index}: is no index of a TensorFlow checkpoint, or is damaged ({error});"
            " copy the whole checkpoint again"
        ) from error
    if endianness != _LITTLE_ENDIAN:
        raise ModelError(f"{index}: was written on a big-endian machine, which is not read here")
    return {name: _read_variable(prefix, name, entry, shards) for name, entry in entries.items()}


def _read_variable(prefix: Path, name: str, entry: _Entry, shards: int) -> Array:
    file = prefix.with_name(f"{prefix.name}.data-{entry.shard:05d}-of-{shards:05d}")
    if entry.is_sliced or entry.dtype not in _DTYPES:
        form = "is in slices" if entry.is_sliced else f"has type {entry.dtype} of types.proto"
        raise ModelError(f"{file}: variable {name} {form}, which is not read here")
    dtype = np.dtype(_DTYPES[entry.dtype])
    if prod(entry.shape) * dtype.itemsize != entry.size:
        raise ModelError(f"{file}: variable {name} of shape {entry.shape} cannot have {entry.size} bytes")
    try:
        available = file.stat().st_size
    except OSError as error:
        raise ModelError(f"{file}: cannot be read: {error.strerror}; it has variable {name}") from error
    if entry.offset + entry.size > available:
        raise ModelError(
            f"{file}: is cut short: variable {name} ends at byte {entry.offset + entry.size:,},"
            f" the file at {available:,}; copy it again"
        )
    if not entry.size:
        raise ModelError(f"{file}: variable {name} of shape {entry.shape} has no values")
    return np.memmap(file, dtype, mode="r", offset=entry.offset, shape=entry.shape)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read: {error.strerror}; name the checkpoint without .index"
        ) from error


def _read_table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a table. Raises ValueError or IndexError where `data` is none."""
    footer = data[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or not footer.endswith(_MAGIC):
        raise ValueError("its footer is missing")
    _, _, at = _handle(footer, 0)  # of LevelDB's filters, which TensorFlow does not use
    offset, size, _ = _handle(footer, at)
    end = 0
    for _, place in _read_block(data, offset, size):
        offset, size, _ = _handle(place, 0)
        if offset < end:
            raise ValueError("its blocks overlap")
        end = offset + size
        yield from _read_block(data, offset, size)


def _handle(data: bytes, at: int) -> tuple[int, int, int]:
    """Offset and size of a block, and where the handle ends."""
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return offset, size, at


def _read_block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    block = _take(data, offset, size)
    if data[offset + size] != _UNCOMPRESSED:
        raise ValueError("it is compressed, which no Saver of TensorFlow does")
    # Behind the entries: places in the block where keys are whole, and how many.
    restarts = int.from_bytes(_take(block, size - 4, 4), "little")
    end, at, key = size - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = _varint(block, at)
        rest, at = _varint(block, at)
        length, at = _varint(block, at)
        key = _take(key, 0, shared) + _take(block, at, rest)
        yield key, _take(block, at + rest, length)
        at += rest + length


def _parse_entry(data: bytes) -> _Entry:
    fields = _fields(data)
    shapes = [value for number, value in fields if number == 2 and isinstance(value, bytes)]
    sizes = [value for shape in shapes for number, value in _fields(shape) if number == 2]
    dtype, shard, offset, size = (_number(fields, field) for field in (1, 3, 4, 5))
    shape = tuple(_number(_fields(one), 1) for one in sizes if isinstance(one, bytes))
    return _Entry(dtype, shape, shard, offset, size, is_sliced=any(number == 7 for number, _ in fields))


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """Numbers and values of a protobuf message's fields."""
    found: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            found.append((number, value))
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of wire type {kind}")
        found.append((number, _take(data, at, size)))
        at += size
    return found


def _number(fields: list[tuple[int, int | bytes]], number: int) -> int:
    """A numeric field; 0, as in protobuf, where it is left out."""
    return next((value for n, value in fields if n == number and isinstance(value, int)), 0)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """An integer of 7 bits a byte, the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 64, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("an integer of more than 64 bits")


def _take(data: bytes, at: int, size: int) -> bytes:
    if at < 0 or at + size > len(data):
        raise ValueError("it is cut short")
    return data[at : at + size]
