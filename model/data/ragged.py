"""Rows of different lengths, laid end to end in one array."""

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


def spread(counts: Integers) -> tuple[Integers, Integers]:
    """For each element of rows of `counts` elements: its row, and its place in that row.

    >>> rows, places = spread(np.array([2, 0, 3]))
    >>> rows.tolist(), places.tolist()
    ([0, 0, 2, 2, 2], [0, 1, 0, 1, 2])
    """
    rows = np.repeat(np.arange(len(counts)), counts)
    return rows, np.arange(len(rows)) - begins(counts)[rows]


def begins(counts: Integers) -> Integers:
    """Where each row begins.

    >>> begins(np.array([2, 0, 3])).tolist()
    [0, 2, 2]
    """
    return np.cumsum(counts, dtype=np.int64) - counts


def count_in(rows: npt.NDArray[np.integer], num_rows: int) -> Integers:
    """How often each of `num_rows` rows is named: int64 (num_rows,).

    >>> count_in(np.array([0, 0, 2]), 4).tolist()
    [2, 0, 1, 0]
    """
    return np.bincount(rows, minlength=num_rows).astype(np.int64, copy=False)
