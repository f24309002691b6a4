"""Months whose scores cannot be trusted are told by their neighbours, and nothing else is."""

import random
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from pipeline.collect.months import Month, months, out_of_line, warnings

JANUARY_2019 = 12 * 2019


def name(number: int) -> str:
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def facts(shares: Iterable[float], num_posts: int = 5000, start: int = JANUARY_2019) -> dict[str, Any]:
    """The facts of months from ``start`` on, one after the other."""
    named = {name(start + index): share for index, share in enumerate(shares)}
    return {
        "months": dict.fromkeys(named, num_posts),
        "months_3": {month: round(num_posts * share) for month, share in named.items()},
    }


def found(value: Mapping[str, Any]) -> list[str]:
    return [one.month.name for one in out_of_line(months(value))]


def test_the_table_is_in_order_and_has_no_empty_month() -> None:
    value = {"months": {"2005-07": 4, "2005-06": 103, "2005-08": 0}, "months_3": {"2005-06": 83}}
    table = months(value)
    assert table == [Month("2005-06", 103, 83), Month("2005-07", 4, 0)]
    assert table[0].to_json() == {"month": "2005-06", "submissions": 103, "share_3": 0.8058}
    assert months({}) == []
    assert warnings({}) == []


@pytest.mark.parametrize(
    ("shares", "strange"),
    [
        ([0.3, 0.3, 0.1, 0.3, 0.3], ["2019-03"]),
        ([0.3, 0.3, 0.7, 0.3, 0.3], ["2019-03"]),
        ([0.3, 0.3, 0.16, 0.3, 0.3], []),  # above half
        ([0.3, 0.3, 0.59, 0.3, 0.3], []),  # below double
        ([0.02, 0.3, 0.3], ["2019-01"]),
        ([0.3, 0.3, 0.02], ["2019-03"]),
        ([0.3, 0.02], []),  # one neighbour judges nobody
        ([0.02, 0.3, 0.02], ["2019-02"]),
        ([0.0, 0.0, 0.0], []),
        ([1.0, 1.0, 0.0, 1.0], ["2019-03"]),
        ([0.3], []),
    ],
)
def test_half_and_double_of_the_neighbours(shares: list[float], strange: list[str]) -> None:
    assert found(facts(shares)) == strange


def test_chance_is_no_reason() -> None:
    # 5 of 30 where 12 are expected: below half, and 2 standard errors away.
    value = facts([0.4] * 7, num_posts=30)
    value["months_3"]["2019-04"] = 5
    assert found(value) == []
    # The same shares of a hundred times the posts.
    value = facts([0.4] * 7, num_posts=3000)
    value["months_3"]["2019-04"] = 500
    assert found(value) == ["2019-04"]


@pytest.mark.parametrize("size", [3, 40, 400])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.4])
def test_months_that_differ_by_chance_alone_stand(share: float, size: int) -> None:
    # Chance does everything once: of a hundred dumps two may be called out, where posts are few.
    names = [name(JANUARY_2019 + index) for index in range(40)]
    called_out = 0
    for seed in range(100):
        generator = random.Random(seed)
        sizes = {month: generator.randint(1, 2 * size) for month in names}
        high = {month: sum(generator.random() < share for _ in range(num)) for month, num in sizes.items()}
        called_out += found({"months": sizes, "months_3": high}) != []
    assert called_out <= 2


def test_a_run_of_bad_months_is_found_whole_and_alone() -> None:
    shares = [0.30 + 0.03 * (index % 3) for index in range(48)]
    for index in range(15, 22):  # 2023-04 to 2023-10
        shares[index] = 0.01
    value = facts(shares, start=12 * 2022)
    assert found(value) == [f"2023-{month:02d}" for month in range(4, 11)]
    (text,) = warnings(value)
    assert text.startswith(
        "2023-04 to 2023-10: 1.0 % of the posts have a score of 3 or more, and 33.0 % in the months around. "
    )
    assert "lower link.min_karma" in text


def test_a_slow_drift_and_a_lasting_change_are_no_reason() -> None:
    drift = [0.9 * 0.93**index for index in range(48)]  # over half of it is gone in a year
    assert found(facts(drift)) == []
    for before, after in ((0.05, 0.5), (0.5, 0.05)):
        assert found(facts([before] * 20 + [after] * 20)) == []


def test_neighbours_are_near_in_time() -> None:
    value = facts([0.3, 0.3])
    for start, share in ((JANUARY_2019 + 40, 0.02), (JANUARY_2019 - 40, 0.02)):
        for key, table in facts([share], start=start).items():
            value[key] |= table
    assert found(value) == []


def test_each_side_and_each_run_has_its_warning() -> None:
    shares = [0.2] * 30
    shares[5] = shares[6] = 0.01
    shares[7] = 0.9
    shares[20] = 0.02
    texts = warnings(facts(shares))
    assert [text.split(":")[0] for text in texts] == ["2019-06 to 2019-07", "2019-08", "2020-09"]
    assert "low scores are missing" in texts[1]
    assert "90.0 %" in texts[1]
    assert "20.0 % in the months around" in texts[1]


def test_damage_and_emptiness_are_warned_of() -> None:
    value = {"damage": {"RS_2019-12.zst": 123456, "RS_2019-11.xz": 0}, "empty": {"RS_2019-11.xz": 1}}
    first, second, third = warnings(value)
    assert first.startswith("RS_2019-11.xz is cut off or corrupt after 0 unpacked bytes; what lies before")
    assert second.startswith("RS_2019-12.zst is cut off or corrupt after 123,456 unpacked bytes;")
    assert 'collect.on_damage = "keep"' in second
    assert third == "RS_2019-11.xz has no rows. Fetch the file again, or take it out of the settings."
