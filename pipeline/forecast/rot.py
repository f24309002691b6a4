"""How many links are dead by now, by their age: most of what is linked today will be gone in twenty years."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from pipeline.forecast.constants import Constant
from pipeline.forecast.ranges import Range, product, total

_DAYS_A_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class Rot:
    """The links of a year (None: of a time that no source tells), and how many of them are dead."""

    year: int | None
    links: Range
    share: Range

    @property
    def dead(self) -> Range:
        """How many are dead."""
        return product((self.links, self.share))


def dead_share(age_years: Range, constants: Mapping[str, Constant]) -> Range:
    """The share of links of an age that nothing answers any more: a straight line of hazards."""
    at_once, a_year = constants["rot.at_once"].value, constants["rot.a_year"].value
    return Range(
        1 - math.exp(-at_once.low - a_year.low * age_years.low),
        1 - math.exp(-at_once.likely - a_year.likely * age_years.likely),
        1 - math.exp(-at_once.high - a_year.high * age_years.high),
    )


def rot(links: Mapping[int | None, Range], today: date, constants: Mapping[str, Constant]) -> tuple[Rot, ...]:
    """The years in their order, the unknown one last; a link is of its year's middle."""
    found = []
    for year in sorted(links, key=lambda one: (one is None, one)):
        if year is None:
            age = constants["age.unknown"].value
        else:
            middle = (date(year, 1, 1).toordinal() + date(year + 1, 1, 1).toordinal()) / 2
            # A year that is not over has its links before today.
            age = Range.exact(max(0.0, (today.toordinal() - middle) / _DAYS_A_YEAR))
        found.append(Rot(year, links[year], dead_share(age, constants)))
    return tuple(found)


def dead_of_all(years: Iterable[Rot]) -> Range:
    """The share of all links that is dead."""
    some = list(years)
    num = total(one.links for one in some).likely
    if not num:
        return Range.exact(0.0)
    return total(one.share * (one.links.likely / num) for one in some).at_most(1.0)
