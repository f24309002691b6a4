"""How many links a sample stands for: exactly where it is everything, else within a range."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.config import FetchSettings
from pipeline.forecast.constants import CONSTANTS
from pipeline.forecast.crawl import foresee_crawl
from pipeline.forecast.links import Grouped, Pool, extrapolate, fisher
from pipeline.forecast.ranges import Range
from pipeline.forecast.rot import dead_of_all, dead_share, rot

_DAY_MS = 86_400_000

Counts = NDArray[np.int64]


def made_pool(seed: int, num: int, num_urls: int) -> Pool:
    """Submissions of URLs of which few come often: the n-th as often as 1/n."""
    draw = np.random.default_rng(seed)
    often = 1 / np.arange(1, num_urls + 1) ** 0.7
    urls = draw.choice(num_urls, num, p=often / often.sum())
    return Pool(
        keys=(urls.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)),
        scores=draw.geometric(0.2, num).astype(np.int64) - 2,
        created=(18_000 + draw.integers(0, 900, num)) * _DAY_MS,
        weights=np.ones(num),
        domains=pa.array([f"site{n}.example" for n in range(50)]),
        domain=(urls % 50).astype(np.int64),
        is_whole=True,
    )


def sampled(submissions: Pool, seed: int, share: float) -> Pool:
    """A random sample, each row of which stands for 1/share."""
    taken = np.random.default_rng(1_000 + seed).random(len(submissions.keys)) < share
    found = submissions.rows(taken)
    factor: NDArray[np.float64] = np.full(len(found.keys), len(taken) / taken.sum())
    return Pool(found.keys, found.scores, found.created, factor, found.domains, found.domain, is_whole=False)


def recount(submissions: Pool, least: int) -> tuple[int, int]:
    """Links of at least a karma, by the best submission's and by the sum: counted by Python."""
    scores: defaultdict[int, list[int]] = defaultdict(list)
    for key, score in zip(submissions.keys.tolist(), submissions.scores.tolist(), strict=True):
        scores[key].append(score)
    by_max = sum(max(of) >= least for of in scores.values())
    return by_max, sum(sum(of) >= least for of in scores.values())


@pytest.mark.parametrize("least", [1, 3, 10])
def test_a_sample_that_is_everything_is_counted(least: int) -> None:
    submissions = made_pool(1, 3_000, 2_000)
    grouped = Grouped.of(submissions)
    by_max, by_sum = recount(submissions, least)
    assert grouped.above("max", least).number() == Range.exact(by_max)
    assert grouped.above("sum", least).number() == Range.exact(by_sum)
    _, links = grouped.above("max", least).by_domain()
    assert links.sum() == by_max


def test_as_many_rows_as_were_read_are_not_all_there_is() -> None:
    """The estimate may come out no larger than the sample; only what was read whole is counted."""
    submissions = replace(made_pool(1, 3_000, 2_000), is_whole=False)
    found = Grouped.of(submissions).above("max", 1).number()
    assert not found.is_exact
    assert found.low <= recount(submissions, 1)[0] <= found.high


def tailed(draw: np.random.Generator, num: int) -> Counts:
    """Most come once, a few very often."""
    return np.minimum(np.rint((1 - draw.random(num)) ** (-1 / 1.8)), 2_000).astype(np.int64)


def zipfian(draw: np.random.Generator, num: int) -> Counts:
    """The n-th comes as often as 1/n to the power 0.7; many never."""
    often = 1 / np.arange(1, num + 1) ** 0.7
    return draw.multinomial(num, often / often.sum())


def even(draw: np.random.Generator, num: int) -> Counts:
    """All come about equally often."""
    return 1 + draw.poisson(0.5, num)


@pytest.mark.parametrize("made", [tailed, zipfian, even])
@pytest.mark.parametrize("share", [0.3, 0.1, 0.01])
def test_the_truth_lies_in_the_range_whatever_the_distribution(
    made: Callable[[np.random.Generator, int], Counts], share: float
) -> None:
    held, errors = [], []
    for seed in range(20):
        draw = np.random.default_rng(seed)
        counts = made(draw, 50_000)
        seen = draw.binomial(counts, share)
        sizes = seen[seen > 0]
        growth = counts.sum() / sizes.sum()
        truth = np.count_nonzero(counts)
        found = extrapolate(sizes, len(sizes) * growth, growth)
        held.append(found.low <= truth <= found.high)
        errors.append(found.likely / truth - 1)
    assert np.mean(held) >= 0.9
    assert abs(np.mean(errors)) < 0.3  # of a hundred times as many as were seen


def test_the_truth_lies_in_the_range_of_a_threshold() -> None:
    for seed in range(10):
        submissions = made_pool(seed, 40_000, 60_000)
        truth, by_sum = recount(submissions, 3)
        grouped = Grouped.of(sampled(submissions, seed, 0.1))
        found, summed = grouped.above("max", 3).number(), grouped.above("sum", 3).number()
        assert found.low <= truth <= found.high
        assert summed.low <= by_sum <= summed.high


