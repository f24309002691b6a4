"""Checkpoints of TensorFlow read without it: one that it wrote itself, made ones, and damaged ones."""

import base64
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import ModelError
from model.exchange.tensorflow_checkpoint import read_tensorflow_checkpoint

Arrays = Mapping[str, npt.NDArray[Any]]

MAGIC = bytes.fromhex("57fb808b247547db")
NUMBERS = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "float16": 19, "uint8": 4}


def varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def message(fields: Iterable[tuple[int, int | bytes]]) -> bytes:
    """A protobuf message of integers and nested messages."""
    encoded = b""
    for number, value in fields:
        if isinstance(value, int):
            encoded += varint(number << 3) + varint(value)
        else:
            encoded += varint(number << 3 | 2) + varint(len(value)) + value
    return encoded


def entry(array: npt.NDArray[Any], shard: int, offset: int, more: bytes = b"") -> bytes:
    shape = message((2, message([(1, size)])) for size in array.shape)
    fields: list[tuple[int, int | bytes]] = [
        (1, NUMBERS[array.dtype.name]),
        (2, shape),
        (3, shard),
        (4, offset),
        (5, array.nbytes),
    ]
    checksum = varint(6 << 3 | 5) + struct.pack("<I", 0)
    return message(fields) + checksum + more


def block(entries: Iterable[tuple[bytes, bytes]], compression: int = 0) -> bytes:
    """A block whose keys leave out what they share with the one before, with its trailer."""
    data, last = b"", b""
    for key, value in entries:
        shared = next((i for i, (a, b) in enumerate(zip(key, last, strict=False)) if a != b), len(last))
        shared = min(shared, len(key))
        data += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return data + struct.pack("<II", 0, 1) + bytes([compression]) + b"sums"


def table(entries: list[tuple[bytes, bytes]], block_entries: int = 3, compression: int = 0) -> bytes:
    data, places = b"", []
    for first in range(0, len(entries), block_entries):
        some = entries[first : first + block_entries]
        made = block(some, compression)
        places.append((some[-1][0], varint(len(data)) + varint(len(made) - 5)))
        data += made
    meta = len(data)
    data += block([])
    index = len(data)
    data += block(places)
    handles = varint(meta) + varint(8) + varint(index) + varint(len(data) - index - 5)
    return data + handles.ljust(40, b"\0") + MAGIC


def write_bundle(prefix: Path, variables: Arrays, *, shards: int = 1, **how: Any) -> None:
    """Writes a checkpoint in which the variables take turns with the data files."""
    files = [bytearray() for _ in range(shards)]
    entries = [(b"", how.pop("header", message([(1, shards)])))]
    for number, (name, array) in enumerate(sorted(variables.items())):
        file = files[number % shards]
        entries.append((name.encode(), entry(array, number % shards, len(file), how.get("more", b""))))
        file += array.tobytes()
    how.pop("more", None)
    prefix.with_name(f"{prefix.name}.index").write_bytes(table(entries, **how))
    for number, file in enumerate(files):
        prefix.with_name(f"{prefix.name}.data-{number:05d}-of-{shards:05d}").write_bytes(file)


# What TensorFlow 2.21's tf.compat.v1.train.Saver wrote of the variables below.
WRITTEN_INDEX = base64.b64decode(
    "AAAGCAEaAggBAAYPZG91YmxlCAISBBICCAEoCDWB9om9AAsNZ2xvYmFsX3N0ZXAICRIAIAgoCDWFoEQqABYZbW9kZWwvaDAvYXR0"
    "bi9jX2F0dG4vdwgBEgwSAggBEgIIAhICCAYgECgwNTymfHIJBhFsbl8xL2IIARIEEgIIAiBAKAg1pHuPMA4BEWcIARIEEgIIAiBI"
    "KAg16ONGWQcJETExL2xuXzEvZwgBEgQSAggCIFAoCDUSCxxMBgMVd3RlCAESCBICCAUSAggCIFgoKDUKh1DAAAAAAAEAAAAA8d5D"
    "iAAAAAABAAAAAMDyobAAAQNuAN0BAAAAAAEAAAAAmDU0oeIBCO8BDwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABX"
    "+4CLJHVH2w=="
)
WRITTEN_DATA = base64.b64decode(
    "nHUAiDzkN35AQg8AAAAAAAAAwMAAAKDAAACAwAAAQMAAAADAAACAvwAAAAAAAIA/AAAAQAAAQEAAAIBAAACgQAAAwL8AAABAAACA"
    "PwAAgD8AAAA/AACAvgAAAAAAAIA+AAAAPwAAQD8AAIA/AACgPwAAwD8AAOA/AAAAQAAAEEA="
)
WRITTEN: Arrays = {
    "double": np.array([1e300]),
    "global_step": np.array(1_000_000, np.int64),
    "model/h0/attn/c_attn/w": np.arange(-6, 6, dtype=np.float32).reshape(1, 2, 6),
    "model/h0/ln_1/b": np.array([-1.5, 2], np.float32),
    "model/h0/ln_1/g": np.ones(2, np.float32),
    "model/h11/ln_1/g": np.array([0.5, -0.25], np.float32),
    "model/wte": np.arange(10, dtype=np.float32).reshape(5, 2) / 4,
}


