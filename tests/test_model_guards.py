"""Spikes told from noise, and advice that works when it is followed."""

import json
import math
import re
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import ModelError
from model.training.guards import (
    MOST_INTERVENTIONS,
    Action,
    SpikeGuard,
    check_batch,
    largest_divisor,
    out_of_memory_advice,
)

NAN, INF = math.nan, math.inf


def curve(steps: int, seed: int = 0) -> list[tuple[float, float]]:
    """A quiet run's losses and gradient norms."""
    rng = np.random.default_rng(seed)
    losses = 3.0 + 0.03 * rng.standard_normal(steps)
    norms = 0.5 + 0.05 * rng.standard_normal(steps)
    return list(zip(losses.tolist(), norms.tolist(), strict=True))


def actions(guard: SpikeGuard, looks: Iterable[tuple[float, float]]) -> list[str]:
    return [guard.look(loss, norm).action for loss, norm in looks]


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_no_spike(seed: int) -> None:
    assert set(actions(SpikeGuard(), curve(2000, seed))) == {"go_on"}


@pytest.mark.parametrize(("loss", "norm", "named"), [(3.3, 0.5, "loss of 3.3"), (3.0, 1.0, "norm of 1")])
def test_ten_standard_deviations_are_a_spike(loss: float, norm: float, named: str) -> None:
    guard = SpikeGuard()
    actions(guard, curve(200))
    verdict = guard.look(loss, norm)
    assert verdict.action == "skip"
    assert re.search(
        rf"the .*{named} is (9|10|11)\.\d standard deviations over the mean of 128", verdict.reason
    )
    assert guard.look(3.0, 0.5).action == "go_on"


def test_what_falls_or_drifts_is_no_spike() -> None:
    noise = curve(1500)
    learning = [(loss + 8 * math.exp(-step / 40), norm) for step, (loss, norm) in enumerate(noise)]
    rising = [(loss + step / 500, norm + step / 1000) for step, (loss, norm) in enumerate(noise)]
    falls = [*noise, (0.1, 0.001)]
    for looks in (learning, rising, falls):
        assert set(actions(SpikeGuard(), looks)) == {"go_on"}


def test_a_new_level_by_one_step_is_a_spike_and_soon_stops() -> None:
    guard = SpikeGuard()
    actions(guard, curve(128))
    raised = [(loss + 1, norm) for loss, norm in curve(20, 1)]
    assert actions(guard, raised)[:12] == ["skip"] * MOST_INTERVENTIONS["skip"] + ["stop"] * 2


def test_first_steps_are_none_unless_they_are_no_numbers() -> None:
    guard = SpikeGuard(window=10)
    wild = [(11.0, 1.0), (5.0, 80.0), (100.0, 0.1), (2.0, 9.0), (50.0, 3.0)]
    assert set(actions(guard, wild)) == {"go_on"}
    assert actions(SpikeGuard(), [(NAN, 1.0), (2.0, INF), (3.0, 1.0)]) == ["skip", "skip", "go_on"]


@pytest.mark.parametrize(("loss", "norm"), [(NAN, 1.0), (1.0, NAN), (INF, 1.0), (1.0, INF), (-INF, 1.0)])
def test_what_is_no_number_never_goes_on(loss: float, norm: float) -> None:
    verdict = SpikeGuard(action="stop").look(loss, norm)
    assert verdict.action == "stop"
    assert verdict.reason == f"the loss is {loss:g} and the gradients' norm {norm:g}"


@pytest.mark.parametrize("window", [2, 8, 500])
def test_a_run_whose_weights_are_no_numbers_stops_whatever_the_window(window: int) -> None:
    found = actions(SpikeGuard(window=window), [(NAN, NAN)] * 12)
    assert found == ["skip"] * MOST_INTERVENTIONS["skip"] + ["stop"] * 2


def test_values_that_hardly_differ_do_not_make_spikes() -> None:
    guard = SpikeGuard()
    actions(guard, [(3.0, 1.0)] * 128)
    assert guard.look(3.01, 1.005).action == "go_on"
    assert guard.look(3.3, 1.0).action == "skip"
    zeros = SpikeGuard(window=4)
    actions(zeros, [(0.0, 0.0)] * 4)
    assert zeros.look(0.0, 0.0).action == "go_on"
    assert zeros.look(1e-9, 0.0).action == "skip"


def test_spikes_now_and_then_never_stop_a_run() -> None:
    looks = [
        (9.0, norm) if step % 40 == 39 else (loss, norm) for step, (loss, norm) in enumerate(curve(2000))
    ]
    found = actions(SpikeGuard(), looks)
    assert found.count("stop") == 0
    assert found.count("skip") == len(range(79, 2000, 40))


def test_rolling_back_for_ever_stops() -> None:
    guard = SpikeGuard(action="roll_back")
    actions(guard, curve(128))
    saved = guard.state_dict()
    for _ in range(MOST_INTERVENTIONS["roll_back"]):
        assert actions(guard, [*curve(5, 1), (9.0, 0.5)]) == ["go_on"] * 5 + ["roll_back"]
        guard.roll_back(saved)
        assert guard.state_dict()["losses"] == saved["losses"]
    verdict = guard.look(9.0, 0.5)
    assert verdict.action == "stop"
    assert verdict.reason.endswith("and 3 of the last 128 steps were no better")


VALUES = st.floats(0, 100) | st.sampled_from([NAN, INF, 3.0, 1e200, 1e308])
LOOKS = st.lists(st.tuples(VALUES, VALUES), max_size=60)


