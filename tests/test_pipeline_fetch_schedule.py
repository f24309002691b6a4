"""How long a crawl takes, against a simulation that sends every single request."""

import heapq
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.config import FetchSettings
from pipeline.fetch.schedule import (
    REQUEST_S,
    SHARES,
    Schedule,
    asked_after,
    eta_s,
    read_links_by_domain,
    render,
    schedule,
)
from pipeline.plain_table import duration
from pipeline.runs import Folder, read_manifest
from tests.synthetic_run import write_run


def starts(links: Sequence[int], delays: Sequence[float], connections: int) -> npt.NDArray[np.float64]:
    """When each request starts, where the domain that has waited longest is asked first."""
    due = [(0.0, domain, domain) for domain in range(len(links))]  # of two the one that came first
    free = [0.0] * connections
    left = list(links)
    found = []
    while due:
        ready, _, domain = heapq.heappop(due)
        start = max(ready, heapq.heappop(free))
        found.append(start)
        heapq.heappush(free, start + REQUEST_S)
        left[domain] -= 1
        if left[domain]:
            heapq.heappush(due, (start + REQUEST_S + delays[domain], len(links) + len(found), domain))
    return np.sort(found)


def fluid(links: Sequence[int], delays: Sequence[float], connections: int) -> npt.NDArray[np.float64]:
    """When each link is asked by the model."""
    numbers, periods = np.array(links, float), np.array(delays, float) + REQUEST_S
    wanted = np.arange(1.0, sum(links) + 1)
    return asked_after(wanted, numbers, periods, np.ones(len(links)), connections / REQUEST_S)


queues = st.lists(st.one_of(st.integers(1, 4), st.integers(1, 60)), min_size=1, max_size=25)
delays = st.sampled_from([0.0, 0.1, 1.0, 3.0])


@given(queues, delays, st.integers(1, 20))
def test_the_model_is_right_to_one_round_where_delays_are_equal(
    links: list[int], delay: float, connections: int
) -> None:
    real = starts(links, [delay] * len(links), connections)
    # What a fluid does not know: that requests come whole, one in a period, and one in a round of all.
    whole = delay + REQUEST_S + len(links) * REQUEST_S / connections
    assert np.abs(real - fluid(links, [delay] * len(links), connections)).max() <= whole + 1e-6


@given(st.lists(st.tuples(st.integers(1, 60), delays), min_size=1, max_size=25))
def test_the_model_is_right_to_one_request_a_domain_where_nothing_limits_the_rate(
    domains: list[tuple[int, float]],
) -> None:
    links, own = zip(*domains, strict=True)
    modelled = fluid(links, own, len(links))
    asked = np.searchsorted(starts(links, own, len(links)), modelled + 1e-6, side="right")
    ahead = asked - np.arange(1, sum(links) + 1)
    assert (ahead >= 0).all()
    assert (ahead <= len(links)).all()


@given(st.lists(st.tuples(st.integers(1, 60), delays), min_size=1, max_size=25), st.integers(1, 20))
def test_the_end_is_behind_every_lower_bound_and_before_their_sum(
    domains: list[tuple[int, float]], connections: int
) -> None:
    links, own = zip(*domains, strict=True)
    longest = max(num * (delay + REQUEST_S) for num, delay in domains)
    work = sum(links) * REQUEST_S / connections
    end = fluid(links, own, connections)[-1]
    assert max(longest, work) - 1e-6 <= end <= longest + work + 1e-6
    real = starts(links, own, connections)[-1]
    assert max(longest, work) - max(own) - REQUEST_S - 1e-6 <= real <= longest + work + 1e-6


def of(links: Sequence[int], **settings: object) -> Schedule:
    names = pa.array([f"site{number}.example" for number in range(len(links))], pa.string())
    return schedule(names, np.array(links, np.int64), FetchSettings.model_validate(settings))


def test_a_large_crawl_is_right_to_two_per_cent() -> None:
    rng = np.random.default_rng(5)
    links = np.minimum(rng.zipf(1.8, 2_000), 2_000).tolist()
    (course, *_) = of(links, delay_s=1, connections=32).courses
    real = starts(links, [1.0] * len(links), 32)
    for share, seconds in course.seconds.items():
        assert seconds == pytest.approx(real[int(share * len(real)) - 1], rel=0.02)


