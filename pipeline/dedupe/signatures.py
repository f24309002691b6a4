"""A document's MinHash signature: what tells, in little space, how much of its text another one shares.

A text's words are its runs of non-space characters, with case folded; its shingles are its n-grams of words.
A text of fewer than n words is one shingle of them all, and an empty text has none. Scripts without spaces
have few and very long words, so there only texts that agree over whole lines are found.

A word is hashed once and n neighbouring hashes are combined; the permutations are datasketch's "affine32",
and so a signature is what ``datasketch.MinHash`` makes of the same shingle hashes.
"""

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from pipeline.records import TIME
from pipeline.runs import PartWriter
from pipeline.stages import Job, Planned

SEED = 1
EMPTY = np.uint32(0xFFFFFFFF)  # in every place of the signature of a text without shingles

_SHINGLE_MULTIPLIER = 0x9E3779B97F4A7C15  # odd; 2^64 / golden ratio
_BLOCK = 1024  # shingles permuted at a time: the products stay in the processor's cache

Words = npt.NDArray[np.uint64]
Signature = npt.NDArray[np.uint32]


def signed_schema(num_perm: int) -> pa.Schema:
    """A ``signatures`` table: what ranking, comparing and merging need to know of each document."""
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("text_hash", pa.binary(16), nullable=False),  # of the normalised text
            pa.field("karma", pa.int32(), nullable=False),
            pa.field("num_chars", pa.int64(), nullable=False),
            pa.field("created", TIME),
            pa.field("submissions", pa.list_(pa.string()), nullable=False),
            pa.field("subreddits", pa.list_(pa.string()), nullable=False),
            pa.field("signature", pa.binary(4 * num_perm), nullable=False),  # little-endian uint32
        ]
    )


def normalise(text: str) -> str:
    """The text as it is compared: ``normalise(" The  CAT ") == "the cat"``."""
    return " ".join(text.casefold().split())


class Signer:
    """Makes signatures; remembers the hash of every word that it has seen."""

    def __init__(self, ngram: int, num_perm: int) -> None:
        self._ngram = ngram
        self._hashes = _WordHashes()
        self._factors, self._terms = _permutations(num_perm)
        self._products = np.empty((num_perm, _BLOCK), dtype=np.uint32)

    def sign(self, normalised: str) -> Signature:
        """The signature of a normalised text: uint32 [num_perm]."""
        words = normalised.split()
        hashes = np.fromiter(map(self._hashes.__getitem__, words), np.uint64, len(words))
        return self._minhash(_mix(shingle_hashes(hashes, self._ngram)))

    def _minhash(self, mixed: Signature) -> Signature:
        least = np.full(len(self._factors), EMPTY)
        for start in range(0, len(mixed), _BLOCK):
            block = mixed[start : start + _BLOCK]
            products = self._products[:, : len(block)]
            np.multiply(self._factors, block, out=products)
            np.add(products, self._terms, out=products)
            np.minimum(least, products.min(axis=1), out=least)
        return least


def shingle_hashes(words: Words, ngram: int) -> Signature:
    """The hashes of a text's shingles, from those of its words: uint32 [shingles].

    A shingle of the words w0 … wk has the upper half of w0·m + w1·m² + … (modulo 2^64).
    """
    if len(words) == 0:
        return np.empty(0, dtype=np.uint32)
    length = min(ngram, len(words))
    num_shingles = len(words) - length + 1
    total = np.zeros(num_shingles, dtype=np.uint64)
    for i in range(length):
        multiplier = np.uint64(pow(_SHINGLE_MULTIPLIER, i + 1, 1 << 64))
        total += words[i : i + num_shingles] * multiplier
    return (total >> np.uint64(32)).astype(np.uint32)


class _WordHashes(dict[str, int]):
    def __missing__(self, word: str) -> int:
        self[word] = value = xxhash.xxh3_64_intdigest(word.encode())
        return value


@lru_cache(maxsize=1)
def _permutations(num_perm: int) -> tuple[Signature, Signature]:
    """Factors and terms, each uint32 [num_perm, 1]."""
    from datasketch import MinHash  # brings scipy: a second to import

    factors, terms = MinHash(num_perm=num_perm, seed=SEED, scheme="affine32").permutations
    return factors[:, None], terms[:, None]


def _mix(hashes: Signature) -> Signature:
    """MurmurHash3's 32-bit finaliser, which datasketch applies before its permutations."""
    mixed = hashes ^ (hashes >> np.uint32(16))
    mixed *= np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(0xC2B2AE35)
    mixed ^= mixed >> np.uint32(16)
    return mixed


def sign_table(documents: pa.Table, ngram: int, num_perm: int) -> pa.Table:
    """The ``signatures`` table of documents, row by row."""
    signer = Signer(ngram, num_perm)
    hashes: list[bytes] = []
    lengths: list[int] = []
    signatures = np.empty((documents.num_rows, num_perm), dtype="<u4")
    for batch in documents.select(["text"]).to_batches(max_chunksize=256):
        for text in batch["text"].to_pylist():
            normalised = normalise(text)
            signatures[len(hashes)] = signer.sign(normalised)
            hashes.append(xxhash.xxh3_128_digest(normalised.encode()))
            lengths.append(len(text))
    schema = signed_schema(num_perm)
    columns: dict[str, Any] = {
        name: documents[name] for name in ("id", "karma", "created", "submissions", "subreddits")
    }
    columns["text_hash"] = pa.array(hashes, schema.field("text_hash").type)
    columns["num_chars"] = pa.array(lengths, pa.int64())
    columns["signature"] = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(4 * num_perm), documents.num_rows, [None, pa.py_buffer(signatures)]
    )
    return pa.table([columns[name] for name in schema.names], schema=schema)


def fixed_width(column: pa.ChunkedArray, dtype: npt.DTypeLike, per_row: int) -> npt.NDArray[Any]:
    """A fixed-size binary column as numbers: [rows, per_row]."""
    width = np.dtype(dtype).itemsize * per_row
    chunks = [
        np.frombuffer(chunk.buffers()[1], np.uint8)[
            chunk.offset * width : (chunk.offset + len(chunk)) * width
        ]
        for chunk in column.chunks
        if len(chunk)
    ]
    raw = np.concatenate(chunks) if chunks else np.empty(0, np.uint8)
    return raw.view(dtype).reshape(-1, per_row)


_COLUMNS: Sequence[str] = ("id", "text", "karma", "created", "submissions", "subreddits")


def sign(job: Job, part: Planned) -> None:
    """Signs the documents of one filtered part."""
    started = time.monotonic()
    documents = job.folder_of("filter").read_table(part.spec["source"], list(_COLUMNS))
    signed = sign_table(documents, job.settings.ngram, job.settings.num_perm)
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    writer.table("parquet", signed)
    writer.commit(None, seconds=time.monotonic() - started)