def some_variables() -> dict[str, npt.NDArray[Any]]:
    rng = np.random.default_rng(0)
    names = ["model/wte", "model/wpe", "model/h0/ln_1/g", "model/h0/ln_1/b", "model/h0/attn/c_attn/w"]
    shapes = [(7, 4), (3, 4), (4,), (4,), (1, 4, 12)]
    floats = {n: rng.standard_normal(s).astype(np.float32) for n, s in zip(names, shapes, strict=True)}
    return {**floats, "global_step": np.array(1_000_000, np.int64)}


def assert_equal(found: Arrays, expected: Arrays) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_what_tensorflow_wrote_is_read(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt.index").write_bytes(WRITTEN_INDEX)
    (tmp_path / "model.ckpt.data-00000-of-00001").write_bytes(WRITTEN_DATA)
    assert_equal(read_tensorflow_checkpoint(tmp_path / "model.ckpt"), WRITTEN)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("block_entries", [1, 2, 100])
def test_all_variables_come_back(tmp_path: Path, shards: int, block_entries: int) -> None:
    variables = some_variables()
    write_bundle(tmp_path / "model.ckpt", variables, shards=shards, block_entries=block_entries)
    assert_equal(read_tensorflow_checkpoint(tmp_path / "model.ckpt"), variables)


@settings(max_examples=200)
@given(damage=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_damage_is_an_error_that_names_a_file(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    write_bundle(folder / "model.ckpt", some_variables())
    file = folder / "model.ckpt.index"
    data = bytearray(file.read_bytes())
    for place, value in damage:
        data[place % len(data)] = value
    file.write_bytes(data)
    told = ""
    try:
        read_tensorflow_checkpoint(folder / "model.ckpt")
    except ModelError as error:
        told = str(error)
    # Damage in a checksum, a name or an offset is none that this reader can see.
    assert told == "" or str(folder) in told


@pytest.mark.parametrize("size", [0, 10, 47, 48, 300])
def test_an_index_that_is_cut_short_is_refused(tmp_path: Path, size: int) -> None:
    write_bundle(tmp_path / "model.ckpt", some_variables())
    file = tmp_path / "model.ckpt.index"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ModelError, match=r"model\.ckpt\.index: is no index .* copy the whole checkpoint"):
        read_tensorflow_checkpoint(tmp_path / "model.ckpt")


def test_data_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "model.ckpt", some_variables())
    file = tmp_path / "model.ckpt.data-00000-of-00001"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"00000-of-00001: is cut short: variable model/wte"):
        read_tensorflow_checkpoint(tmp_path / "model.ckpt")
    file.unlink()
    with pytest.raises(ModelError, match=r"00000-of-00001: cannot be read"):
        read_tensorflow_checkpoint(tmp_path / "model.ckpt")


@pytest.mark.parametrize(
    ("how", "variables", "named"),
    [
        ({"compression": 1}, {}, "compressed"),
        ({"header": message([(1, 1), (2, 1)])}, {}, "big-endian"),
        ({"more": message([(7, b"")])}, {}, "is in slices"),
        ({}, {"x": np.zeros(3, np.uint8)}, "variable x has type 4"),
        ({}, {"x": np.zeros((2, 0), np.float32)}, "variable x of shape .* has no values"),
    ],
)
def test_other_forms_are_refused(tmp_path: Path, how: dict[str, Any], variables: Arrays, named: str) -> None:
    write_bundle(tmp_path / "model.ckpt", variables or some_variables(), **how)
    with pytest.raises(ModelError, match=named):
        read_tensorflow_checkpoint(tmp_path / "model.ckpt")


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.ckpt\.index: cannot be read"):
        read_tensorflow_checkpoint(tmp_path / "model.ckpt")
