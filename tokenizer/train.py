"""Learn a vocabulary from texts, by the trainer of Hugging Face's `tokenizers`."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tokenizer.alphabet import CHARACTERS, unspell
from tokenizer.errors import TokenizerError
from tokenizer.text import cut_long_words, well_formed
from tokenizer.vocabulary import NUM_BYTES, Vocabulary


def sampled(document_id: str, fraction: float) -> bool:
    """Whether a document is in the sample to train on: about `fraction` of all documents are.

    Depends on the id alone, so any order of documents and any split into parts gives the same
    sample, and a smaller fraction's sample lies within a larger one's.
    """
    digest = hashlib.blake2b(document_id.encode(), digest_size=8, person=b"bpe-sample").digest()
    return int.from_bytes(digest) < fraction * 2**64


def train(
    texts: Iterable[str], vocab_size: int, *, on_progress: Callable[[int], None] | None = None
) -> Vocabulary:
    """Learn `vocab_size - 257` merges from texts.

    The result depends on the texts as a multiset only: neither their order, the number of threads
    nor the process changes it. Of pairs that are equally frequent, the one of lower ids goes
    first. Pairs never cross GPT-2's words, and count once for each time their word occurs; words
    of over 1,000 characters are cut (see `text.cut_long_words`).

    Args:
        texts: read once; surrogates are replaced as `text.well_formed` says.
        vocab_size: number of ids, the 256 bytes and `<|endoftext|>` included, ALBERT's special
            tokens not; at least 257.
        on_progress: called with the number of bytes of UTF-8 read so far, after each text.

    Raises:
        TokenizerError: `vocab_size` is under 257, or the texts have fewer pairs to merge than it
            asks for. The message names the largest one that these texts allow.
    """
    if vocab_size < NUM_BYTES + 1:
        raise TokenizerError(f"vocab_size is {vocab_size}, but 256 bytes and <|endoftext|> need at least 257")
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        # One less than asked: <|endoftext|> is no concern of the trainer's, and comes last.
        vocab_size=vocab_size - 1,
        initial_alphabet=list(CHARACTERS.values()),
        show_progress=False,
    )
    learner.train_from_iterator(_report(texts, on_progress), trainer)

    pairs = json.loads(learner.to_str())["model"]["merges"]
    vocabulary = Vocabulary(tuple((unspell(left), unspell(right)) for left, right in pairs))
    if vocabulary.vocab_size < vocab_size:
        raise TokenizerError(
            f"the texts have pairs for a vocab_size of {vocabulary.vocab_size} at most, but "
            f"{vocab_size} was asked for; set vocab_size to {vocabulary.vocab_size} or less, or "
            "train on more text"
        )
    return vocabulary


def _report(texts: Iterable[str], on_progress: Callable[[int], None] | None) -> Iterator[str]:
    num_bytes = 0
    for text in texts:
        sound = well_formed(text)
        num_bytes += len(sound.encode())
        yield from cut_long_words(sound)
        if on_progress is not None:
            on_progress(num_bytes)
