"""The forms in which tokens lie on a disk, told apart by what the files say themselves.

- A Megatron pair: headerless tokens, and an index that begins with its magic (`tokenizer/tokenfile.py`).
  A run's shard is one, with a second index over sentences.
- llm.c's: a header of 256 int32 numbers (magic, version, number of tokens), then the tokens.
  Source: llm.c, `dev/data/data_common.py`.
- nanoGPT's: uint16 tokens and nothing else. Nothing in the file says so: it is what remains.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tokenizer.errors import TokenizerError
from tokenizer.tokenfile import MAGIC, Index, TokenFile, read_index

_LLM_C_HEADER: Final = 256 * 4  # bytes
_LLM_C: Final[Mapping[int, tuple[int, np.dtype[Any]]]] = {  # magic → version, dtype
    20240520: (1, np.dtype("<u2")),  # GPT-2's vocabulary
    20240801: (7, np.dtype("<u4")),  # Llama 3's
}


class Form(StrEnum):
    """How tokens are stored."""

    MEGATRON = "megatron"
    LLM_C = "llm.c"
    HEADERLESS = "headerless"


@dataclass(frozen=True, slots=True)
class Found:
    """Tokens on a disk, memory-mapped, and the indexes over them.

    Attributes:
        form: What the files were recognised as.
        path: The file that has the tokens.
        tokens: [tokens], of the file's dtype, read-only.
        offset: Bytes before the first token.
        indexes: What index files there are, by path.
        index: Over documents; where only one over sentences is there, that one. None: no index.
        sentences: The index whose sequences cut documents into pieces; None where nothing does.
    """

    form: Form
    path: Path
    tokens: npt.NDArray[Any]
    offset: int = 0
    indexes: Mapping[Path, Index] = field(default_factory=dict)
    index: Index | None = None
    sentences: Index | None = None


def find_tokens(path: Path) -> Found:
    """Recognises a file of tokens, or an index over one, and opens what belongs to it.

    Raises:
        TokenizerError: The file cannot be read, is of no known form, is cut short, or does not fit the
            files that belong to it.
    """
    head = _head(path)
    if head.startswith(MAGIC) or path.suffix == ".idx":
        return _open_pair(path, _stem_of_index(path))
    if path.suffix == ".bin" and any(one.exists() for one in _indexes(path.with_suffix(""))):
        return _open_pair(path, path.with_suffix(""))
    magic = int.from_bytes(head[:4], "little")
    if len(head) >= 4 and magic in _LLM_C:
        return _open_llm_c(path, head)
    if path.suffix != ".bin":
        raise TokenizerError(
            f"{path}: offset 0: begins with {head[:9]!r}, which is neither a Megatron index nor llm.c's "
            "header; name a .bin or .idx file of tokens"
        )
    return _open_headerless(path)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LLM_C_HEADER)
    except OSError as error:
        raise TokenizerError(f"{path}: cannot be read: {error.strerror}") from error


def _stem_of_index(path: Path) -> Path:
    """What the names of a shard's files begin with: an index over sentences may have no .bin of its own."""
    stem = path.with_suffix("")
    if stem.suffix == ".sentences" and not _with_end(stem, ".bin").exists():
        return stem.with_suffix("")
    return stem


def _with_end(stem: Path, end: str) -> Path:
    return stem.with_name(stem.name + end)


def _indexes(stem: Path) -> list[Path]:
    return [_with_end(stem, end) for end in (".idx", ".sentences.idx")]


def _open_pair(named: Path, stem: Path) -> Found:
    path = _with_end(stem, ".bin")
    indexes = {one: read_index(one) for one in _indexes(stem) if one == named or one.exists()}
    if not indexes:
        raise TokenizerError(
            f"{named}: begins as a Megatron index does, but is not named as one; name it .idx, and its "
            "tokens likewise with .bin"
        )
    # Opening checks that the tokens are as many as each index says.
    opened = [TokenFile(path, index) for index in indexes.values()]
    index, sentences = opened[0].index, opened[-1].index
    num, num_of_sentences = len(index.documents) - 1, len(sentences.documents) - 1
    if num != num_of_sentences:
        raise TokenizerError(
            f"{stem}.sentences.idx: has {num_of_sentences:,} documents, but {stem.name}.idx has {num:,}; "
            "take both from the same shard"
        )
    cuts = len(indexes) > 1 or bool((np.diff(index.documents) != 1).any())
    return Found(Form.MEGATRON, path, opened[0].tokens, 0, indexes, index, sentences if cuts else None)


def _open_llm_c(path: Path, head: bytes) -> Found:
    if len(head) < _LLM_C_HEADER:
        raise TokenizerError(
            f"{path}: offset {len(head)}: ends within llm.c's {_LLM_C_HEADER}-byte header; write it again"
        )
    magic, version, num_tokens = struct.unpack_from("<3i", head)
    known, dtype = _LLM_C[magic]
    if version != known:
        raise TokenizerError(
            f"{path}: offset 4: version {version} of llm.c's form, only {known} is known for magic {magic}"
        )
    size, expected = path.stat().st_size, _LLM_C_HEADER + num_tokens * dtype.itemsize
    if size != expected:
        raise TokenizerError(
            f"{path}: offset 8: llm.c's header tells of {num_tokens:,} tokens, which need "
            f"{expected:,} bytes, but the file has {size:,}; write it again"
        )
    return Found(Form.LLM_C, path, _map(path, dtype, num_tokens, _LLM_C_HEADER), _LLM_C_HEADER)


def _open_headerless(path: Path) -> Found:
    dtype, size = np.dtype("<u2"), path.stat().st_size
    if size % dtype.itemsize:
        raise TokenizerError(
            f"{path}: has {size:,} bytes, and no index or header tells what they are; headerless tokens of "
            f"{dtype.itemsize} bytes would be an even number: is the file cut short, or its .idx elsewhere?"
        )
    return Found(Form.HEADERLESS, path, _map(path, dtype, size // dtype.itemsize, 0))


def _map(path: Path, dtype: np.dtype[Any], num_tokens: int, offset: int) -> npt.NDArray[Any]:
    if num_tokens == 0:
        return np.empty(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=(num_tokens,))
