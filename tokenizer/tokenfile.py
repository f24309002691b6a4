"""Token files in Megatron's layout: headerless tokens (`.bin`) and an index over them (`.idx`).

An index, little-endian throughout, over S sequences in D documents:

    offset      size        what
    0           9           magic: b"MMIDIDX" and two zero bytes
    9           8           u64 version, 1
    17          1           u8 code of the tokens' dtype (`DTYPES`)
    18          8           u64 S
    26          8           u64 D + 1
    34          4 S         i32 tokens in each sequence
    34 + 4 S    8 S         i64 byte offset of each sequence in the .bin
    34 + 12 S   8 (D + 1)   i64 first sequence of each document, then S

Two indexes may stand over the same tokens: one sequence a document, and one sequence a sentence
that leaves out the end-of-text tokens between documents. So sequences may leave gaps between
them, but they never overlap or go back.

Source: megatron-core, `megatron/core/datasets/indexed_dataset.py`.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tokenizer.errors import TokenizerError

MAGIC: Final = b"MMIDIDX\0\0"
VERSION: Final = 1
HEADER: Final = struct.Struct("<9sQBQQ")

# Megatron's codes 6 and 7 are floats, which are no tokens.
DTYPES: Final[Mapping[int, np.dtype[Any]]] = {
    1: np.dtype("<u1"),
    2: np.dtype("<i1"),
    3: np.dtype("<i2"),
    4: np.dtype("<i4"),
    5: np.dtype("<i8"),
    8: np.dtype("<u2"),
}


@dataclass(frozen=True, slots=True)
class Index:
    """Where each sequence of a `.bin` lies, and which sequences make a document.

    Attributes:
        dtype: of the tokens in the `.bin`; one of `DTYPES`.
        lengths: int32 [sequences], tokens in each sequence.
        pointers: int64 [sequences], byte offset of each sequence in the `.bin`.
        documents: int64 [documents + 1], first sequence of each document, then the number of
            sequences. Document `d` is the sequences `documents[d]` up to `documents[d + 1]`,
            and may be none.
    """

    dtype: np.dtype[Any]
    lengths: npt.NDArray[np.int32]
    pointers: npt.NDArray[np.int64]
    documents: npt.NDArray[np.int64]

    @property
    def end(self) -> int:
        """Byte offset in the `.bin` just behind the last sequence; 0 when there is none."""
        if len(self.lengths) == 0:
            return 0
        return int(self.pointers[-1]) + int(self.lengths[-1]) * self.dtype.itemsize


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The dtype that holds the ids of a vocabulary: uint16 under 65,500 ids, else int32.

    The limit is Megatron's own, so its readers and this one agree.
    """
    return np.dtype("<u2") if vocab_size < 65_500 else np.dtype("<i4")


def document_index(dtype: npt.DTypeLike, lengths: npt.ArrayLike) -> Index:
    """The index of documents that lie one behind another, one sequence each.

    Args:
        dtype: of the tokens.
        lengths: [documents], tokens in each, end-of-text included.
    """
    token = np.dtype(dtype)
    counts = np.asarray(lengths, dtype=np.int32)
    ends = np.cumsum(counts, dtype=np.int64) * token.itemsize
    return Index(
        dtype=token,
        lengths=counts,
        pointers=ends - counts.astype(np.int64) * token.itemsize,
        documents=np.arange(len(counts) + 1, dtype=np.int64),
    )


def sentence_index(
    dtype: npt.DTypeLike, lengths: npt.NDArray[np.int32], num_sentences: npt.NDArray[np.integer]
) -> Index:
    """The index of the sentences of documents that each are followed by one token of end-of-text.

    Args:
        dtype: of the tokens.
        lengths: int32 [sentences], tokens in each; a document's together are all its tokens but the last.
        num_sentences: [documents], sentences in each.
    """
    token = np.dtype(dtype)
    pointers = np.cumsum(lengths, dtype=np.int64)
    pointers -= lengths
    pointers += np.repeat(np.arange(len(num_sentences)), num_sentences)  # end-of-text tokens before
    pointers *= token.itemsize
    documents = np.zeros(len(num_sentences) + 1, dtype=np.int64)
    np.cumsum(num_sentences, out=documents[1:])
    return Index(dtype=token, lengths=lengths, pointers=pointers, documents=documents)


