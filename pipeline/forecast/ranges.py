"""Numbers that are not known exactly: low, likely, high, and how such numbers are put together.

Low and high are meant to enclose the truth nine times in ten. A product of independent factors spreads by
the root of the sum of their squared spreads (of logarithms): were every factor's low multiplied with the
others' lows, eight factors would give a range that says nothing. A sum adds lows to lows and highs to highs,
as the terms of a plan err together.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

Z = 1.645
"""Standard errors on each side that enclose nine in ten."""


@dataclass(frozen=True, slots=True)
class Range:
    """A number that is not known exactly; never negative."""

    low: float
    likely: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.likely <= self.high < math.inf:
            raise ValueError(f"not a range: {self.low}, {self.likely}, {self.high}")

    @classmethod
    def exact(cls, value: float) -> Self:
        """A number that is known."""
        return cls(value, value, value)

    @classmethod
    def around(cls, likely: float, factor: float) -> Self:
        """A number that may be so many times less, or more."""
        return cls(likely / factor, likely, likely * factor)

    @classmethod
    def share(cls, num: int, of: int) -> Self:
        """The share that a sample shows: Wilson's interval, which holds for few and for none as well."""
        if not of:
            return cls(0.0, 0.5, 1.0)
        seen, square = num / of, Z * Z
        middle = (seen + square / (2 * of)) / (1 + square / of)
        half = Z * math.sqrt(seen * (1 - seen) / of + square / (4 * of * of)) / (1 + square / of)
        return cls(max(0.0, min(seen, middle - half)), seen, min(1.0, max(seen, middle + half)))

    @property
    def is_exact(self) -> bool:
        """Whether it is known."""
        return self.low == self.high

    def __mul__(self, factor: float) -> "Range":
        return Range(self.low * factor, self.likely * factor, self.high * factor)

    def at_most(self, bound: float) -> "Range":
        """The same, nowhere above a bound: a share is never over 1."""
        return Range(min(self.low, bound), min(self.likely, bound), min(self.high, bound))

    def wider(self, factor: float) -> "Range":
        """The same with this factor of doubt besides, independent of what is in it."""
        return product((self, Range.around(1.0, factor)))

    def complement(self) -> "Range":
        """What a share leaves of 1."""
        return Range(1 - self.high, 1 - self.likely, 1 - self.low)

    def inverse(self) -> "Range":
        """One over it; ValueError where it may be 0."""
        if not self.low:
            raise ValueError("a range that holds 0 has no inverse")
        return Range(1 / self.high, 1 / self.likely, 1 / self.low)

    def to_json(self) -> dict[str, float]:
        """As ``webtext plan --json`` prints it."""
        return {"low": self.low, "likely": self.likely, "high": self.high}


def product(factors: Iterable[Range]) -> Range:
    """The product of independent factors.

    >>> product((Range(50, 100, 200), Range.exact(3)))
    Range(low=150.0, likely=300, high=600.0)
    """
    some = list(factors)
    likely = math.prod(one.likely for one in some)
    low, high = math.prod(one.low for one in some), math.prod(one.high for one in some)
    if low == high:
        return Range.exact(likely)
    # Where one of them is 0, its logarithm tells nothing, and the ends are multiplied as they are.
    if low > 0:
        low = likely * math.exp(-math.hypot(*(math.log(one.likely / one.low) for one in some)))
    if likely > 0:
        high = likely * math.exp(math.hypot(*(math.log(one.high / one.likely) for one in some)))
    return Range(min(low, likely), likely, max(high, likely))


def total(terms: Iterable[Range]) -> Range:
    """The sum of terms that err together."""
    some = list(terms)
    return Range(sum(one.low for one in some), sum(one.likely for one in some), sum(one.high for one in some))
