"""Sentence offsets in bytes to sentence offsets in tokens."""

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenizer import sentences
from tokenizer.errors import TokenizerError
from tokenizer.sentences import token_spans


def spans(lengths: list[int], ends: list[int]) -> list[int]:
    bounds: list[int] = token_spans(
        np.array(lengths, dtype=np.int32), np.array(ends, dtype=np.int64)
    ).tolist()
    return bounds


def test_the_docstring_s_example() -> None:
    assert doctest.testmod(sentences).failed == 0
    assert doctest.testmod(sentences).attempted == 1


def test_both_sides_of_a_space_give_the_same_sentences() -> None:
    # "Hi. You": "Hi", ".", " You".
    assert spans([2, 1, 4], [3, 7]) == [0, 2, 3]
    assert spans([2, 1, 4], [4, 7]) == [0, 2, 3]


def test_empty_sentences_vanish() -> None:
    assert spans([2, 2], [0, 2, 2, 4, 4]) == [0, 1, 2]
    # Both cuts lie in the first token: what they cut off has no token of its own.
    assert spans([6, 2], [2, 4, 8]) == [0, 2]
    assert spans([], []) == [0]
    assert spans([], [0, 0]) == [0]


@pytest.mark.parametrize(
    ("lengths", "ends", "message"),
    [
        ([2, 2], [3], "ends at byte 3, but the tokens at 4"),
        ([2, 2], [], "ends at byte 0, but the tokens at 4"),
        ([2, 2], [3, 1, 4], "go back"),
        ([2, 2], [-1, 4], "negative"),
    ],
)
def test_ends_of_another_text_are_refused(lengths: list[int], ends: list[int], message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        spans(lengths, ends)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.data())
def test_each_token_goes_to_the_sentence_in_which_it_ends(lengths: list[int], data: st.DataObject) -> None:
    total = sum(lengths)
    ends = [*sorted(data.draw(st.lists(st.integers(0, total), max_size=20))), total]
    token_ends = np.cumsum(lengths)
    # The sentence of a token is the first whose end is not before the token's.
    owners = [next(k for k, end in enumerate(ends) if token_end <= end) for token_end in token_ends]
    starts = [i for i in range(len(owners)) if i == 0 or owners[i] != owners[i - 1]]
    assert spans(lengths, ends) == [*starts, len(lengths)]
