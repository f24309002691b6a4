"""Every parser of foreign bytes on damaged inputs: what it gives is a value, or an error for people.

``make fuzz`` tries five thousand times as many as a test run; docs/fuzzing.md has what that found.
"""

import inspect
import time

import pytest
from hypothesis import given, note, settings

from tests.fuzz.found import FOUND
from tests.fuzz.mutation import mutated, plans
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

_IS_LONG = settings().max_examples > 1000
_MOST_SHOWN = 2_000  # bytes of an input that fails
_MOST_S = 10.0  # of the processor, for one input: far more than any takes that is not stuck


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_have_an_answer(name: str) -> None:
    target, seeds = TARGETS[name], TARGETS[name].seeds()

    @given(plans())
    @settings(
        max_examples=settings().max_examples if _IS_LONG else 20,
        derandomize=not _IS_LONG,
        database=None,
    )
    def attempt(plan: bytes) -> None:
        data = mutated(plan, seeds, target.pieces)
        note(f"the input: {data if len(data) <= _MOST_SHOWN else data[:_MOST_SHOWN] + b'...'!r}")
        started = time.process_time()
        target.run(data)
        if _IS_LONG:
            assert time.process_time() - started < _MOST_S, "too slow"

    attempt()


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_taken(name: str) -> None:
    target = TARGETS[name]
    assert [seed for seed in target.seeds() if not target.run(seed)] == []


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_is_mended(name: str, data: bytes) -> None:
    TARGETS[name].run(data)


def test_a_target_says_what_it_reads() -> None:
    undocumented = [name for name, target in TARGETS.items() if not inspect.getdoc(target.run)]
    assert not undocumented
    assert all(isinstance(target, Target) for target in TARGETS.values())
