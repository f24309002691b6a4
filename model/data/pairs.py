"""ALBERT's segments: chunks of a document's sentences, split in two, half of them swapped.

All of it follows from the lengths of sentences, for many chunks at once; what the tokens are is only
asked where a single sentence is split between words (see `model.data.masked`).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from model.data.draws import Draws, below, count_heads, draw, uniform
from model.data.ragged import Integers, begins, count_in, spread

SHORT_FRACTION = 0.1

# Places of a chunk's draws: for its split, and for its pair.
_IS_SHORT, _SHORT_SIZE, _CUT = range(3)
_IS_SWAPPED, _DROP_A, _DROP_B = range(3)


@dataclass(frozen=True)
class Chunks:
    """Runs of consecutive sentences of one file.

    Attributes:
        first: int32 (C,) first sentence of each chunk.
        last: int32 (C,) the sentence after its last one.
    """

    first: npt.NDArray[np.int32]
    last: npt.NDArray[np.int32]


def plan_chunks(lengths: npt.NDArray[np.int32], documents: Integers, target: int) -> Chunks:
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
    return Chunks(first[enough].astype(np.int32), last[enough].astype(np.int32))


@dataclass(frozen=True)
class Splits:
    """How much of each chunk is read, and where it is split.

    Attributes:
        size: int64 (C,) tokens of the chunk that are read, from its first on; at least two.
        cut: int64 (C,) tokens before the split; 0 where a single sentence is to be split by its words.
    """

    size: Integers
    cut: Integers


def draw_splits(lengths: Integers, counts: Integers, room: int, keys: Draws) -> Splits:
    """Splits chunks at random sentences; of one in ten, only the first sentences are read.

    Those reach a length drawn evenly from 2 to `room`; the other chunks are read whole.

    Args:
        lengths: int64 (S,) tokens of the chunks' sentences, end to end, none empty.
        counts: int64 (C,) sentences of each chunk, at least one.
        room: Tokens of both segments that fit a sequence.
        keys: (C,) of which all draws follow.
    """
    rows, _ = spread(counts)
    first = begins(counts)
    total = np.cumsum(lengths)
    ends = total - (total - lengths)[first][rows]
    is_short = uniform(draw(keys, _IS_SHORT)) < SHORT_FRACTION
    target = np.where(is_short, 2 + below(draw(keys, _SHORT_SIZE), room - 1), total[-1])  # At most all.
    kept = np.minimum(counts, 1 + count_in(rows[ends < target[rows]], len(counts)))
    size = ends[first + kept - 1]
    before = below(draw(keys, _CUT), kept - 1)  # Sentences before the split, but one.
    return Splits(size, np.where(kept > 1, ends[first + before], 0))


@dataclass(frozen=True)
class Pairs:
    """Both segments of each sequence, as stretches of the chunk's tokens; all int64 (C,).

    Attributes:
        a: First token of segment A.
        a_length: Tokens of segment A, at least one.
        b: First token of segment B.
        b_length: Tokens of segment B, at least one.
        swapped: 1 where B stands before A in the document.
    """

    a: Integers
    a_length: Integers
    b: Integers
    b_length: Integers
    swapped: Integers


def draw_pairs(splits: Splits, room: int, keys: Draws) -> Pairs:
    """Swaps half of the pairs, and shortens those longer than `room` at random ends.

    Taking tokens one by one from the longer of the two segments, front or back by a toss, comes to
    the same. `splits` has no cut of 0.
    """
    swapped = (uniform(draw(keys, _IS_SWAPPED)) < 0.5).astype(np.int64)
    early, late = splits.cut, splits.size - splits.cut
    a_length, b_length = np.where(swapped, late, early), np.where(swapped, early, late)
    drop_a, drop_b = excess(a_length, b_length, room)
    return Pairs(
        np.where(swapped, splits.cut, 0) + count_heads(draw(keys, _DROP_A), drop_a),
        a_length - drop_a,
        np.where(swapped, 0, splits.cut) + count_heads(draw(keys, _DROP_B), drop_b),
        b_length - drop_b,
        swapped,
    )


def excess(a_length: Integers, b_length: Integers, room: int) -> tuple[Integers, Integers]:
    """How many tokens A and B lose to fit `room`, taken one by one from the longer, from B if equal."""
    too_many = np.maximum(0, a_length + b_length - room)
    from_longer = np.minimum(too_many, np.abs(a_length - b_length))
    rest = too_many - from_longer
    from_a = np.where(a_length > b_length, from_longer, 0)
    return rest // 2 + from_a, rest - rest // 2 + from_longer - from_a
