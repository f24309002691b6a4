"""One shard: reads its documents from the corpus, and writes tokens, indexes and a table of documents.

The corpus is read once, some documents at a time, and each split's files grow as its documents come. Only ids
and the columns of the indexes stay in memory. A document is followed by end-of-text; one without text is
end-of-text alone, so that sequences and documents stay in step.
"""

import time
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import InputError
from pipeline.records import SHARD_DOCUMENTS
from pipeline.runs import Counts, Folder, PartWriter
from pipeline.shard.plan import slice_rows
from pipeline.shard.split import SPLIT_COLUMNS, SPLITS, splits_of
from pipeline.shard.tokens import TokenBlock, tokenize
from pipeline.stages import Job, Planned
from tokenizer.encode import Tokenizer
from tokenizer.files import TOKENIZER_JSON
from tokenizer.tokenfile import document_index, index_bytes, sentence_index, token_dtype

_COLUMNS = ["id", "text", "language", *SPLIT_COLUMNS]
_DOCUMENTS_AT_ONCE = 1024


def write_shard(job: Job, part: Planned) -> None:
    """Writes the files of one shard, and its table of documents."""
    started = time.monotonic()
    shard = part.spec["index"]
    tokenizer = _load_tokenizer(job.folder_of("tokenizer"), job.inputs["tokenizer"].facts["tokenizer"])
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    with ExitStack() as opened:
        splits: dict[str, _SplitFiles] = {}
        for batch in _batches(job, part):
            names = np.array(list(splits_of(batch, job.settings)))
            texts, languages = batch["text"].to_pylist(), batch["language"].to_pylist()
            for name in SPLITS:
                rows = np.flatnonzero(names == name)
                if len(rows) and name not in splits:
                    splits[name] = _SplitFiles(writer, f"{name}-{shard:05d}", tokenizer.vocab_size, opened)
                if len(rows):
                    chosen = rows.tolist()
                    block = tokenize([texts[i] for i in chosen], [languages[i] for i in chosen], tokenizer)
                    splits[name].add(batch["id"].take(pa.array(rows)), block)
        written = {name: splits[name] for name in SPLITS if name in splits}
        for files in written.values():
            files.finish()
    tables = [files.documents(name, shard) for name, files in written.items()]
    table = pa.concat_tables([SHARD_DOCUMENTS.empty_table(), *tables])
    writer.table("documents.parquet", table)
    counts = {name: written[name].counts() if name in written else (0, 0, 0) for name in SPLITS}
    writer.commit(
        Counts(table.num_rows, table.num_rows),
        seconds=time.monotonic() - started,
        facts={
            what: {name: counts[name][i] for name in SPLITS}
            for i, what in enumerate(("tokens", "documents", "sentences"))
        },
    )


class _SplitFiles:
    """A shard's ``SPLIT-NNNNN.bin`` as it grows, and what its two indexes will say."""

    def __init__(self, writer: PartWriter, name: str, vocab_size: int, opened: ExitStack) -> None:
        self._writer = writer
        self._name = name
        self._dtype = token_dtype(vocab_size)
        self._closing = opened.enter_context(ExitStack())
        self._sink = self._closing.enter_context(writer.open_named(f"{name}.bin"))
        self._ids: list[pa.Array] = []
        self._lengths = array("i")  # tokens of each document, with end-of-text
        self._num_sentences = array("i")  # of each document
        self._sentence_lengths = array("i")

    def add(self, ids: pa.Array, block: TokenBlock) -> None:
        """Writes the tokens of the documents with these ids."""
        self._sink.write(block.tokens.astype(self._dtype))
        self._ids.append(ids)
        self._lengths.frombytes(block.lengths.tobytes())
        self._num_sentences.frombytes(block.num_sentences.tobytes())
        self._sentence_lengths.frombytes(block.sentence_lengths.tobytes())

    def counts(self) -> tuple[int, int, int]:
        """Tokens, documents and sentences so far."""
        return sum(self._lengths), len(self._lengths), len(self._sentence_lengths)

    def finish(self) -> None:
        """Puts the tokens in place, and writes the indexes."""
        self._closing.close()
        self._writer.rows(sum(self._lengths))
        sentence_lengths, num_sentences = _numbers(self._sentence_lengths), _numbers(self._num_sentences)
        indexes = {
            "idx": document_index(self._dtype, _numbers(self._lengths)),
            "sentences.idx": sentence_index(self._dtype, sentence_lengths, num_sentences),
        }
        for suffix, index in indexes.items():
            with self._writer.open_named(f"{self._name}.{suffix}") as sink:
                sink.write(index_bytes(index))
            self._writer.rows(len(index.lengths))

    def documents(self, split: str, shard: int) -> pa.Table:
        """The rows of SHARD_DOCUMENTS."""
        lengths = _numbers(self._lengths)
        ends = np.cumsum(lengths, dtype=np.int64)
        num = len(lengths)
        columns = {
            "id": pa.chunked_array(self._ids).combine_chunks(),
            "split": pa.repeat(split, num),
            "shard": pa.repeat(pa.scalar(shard, pa.int32()), num),
            "sequence": pa.array(np.arange(num, dtype=np.int32)),
            "first_token": pa.array(ends - lengths),
            "num_tokens": pa.array(lengths),
            "num_sentences": pa.array(_numbers(self._num_sentences)),
        }
        return pa.table([columns[name] for name in SHARD_DOCUMENTS.names], schema=SHARD_DOCUMENTS)


def _numbers(column: "array[int]") -> npt.NDArray[np.int32]:
    return np.frombuffer(column, dtype=np.int32)


def _batches(job: Job, part: Planned) -> Iterator[pa.RecordBatch]:
    """The shard's documents, some at a time."""
    for name, number, num_slices in part.spec["sources"]:
        for batch in job.folder_of("dedupe").read_batches(name, _COLUMNS, _DOCUMENTS_AT_ONCE):
            yield slice_rows(batch, number, num_slices)


@lru_cache(maxsize=1)
def _load_tokenizer(folder: Folder, digest: str) -> Tokenizer:
    name = f"{folder.uri}/{TOKENIZER_JSON}"
    tokenizer = Tokenizer.from_bytes(folder.read(TOKENIZER_JSON), name)
    if tokenizer.digest != digest:
        raise InputError(
            f"{name} is not the tokenizer that the run's stage has made (SHA-256 "
            f"{tokenizer.digest[:12]}…, not {digest[:12]}…): put that one back, or run `webtext build "
            "--force tokenizer`."
        )
    return tokenizer
