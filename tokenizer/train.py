"""Learn a vocabulary from texts, by the trainer of Hugging Face's `tokenizers`."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from threading import Event, Thread
from typing import Final

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tokenizer.alphabet import CHARACTERS, unspell
from tokenizer.errors import TokenizerError
from tokenizer.text import cut_long_words, well_formed
from tokenizer.vocabulary import MAX_VOCAB_SIZE, MIN_VOCAB_SIZE, Vocabulary

_READING_ENDS_S: Final = 5.0

_TOO_MANY_BYTES: Final = 2**31
"""A pair occurs less often than its texts have bytes, and the trainer counts it in an i32."""


def sampled(document_id: str, fraction: float) -> bool:
    """Whether a document is in the sample to train on: about `fraction` of all documents are.

    Depends on the id alone, so any order of documents and any split into parts gives the same
    sample, and a smaller fraction's sample lies within a larger one's.
    """
    digest = hashlib.blake2b(document_id.encode(), digest_size=8, person=b"bpe-sample").digest()
    return int.from_bytes(digest) < fraction * 2**64


def train(
    texts: Iterable[str], vocab_size: int, *, on_progress: Callable[[int, bool], None] | None = None
) -> Vocabulary:
    """Learn `vocab_size - 257` merges from texts.

    The result depends on the texts as a multiset only: neither their order, the number of threads
    nor the process changes it. Of pairs that are equally frequent, the one of lower ids goes
    first. Pairs never cross GPT-2's words, and count once for each time their word occurs; words
    of over 1,000 characters are cut (see `text.cut_long_words`). Of the texts, the trainer keeps
    the distinct words and their counts only.

    Args:
        texts: read once, by threads that take turns; surrogates are replaced as
            `text.well_formed` says.
        vocab_size: number of ids, the 256 bytes and `<|endoftext|>` included, ALBERT's special
            tokens not; 257 to 1,000,000.
        on_progress: called with the number of bytes of UTF-8 read so far, after each text (then
            with False), and once more when all are read and the merges begin to be learnt (True).

    Raises:
        TokenizerError: `vocab_size` is out of bounds, the texts are 2 GiB or more, or they have
            fewer pairs to merge than it asks for. The message names the largest one that these
            texts allow.
    """
    if not MIN_VOCAB_SIZE <= vocab_size <= MAX_VOCAB_SIZE:
        raise TokenizerError(
            f"vocab_size is {vocab_size:,}, but it must be {MIN_VOCAB_SIZE} (256 bytes and <|endoftext|>) "
            f"to {MAX_VOCAB_SIZE:,}"
        )
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        # One less than asked: <|endoftext|> is no concern of the trainer's, and comes last.
        vocab_size=vocab_size - 1,
        initial_alphabet=list(CHARACTERS.values()),
        show_progress=False,
    )
    stopped = Event()
    read = _read(texts, on_progress or (lambda _num_bytes, _is_all: None), stopped)
    _in_a_thread(lambda: learner.train_from_iterator(read, trainer), stopped)

    pairs = json.loads(learner.to_str())["model"]["merges"]
    vocabulary = Vocabulary(tuple((unspell(left), unspell(right)) for left, right in pairs))
    if vocabulary.vocab_size < vocab_size:
        raise TokenizerError(
            f"the texts have pairs for a vocab_size of {vocabulary.vocab_size} at most, but "
            f"{vocab_size} was asked for; set vocab_size to {vocabulary.vocab_size} or less, or "
            "train on more text"
        )
    return vocabulary


def _read(texts: Iterable[str], on_progress: Callable[[int, bool], None], stopped: Event) -> Iterator[str]:
    """The texts as the trainer gets them, counted; InterruptedError once it is stopped."""
    num_bytes = 0
    for text in texts:
        if stopped.is_set():
            raise InterruptedError
        sound, size = _sound(text)
        num_bytes += size
        if num_bytes >= _TOO_MANY_BYTES:
            raise TokenizerError(
                f"the texts are {num_bytes:,} bytes or more, but the trainer counts pairs in 32 bits, which "
                "is sure to hold under 2 GiB; train on a smaller sample"
            )
        yield from cut_long_words(sound)
        on_progress(num_bytes, False)
    on_progress(num_bytes, True)


def _sound(text: str) -> tuple[str, int]:
    """The text as `text.well_formed` has it, and its bytes of UTF-8."""
    if text.isascii():
        return text, len(text)
    try:
        return text, len(text.encode())
    except UnicodeEncodeError:
        sound = well_formed(text)
        return sound, len(sound.encode())


def _in_a_thread(work: Callable[[], None], stopped: Event) -> None:
    """Do `work` in another thread and wait for it, so that Ctrl-C ends the wait.

    The trainer runs for minutes without a look at signals, and they come to the main thread. Its reading ends
    with the wait: a thread that comes back to an interpreter that is ending would abort the process.
    """
    failures: list[BaseException] = []
    ended = Event()  # and not join(): interrupted, that takes the thread for ended (Python 3.11)

    def do() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
        ended.set()

    try:
        Thread(target=do, daemon=True).start()  # in here, since Ctrl-C may come as soon as the thread runs
        ended.wait()
    except BaseException:
        stopped.set()
        ended.wait(_READING_ENDS_S)
        raise
    if failures:
        raise failures[0]
