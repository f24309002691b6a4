"""Training data of ALBERT: pairs of segments, some of them swapped, with masked words.

A document is cut into chunks of whole sentences that together fill a sequence; a chunk is split at a
random sentence into segments A and B, which change places half the time, and words are masked.

A sequence depends on nothing but the seed and its number, and the sequences of a batch are made together,
so that one core keeps up with a GPU. What is kept in memory is 4 bytes a sentence and 16 a chunk.

Source: create_pretraining_data.py of the released ALBERT, with these differences:

- Each epoch draws the splits, swaps and masks anew; the released code fixes them when it writes.
- A chunk holds the sentences that *start* within the same `context - 3` tokens of its document, so that
  chunks follow from the sentence index alone and any sequence can be made on its own. The released code
  gathers sentences until the length is reached.
- A chunk of one sentence is split between two of its words. The released code takes B from a random
  document and calls that swapped, which teaches topics rather than order.
- As many tokens are masked as the fraction says, also in long sequences: the released default of 20
  predictions at 512 tokens is 3.9 %, not 15 %.
- Runs of masked words do not compete for the same words (see `model.data.masking.choose_words`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.data.draws import Draws, below, draw, make_keys, uniform
from model.data.masking import Flags, MaskingVocabulary, choose_words
from model.data.pairs import Pairs, Splits, draw_pairs, draw_splits, plan_chunks
from model.data.permutation import Permutation
from model.data.ragged import Integers, begins, count_in
from model.errors import ModelError
from tokenizer.encode import Tokenizer
from tokenizer.tokenfile import TokenFile

MASKED_FRACTION = 0.15
NO_TARGET = -100  # torch's cross-entropy leaves targets of this value out.
_NUM_SPECIALS = 3  # [CLS] A [SEP] B [SEP]

# What a sequence's draws are for.
_SPLIT, _WORD_CUT, _PAIR, _WORDS, _FATE, _REPLACEMENT, _ONE_TOKEN = range(7)


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
        """The same batch on `device`; copied in the background from memory that is pinned."""
        return type(self)(
            **{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(self)}
        )

    def pin_memory(self) -> Self:
        """The same batch in memory that a GPU reads by itself."""
        return type(self)(**{f.name: getattr(self, f.name).pin_memory() for f in fields(self)})


@dataclass(frozen=True)
class _Source:
    """One file.

    Attributes:
        tokens: All its tokens.
        lengths: int32 (S,) tokens of each sentence.
        starts: int64 (C,) first token of each chunk.
        first: int32 (C,) first sentence of each chunk.
        last: int32 (C,) the sentence after its last one.
    """

    tokens: npt.NDArray[np.integer[Any]]
    lengths: npt.NDArray[np.int32]
    starts: Integers
    first: npt.NDArray[np.int32]
    last: npt.NDArray[np.int32]


class AlbertData:
    """Batches of one split, by number; each chunk is read once an epoch.

    Attributes:
        num_sequences: Sequences an epoch.
        max_predictions: Most masked tokens a sequence.

    Raises:
        ModelError: Sentences of a document do not lie one behind another.
    """

    def __init__(self, files: Iterable[TokenFile], tokenizer: Tokenizer, context: int, seed: int) -> None:
        self._vocabulary = MaskingVocabulary(tokenizer)
        self._context = context
        self._room = context - _NUM_SPECIALS
        self._seed = seed
        self._sources = [_open_source(file, self._room) for file in files]
        counts = [len(source.starts) for source in self._sources]
        self._first_chunk = np.concatenate([[0], np.cumsum(counts)])
        self.num_sequences = sum(counts)
        self.max_predictions = max(1, round(MASKED_FRACTION * context))

    def batch(self, first: int, count: int) -> AlbertBatch:
        """Sequences `first` up to `first + count` of the endless stream of epochs."""
        numbers = np.arange(first, first + count)
        chunks = self._find_chunks(numbers)
        keys = make_keys(self._seed, 2, numbers)
        pairs = self._draw_pairs(chunks, keys)
        return self._mask(self._frame(chunks, pairs), pairs, keys)

    def _chunk_numbers(self, numbers: Integers) -> Integers:
        """Which chunk each sequence is made of: another order each epoch."""
        epochs, places = np.divmod(numbers, self.num_sequences)
        chunks = np.empty_like(numbers)
        for epoch in np.unique(epochs).tolist():
            order = Permutation(self.num_sequences, self._seed, epoch, 1)
            chunks[epochs == epoch] = order(places[epochs == epoch])
        return chunks

    def _find_chunks(self, numbers: Integers) -> list[tuple[_Source, int]]:
        """The file of each sequence's chunk, and the chunk's number in it."""
        chunks = self._chunk_numbers(numbers)
        files = np.searchsorted(self._first_chunk, chunks, side="right") - 1
        places = chunks - self._first_chunk[files]
        return [(self._sources[f], p) for f, p in zip(files.tolist(), places.tolist(), strict=True)]

    def _draw_pairs(self, chunks: list[tuple[_Source, int]], keys: Draws) -> Pairs:
        lengths = [source.lengths[source.first[i] : source.last[i]] for source, i in chunks]
        rows = np.repeat(np.arange(len(chunks)), [len(some) for some in lengths])
        flat = np.concatenate(lengths).astype(np.int64)
        counts = count_in(rows[flat > 0], len(chunks))
        splits = draw_splits(flat[flat > 0], counts, self._room, draw(keys, _SPLIT))
        self._cut_sentences(splits, chunks, draw(keys, _WORD_CUT))
        return draw_pairs(splits, self._room, draw(keys, _PAIR))

    def _cut_sentences(self, splits: Splits, chunks: list[tuple[_Source, int]], keys: Draws) -> None:
        """Splits the chunks of one sentence at a random word, or token where there is one word only."""
        for row in np.flatnonzero(splits.cut == 0).tolist():
            source, chunk = chunks[row]
            start, size = source.starts[chunk], splits.size[row]
            starts = self._vocabulary.word_starts(source.tokens[start : start + size])
            cuts = np.flatnonzero(starts)[1:] if starts[1:].any() else np.arange(1, size)
            splits.cut[row] = cuts[below(keys[row : row + 1], len(cuts))[0]]

    def _frame(self, chunks: list[tuple[_Source, int]], pairs: Pairs) -> Integers:
        """[CLS] A [SEP] B [SEP] [PAD]...: int64 (B, T)."""
        vocabulary = self._vocabulary
        framed = np.full((len(chunks), self._context), vocabulary.pad, np.int64)
        framed[:, 0] = vocabulary.cls
        columns = (pairs.a, pairs.a_length, pairs.b, pairs.b_length)
        for row, (source, chunk), a, a_length, b, b_length in zip(
            framed, chunks, *(column.tolist() for column in columns), strict=True
        ):
            start = int(source.starts[chunk])
            middle, end = a_length + 1, a_length + b_length + 2
            row[1:middle] = source.tokens[start + a : start + a + a_length]
            row[middle] = vocabulary.sep
            row[middle + 1 : end] = source.tokens[start + b : start + b + b_length]
            row[end] = vocabulary.sep
        return framed

    def _mask(self, tokens: Integers, pairs: Pairs, keys: Draws) -> AlbertBatch:
        """Hides words of `tokens` (B, T), in place: 80 % become [MASK], 10 % a random token, 10 % stay."""
        chosen = self._choose(tokens, pairs, keys)
        at = np.flatnonzero(chosen)
        rows, places = np.divmod(at, self._context)
        hidden = tokens[rows, places]
        fate = uniform(draw(draw(keys, _FATE)[rows], places))
        other = below(draw(draw(keys, _REPLACEMENT)[rows], places), len(self._vocabulary.ordinary))
        replaced = np.where(fate < 0.9, self._vocabulary.ordinary[other], hidden)
        tokens[rows, places] = np.where(fate < 0.8, self._vocabulary.mask, replaced)

        column = np.arange(len(at)) - begins(count_in(rows, len(tokens)))[rows]
        positions = np.zeros((len(tokens), self.max_predictions), np.int64)
        labels = np.full((len(tokens), self.max_predictions), NO_TARGET, np.int64)
        positions[rows, column] = places
        labels[rows, column] = hidden
        place = np.arange(self._context)
        middle, end = pairs.a_length[:, None] + 2, (pairs.a_length + pairs.b_length)[:, None] + _NUM_SPECIALS
        segments = ((place >= middle) & (place < end)).astype(np.int64)
        arrays = (tokens, segments, place < end, positions, labels, pairs.swapped)
        return AlbertBatch(*(torch.from_numpy(array) for array in arrays))

    def _choose(self, tokens: Integers, pairs: Pairs, keys: Draws) -> Flags:
        """Flags (B, T) of the tokens to hide: 15 % of each sequence, its special tokens counted."""
        rows = np.arange(len(tokens))
        starts = self._vocabulary.word_starts(tokens)
        starts[:, 0] = False
        starts[:, 1] = True
        stops = np.stack([pairs.a_length + 1, pairs.a_length + pairs.b_length + 2], axis=1)
        starts[rows, stops[:, 0]] = False  # [SEP]
        starts[rows, stops[:, 0] + 1] = True
        starts[rows, stops[:, 1]] = False  # [SEP]
        budgets = np.maximum(1, np.rint(MASKED_FRACTION * (stops[:, 1] + 1)).astype(np.int64))
        chosen = choose_words(starts, stops, budgets, draw(keys, _WORDS))
        none = np.flatnonzero(~chosen.any(axis=1))  # Every word is larger than the budget.
        chosen[none, 1 + below(draw(keys[none], _ONE_TOKEN), pairs.a_length[none])] = True
        return chosen


def _open_source(file: TokenFile, room: int) -> _Source:
    index = file.index
    _check_together(file)
    chunks = plan_chunks(index.lengths, index.documents, room)
    starts = index.pointers[chunks.first] // index.dtype.itemsize
    # A plain array: slices of a mapped one are slower to make.
    return _Source(np.asarray(file.tokens), index.lengths, starts, chunks.first, chunks.last)


def _check_together(file: TokenFile) -> None:
    """Raises ModelError unless each document's sentences lie one behind another."""
    index = file.index
    apart = np.diff(index.pointers) != index.lengths[:-1].astype(np.int64) * index.dtype.itemsize
    begin = index.documents[(index.documents > 0) & (index.documents < len(index.lengths))]
    apart[begin - 1] = False
    if apart.any():
        raise ModelError(
            f"{file.path}: by its sentence index, sentence {int(np.argmax(apart)) + 1:,} does not begin where"
            " the one before it ends, in the same document; run the shard stage again"
        )
