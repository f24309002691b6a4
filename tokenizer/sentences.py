"""From sentences of a text to sentences of its tokens.

A document is tokenised whole, as words must not depend on where sentences are cut; then the
sentences' ends are looked up among the tokens' ends.
"""

import numpy as np
import numpy.typing as npt

from tokenizer.errors import TokenizerError


def token_spans(
    token_lengths: npt.NDArray[np.integer], ends: npt.NDArray[np.integer]
) -> npt.NDArray[np.int64]:
    """Bounds of sentences, counted in tokens.

    A sentence's end that falls inside a token is moved back to that token's start, so the token
    goes to the sentence in which it ends: GPT-2's tokens begin with the space before a word, and
    such a token belongs to the sentence of its word, on whichever side of the space the sentences
    were cut. A sentence left without tokens vanishes: its text is part of the next one.

    >>> # "Hi. You" is the tokens "Hi", ".", " You"; the sentences are "Hi. " and "You".
    >>> token_spans(np.array([2, 1, 4]), np.array([4, 7]))
    array([0, 2, 3])

    Args:
        token_lengths: [tokens], bytes of each token: `tokenizer.token_lengths[ids]`.
        ends: [sentences], byte offset in the text's UTF-8 just behind each sentence; ascending,
            the last one at the end of the text.

    Returns:
        int64 [kept sentences + 1]: sentence `k` is the tokens `spans[k]` up to `spans[k + 1]`.
        The first is 0, the last the number of tokens, each greater than the one before.

    Raises:
        TokenizerError: The ends are negative or go back, or the last is not where the tokens end.
    """
    token_ends = np.cumsum(token_lengths, dtype=np.int64)
    total = int(token_ends[-1]) if len(token_ends) else 0
    last = int(ends[-1]) if len(ends) else 0
    if last != total:
        raise TokenizerError(
            f"the last sentence ends at byte {last}, but the tokens at {total}; take both from the "
            "same text, offsets in bytes of UTF-8, and let the last sentence run to its end"
        )
    if len(ends) and (ends[0] < 0 or (np.diff(ends) < 0).any()):
        raise TokenizerError("the sentences' ends must not be negative or go back; sort them")
    bounds: npt.NDArray[np.int64] = np.append(0, np.searchsorted(token_ends, ends, side="right"))
    return np.compress(np.append(True, np.diff(bounds) > 0), bounds)
