"""Which words ALBERT has to guess: runs of whole words, chosen for many sequences at once."""

import numpy as np
import numpy.typing as npt

from model.data.draws import Draws, draw, uniform
from model.data.ragged import Integers, begins, count_in, spread
from tokenizer.encode import Tokenizer
from tokenizer.vocabulary import CLS, MASK, PAD, SEP

Flags = npt.NDArray[np.bool_]

MAX_NGRAM = 3

# Places of a sequence's draws, each of which is a key with a draw a token.
_RUN, _WORD = range(2)


class MaskingVocabulary:
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
        self.cls, self.sep, self.pad, self.mask = (specials[name] for name in (CLS, SEP, PAD, MASK))
        special_ids = set(specials.values())
        ids = [token for token in range(tokenizer.vocab_size) if token not in special_ids]
        self.ordinary = np.array(ids, np.int64)
        self.starts_blank = np.zeros(tokenizer.vocab_size, np.bool_)
        self.ends_line = np.zeros(tokenizer.vocab_size, np.bool_)
        for token in ids:
            text = tokenizer.token_bytes(token)
            self.starts_blank[token] = text[:1].isspace()
            self.ends_line[token] = text[-1:].isspace() and not text.endswith(b" ")

    def word_starts(self, tokens: npt.NDArray[np.integer]) -> Flags:
        """Whether a word starts at each token of segments (..., T), the first of each included.

        In a byte-level BPE a word carries the space before it (which may be a token of its own);
        after a line break there is none.
        """
        starts = self.starts_blank.take(tokens)
        starts[..., 1:] |= self.ends_line.take(tokens[..., :-1])
        starts[..., :1] = True
        return starts


def choose_words(starts: Flags, stops: Integers, budgets: Integers, keys: Draws) -> Flags:
    """Chooses words to hide: runs of up to three, until the budget is used up.

    Each segment's words are laid out in runs, of n words with a probability in proportion to 1/n. The
    runs are taken in a random order, those left out that are larger than what is left of the budget;
    where then some is left, single words are.

    The released ALBERT draws a run for each word as it comes to it and leaves out those that overlap
    earlier ones, most often long ones. Here no runs overlap, so their sizes are as drawn.

    Args:
        starts: bool (B, T), whether a word starts there.
        stops: int64 (B, 2), the place after the last token of segments A and B.
        budgets: int64 (B,), the most tokens that may be chosen.
        keys: (B,) of which all draws follow.

    Returns:
        bool (B, T). Nothing is chosen of a sequence where every word is larger than the budget.
    """
    counts = np.count_nonzero(starts, axis=1)
    rows = np.repeat(np.arange(len(starts)), counts)  # (W,) as all that follows: one element a word
    at = np.flatnonzero(starts)  # Places in the flattened batch.
    begin = np.arange(len(starts)) * starts.shape[1]
    middle, end = (np.repeat(begin + stops[:, segment], counts) for segment in range(2))
    stop = np.where(at < middle, middle, end)
    draws = draw(np.repeat(draw(keys, _RUN), counts), at - np.repeat(begin, counts))

    runs = _lay_out(_run_sizes(draws), stop)
    sizes = np.minimum(np.append(at[runs[1:]], starts.size), stop[runs]) - at[runs]
    # The lower half of a run's draw: the upper one has made another run's size.
    taken, left = _take(sizes, rows[runs], draws[runs] << np.uint64(32), budgets)
    chosen = _cover(at[runs[taken]], sizes[taken], starts.size)

    words = np.flatnonzero((left > 0)[rows] & ~chosen[at])
    if len(words):
        sizes = (np.minimum(np.append(at[1:], starts.size), stop) - at)[words]
        order = draw(draw(keys, _WORD)[rows[words]], (at - begin[rows])[words])
        taken, _ = _take(sizes, rows[words], order, left)
        chosen |= _cover(at[words[taken]], sizes[taken], starts.size)
    return chosen.reshape(starts.shape)


def _run_sizes(draws: Draws) -> Integers:
    """Sizes from 1 to `MAX_NGRAM`, each with a probability in proportion to its inverse."""
    shares = np.cumsum(1 / np.arange(1, MAX_NGRAM + 1))
    part = uniform(draws) * shares[-1]
    sizes = np.ones(len(draws), np.int64)
    for share in shares[:-1]:
        sizes += part >= share
    return sizes


def _lay_out(sizes: Integers, segments: Integers) -> Integers:
    """Lays segments out in runs of `sizes` words; a segment's last run may be cut short.

    Args:
        sizes: int64 (W,) for each word a size; a segment's first run has its first word's, its second
            run its second word's, and so on.
        segments: int64 (W,) which segment each word is of, ascending.

    Returns:
        int64, the words at which a run begins, ascending.
    """
    first = np.flatnonzero(np.diff(segments, prepend=-1))
    counts = np.diff(first, append=len(segments))
    before = np.cumsum(sizes) - sizes
    starts: Integers = before + np.repeat(first - before[first], counts)
    return starts[starts < np.repeat(first + counts, counts)]


def _take(sizes: Integers, rows: Integers, order: Draws, budgets: Integers) -> tuple[Integers, Integers]:
    """Takes runs of each row in their order, each that is no larger than what is left of the budget.

    Args:
        sizes: int64 (R,) tokens of each run.
        rows: int64 (R,) its row, ascending.
        order: (R,) its draw: a row's runs are taken from the smallest on.
        budgets: int64 (B,) tokens that may be taken of each row.

    Returns:
        The runs that are taken, and what is left of the budgets: int64 (B,).
    """
    # Most rows are full long before their last run, so that the later ones need not be sorted.
    order_of = uniform(order)
    is_early = order_of * sizes.sum() < 2 * budgets.sum()
    early = np.flatnonzero(is_early)
    taken, left = _take_sorted(sizes[early], rows[early], order_of[early], budgets)
    late = np.flatnonzero(~is_early & (left > 0)[rows])
    more, left = _take_sorted(sizes[late], rows[late], order_of[late], left)
    return np.concatenate([early[taken], late[more]]), left


def _take_sorted(
    sizes: Integers, rows: Integers, order: npt.NDArray[np.float64], budgets: Integers
) -> tuple[Integers, Integers]:
    """As `_take`, with an order from 0 to 1."""
    by_order = np.argsort(rows + order / 2)  # By row first: faster than `lexsort`.
    sizes = sizes[by_order]
    counts = count_in(rows, len(budgets))
    total = np.cumsum(sizes)
    before = np.append(total - sizes, 0)[begins(counts)]
    taken = total <= np.repeat(before + budgets, counts)
    left = budgets - np.bincount(rows[taken], sizes[taken], len(budgets)).astype(np.int64)
    # What fits of the others, the first of each row at a time.
    waiting = np.flatnonzero(~taken)
    while True:
        waiting = waiting[sizes[waiting] <= left[rows[waiting]]]
        if not len(waiting):
            return by_order[taken], left
        is_next = np.diff(rows[waiting], prepend=-1) != 0
        added = waiting[is_next]
        taken[added] = True
        left[rows[added]] -= sizes[added]
        waiting = waiting[~is_next]


def _cover(starts: Integers, sizes: Integers, num_places: int) -> Flags:
    """Flags (`num_places`,) of the places in stretches of `sizes` places each."""
    flags = np.zeros(num_places, np.bool_)
    stretches, places = spread(sizes)
    flags[starts[stretches] + places] = True
    return flags
