"""Random numbers as a function of what they are for.

There is no generator and no state. A draw is a hash of a key (a sequence's of the training data, say) and
a place, so that draws are made in any order, by any process, and many at once.

Source: the hash is the output function of splitmix64 (Steele, Lea and Flood 2014, "Fast splittable
pseudorandom number generators").
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from model.data.ragged import Integers, spread

Draws = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def make_keys(seed: int, purpose: int, numbers: Integers) -> Draws:
    """A key for each of `numbers` (B,); another seed or purpose, other keys."""
    return draw(seed_draws(1, seed, purpose), numbers)


@lru_cache
def seed_draws(count: int, *seeds: int) -> Draws:
    """Where draws begin: `count` of them, that follow from `seeds`."""
    draws = np.random.SeedSequence(seeds).generate_state(count, np.uint64).astype(np.uint64, copy=False)
    draws.flags.writeable = False
    return draws


def draw(keys: Draws, places: Integers | int) -> Draws:
    """64 random bits for each of `places` (at least 0) of `keys`; they may be keys themselves.

    Both are broadcast against each other.
    """
    values = keys + (np.atleast_1d(places).astype(np.uint64) + np.uint64(1)) * _GOLDEN
    values ^= values >> np.uint64(30)
    values *= _FIRST
    values ^= values >> np.uint64(27)
    values *= _SECOND
    values ^= values >> np.uint64(31)
    return values


def uniform(draws: Draws) -> npt.NDArray[np.float64]:
    """Draws as numbers of at least 0 and under 1."""
    return (draws >> np.uint64(11)).astype(np.float64) * 2.0**-53


def below(draws: Draws, bounds: Integers | int) -> Integers:
    """Draws as integers of at least 0 and under `bounds`, which are under 2**32; 0 for a bound of 0."""
    half = np.uint64(32)
    return (((draws >> half) * np.asarray(bounds).astype(np.uint64)) >> half).astype(np.int64)


def count_heads(keys: Draws, tosses: Integers) -> Integers:
    """How many of `tosses` (B,) tosses of a fair coin show heads, for each of `keys` (B,): int64 (B,)."""
    rows, places = spread(-(-tosses // 64))  # 64 tosses a draw
    unused = np.maximum(0, 64 * (places + 1) - tosses[rows]).astype(np.uint64)
    heads = np.bitwise_count(draw(keys[rows], places) >> unused)
    return np.bincount(rows, weights=heads, minlength=len(keys)).astype(np.int64)
