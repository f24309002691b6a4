"""One shard: reads its parts of the corpus, and writes tokens and indexes split by split.

The corpus is read once for each split that has documents, and only index columns stay in memory. A document
is followed by end-of-text; one without text is end-of-text alone, so that sequences and documents stay in
step.
"""

import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.records import SHARD_DOCUMENTS
from pipeline.runs import Counts, Folder, PartWriter
from pipeline.shard.sentences import sentence_ends
from pipeline.shard.split import SPLIT_COLUMNS, SPLITS, splits_of
from pipeline.stages import Job, Planned
from tokenizer.encode import Tokenizer
from tokenizer.files import TOKENIZER_JSON, parse_tokenizer_json
from tokenizer.sentences import token_spans
from tokenizer.tokenfile import Index, document_index, index_bytes, token_dtype


class Document(NamedTuple):
    """What a shard needs of a document."""

    id: str
    text: str
    language: str


@dataclass(frozen=True, slots=True)
class Columns:
    """The index columns of one split, as they grow."""

    ids: list[str] = field(default_factory=list)
    lengths: "array[int]" = field(default_factory=lambda: array("i"))  # tokens, with end-of-text
    num_sentences: "array[int]" = field(default_factory=lambda: array("i"))
    sentence_starts: "array[int]" = field(default_factory=lambda: array("q"))  # first token, in the .bin
    sentence_lengths: "array[int]" = field(default_factory=lambda: array("i"))

    def documents(self, split: str, shard: int) -> pa.Table:
        """The rows of SHARD_DOCUMENTS."""
        lengths = np.array(self.lengths, dtype=np.int32)
        ends = np.cumsum(lengths, dtype=np.int64)
        num = len(lengths)
        columns = {
            "id": pa.array(self.ids, pa.string()),
            "split": pa.array([split] * num, pa.string()),
            "shard": pa.array(np.full(num, shard, dtype=np.int32)),
            "sequence": pa.array(np.arange(num, dtype=np.int32)),
            "first_token": pa.array(ends - lengths),
            "num_tokens": pa.array(lengths),
            "num_sentences": pa.array(np.array(self.num_sentences, dtype=np.int32)),
        }
        return pa.table([columns[name] for name in SHARD_DOCUMENTS.names], schema=SHARD_DOCUMENTS)

    def sentence_index(self, dtype: np.dtype[Any]) -> Index:
        """One sequence a sentence, grouped by documents."""
        return Index(
            dtype=dtype,
            lengths=np.array(self.sentence_lengths, dtype=np.int32),
            pointers=np.array(self.sentence_starts, dtype=np.int64) * dtype.itemsize,
            documents=np.concatenate(([0], np.cumsum(self.num_sentences, dtype=np.int64))).astype(np.int64),
        )


def write_shard(job: Job, part: Planned) -> None:
    """Writes the files of one shard, and its table of documents."""
    started = time.monotonic()
    shard = part.spec["index"]
    tokenizer = _load_tokenizer(job.folder_of("tokenizer"), job.inputs["tokenizer"].facts["tokenizer"])
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    splits = [
        split for batch in _batches(job, part, SPLIT_COLUMNS) for split in splits_of(batch, job.settings)
    ]
    written = {}
    for split in SPLITS:
        if split in splits:
            chosen = compress(_documents(job, part), (one == split for one in splits))
            written[split] = _write_split(writer, f"{split}-{shard:05d}", chosen, tokenizer)
    tables = [columns.documents(split, shard) for split, columns in written.items()]
    table = pa.concat_tables([SHARD_DOCUMENTS.empty_table(), *tables])
    writer.table("documents.parquet", table)
    written = {split: written.get(split, Columns()) for split in SPLITS}
    writer.commit(
        Counts(table.num_rows, table.num_rows),
        seconds=time.monotonic() - started,
        facts={
            "tokens": {split: sum(columns.lengths) for split, columns in written.items()},
            "documents": {split: len(columns.lengths) for split, columns in written.items()},
            "sentences": {split: len(columns.sentence_lengths) for split, columns in written.items()},
        },
    )


def _write_split(
    writer: PartWriter, name: str, documents: Iterable[Document], tokenizer: Tokenizer
) -> Columns:
    """Writes ``NAME.bin`` and its two indexes."""
    dtype = token_dtype(tokenizer.vocab_size)
    columns = Columns()
    with writer.open_named(f"{name}.bin") as sink:
        for tokens in encode(documents, tokenizer, columns):
            sink.write(tokens.astype(dtype))
    writer.rows(sum(columns.lengths))
    indexes = {
        "idx": document_index(dtype, np.array(columns.lengths)),
        "sentences.idx": columns.sentence_index(dtype),
    }
    for suffix, index in indexes.items():
        with writer.open_named(f"{name}.{suffix}") as sink:
            sink.write(index_bytes(index))
        writer.rows(len(index.lengths))
    return columns


def encode(
    documents: Iterable[Document], tokenizer: Tokenizer, columns: Columns
) -> Iterator[npt.NDArray[np.uint32]]:
    """Each document's tokens and end-of-text; what the indexes need to know is added to ``columns``."""
    first = 0
    for document in documents:
        ids = tokenizer.encode_array(document.text)
        ends = sentence_ends(document.text, document.language)
        spans = token_spans(tokenizer.token_lengths[ids], ends)
        columns.ids.append(document.id)
        columns.lengths.append(len(ids) + 1)
        columns.num_sentences.append(len(spans) - 1)
        columns.sentence_starts.frombytes((spans[:-1] + first).tobytes())
        columns.sentence_lengths.frombytes(np.diff(spans).astype(np.int32).tobytes())
        first += len(ids) + 1
        yield np.append(ids, np.uint32(tokenizer.eot_id))


def _documents(job: Job, part: Planned) -> Iterator[Document]:
    for batch in _batches(job, part, Document._fields):
        yield from map(Document, *(batch[name].to_pylist() for name in Document._fields))


def _batches(job: Job, part: Planned, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The columns of the shard's parts of the corpus, a few documents at a time."""
    for source in part.spec["sources"]:
        with job.folder_of("dedupe").open(source) as stream:
            yield from pq.ParquetFile(stream).iter_batches(batch_size=256, columns=list(columns))


@lru_cache(maxsize=1)
def _load_tokenizer(folder: Folder, digest: str) -> Tokenizer:
    data = folder.read(TOKENIZER_JSON)
    return Tokenizer(parse_tokenizer_json(data, f"{folder.uri}/{TOKENIZER_JSON}"), digest)
