"""A vocabulary learnt from texts, with its progress shown."""

import time
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from pipeline.live import seen_of_training
from pipeline.tokenizer.documents import sample_fraction
from pipeline.tokenizer.progress import Training
from tokenizer.train import train
from tokenizer.vocabulary import MIN_VOCAB_SIZE, Vocabulary
from webtext.progress import watching
from webtext.texts import Corpus, TextFile


def train_on(
    sources: Sequence[Corpus | TextFile], *, vocab_size: int, sample_bytes: int, console: Console
) -> Vocabulary:
    """Trains on about ``sample_bytes`` of what the sources hold together; TokenizerError as of ``train``."""
    of_bytes = sum(source.num_bytes for source in sources)
    fraction = sample_fraction(sample_bytes, of_bytes)
    training = Training(0, min(sample_bytes, of_bytes), vocab_size - MIN_VOCAB_SIZE, began=time.time())

    def note(num_bytes: int, is_all: bool) -> None:
        nonlocal training
        training = replace(training, num_bytes=num_bytes, learning_since=time.time() if is_all else None)

    with watching("tokenizer", lambda: seen_of_training(training, time.time()), console):
        texts = (text for source in sources for text in source.sample(fraction))
        return train(texts, vocab_size, on_progress=note)
