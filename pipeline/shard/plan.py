"""The shards: each is made of some parts of the corpus that follow one another."""

from collections.abc import Sequence

from pipeline.remove.tombstones import REMOVED_BYTES
from pipeline.runs import Part
from pipeline.stages import Job, Plan, Planned, part_name
from tokenizer.tokenfile import token_dtype

_BYTES_PER_TOKEN = 4  # of English with a vocabulary of 50,000
_BYTES_PER_CPU_SECOND = 5_000_000  # measured


def plan(job: Job) -> Plan:
    """As many shards as the corpus's bytes ask for."""
    corpus = job.inputs["dedupe"]
    tokenizer = job.inputs["tokenizer"]
    digest = tokenizer.facts["tokenizer"]
    parts = []
    for index, group in enumerate(groups(corpus.counted(), job.settings.tokens_per_shard)):
        files = [part.file(f"{part.name}.parquet") for part in group]
        parts.append(
            Planned(
                part_name(index),
                job.fingerprint(str(index), digest, *(file.sha256 for file in files)),
                {"index": index, "sources": [file.name for file in files]},
            )
        )
    vocab_size = tokenizer.facts["vocab_size"]
    return Plan(
        parts=tuple(parts),
        facts={"vocab_size": vocab_size, "dtype": token_dtype(vocab_size).name, "tokenizer": digest},
        work_s=corpus.facts.get("text_bytes", 0) / _BYTES_PER_CPU_SECOND,
    )


def groups(parts: Sequence[Part], tokens_per_shard: int) -> list[list[Part]]:
    """Consecutive parts until a shard has its tokens, as far as bytes tell; a part is never divided.

    What was removed from a part counts on, so that all parts stay in their shards.
    """
    limit = tokens_per_shard * _BYTES_PER_TOKEN
    found: list[list[Part]] = []
    num_bytes = limit
    for part in parts:
        if num_bytes >= limit:
            found.append([])
            num_bytes = 0
        found[-1].append(part)
        num_bytes += part.facts["text_bytes"] + part.facts.get(REMOVED_BYTES, 0)
    return found
