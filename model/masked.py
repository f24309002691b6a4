"""Training data of ALBERT: pairs of segments, some of them swapped, with masked words.

A document is cut into chunks of whole sentences that together fill a sequence; a chunk is split at a
random sentence into segments A and B, which change places half the time, and words are masked.

Source: create_pretraining_data.py of the released ALBERT, with these differences:

- Each epoch draws the splits, swaps and masks anew; the released code fixes them when it writes.
- A chunk holds the sentences that *start* within the same `context - 3` tokens of its document, so that
  chunks follow from the sentence index alone and any sequence can be made on its own. The released code
  gathers sentences until the length is reached.
- A chunk of one sentence is split between two of its words. The released code takes B from a random
  document and calls that swapped, which teaches topics rather than order.
- As many tokens are masked as the fraction says, also in long sequences: the released default of 20
  predictions at 512 tokens is 3.9 %, not 15 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tokenizer.encode import Tokenizer
from tokenizer.tokenfile import TokenFile

Tokens = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

MASKED_FRACTION = 0.15
SHORT_FRACTION = 0.1
MAX_NGRAM = 3
NO_TARGET = -100  # torch's cross-entropy leaves targets of this value out.
_NUM_SPECIALS = 3  # [CLS] A [SEP] B [SEP]


class Vocabulary:
    """What masking needs to know of the tokens.

    Attributes:
        cls: Id of [CLS].
        sep: Id of [SEP].
        pad: Id of [PAD].
        mask: Id of [MASK].
        ordinary: int64 ids of all tokens that are not special.
        starts_blank: bool by id, whether the token's bytes begin with white space.
        ends_line: bool by id, whether they end with white space that is not a space.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        specials = tokenizer.specials
        self.cls, self.sep = specials["[CLS]"], specials["[SEP]"]
        self.pad, self.mask = specials["[PAD]"], specials["[MASK]"]
        special_ids = set(specials.values())
        ids = [token for token in range(tokenizer.vocab_size) if token not in special_ids]
        self.ordinary = np.array(ids, np.int64)
        self.starts_blank = np.zeros(tokenizer.vocab_size, np.bool_)
        self.ends_line = np.zeros(tokenizer.vocab_size, np.bool_)
        for token in ids:
            text = tokenizer.token_bytes(token)
            self.starts_blank[token] = text[:1].isspace()
            self.ends_line[token] = text[-1:].isspace() and not text.endswith(b" ")

    def word_starts(self, tokens: Tokens) -> Tokens:
        """Places in `tokens` (one segment) at which a word starts, the first place included.

        In a byte-level BPE a word carries the space before it (which may be a token of its own);
        after a line break there is none.
        """
        starts = self.starts_blank[tokens]
        starts[1:] |= self.ends_line[tokens[:-1]]
        starts[:1] = True
        return np.flatnonzero(starts)


