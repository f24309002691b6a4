"""Trains the vocabulary on the sampled documents, in this process: the trainer itself uses all cores."""

import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipeline.errors import InputError
from pipeline.records import Reason
from pipeline.runs import Counts, Folder, PartWriter
from pipeline.stages import Job, Planned
from pipeline.tokenizer.documents import sample, sample_fraction
from pipeline.tokenizer.progress import TRAINING, Training
from tokenizer.encode import Tokenizer
from tokenizer.errors import TokenizerError
from tokenizer.files import (
    MERGES_TXT,
    TIKTOKEN,
    TOKENIZER_CONFIG,
    TOKENIZER_JSON,
    VOCAB_JSON,
    file_contents,
)
from tokenizer.train import train
from tokenizer.vocabulary import MIN_VOCAB_SIZE, Vocabulary

_TOLD_EVERY_S = 1.0


def work(job: Job, todo: Sequence[Planned]) -> None:
    """Trains, and writes the tokenizer's files.

    Raises:
        InputError: The corpus is empty, or too small for the vocabulary that is asked for.
    """
    for part in todo:
        try:
            _train(job, part)
        finally:
            job.folder.remove([TRAINING])


def _train(job: Job, part: Planned) -> None:
    started = time.monotonic()
    num_in = job.inputs["dedupe"].counts.kept
    if num_in == 0:
        raise InputError(
            "no document came through to the corpus, so there is nothing to train a tokenizer on: "
            f"webtext status {shlex.quote(job.run.address)} shows where the records went."
        )
    num_sampled = 0

    def texts() -> Iterator[str]:
        nonlocal num_sampled
        fraction = sample_fraction(job.settings.sample_bytes, part.spec["text_bytes"])
        for text in sample(job.folder_of("dedupe"), part.spec["sources"], fraction):
            num_sampled += 1
            yield text

    try:
        vocabulary = train(texts(), job.settings.vocab_size, on_progress=_Told(job, part))
    except TokenizerError as error:
        raise InputError(f"[tokenizer] {error}") from error
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


class _Told:
    """Leaves word of a training in its stage's folder: each second, and when the reading is over."""

    def __init__(self, job: Job, part: Planned) -> None:
        self._folder: Folder = job.folder
        self._training = Training(
            num_bytes=0,
            of_bytes=min(job.settings.sample_bytes, part.spec["text_bytes"]),
            num_merges=job.settings.vocab_size - MIN_VOCAB_SIZE,
            began=time.time(),
        )
        self._told = 0.0

    def __call__(self, num_bytes: int, is_all: bool) -> None:
        now = time.monotonic()
        if is_all or now - self._told >= _TOLD_EVERY_S:
            self._told = now
            learning_since = time.time() if is_all else None
            replace(self._training, num_bytes=num_bytes, learning_since=learning_since).write(self._folder)


def _write(writer: PartWriter, vocabulary: Vocabulary) -> Tokenizer:
    contents = file_contents(vocabulary)
    tokenizer = Tokenizer.from_bytes(contents[TOKENIZER_JSON], TOKENIZER_JSON)
    rows = {
        TOKENIZER_JSON: tokenizer.vocab_size,
        TOKENIZER_CONFIG: 1,
        VOCAB_JSON: vocabulary.vocab_size,
        MERGES_TXT: len(vocabulary.merges),
        TIKTOKEN: len(vocabulary.tokens),
    }
    for name, num_rows in rows.items():
        with writer.open_named(name) as sink:
            sink.write(contents[name])
        writer.rows(num_rows)
    return tokenizer