@given(looks=LOOKS, cut=st.integers(0, 60), action=st.sampled_from(["skip", "stop", "roll_back"]))
def test_a_guard_read_back_judges_alike(looks: list[tuple[float, float]], cut: int, action: Action) -> None:
    def build() -> SpikeGuard:
        return SpikeGuard(window=8, z=2.0, action=action)

    straight = build()
    expected = [straight.look(*look) for look in looks]
    first, second = build(), build()
    found = [first.look(*look) for look in looks[:cut]]
    second.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
    found += [second.look(*look) for look in looks[cut:]]
    assert found == expected
    assert second.state_dict() == straight.state_dict()


@given(losses=st.lists(st.floats(0.01, 100), min_size=9, max_size=9))
def test_the_verdict_is_that_of_the_definition(losses: list[float]) -> None:
    guard = SpikeGuard(window=8, z=1e9)
    actions(guard, [(loss, 1.0) for loss in losses[:8]])
    guard._z = 1.5
    mean, spread = np.mean(losses[:8]), max(np.std(losses[:8], ddof=1), 0.001 * np.mean(losses[:8]))
    z = (losses[8] - mean) / spread
    if abs(z - 1.5) > 1e-6:
        assert (guard.look(losses[8], 1.0).action == "skip") == (z > 1.5)


# Batches


@pytest.mark.parametrize(
    ("first", "full", "processes"), [(512, 512, 1), (512, 512, 8), (16, 512, 16), (3, 9, 3)]
)
def test_batches_that_divide(first: int, full: int, processes: int) -> None:
    check_batch(first=first, full=full, context=1024, processes=processes)


def test_a_batch_that_does_not_divide_is_told_what_does() -> None:
    with pytest.raises(ModelError) as caught:
        check_batch(first=512, full=512, context=1024, processes=3)
    assert str(caught.value) == (
        "train.batch_tokens: a step's 512 sequences of 1,024 tokens do not divide among 3 processes;"
        " set it to 522,240 or 525,312, or start 2 processes"
    )
    with pytest.raises(ModelError, match=r"; set it to 8,192, or start 3 processes$"):
        check_batch(first=3, full=3, context=1024, processes=8)


def test_a_batch_that_begins_too_small_is_told_of_the_ramp() -> None:
    with pytest.raises(
        ModelError, match=r"^train\.ramp_tokens: batches begin with 16 .* to 0 .* 16 processes$"
    ):
        check_batch(first=16, full=512, context=2048, processes=32)


@given(
    first=st.integers(1, 64),
    growth=st.integers(1, 64),
    context=st.integers(1, 64),
    processes=st.integers(1, 70),
)
def test_the_advice_divides(first: int, growth: int, context: int, processes: int) -> None:
    full = first * growth
    try:
        check_batch(first=first, full=full, context=context, processes=processes)
    except ModelError as error:
        found = re.search(r"set it to ([\d,]+)(?: or ([\d,]+))?.*start ([\d,]+) process", str(error))
        assert found is not None
        low, high, fewer = (int(part.replace(",", "")) if part else None for part in found.groups())
        assert fewer is not None
        assert 1 <= fewer < processes
        check_batch(first=first, full=full, context=context, processes=fewer)
        for total in (low, high):
            if total:
                assert total // context % processes == 0
                assert abs(total - full * context) < context * processes
    else:
        assert full % processes == first % processes == 0


@given(number=st.integers(1, 2000), most=st.integers(1, 3000))
def test_the_largest_divisor_is_the_largest(number: int, most: int) -> None:
    divisors = [one for one in range(1, number + 1) if number % one == 0 and one <= most]
    assert largest_divisor(number, most) == divisors[-1]


# Memory

GIB = 2**30


def test_out_of_memory_says_what_to_lower_and_by_how_much() -> None:
    advice = out_of_memory_advice(
        micro_batch=64, sequences=512, held_bytes=2 * GIB, capacity_bytes=80 * GIB, recompute="train.x = true"
    )
    assert advice == (
        "the device's memory of 80.0 GiB does not hold a pass of 64 sequences; lower train.micro_batch from"
        " 64 to 32, or set train.x = true (the result stays the same)"
    )
    advice = out_of_memory_advice(micro_batch=12, sequences=480, held_bytes=0, capacity_bytes=GIB)
    assert advice.endswith("lower train.micro_batch from 12 to 6 (the result stays the same)")


def test_out_of_memory_with_one_sequence_or_a_model_too_large() -> None:
    one = out_of_memory_advice(micro_batch=1, sequences=8, held_bytes=0, capacity_bytes=GIB, recompute="r")
    assert one.endswith("; lower model.context, or set r, or choose a smaller model.preset")
    large = out_of_memory_advice(micro_batch=8, sequences=8, held_bytes=75 * GIB, capacity_bytes=80 * GIB)
    assert "alone hold 75.0 GiB; choose a smaller model.preset" in large


@given(sequences=st.integers(1, 4096), micro_batch=st.integers(2, 512))
def test_the_smaller_micro_batch_divides_the_step(sequences: int, micro_batch: int) -> None:
    advice = out_of_memory_advice(
        micro_batch=micro_batch, sequences=sequences, held_bytes=0, capacity_bytes=80 * GIB
    )
    found = re.search(r"from [\d,]+ to ([\d,]+) ", advice)
    assert found is not None
    smaller = int(found[1].replace(",", ""))
    assert 1 <= smaller <= micro_batch // 2
    assert sequences % smaller == 0
