"""Rows judged, some ten thousand at a time: what is kept, what is rejected, and the months' scores."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.collect.dumps import Damaged
from pipeline.collect.rows import Row
from pipeline.collect.rules import Rules, Submission, judge
from pipeline.records import Reason

_ROWS_AT_ONCE = 50_000
_SHARE_FROM = 3  # the score from which on WebText took a link


@dataclass(slots=True)
class Batch:
    """What became of some rows, in their order."""

    kept: list[Submission] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)

    def rejected(self) -> Counter[str]:
        """How many were rejected for each reason."""
        return Counter(reason.value for reason in self.reasons)

    def months(self) -> tuple[Counter[str], Counter[str]]:
        """How many were kept of each month (``2005-06``), and how many of them have a score of 3 and more."""
        dated = [(one.created, one.score) for one in self.kept if one.created is not None]
        table = np.array(dated, np.int64).reshape(-1, 2)
        months = table[:, 0].astype("datetime64[s]").astype("datetime64[M]")
        return _counted(months), _counted(months[table[:, 1] >= _SHARE_FROM])


def judge_all(rows: Iterable[Row | Reason], rules: Rules) -> Iterator[Batch]:
    """Judges rows; a Reason among them is of one that was rejected before.

    Damage to the source is passed on after the batch of what lies before it.
    """
    batch = Batch()
    try:
        for number, row in enumerate(rows, 1):
            judged = row if isinstance(row, Reason) else judge(row, rules)
            if isinstance(judged, Reason):
                batch.reasons.append(judged)
            else:
                batch.kept.append(judged)
            if number % _ROWS_AT_ONCE == 0:
                yield batch
                batch = Batch()
    except Damaged:
        yield batch
        raise
    yield batch


def _counted(months: NDArray[np.datetime64]) -> Counter[str]:
    names, nums = np.unique(months, return_counts=True)
    return Counter(dict(zip(names.astype(str).tolist(), nums.tolist(), strict=True)))
