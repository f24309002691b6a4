"""Rows judged, some ten thousand at a time: what is kept, what is rejected, and the months' scores."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.collect.dumps import Damaged
from pipeline.collect.rows import Row
from pipeline.collect.rules import Rules, Submission, is_score, judge, seconds
from pipeline.records import Reason

_ROWS_AT_ONCE = 50_000
_SHARE_FROM = 3  # the score from which on WebText took a link
_WITHIN_REDDIT = frozenset(
    (Reason.SELF_POST, Reason.CROSSPOST_OF_SELF, Reason.REDDIT_MEDIA, Reason.REDDIT_INTERNAL)
)


@dataclass(slots=True)
class Batch:
    """What became of some rows, in their order.

    ``times`` (seconds since 1970, UTC) and ``scores`` are of all but self posts and what stays within
    Reddit, whether they are kept or not: a month's scores are looked at before other rules.
    """

    kept: list[Submission] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def rejected(self) -> Counter[str]:
        """How many were rejected for each reason."""
        return Counter(reason.value for reason in self.reasons)

    def months(self) -> tuple[Counter[str], Counter[str]]:
        """How many there are of each month (``2005-06``), and how many of them with a score of 3 and more."""
        months = np.array(self.times, np.int64).astype("datetime64[s]").astype("datetime64[M]")
        return _counted(months), _counted(months[np.array(self.scores, np.float64) >= _SHARE_FROM])


def judge_all(rows: Iterable[Row | Reason], rules: Rules) -> Iterator[Batch]:
    """Judges rows; a Reason among them is of one that was rejected before.

    Damage to the source is passed on after the batch of what lies before it.
    """
    batch = Batch()
    try:
        for number, row in enumerate(rows, 1):
            if isinstance(row, Reason):
                batch.reasons.append(row)
            else:
                _judge(row, rules, batch)
            if number % _ROWS_AT_ONCE == 0:
                yield batch
                batch = Batch()
    except Damaged:
        yield batch
        raise
    yield batch


def _judge(row: Row, rules: Rules, batch: Batch) -> None:
    judged = judge(row, rules)
    if isinstance(judged, Reason):
        batch.reasons.append(judged)
        if judged in _WITHIN_REDDIT:
            return
    else:
        batch.kept.append(judged)
    created, score = seconds(row.get("created_utc")), row.get("score")
    if created is not None and not rules.listed:  # a list's scores are all the same
        batch.times.append(created)
        batch.scores.append(score if is_score(score) else 0)


def _counted(months: NDArray[np.datetime64]) -> Counter[str]:
    names, nums = np.unique(months, return_counts=True)
    return Counter(dict(zip(names.astype(str).tolist(), nums.tolist(), strict=True)))
