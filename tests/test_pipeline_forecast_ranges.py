"""Ranges: what they promise whatever is put together, and that they hold as often as they say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.forecast.ranges import Range, product, total

numbers = st.one_of(st.just(0.0), st.floats(1e-6, 1e6))


@st.composite
def ranges(draw: st.DrawFn, *, zero: bool = True) -> Range:
    low, likely, high = sorted(draw(numbers if zero else st.floats(1e-6, 1e6)) for _ in range(3))
    return Range(low, likely, high)


def close(one: Range, other: Range) -> bool:
    ends = zip((one.low, one.likely, one.high), (other.low, other.likely, other.high), strict=True)
    return all(math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-30) for left, right in ends)


@given(st.lists(ranges(), min_size=1, max_size=5))
def test_a_product_lies_within_the_product_of_the_ends(factors: list[Range]) -> None:
    found = product(factors)
    assert math.isclose(found.likely, math.prod(one.likely for one in factors), rel_tol=1e-9)
    assert found.low >= math.prod(one.low for one in factors) * (1 - 1e-9)
    assert found.high <= math.prod(one.high for one in factors) * (1 + 1e-9)


@given(st.lists(ranges(zero=False), min_size=2, max_size=5))
def test_the_order_of_factors_and_terms_does_not_matter(some: list[Range]) -> None:
    turned = some[::-1]
    assert close(product(some), product(turned))
    assert close(product(some), product((product(some[:2]), *some[2:])))
    assert close(total(some), total(turned))
    assert close(total(some), total((total(some[:2]), *some[2:])))


@given(ranges(), st.floats(1e-3, 1e3))
def test_what_is_exact_adds_no_doubt(one: Range, factor: float) -> None:
    assert close(product((one, Range.exact(1.0))), one)
    assert close(product((one, Range.exact(factor))), one * factor)
    assert close(total((one, Range.exact(0.0))), one)
    assert Range.exact(factor).is_exact


@given(ranges(), ranges())
def test_a_share_never_makes_more(one: Range, share: Range) -> None:
    """What a stage keeps is at none of the ends more than what came in."""
    kept = product((one, share.at_most(1.0)))
    assert kept.low <= one.low * (1 + 1e-9)
    assert kept.likely <= one.likely * (1 + 1e-9)
    assert kept.high <= one.high * (1 + 1e-9)


@given(ranges(), ranges())
def test_more_doubt_is_wider(one: Range, other: Range) -> None:
    both = total((one, other))
    assert math.isclose(both.high - both.low, one.high - one.low + other.high - other.low, abs_tol=1e-6)
    wider = one.wider(1.5)
    assert wider.low <= one.low
    assert wider.high >= one.high


@given(ranges(zero=False))
def test_inverse_and_complement_turn_the_ends(one: Range) -> None:
    assert close(one.inverse().inverse(), one)
    assert one.inverse().low == 1 / one.high
    share = one.at_most(1.0)
    assert share.complement().low == 1 - share.high
    assert share.complement().likely == 1 - share.likely


def test_what_is_no_range_is_refused() -> None:
    for low, likely, high in ((2, 1, 3), (1, 3, 2), (-1, 0, 1), (0, 0, math.inf), (math.nan, 1, 2)):
        with pytest.raises(ValueError, match="not a range"):
            Range(low, likely, high)
    with pytest.raises(ValueError, match="no inverse"):
        Range(0, 1, 2).inverse()


def test_a_product_of_independent_factors_holds_nine_times_in_ten() -> None:
    """Factors that each keep within their range nine times in ten, in logarithms, and are drawn by chance."""
    draw = np.random.default_rng(1)
    factors = [Range.around(4.0, 1.5), Range(50, 100, 300), Range.around(0.5, 1.1), Range(1, 2, 3)]
    trials = np.ones(20_000)
    for one in factors:
        deviations = draw.standard_normal(len(trials)) / 1.645
        below, above = math.log(one.likely / one.low), math.log(one.high / one.likely)
        trials *= one.likely * np.exp(np.where(deviations < 0, deviations * below, deviations * above))
    found = product(factors)
    assert 0.86 < np.mean((found.low <= trials) & (trials <= found.high)) < 0.94


@pytest.mark.parametrize("size", [1, 7, 50, 1_000])
@pytest.mark.parametrize("truth", [0.001, 0.03, 0.4, 0.9])
def test_a_share_of_a_sample_holds_about_nine_times_in_ten(size: int, truth: float) -> None:
    draws = np.random.default_rng(2).binomial(size, truth, 4_000)
    held = [Range.share(int(num), size) for num in draws]
    assert np.mean([one.low <= truth <= one.high for one in held]) > 0.8
    assert (
        abs(np.mean([one.likely for one in held]) - truth) < 4 * math.sqrt(truth / size / len(draws)) + 1e-3
    )


def test_a_share_of_nothing_may_be_anything() -> None:
    assert Range.share(0, 0) == Range(0.0, 0.5, 1.0)
