"""The shards: each is made of parts of the corpus that follow one another, or of a slice of a large one."""

from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import xxhash

from pipeline.remove.tombstones import REMOVED_BYTES
from pipeline.runs import File, Part
from pipeline.stages import Job, Plan, Planned, part_name
from tokenizer.tokenfile import token_dtype

_BYTES_PER_TOKEN = 4  # of English with a vocabulary of 50,000
_BYTES_PER_CPU_SECOND = 10_000_000  # measured


class Piece(NamedTuple):
    """A part of the corpus, or one of its slices, which have about as many documents each."""

    part: Part
    slice: int
    num_slices: int

    @property
    def file(self) -> File:
        """The part's documents."""
        return self.part.file(f"{self.part.name}.parquet")


def plan(job: Job) -> Plan:
    """As many shards as the corpus's bytes ask for."""
    corpus = job.inputs["dedupe"]
    tokenizer = job.inputs["tokenizer"]
    digest = tokenizer.facts["tokenizer"]
    parts = []
    for index, group in enumerate(groups(corpus.counted(), job.settings.tokens_per_shard)):
        sources = [[piece.file.name, piece.slice, piece.num_slices] for piece in group]
        read = [f"{piece.file.sha256} {piece.slice}/{piece.num_slices}" for piece in group]
        parts.append(
            Planned(
                part_name(index),
                job.fingerprint(str(index), digest, *read),
                {"index": index, "sources": sources},
            )
        )
    vocab_size = tokenizer.facts["vocab_size"]
    return Plan(
        parts=tuple(parts),
        facts={"vocab_size": vocab_size, "dtype": token_dtype(vocab_size).name, "tokenizer": digest},
        work_s=corpus.facts.get("text_bytes", 0) / _BYTES_PER_CPU_SECOND,
    )


def groups(parts: Sequence[Part], tokens_per_shard: int) -> list[list[Piece]]:
    """Consecutive parts, as many as a shard's tokens allow, as far as bytes tell; larger parts are sliced.

    What was removed from a part counts on, so that all documents stay in their shards.
    """
    limit = tokens_per_shard * _BYTES_PER_TOKEN
    found: list[list[Piece]] = []
    room = -1
    for part in parts:
        num_bytes = part.facts["text_bytes"] + part.facts.get(REMOVED_BYTES, 0)
        num_slices = max(1, -(-num_bytes // limit))
        for number in range(num_slices):
            piece_bytes = -(-num_bytes // num_slices)
            if piece_bytes > room:
                found.append([])
                room = limit
            found[-1].append(Piece(part, number, num_slices))
            room -= piece_bytes
    return found


def slice_rows(batch: pa.RecordBatch, number: int, num_slices: int) -> pa.RecordBatch:
    """The documents of a batch that are in a slice, by a hash of their ids."""
    if num_slices == 1:
        return batch
    hashes = [xxhash.xxh3_64_intdigest(name.encode()) for name in batch["id"].to_pylist()]
    return batch.filter(pa.array([one * num_slices >> 64 == number for one in hashes]))
