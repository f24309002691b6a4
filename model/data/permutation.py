"""A random order that is computed where it is needed, and never stored.

A stored order of nine million sequences takes 72 MB in each process that reads training data, for each
epoch that it touches; this one takes a few numbers. It is a Feistel network, which turns any hash into
a permutation, over the pairs of numbers under the root of the size; what comes out too large goes in
again.

Source: Black and Rogaway 2002, "Ciphers with arbitrary finite domains".
"""

import math

import numpy as np

from model.data.draws import below, draw, seed_draws
from model.data.ragged import Integers

_ROUNDS = 6


class Permutation:
    """A random order of the numbers under `size`.

    Args:
        size: How many numbers; at most 2**62.
        key: Another key, another order.
    """

    def __init__(self, size: int, *key: int) -> None:
        self.size = size
        self._side = math.isqrt(max(size, 1) - 1) + 1  # The root of the size, rounded up.
        self._keys = np.split(seed_draws(_ROUNDS, *key), _ROUNDS)

    def __call__(self, places: Integers) -> Integers:
        """The numbers at `places` of the order: int64 (N,), as `places`."""
        found = self._pass(places)
        outside = np.flatnonzero(found >= self.size)
        while len(outside):
            found[outside] = self._pass(found[outside])
            outside = outside[found[outside] >= self.size]
        return found

    def _pass(self, places: Integers) -> Integers:
        """A permutation of the numbers under the square of the side."""
        left, right = np.divmod(places, self._side)
        for key in self._keys:
            moved = left + below(draw(key, right), self._side)
            left, right = right, moved - self._side * (moved >= self._side)
        return left * self._side + right