def index_bytes(index: Index) -> bytes:
    """The bytes of an `.idx` file.

    Raises:
        TokenizerError: The index contradicts itself (see `read_index`).
    """
    _check(index, "index to be written")
    codes = {dtype: code for code, dtype in DTYPES.items()}
    header = HEADER.pack(MAGIC, VERSION, codes[index.dtype], len(index.lengths), len(index.documents))
    return b"".join(
        (
            header,
            index.lengths.astype("<i4").tobytes(),
            index.pointers.astype("<i8").tobytes(),
            index.documents.astype("<i8").tobytes(),
        )
    )


def read_index(path: Path) -> Index:
    """Read an `.idx` file, and check all that it says.

    Raises:
        TokenizerError: The file is missing, is no index, holds no tokens (a float dtype), is
            shorter or longer than its header says, or its numbers are negative, overlap or go
            back. The message names the file and the byte offset.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TokenizerError(f"{path}: cannot be read: {error.strerror}") from error
    return parse_index(data, str(path))


def parse_index(data: bytes, name: str) -> Index:
    """Parse the bytes of an `.idx` file; `name` stands for the file in messages.

    Raises:
        TokenizerError: As `read_index`.
    """
    dtype, num_sequences, num_bounds = _parse_header(data, name)
    expected = HEADER.size + 12 * num_sequences + 8 * num_bounds
    if len(data) != expected:
        raise TokenizerError(
            f"{name}: {num_sequences:,} sequences and {num_bounds:,} document bounds (offsets 18 "
            f"and 26) need {expected:,} bytes, but the file has {len(data):,}; it is "
            f"{'cut short' if len(data) < expected else 'too long'}: write it again"
        )

    pointers_at = HEADER.size + 4 * num_sequences
    documents_at = pointers_at + 8 * num_sequences
    # Copies: the columns do not lie at aligned offsets, and should not keep the file's bytes.
    index = Index(
        dtype=dtype,
        lengths=np.frombuffer(data, "<i4", num_sequences, HEADER.size).astype(np.int32),
        pointers=np.frombuffer(data, "<i8", num_sequences, pointers_at).astype(np.int64),
        documents=np.frombuffer(data, "<i8", num_bounds, documents_at).astype(np.int64),
    )
    _check(index, name)
    return index


def _parse_header(data: bytes, name: str) -> tuple[np.dtype[Any], int, int]:
    if data[: len(MAGIC)] != MAGIC:
        raise TokenizerError(
            f"{name}: offset 0: no Megatron index (begins with {data[:9]!r}, not {MAGIC!r}); "
            "name the .idx file, not the .bin"
        )
    if len(data) < HEADER.size:
        raise TokenizerError(
            f"{name}: offset {len(data)}: ends within the {HEADER.size}-byte header; write the file again"
        )
    _, version, code, num_sequences, num_bounds = HEADER.unpack_from(data)
    if version != VERSION:
        raise TokenizerError(f"{name}: offset 9: version {version}, only {VERSION} is known")
    if code not in DTYPES:
        raise TokenizerError(
            f"{name}: offset 17: dtype code {code} is no integer type that holds tokens; "
            f"known are {', '.join(f'{code} ({dtype.name})' for code, dtype in DTYPES.items())}"
        )
    return DTYPES[code], num_sequences, num_bounds


def _check(index: Index, name: str) -> None:
    """Raise TokenizerError unless the index is one that `Index` describes."""
    if index.dtype not in DTYPES.values():
        raise TokenizerError(f"{name}: {index.dtype} is no integer type that holds tokens")
    columns = [column.dtype.name for column in (index.lengths, index.pointers, index.documents)]
    if columns != ["int32", "int64", "int64"]:
        raise TokenizerError(
            f"{name}: lengths, pointers and documents are {', '.join(columns)}; "
            "they must be int32, int64, int64"
        )
    num_sequences = len(index.lengths)
    if len(index.pointers) != num_sequences:
        raise TokenizerError(f"{name}: {num_sequences:,} lengths but {len(index.pointers):,} pointers")
    lengths_at = HEADER.size
    pointers_at = lengths_at + 4 * num_sequences
    documents_at = pointers_at + 8 * num_sequences

    if (bad := _first(index.lengths < 0)) is not None:
        raise TokenizerError(
            f"{name}: offset {lengths_at + 4 * bad}: sequence {bad} has a negative length, "
            f"{index.lengths[bad]}"
        )
    if (bad := _first(index.pointers < 0)) is not None:
        raise TokenizerError(
            f"{name}: offset {pointers_at + 8 * bad}: sequence {bad} has a negative pointer, "
            f"{index.pointers[bad]}"
        )
    # Differences of numbers that are not negative cannot overflow; sums could.
    sizes = index.lengths.astype(np.int64) * index.dtype.itemsize
    if (bad := _first(np.diff(index.pointers) < sizes[:-1])) is not None:
        raise TokenizerError(
            f"{name}: offset {pointers_at + 8 * (bad + 1)}: sequence {bad + 1} begins at byte "
            f"{index.pointers[bad + 1]}, before sequence {bad} of {sizes[bad]} bytes from byte "
            f"{index.pointers[bad]} has ended"
        )

    documents = index.documents
    if len(documents) == 0 or documents[0] != 0 or documents[-1] != num_sequences:
        raise TokenizerError(
            f"{name}: offset {documents_at}: document bounds must go from 0 to the number of "
            f"sequences, {num_sequences}"
        )
    if (bad := _first(documents[1:] < documents[:-1])) is not None:
        raise TokenizerError(
            f"{name}: offset {documents_at + 8 * (bad + 1)}: document bounds go back from "
            f"{documents[bad]} to {documents[bad + 1]}"
        )


def _first(wrong: npt.NDArray[np.bool_]) -> int | None:
    """The position of the first True, or None."""
    return int(np.argmax(wrong)) if wrong.any() else None


class TokenFile:
    """The sequences of one `.bin`, memory-mapped.

    `len(file)` is the number of sequences, `file[i]` the tokens of one as a read-only view,
    `file.tokens` all tokens, gaps included.

    Args:
        bin_path: The tokens.
        index: What `read_index` gave for one of its indexes.

    Raises:
        TokenizerError: The file is missing or not as long as its index says. Behind the last
            sentence of an index of sentences, end-of-text tokens may follow: at most one for
            every document.
    """

    def __init__(self, bin_path: Path, index: Index) -> None:
        self.path = bin_path
        self.index = index
        self.tokens = _map_tokens(bin_path, index)
        """All tokens, index.dtype [tokens], read-only."""
        # Views of tokens need whole-token offsets.
        self._starts = index.pointers // index.dtype.itemsize

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, i: int) -> npt.NDArray[Any]:
        start = int(self._starts[i])
        return self.tokens[start : start + int(self.index.lengths[i])]


def _map_tokens(bin_path: Path, index: Index) -> npt.NDArray[Any]:
    itemsize = index.dtype.itemsize
    try:
        size = bin_path.stat().st_size
    except OSError as error:
        raise TokenizerError(f"{bin_path}: cannot be read: {error.strerror}") from error
    if (bad := _first(index.pointers % itemsize != 0)) is not None:
        raise TokenizerError(
            f"{bin_path}: its index lets sequence {bad} begin at byte {index.pointers[bad]}, "
            f"within a token of {itemsize} bytes; use the index written with this file"
        )
    most = index.end + _num_left_out(index) * itemsize
    if size % itemsize or not index.end <= size <= most:
        raise TokenizerError(
            f"{bin_path}: has {size:,} bytes, but its index of {index.dtype.name} tokens ends at "
            f"byte {index.end:,}; use the index written with this file, or write both again"
        )
    if size == 0:
        return np.empty(0, dtype=index.dtype)
    return np.memmap(bin_path, dtype=index.dtype, mode="r")


def _num_left_out(index: Index) -> int:
    """How many tokens may follow the last sequence: those that an index of sentences leaves out.

    An index of documents leaves none out, so where one sequence is one document and nothing lies
    between two of them, the answer is 0. A single document cannot show which of the two it is.
    """
    num_documents = len(index.documents) - 1
    one_each = num_documents > 1 and bool((np.diff(index.documents) == 1).all())
    sizes = index.lengths[:-1].astype(np.int64) * index.dtype.itemsize
    if one_each and bool((np.diff(index.pointers) == sizes).all()):
        return 0
    return num_documents