def test_the_bound_is_that_of_the_longest_domain_by_its_own_delay() -> None:
    found = of([100, 30, 7], delay_s=2.0, domain_delays_s={"site1.example": 10, "none.example": 1000})
    assert found.lower_bound_s == 300
    assert [(one.domain, one.links, one.delay_s) for one in found.longest] == [
        ("site1.example", 30, 10),
        ("site0.example", 100, 2),
        ("site2.example", 7, 2),
    ]
    assert (found.links, found.domains) == (137, 3)
    assert found.courses[0].seconds[1.0] == pytest.approx(30 * (10 + REQUEST_S))


def test_connections_and_processes_bound_the_rate() -> None:
    assert of([1], connections=100).links_a_second == 100 / REQUEST_S
    assert of([1], connections=100, processes=3).links_a_second == 300 / REQUEST_S
    assert of([1], connections=10_000, processes=2).links_a_second == 2_000
    slow, fast = (of([1] * 1_000, connections=num).courses[0].seconds[1.0] for num in (1, 10))
    assert slow == pytest.approx(1_000 * REQUEST_S)
    assert fast == pytest.approx(100 * REQUEST_S)


def test_changes_that_help_are_shorter_and_cuts_have_fewer_links() -> None:
    as_set, half, tenth, without, capped = of([5_000, *[2_000] * 11, *[3] * 50], delay_s=3).courses
    assert half.seconds[1.0] == pytest.approx(5_000 * (1.5 + REQUEST_S))
    assert tenth.seconds[1.0] < half.seconds[1.0] < as_set.seconds[1.0]
    assert without.links == as_set.links - 5_000 - 9 * 2_000
    assert without.seconds[1.0] == pytest.approx(2_000 * (3 + REQUEST_S))
    assert capped.links == 12 * 1_000 + 150
    for course in (as_set, half, tenth, without, capped):
        assert list(course.seconds) == list(SHARES)
        assert sorted(course.seconds.values()) == list(course.seconds.values())


def test_nothing_to_do_takes_no_time() -> None:
    found = of([])
    assert (found.links, found.lower_bound_s, found.longest) == (0, 0, ())
    assert set(found.courses[0].seconds.values()) == {0.0}
    Console(quiet=True).print(render(found, FetchSettings()))


def test_links_are_counted_by_domain_from_what_the_manifest_lists(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", upto="link")
    manifest = read_manifest(run / "links")
    assert manifest is not None
    (run / "links").write("part-00099.parquet", b"of nobody")
    found = read_links_by_domain(run / "links")
    assert found is not None
    domains, links = found
    assert int(links.sum()) == manifest.counts.kept
    assert len(domains) == len(links) == 7
    assert set(domains.to_pylist()) == {f"site{number}.example" for number in range(7)}


def test_without_links_there_is_nothing_to_count(run: Folder) -> None:
    assert read_links_by_domain(run / "links") is None


@pytest.mark.parametrize("width", [80, 120])
def test_the_schedule_fits_a_terminal(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    settings = FetchSettings(delay_s=1.0)
    domains = pa.array(["a-rather-long-name-of-a-domain.example.org", "b.example"])
    console.print(render(schedule(domains, np.array([2_000_000, 30]), settings), settings))
    text = console.export_text()
    assert "2,000,030 links on 2 domains: about 34.7 days" in text
    assert "by the delays alone: 23.1 days" in text
    assert "a-rather-long-name-of-a-domain.example.org" in text
    assert "833.33" in text  # hours


def test_the_time_to_go_is_the_longer_of_the_longest_domain_and_the_work() -> None:
    assert eta_s(100.0, 1_000, 50.0) == 100
    assert eta_s(10.0, 1_000, 50.0) == 20
    assert eta_s(10.0, 1_000, 0.0) is None
    assert eta_s(0.0, 0, 0.0) == 0


def test_times_as_people_say_them() -> None:
    assert [duration(one) for one in (0.4, 59, 60, 3599, 3600, 86_400 * 1.5, 86_400 * 2, 1e8)] == [
        "0 s", "59 s", "1 min", "60 min", "1.0 h", "36.0 h", "2.0 days", "1,157.4 days",
    ]  # fmt: skip
