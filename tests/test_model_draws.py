"""Random numbers that are functions: as good as drawn, and the same for whoever asks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from model.data.draws import below, count_heads, draw, make_keys, uniform
from model.data.permutation import Permutation


def test_draws_are_those_of_splitmix64() -> None:
    # The first numbers of the published generator from this seed.
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert draw(np.array([1234567], np.uint64), np.arange(5)).tolist() == published


def test_keys_differ_by_seed_purpose_and_number() -> None:
    keys = [make_keys(seed, purpose, np.arange(1000)) for seed in range(3) for purpose in range(3)]
    assert len(set(np.concatenate(keys).tolist())) == 9000


def is_even(counts: np.ndarray) -> bool:
    return bool(stats.chisquare(counts).pvalue > 1e-4)


@pytest.mark.parametrize("bound", [2, 7, 1000])
def test_draws_under_a_bound_are_even(bound: int) -> None:
    keys = draw(make_keys(1, 2, np.arange(200)), 5)
    numbers = below(draw(keys[:, None], np.arange(500)), bound).flatten()
    assert is_even(np.bincount(numbers, minlength=bound))
    assert len(np.bincount(numbers, minlength=bound)) == bound


def test_draws_are_even_from_zero_to_one() -> None:
    numbers = uniform(make_keys(0, 0, np.arange(20_000)))
    assert stats.kstest(numbers, "uniform").pvalue > 1e-4
    # Draws that follow each other have nothing to do with each other.
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.03


@pytest.mark.parametrize("tosses", [0, 1, 10, 63, 64, 65, 200])
def test_heads_are_binomial(tosses: int) -> None:
    heads = count_heads(make_keys(0, 1, np.arange(4000)), np.full(4000, tosses))
    assert heads.mean() == pytest.approx(tosses / 2, abs=4 * np.sqrt(tosses / 4 / 4000))
    assert heads.var() == pytest.approx(tosses / 4, rel=0.1)
    assert heads.min() >= 0
    assert heads.max() <= tosses


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=20))
def test_tosses_do_not_depend_on_their_neighbours(tosses: list[int]) -> None:
    keys = make_keys(4, 4, np.arange(len(tosses)))
    together = count_heads(keys, np.array(tosses))
    alone = [count_heads(keys[i : i + 1], np.array([n]))[0] for i, n in enumerate(tosses)]
    assert together.tolist() == alone


@settings(deadline=None, max_examples=60)
@given(size=st.integers(0, 400), key=st.integers(0, 2**32), part=st.integers(1, 400))
def test_an_order_has_each_number_once(size: int, key: int, part: int) -> None:
    order = Permutation(size, key)
    whole = order(np.arange(size))
    assert sorted(whole.tolist()) == list(range(size))
    assert order(np.arange(size)[-part:]).tolist() == whole[-part:].tolist()


@pytest.mark.parametrize("size", [2, 3, 10, 50, 400])
def test_every_number_comes_as_often_at_each_place(size: int) -> None:
    places = np.array([0, size // 2, size - 1])
    found = np.stack([Permutation(size, key)(places) for key in range(2000)])
    assert all(is_even(np.bincount(column, minlength=size)) for column in found.T)


def test_places_beside_each_other_hold_any_two_numbers() -> None:
    size = 90_000
    found = Permutation(size, 7)(np.arange(size))
    distances = (found[1:] - found[:-1]) % size
    assert is_even(np.bincount(distances * 100 // size, minlength=100))
    # No number is drawn to the place that it had.
    assert is_even(np.bincount((found - np.arange(size)) % size * 100 // size, minlength=100))


def test_a_large_order_needs_no_memory() -> None:
    size = 2**50 + 1
    order = Permutation(size, 3)
    places = np.array([0, 1, size // 2, size - 1])
    found = order(places)
    assert len(set(found.tolist())) == 4
    assert found.min() >= 0
    assert found.max() < size
