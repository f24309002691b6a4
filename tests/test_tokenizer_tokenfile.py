"""Token files: an index written by hand, round trips, and bytes that are no index."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenizer.errors import TokenizerError
from tokenizer.tokenfile import (
    DTYPES,
    Index,
    TokenFile,
    document_index,
    index_bytes,
    parse_index,
    read_index,
    token_dtype,
)

# Two documents of 3 and 2 uint16 tokens, end-of-text included.
BY_HAND = b"".join(
    (
        b"MMIDIDX\x00\x00",
        b"\x01\x00\x00\x00\x00\x00\x00\x00",
        b"\x08",
        b"\x02\x00\x00\x00\x00\x00\x00\x00",
        b"\x03\x00\x00\x00\x00\x00\x00\x00",
        b"\x03\x00\x00\x00\x02\x00\x00\x00",
        b"\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00",
        b"\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00",
        b"\x02\x00\x00\x00\x00\x00\x00\x00",
    )
)


def make_index(lengths: list[int], pointers: list[int], documents: list[int]) -> Index:
    return Index(
        np.dtype("<u2"),
        np.array(lengths, dtype=np.int32),
        np.array(pointers, dtype=np.int64),
        np.array(documents, dtype=np.int64),
    )


def test_an_index_is_megatron_s_to_the_byte(tmp_path: Path) -> None:
    assert index_bytes(document_index(np.uint16, [3, 2])) == BY_HAND
    (tmp_path / "a.idx").write_bytes(BY_HAND)
    index = read_index(tmp_path / "a.idx")
    assert index.dtype == np.uint16
    assert index.lengths.tolist() == [3, 2]
    assert index.pointers.tolist() == [0, 6]
    assert index.documents.tolist() == [0, 1, 2]
    assert index.end == 10


def test_dtype_turns_at_megatron_s_limit() -> None:
    assert token_dtype(50262) == token_dtype(65_499) == np.uint16
    assert token_dtype(65_500) == np.int32


@st.composite
def indexes(draw: st.DrawFn) -> Index:
    """Any sound index: gaps between sequences, empty sequences and empty documents included."""
    dtype = draw(st.sampled_from(list(DTYPES.values())))
    lengths = draw(st.lists(st.integers(0, 50), max_size=12))
    gaps = draw(st.lists(st.integers(0, 9), min_size=len(lengths), max_size=len(lengths)))
    sizes = np.array(lengths, dtype=np.int64)
    starts = np.cumsum(np.array(gaps, dtype=np.int64) + sizes) - sizes
    inner = sorted(draw(st.lists(st.integers(0, len(lengths)), max_size=5)))
    bounds = [0, *inner, len(lengths)] if lengths else [0] * (len(inner) + 1)
    return Index(
        dtype,
        np.array(lengths, dtype=np.int32),
        starts * dtype.itemsize,
        np.array(bounds, dtype=np.int64),
    )


def assert_same(left: Index, right: Index) -> None:
    assert left.dtype == right.dtype
    for name in ("lengths", "pointers", "documents"):
        assert getattr(left, name).dtype == getattr(right, name).dtype
        assert getattr(left, name).tolist() == getattr(right, name).tolist()


@given(indexes())
def test_any_index_comes_back_as_it_was(index: Index) -> None:
    assert_same(parse_index(index_bytes(index), "x"), index)


@given(st.binary(max_size=200) | st.binary(max_size=120).map(lambda tail: BY_HAND[:18] + tail))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    try:
        index = parse_index(data, "foreign.idx")
    except TokenizerError as error:
        assert str(error).startswith("foreign.idx: ")  # noqa: PT017  # bytes may happen to be sound
    else:
        assert index_bytes(index) == data


@given(st.integers(0, len(BY_HAND) - 1), st.integers(0, 255))
def test_a_wrong_byte_is_refused_or_gives_another_sound_index(at: int, byte: int) -> None:
    data = BY_HAND[:at] + bytes([byte]) + BY_HAND[at + 1 :]
    try:
        index = parse_index(data, "x")
    except TokenizerError:
        return
    assert index_bytes(index) == data


def replaced(at: int, form: str, value: int) -> bytes:
    field = struct.pack(form, value)
    return BY_HAND[:at] + field + BY_HAND[at + len(field) :]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "offset 0: no Megatron index"),
        (b"\x01\x02" * 50, "offset 0: no Megatron index"),
        (BY_HAND[:20], "offset 20: ends within the 34-byte header"),
        (BY_HAND[:-1], "need 82 bytes, but the file has 81; it is cut short"),
        (BY_HAND + b"\0", "it is too long"),
        (replaced(9, "<Q", 2), "offset 9: version 2"),
        (replaced(17, "<B", 6), "offset 17: dtype code 6"),
        (replaced(18, "<Q", 2**63), "cut short"),
        (replaced(26, "<Q", 0), "too long"),
        (replaced(38, "<i", -1), "offset 38: sequence 1 has a negative length, -1"),
        (replaced(42, "<q", -6), "offset 42: sequence 0 has a negative pointer, -6"),
        (replaced(50, "<q", 4), "offset 50: sequence 1 begins at byte 4, before sequence 0"),
        (replaced(58, "<q", 1), "offset 58: document bounds must go from 0"),
        (replaced(74, "<q", 3), "offset 58: document bounds must go from 0"),
        (replaced(66, "<q", 3), "offset 74: document bounds go back from 3 to 2"),
    ],
)
def test_a_broken_index_names_the_file_and_the_offset(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "broken.idx").write_bytes(data)
    with pytest.raises(TokenizerError, match=rf"broken\.idx: .*{message}"):
        read_index(tmp_path / "broken.idx")


def test_a_missing_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"gone\.idx: cannot be read: No such file"):
        read_index(tmp_path / "gone.idx")


def test_an_unsound_index_is_not_written() -> None:
    with pytest.raises(TokenizerError, match="2 lengths but 1 pointers"):
        index_bytes(make_index([1, 1], [0], [0, 2]))
    with pytest.raises(TokenizerError, match="before sequence 0"):
        index_bytes(make_index([2, 1], [0, 2], [0, 2]))
    with pytest.raises(TokenizerError, match="float32 is no integer type"):
        index_bytes(document_index(np.float32, [1]))
    wide: Any = np.array([1], dtype=np.int64)
    with pytest.raises(TokenizerError, match="are int64, int64, int64; they must be int32"):
        index_bytes(Index(np.dtype("<u2"), wide, wide - 1, np.array([0, 1])))


def write_tokens(path: Path, tokens: list[int]) -> Path:
    np.array(tokens, dtype="<u2").tofile(path)
    return path


def test_two_indexes_stand_over_the_same_tokens(tmp_path: Path) -> None:
    # 99 is end-of-text. The first document has two sentences, the second none, the third one.
    path = write_tokens(tmp_path / "a.bin", [1, 2, 3, 99, 99, 4, 99])
    documents = TokenFile(path, document_index(np.uint16, [4, 1, 2]))
    assert len(documents) == 3
    assert [documents[i].tolist() for i in range(3)] == [[1, 2, 3, 99], [99], [4, 99]]
    assert documents.tokens.tolist() == [1, 2, 3, 99, 99, 4, 99]
    assert documents[1].dtype == np.uint16
    with pytest.raises(ValueError, match="read-only"):
        documents[0][0] = 7

    sentences = TokenFile(path, make_index([2, 1, 1], [0, 4, 10], [0, 2, 2, 3]))
    assert [sentences[i].tolist() for i in range(3)] == [[1, 2], [3], [4]]


@pytest.mark.parametrize("tokens", [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6]])
def test_tokens_of_another_length_than_the_index_are_refused(tmp_path: Path, tokens: list[int]) -> None:
    path = write_tokens(tmp_path / "a.bin", tokens)
    with pytest.raises(TokenizerError, match=r"a\.bin: has .* ends at byte 10"):
        TokenFile(path, document_index(np.uint16, [3, 2]))


def test_half_tokens_and_missing_tokens_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    index = make_index([1], [0], [0, 1])
    with pytest.raises(TokenizerError, match=r"a\.bin: cannot be read: No such file"):
        TokenFile(path, index)
    path.write_bytes(b"\1\0\1")
    with pytest.raises(TokenizerError, match=r"a\.bin: has 3 bytes"):
        TokenFile(path, index)
    with pytest.raises(TokenizerError, match=r"sequence 0 begin at byte 1, within a token"):
        TokenFile(path, make_index([1], [1], [0, 1]))


def test_an_empty_shard_has_no_sequences(tmp_path: Path) -> None:
    path = write_tokens(tmp_path / "a.bin", [])
    empty = TokenFile(path, parse_index(index_bytes(document_index(np.uint16, [])), "x"))
    assert len(empty) == 0
    assert empty.tokens.tolist() == []
