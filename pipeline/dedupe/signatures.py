"""A document's MinHash signature: what tells, in little space, how much of its text another one shares.

The permutations are datasketch's "affine32" of the upper halves of the shingles' hashes, so that a signature
is what ``datasketch.MinHash`` makes of them.
"""

import time
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from pipeline.config import DedupeSettings
from pipeline.dedupe.shingles import Hashes, Shingler
from pipeline.records import TIME
from pipeline.runs import PartWriter
from pipeline.stages import Job, Planned
from pipeline.urls import parse

SIGNATURES = "signatures"  # the step's name in the names of parts

SEED = 1
EMPTY = np.uint32(0xFFFFFFFF)  # in every place of the signature of a text without shingles

_BLOCK = 512  # shingles permuted at a time: the products stay in the processor's cache
_TEXTS_AT_ONCE = 1_000

Signature = npt.NDArray[np.uint32]


def signed_schema(num_perm: int) -> pa.Schema:
    """A ``signatures`` table: all that is asked of a document but its text."""
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("url", pa.string(), nullable=False),
            pa.field("domain", pa.string(), nullable=False),  # registrable, of the final URL
            pa.field("text_hash", pa.binary(16), nullable=False),  # of the normalised text
            pa.field("karma", pa.int64(), nullable=False),
            pa.field("num_chars", pa.int64(), nullable=False),
            pa.field("created", TIME),
            pa.field("submissions", pa.list_(pa.string()), nullable=False),
            pa.field("subreddits", pa.list_(pa.string()), nullable=False),
            pa.field("signature", pa.binary(4 * num_perm), nullable=False),  # little-endian uint32
        ]
    )


class Signer:
    """Makes signatures of shingles: ``num_perm`` of the smallest permuted hashes."""

    def __init__(self, num_perm: int) -> None:
        self._factors, self._terms = _permutations(num_perm)
        self._products = np.empty((num_perm, _BLOCK), dtype=np.uint32)

    def sign(self, shingles: Hashes) -> Signature:
        """The signature of a text's shingles: uint32 [num_perm]."""
        mixed = _mix((shingles >> np.uint64(32)).astype(np.uint32))
        least = np.full(len(self._factors), EMPTY)
        for start in range(0, len(mixed), _BLOCK):
            block = mixed[start : start + _BLOCK]
            products = self._products[:, : len(block)]
            np.multiply(self._factors, block, out=products)
            np.add(products, self._terms, out=products)
            np.minimum(least, products.min(axis=1), out=least)
        return least


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


def sign_table(documents: pa.Table, settings: DedupeSettings) -> pa.Table:
    """The ``signatures`` table of documents, row by row."""
    return pa.concat_tables(sign_batches(documents.to_batches(), settings))


def sign_batches(documents: Iterable[pa.RecordBatch], settings: DedupeSettings) -> Iterator[pa.Table]:
    """The ``signatures`` table of documents, batch by batch; of none, an empty one."""
    schema = signed_schema(settings.num_perm)
    shingler, signer = Shingler(settings.shingles, settings.ngram), Signer(settings.num_perm)
    yield schema.empty_table()
    for batch in documents:
        hashes: list[bytes] = []
        lengths: list[int] = []
        signatures = np.empty((batch.num_rows, settings.num_perm), dtype="<u4")
        for text in batch["text"]:
            spelled = text.as_py()
            normalised, shingles = shingler.shingle(spelled)
            signatures[len(hashes)] = signer.sign(shingles)
            hashes.append(xxhash.xxh3_128_digest(normalised))
            lengths.append(len(spelled))
        columns = {name: batch[name] for name in _COLUMNS if name in schema.names}
        columns["domain"] = pa.array([_domain(url) for url in batch["final_url"].to_pylist()], pa.string())
        columns["text_hash"] = pa.array(hashes, schema.field("text_hash").type)
        columns["num_chars"] = pa.array(lengths, pa.int64())
        columns["signature"] = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(4 * settings.num_perm), batch.num_rows, [None, pa.py_buffer(signatures)]
        )
        yield pa.table([columns[name] for name in schema.names], schema=schema)


def _domain(url: str) -> str:
    parsed = parse(url)
    return parsed.domain if parsed else ""


_COLUMNS = ["id", "url", "final_url", "text", "karma", "created", "submissions", "subreddits"]


def sign(job: Job, part: Planned) -> None:
    """Signs the documents of one filtered part."""
    started = time.monotonic()
    with job.folder_of("filter").open(part.spec["source"]) as stream:
        batches = pq.ParquetFile(stream).iter_batches(batch_size=_TEXTS_AT_ONCE, columns=_COLUMNS)
        signed = pa.concat_tables(sign_batches(batches, job.settings))
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    writer.table("parquet", signed)
    writer.commit(None, seconds=time.monotonic() - started)