def test_samples_of_several_sources_weigh_as_much_as_they_stand_for() -> None:
    """Of one source a tenth is read, of the other all of it: without weights the first would hardly count."""
    first, second = made_pool(1, 20_000, 400_000), made_pool(2, 2_000, 400_000)
    part = sampled(first, 3, 0.1)
    parts = [part, second]
    both = Pool(
        keys=np.concatenate([part.keys, second.keys + np.uint64(1)]),
        scores=np.concatenate([one.scores for one in parts]),
        created=np.concatenate([one.created for one in parts]),
        weights=np.concatenate([one.weights for one in parts]),
        domains=first.domains,
        domain=np.concatenate([one.domain for one in parts]),
        is_whole=False,
    )
    truth = recount(first, 3)[0] + recount(second, 3)[0]
    found = Grouped.of(both).above("max", 3).number()
    assert found.low <= truth <= found.high
    assert abs(found.likely / truth - 1) < 0.15


def test_links_above_no_threshold_are_none_or_few() -> None:
    submissions = made_pool(1, 500, 400)
    assert Grouped.of(submissions).above("max", 10_000).number() == Range.exact(0)
    few = Grouped.of(sampled(submissions, 1, 0.5)).above("max", 10_000)
    assert few.number().likely == 0
    assert few.by_year() == {}
    assert len(few.by_domain()[0]) == 0


def test_extrapolating_knows_its_bounds() -> None:
    once, twice = np.ones(1_000, np.int64), np.full(1_000, 2, np.int64)
    assert extrapolate(once, 10_000.0, 10.0).likely == pytest.approx(10_000)  # nothing comes twice
    found = extrapolate(twice, 10_000.0, 10.0)  # everything does: nothing new is promised
    assert found.low == found.likely == 1_000
    assert extrapolate(once, 1_000.0, 1.0) == Range.exact(1_000)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=200), st.floats(1.0, 1e5))
def test_extrapolating_never_gives_less_than_was_seen(sizes: list[int], growth: float) -> None:
    found = extrapolate(np.array(sizes), len(sizes) * growth, growth)
    assert len(sizes) <= found.low + 1e-6
    assert found.likely <= len(sizes) * growth * (1 + 1e-9)
    series = fisher(len(sizes), sum(sizes), growth)
    assert series <= len(sizes) * growth * (1 + 1e-9)
    assert series >= len(sizes) * (1 - 1e-6)


def test_links_are_of_the_year_of_their_first_submission() -> None:
    submissions = made_pool(4, 2_000, 1_000)
    firsts: dict[int, int] = {}
    for key, created in zip(submissions.keys.tolist(), submissions.created.tolist(), strict=True):
        firsts[key] = min(created, firsts.get(key, created))
    years = Counter(
        1970 + int(np.datetime64(one, "ms").astype("datetime64[Y]").astype(int)) for one in firsts.values()
    )
    least = int(submissions.scores.min())
    found = Grouped.of(submissions).above("sum", -(10**6)).by_year()
    assert least > -(10**6)
    assert {year: round(of.likely) for year, of in found.items()} == years


def test_links_die_as_pew_and_the_times_found() -> None:
    """Pew 2024: 8 % within a year, 38 % in ten, 25 % of 2013 to 2023; the Times: 43 % after twelve years."""
    shares = {age: dead_share(Range.exact(age), CONSTANTS) for age in (0.5, 1.0, 5.3, 10, 12)}
    assert shares[0.5].likely == pytest.approx(0.08, abs=0.005)
    assert shares[10].likely == pytest.approx(0.38, abs=0.005)
    assert shares[5.3].likely == pytest.approx(0.25, abs=0.01)
    assert shares[1.0].low < 0.06 < shares[1.0].high
    assert shares[12].low < 0.43 < shares[12].high


def test_years_come_in_order_and_the_unknown_last() -> None:
    links: dict[int | None, Range] = {None: Range.exact(5), 2_020: Range.exact(10), 2_012: Range.exact(20)}
    found = rot(links, date(2026, 11, 27), CONSTANTS)
    assert [one.year for one in found] == [2_012, 2_020, None]
    assert found[0].share.likely > found[1].share.likely
    assert found[0].dead.likely == pytest.approx(20 * found[0].share.likely)
    dead = sum(one.dead.likely for one in found)
    assert dead_of_all(found).likely == pytest.approx(dead / 35)
    assert rot({2_030: Range.exact(1)}, date(2026, 1, 1), CONSTANTS)[0].share.likely < 0.1
    assert dead_of_all(()).likely == 0


def test_more_machines_share_the_domains_and_not_a_domain() -> None:
    above = Grouped.of(made_pool(5, 5_000, 4_000)).above("max", 1)
    domains = made_pool(5, 1, 1).domains
    settings = FetchSettings(connections=1, delay_s=1.0)
    one, eight = (foresee_crawl(above, domains, settings, num, Range.exact(0.0)) for num in (1, 8))
    assert one.hours.low == one.hours.likely == one.hours.high  # everything is known, and nothing is dead
    assert eight.hours.likely < one.hours.likely
    assert eight.hours.likely * 3600 >= eight.schedule.lower_bound_s
    assert one.by_machines[8] == eight.hours.likely
    assert one.schedule.longest == eight.schedule.longest
    rescued = foresee_crawl(
        above, domains, FetchSettings(rescue=("wayback",), tries=2), 1, Range(0.1, 0.2, 0.3)
    )
    assert rescued.rescue_h is not None
    assert rescued.rescue_h.likely == pytest.approx(above.number().likely * 0.2 * 2 * 2.5 / 3600)
    assert rescued.hours.high > rescued.hours.likely
