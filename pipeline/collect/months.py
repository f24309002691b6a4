"""What the months of a run's sources look like, and what people should know before they use them.

Karma is a snapshot: a dump whose scores were read minutes after posting has hardly any of 3 or more, and a
threshold then selects too little there. Such months are found by their neighbours.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median, median_high, median_low
from typing import Any

from pipeline.plain_table import percentage

_FACTOR = 2.0
_STANDARD_ERRORS = 4.0
_WIDE = 12  # months: longer than any run of bad dumps so far (2023-04 to 2023-10), twice over with both sides
_NEAR = 3
_MIN_NEIGHBOURS = 2

DEFINITION = (
    "A month is out of line where its share is below half or above double of the median of the months within "
    "a year of it, and as well of the three nearest on each side that are not so themselves; in both cases "
    "by more than four standard errors of the difference."
)


@dataclass(frozen=True, slots=True)
class Month:
    """A month (UTC) of submissions that collect kept: how many, and how many of them have a score >= 3."""

    name: str  # 2019-06
    num_posts: int
    num_at_3: int

    @property
    def share(self) -> float:
        """The share of posts with a score of 3 or more, from 0 to 1."""
        return self.num_at_3 / self.num_posts

    @property
    def number(self) -> int:
        """Months since the year 0, so that neighbours differ by 1."""
        year, month = self.name.split("-")
        return 12 * int(year) + int(month) - 1

    def to_json(self) -> dict[str, Any]:
        """As it stands in ``webtext status --json``."""
        return {"month": self.name, "submissions": self.num_posts, "share_3": round(self.share, 4)}


@dataclass(frozen=True, slots=True)
class OutOfLine:
    """A month whose share of posts with a score >= 3 is not as around it, and that share."""

    month: Month
    around: float

    @property
    def is_low(self) -> bool:
        """Below the months around; else above them."""
        return self.month.share < self.around


def months(facts: Mapping[str, Any]) -> list[Month]:
    """The months that collect's facts tell of, in their order; those without posts left out."""
    at_3 = facts.get("months_3", {})
    return [
        Month(name, num_posts, at_3.get(name, 0))
        for name, num_posts in sorted(facts.get("months", {}).items())
        if num_posts
    ]


def out_of_line(table: Sequence[Month]) -> list[OutOfLine]:
    """The months whose share falls out of line with their neighbours', as DEFINITION says.

    The year around finds a run of bad months as long as half of it, which closer neighbours, being bad as
    well, would not; the nearest that are not in question then keep a slow drift over the years from looking
    like one. A month needs two neighbours to be judged.
    """
    suspects = {month for month in table if _against(month, _within(table, month, _WIDE)) is not None}
    trusted = [month for month in table if month not in suspects]
    found = []
    for month in table:
        if month in suspects:
            around = _against(month, _nearest(_within(trusted, month, _WIDE), month))
            if around is not None:
                found.append(OutOfLine(month, around))
    return found


def _within(table: Sequence[Month], month: Month, distance: int) -> list[Month]:
    """The other months of a table that are at most so many months away."""
    return [one for one in table if one != month and abs(one.number - month.number) <= distance]


def _nearest(table: Sequence[Month], month: Month) -> list[Month]:
    """The nearest of a table in their order, up to three on each side."""
    before = [one for one in table if one.name < month.name]
    after = [one for one in table if one.name > month.name]
    return before[-_NEAR:] + after[:_NEAR]


def _against(month: Month, neighbours: Sequence[Month]) -> float | None:
    """The neighbours' median share where the month's is out of line with it, else None.

    Of an even number of neighbours the nearer of the two middle shares is the median: else the last month
    before a lasting change would be held against a mean that no month has. The standard error is that of a
    difference of two proportions (pooled): the month's, and that of a month with the neighbours' median share
    and median number of posts.
    """
    if len(neighbours) < _MIN_NEIGHBOURS:
        return None
    shares = [one.share for one in neighbours]
    around = min(max(month.share, median_low(shares)), median_high(shares))
    if around / _FACTOR <= month.share <= around * _FACTOR:
        return None
    num_around = median(one.num_posts for one in neighbours)
    pooled = (month.num_at_3 + around * num_around) / (month.num_posts + num_around)
    error = sqrt(pooled * (1 - pooled) * (1 / month.num_posts + 1 / num_around))
    return around if abs(month.share - around) > _STANDARD_ERRORS * error else None


def warnings(facts: Mapping[str, Any]) -> list[str]:
    """What collect's facts should make people think about: a sentence or two each, months first."""
    return [*_months_out_of_line(months(facts)), *_damage(facts), *_empty(facts)]


def _months_out_of_line(table: Sequence[Month]) -> Iterator[str]:
    """One warning for each run of months that are out of line on the same side."""
    for run in _runs(out_of_line(table)):
        shares, around = [one.month.share for one in run], [one.around for one in run]
        yield (
            f"{_span(run[0].month.name, run[-1].month.name)}: "
            f"{_percentages(shares)} of the posts have a score of 3 or more, "
            f"and {_percentages(around)} in the months around. "
            f"{_LOW if run[0].is_low else _HIGH}"
        )


_LOW = (
    "Scores that were read soon after posting, as in the dumps of 2023-04 to 2023-10, look like this: a "
    "threshold on karma then selects too little there. Take a later dump of that time, or lower "
    "link.min_karma; else leave it as it is."
)
_HIGH = (
    "Either posts with low scores are missing from this dump, or the scores around were read too soon after "
    "posting. Compare with another dump of that time; else leave it as it is."
)


def _runs(found: Sequence[OutOfLine]) -> list[list[OutOfLine]]:
    """Months that follow one another on the same side, together."""
    runs: list[list[OutOfLine]] = []
    for one in found:
        last = runs[-1][-1] if runs else None
        if last and one.month.number == last.month.number + 1 and one.is_low == last.is_low:
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


def _percentages(shares: Sequence[float]) -> str:
    return _span(percentage(min(shares), 1), percentage(max(shares), 1))


def _damage(facts: Mapping[str, Any]) -> Iterator[str]:
    for name, offset in sorted(facts.get("damage", {}).items()):
        yield (
            f"{name} is cut off or corrupt after {offset:,} unpacked bytes; what lies before was kept, as "
            'collect.on_damage = "keep" says. Fetch the file again for the rest.'
        )


def _empty(facts: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(facts.get("empty", {})):
        yield f"{name} has no rows. Fetch the file again, or take it out of the settings."