@dataclass(frozen=True)
class AlbertBatch:
    """Pairs of segments, masked, and what stood behind the masks.

    Attributes:
        tokens: int64 (B, T) ids: [CLS] A [SEP] B [SEP] [PAD]...
        segments: int64 (B, T): 1 for B and its [SEP], 0 elsewhere.
        present: bool (B, T): false where there is only padding.
        positions: int64 (B, P) places of the masked tokens, 0 where there are fewer than P.
        labels: int64 (B, P) the tokens that stood there, `NO_TARGET` where there are fewer than P.
        swapped: int64 (B,): 1 where B stood before A in the document.
    """

    tokens: Tensor
    segments: Tensor
    present: Tensor
    positions: Tensor
    labels: Tensor
    swapped: Tensor

    @property
    def num_sequences(self) -> int:
        """Sequences in the batch."""
        return self.tokens.size(0)

    @property
    def num_targets(self) -> int:
        """Masked tokens to predict."""
        return int((self.labels != NO_TARGET).sum())

    @property
    def num_tokens(self) -> int:
        """Tokens that the network reads, padding aside."""
        return int(self.present.sum())

    def to(self, device: torch.device) -> Self:
        """The same batch on `device`."""
        return type(self)(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


@dataclass(frozen=True)
class Chunks:
    """Runs of consecutive sentences of one file.

    Attributes:
        first: int64 (C,) first sentence of each chunk.
        last: int64 (C,) the sentence after its last one.
    """

    first: Tokens
    last: Tokens


def plan_chunks(lengths: npt.NDArray[np.int32], documents: Tokens, target: int) -> Chunks:
    """Cuts each document's sentences into chunks of about `target` tokens.

    Args:
        lengths: int32 (S,) tokens of each sentence.
        documents: int64 (N + 1,) first sentence of each document, and S.
        target: Tokens from one chunk's start to the next.

    Returns:
        Chunks of at least two tokens, as less cannot be split into two segments.
    """
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    per_document = np.diff(documents)
    document = np.repeat(np.arange(len(per_document)), per_document)
    cell = (starts[:-1] - starts[documents[document]]) // target
    is_first = np.ones(len(lengths), np.bool_)
    is_first[1:] = (np.diff(document) != 0) | (np.diff(cell) != 0)
    first = np.flatnonzero(is_first)
    last = np.append(first, len(lengths))[1:]
    enough = starts[last] - starts[first] >= 2
    return Chunks(first[enough], last[enough])


class AlbertData:
    """Batches of one split, by number; each chunk is read once an epoch.

    Attributes:
        num_sequences: Sequences an epoch.
        max_predictions: Most masked tokens a sequence.
    """

    def __init__(self, files: Sequence[TokenFile], tokenizer: Tokenizer, context: int, seed: int) -> None:
        self._files = files
        self._vocabulary = Vocabulary(tokenizer)
        self._context = context
        self._room = context - _NUM_SPECIALS
        self._seed = seed
        self._chunks = [plan_chunks(f.index.lengths, f.index.documents, self._room) for f in files]
        counts = [len(chunks.first) for chunks in self._chunks]
        self._first_chunk = np.concatenate([[0], np.cumsum(counts)])
        self.num_sequences = sum(counts)
        self.max_predictions = max(1, round(MASKED_FRACTION * context))
        # One epoch's order takes 8 bytes a chunk; a batch touches two epochs at most.
        self._epoch = lru_cache(maxsize=2)(self._shuffle)

    def batch(self, first: int, count: int) -> AlbertBatch:
        """Sequences `first` up to `first + count` of the endless stream of epochs."""
        tokens = np.full((count, self._context), self._vocabulary.pad, np.int64)
        segments = np.zeros((count, self._context), np.int64)
        present = np.zeros((count, self._context), np.bool_)
        positions = np.zeros((count, self.max_predictions), np.int64)
        labels = np.full((count, self.max_predictions), NO_TARGET, np.int64)
        swapped = np.zeros(count, np.int64)
        for row in range(count):
            rng = np.random.default_rng((self._seed, 1, first + row))
            a, b = self._segments(first + row, rng)
            if rng.random() < 0.5:
                a, b, swapped[row] = b, a, 1
            a, b = truncate_pair(a, b, self._room, rng)
            masked, places, hidden = mask_words(a, b, self._vocabulary, rng)
            tokens[row, : len(masked)] = masked
            segments[row, len(a) + 2 : len(masked)] = 1
            present[row, : len(masked)] = True
            positions[row, : len(places)] = places
            labels[row, : len(places)] = hidden
        arrays = (tokens, segments, present, positions, labels, swapped)
        return AlbertBatch(*(torch.from_numpy(array) for array in arrays))

    def _segments(self, number: int, rng: np.random.Generator) -> tuple[Tokens, Tokens]:
        """Both segments of sequence `number`, in the document's order."""
        epoch, place = divmod(number, self.num_sequences)
        chunk = int(self._epoch(epoch)[place])
        file = int(np.searchsorted(self._first_chunk, chunk, side="right")) - 1
        chunks, local = self._chunks[file], chunk - int(self._first_chunk[file])
        span = range(int(chunks.first[local]), int(chunks.last[local]))
        sentences = [self._files[file][i].astype(np.int64) for i in span]
        if rng.random() < SHORT_FRACTION:
            sentences = _first_sentences(sentences, int(rng.integers(2, self._room + 1)))
        return split_pair(sentences, self._vocabulary, rng)

    def _shuffle(self, epoch: int) -> Tokens:
        rng = np.random.default_rng((self._seed, 0, epoch))
        return rng.permutation(self.num_sequences)


def _first_sentences(sentences: list[Tokens], target: int) -> list[Tokens]:
    """The first sentences, up to the one that reaches `target` tokens; at least two tokens."""
    ends = np.cumsum([len(sentence) for sentence in sentences])
    return sentences[: int(np.searchsorted(ends, target)) + 1]


def split_pair(
    sentences: list[Tokens], vocabulary: Vocabulary, rng: np.random.Generator
) -> tuple[Tokens, Tokens]:
    """Splits a chunk in two at a random sentence; a single sentence, at a random word.

    Sentences may be empty, but together they hold at least two tokens; both segments hold one.
    """
    sentences = [sentence for sentence in sentences if len(sentence)]
    if len(sentences) > 1:
        cut = int(rng.integers(1, len(sentences)))
        return np.concatenate(sentences[:cut]), np.concatenate(sentences[cut:])
    (only,) = sentences
    cuts = vocabulary.word_starts(only)[1:]
    cut = int(rng.choice(cuts if len(cuts) else np.arange(1, len(only))))
    return only[:cut], only[cut:]


def truncate_pair(a: Tokens, b: Tokens, room: int, rng: np.random.Generator) -> tuple[Tokens, Tokens]:
    """Shortens a pair to `room` tokens, the longer segment first, each token at a random end.

    Taking tokens one by one from the longer of the two, front or back by a toss, comes to these
    counts.
    """
    excess = max(0, len(a) + len(b) - room)
    from_longer = min(excess, abs(len(a) - len(b)))
    rest = excess - from_longer
    drop_a, drop_b = rest // 2, rest - rest // 2
    if len(a) > len(b):
        drop_a += from_longer
    else:
        drop_b += from_longer
    return _drop(a, drop_a, rng), _drop(b, drop_b, rng)


def _drop(tokens: Tokens, count: int, rng: np.random.Generator) -> Tokens:
    front = int(rng.binomial(count, 0.5))
    return tokens[front : len(tokens) - (count - front)]


def mask_words(
    a: Tokens, b: Tokens, vocabulary: Vocabulary, rng: np.random.Generator
) -> tuple[Tokens, Tokens, Tokens]:
    """Frames two segments and hides some of their tokens.

    Runs of up to three whole words are chosen, a run of n words with a probability in proportion to
    1/n, until 15 % of the sequence (its special tokens counted, never chosen) is reached. Of the
    chosen tokens 80 % become [MASK], 10 % a random token, 10 % stay.

    Returns:
        [CLS] A [SEP] B [SEP] with the chosen tokens replaced; their places in it, ascending; and the
        tokens that stood there. All int64.
    """
    cls, sep = [vocabulary.cls], [vocabulary.sep]
    tokens = np.concatenate([cls, a, sep, b, sep])
    budget = max(1, round(MASKED_FRACTION * len(tokens)))
    words = _words(a, 1, vocabulary) + _words(b, len(a) + 2, vocabulary)
    chosen = _choose_words(words, len(tokens), budget, rng)
    if not chosen.any():  # Every word is longer than the budget.
        chosen[rng.integers(1, len(a) + 1)] = True
    places = np.flatnonzero(chosen)
    hidden = tokens[places]
    fate = rng.random(len(places))
    random = rng.choice(vocabulary.ordinary, len(places))
    tokens[places] = np.where(fate < 0.8, vocabulary.mask, np.where(fate < 0.9, random, hidden))
    return tokens, places, hidden


def _words(segment: Tokens, offset: int, vocabulary: Vocabulary) -> list[list[int]]:
    """For each word, the place at which it starts and those at which it and the next ones end."""
    bounds = [*(vocabulary.word_starts(segment) + offset).tolist(), offset + len(segment)]
    return [bounds[i : i + MAX_NGRAM + 1] for i in range(len(bounds) - 1)]


def _choose_words(words: list[list[int]], length: int, budget: int, rng: np.random.Generator) -> Flags:
    """Flags (`length`,) of the places in random runs of words, at most `budget` of them."""
    chosen = np.zeros(length, np.bool_)
    sizes = np.arange(1, MAX_NGRAM + 1)
    runs = rng.choice(sizes, len(words), p=(1 / sizes) / (1 / sizes).sum())
    for word in rng.permutation(len(words)).tolist():
        start, *ends = words[word]
        # The longest run, up to the size drawn, that still fits.
        fitting = [end for end in ends[: runs[word]] if end - start <= budget]
        if fitting and not chosen[start : fitting[-1]].any():
            chosen[start : fitting[-1]] = True
            budget -= fitting[-1] - start
        if not budget:
            break
    return chosen
