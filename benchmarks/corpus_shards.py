"""Shards for benchmarks/corpus_run.py: as the stage writes them, but of texts whose tokens are looked up."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.corpus_texts import Drawn, Lookup, Words
from pipeline.config import ShardSettings
from pipeline.records import SHARD_DOCUMENTS
from pipeline.runs import Counts, PartWriter
from pipeline.shard.split import SPLITS, splits_of
from tokenizer.tokenfile import document_index, index_bytes, sentence_index


def write_shard(
    writer: PartWriter, shard: int, table: pa.Table, drawn: Drawn, words: Words, lookup: Lookup
) -> None:
    """Writes a shard's files and its sidecar.

    Args:
        writer: Of the part.
        shard: Its number.
        table: The documents: ids, and what decides their splits.
        drawn: Their texts.
        words: Of which the texts are made.
        lookup: Knows their tokens.
    """
    splits = np.array(list(splits_of(table, ShardSettings())))
    tables = {}
    for split in SPLITS:
        rows = splits == split
        ids = table["id"].filter(pa.array(rows))
        tables[split] = SHARD_DOCUMENTS.empty_table()
        if len(ids):
            tables[split] = _write_split(writer, split, shard, ids, drawn.only(rows), words, lookup)
    writer.table("documents.parquet", pa.concat_tables(tables.values()))
    facts = {
        "tokens": {split: pc.sum(one["num_tokens"]).as_py() or 0 for split, one in tables.items()},
        "documents": {split: one.num_rows for split, one in tables.items()},
        "sentences": {split: pc.sum(one["num_sentences"]).as_py() or 0 for split, one in tables.items()},
    }
    writer.commit(Counts(len(splits), len(splits)), seconds=len(splits) / 1_000, facts=facts)


def _write_split(
    writer: PartWriter,
    split: str,
    shard: int,
    ids: pa.ChunkedArray,
    drawn: Drawn,
    words: Words,
    lookup: Lookup,
) -> pa.Table:
    tokens, behind = lookup.tokens(drawn.forms)
    bounds = behind[drawn.bounds]
    ends = np.flatnonzero(words.ends_sentence(drawn.forms))
    document = np.searchsorted(drawn.bounds, ends, side="right") - 1  # that a sentence is of
    num_sentences = np.bincount(document, minlength=len(ids))
    begins = np.append(0, behind[ends + 1][:-1])
    is_first = np.append(True, np.diff(document) > 0)
    begins[is_first] = bounds[document[is_first]]
    documents = document_index(tokens.dtype, np.diff(bounds))
    sentences = sentence_index(tokens.dtype, (behind[ends + 1] - begins).astype(np.int32), num_sentences)
    for suffix, data, num in (
        ("bin", tokens.data, len(tokens)),
        ("idx", index_bytes(documents), len(ids)),
        ("sentences.idx", index_bytes(sentences), len(ends)),
    ):
        with writer.open_named(f"{split}-{shard:05d}.{suffix}") as sink:
            sink.write(data)
        writer.rows(num)
    columns = {
        "id": ids,
        "split": pa.repeat(split, len(ids)),
        "shard": np.full(len(ids), shard, np.int32),
        "sequence": np.arange(len(ids), dtype=np.int32),
        "first_token": bounds[:-1],
        "num_tokens": documents.lengths,
        "num_sentences": num_sentences.astype(np.int32),
    }
    return pa.table(columns, SHARD_DOCUMENTS)
