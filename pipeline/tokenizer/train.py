"""Trains the vocabulary on the sampled documents, in this process: the trainer itself uses all cores."""

import time
from collections.abc import Iterator, Sequence

import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.records import Reason
from pipeline.runs import Counts, PartWriter
from pipeline.stages import Job, Planned
from tokenizer.encode import Tokenizer
from tokenizer.errors import TokenizerError
from tokenizer.files import MERGES_TXT, TOKENIZER_JSON, VOCAB_JSON, file_contents
from tokenizer.train import sampled, train
from tokenizer.vocabulary import Vocabulary


def work(job: Job, todo: Sequence[Planned]) -> None:
    """Trains, and writes the tokenizer's files.

    Raises:
        InputError: The corpus is empty, or too small for the vocabulary that is asked for.
    """
    for part in todo:
        _train(job, part)


def _train(job: Job, part: Planned) -> None:
    started = time.monotonic()
    num_in = job.inputs["dedupe"].counts.kept
    if num_in == 0:
        raise InputError(
            "no document came through to the corpus, so there is nothing to train a tokenizer on: "
            f"webtext status {job.run.uri} shows where the records went."
        )
    num_sampled = 0

    def texts() -> Iterator[str]:
        nonlocal num_sampled
        for text in sample(job, part):
            num_sampled += 1
            yield text

    try:
        vocabulary = train(texts(), job.settings.vocab_size)
    except TokenizerError as error:
        raise InputError(f"[tokenizer] vocab_size: {error}") from error
    writer = PartWriter(job.folder, part.name, part.fingerprint)
    tokenizer = _write(writer, vocabulary)
    rejected = {str(Reason.NOT_SAMPLED): num_in - num_sampled} if num_in > num_sampled else {}
    writer.commit(
        Counts(num_in, num_sampled, rejected),
        seconds=time.monotonic() - started,
        facts={
            "vocab_size": tokenizer.vocab_size,
            "tokenizer": tokenizer.digest,
            "merges": len(vocabulary.merges),
        },
    )


def sample(job: Job, part: Planned) -> Iterator[str]:
    """The texts to train on: about the bytes that the settings say, chosen by a hash of the document's id."""
    fraction = job.settings.sample_bytes / max(1, part.spec["text_bytes"])
    for source in part.spec["sources"]:
        with job.folder_of("dedupe").open(source) as stream:
            for batch in pq.ParquetFile(stream).iter_batches(batch_size=256, columns=["id", "text"]):
                for name, text in zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True):
                    if sampled(name, fraction):
                        yield text


def _write(writer: PartWriter, vocabulary: Vocabulary) -> Tokenizer:
    contents = file_contents(vocabulary)
    tokenizer = Tokenizer.from_bytes(contents[TOKENIZER_JSON], TOKENIZER_JSON)
    rows = {
        TOKENIZER_JSON: tokenizer.vocab_size,
        VOCAB_JSON: vocabulary.vocab_size,
        MERGES_TXT: len(vocabulary.merges),
    }
    for name, num_rows in rows.items():
        with writer.open_named(name) as sink:
            sink.write(contents[name])
        writer.rows(num_rows)
    return tokenizer
