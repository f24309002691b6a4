"""Recipes in tokens, and batches that grow, against numbers worked out by hand."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import ModelSettings, TrainSettings
from model.training.optim import learning_rate
from model.training.ramp import BatchPlan
from model.training.recipe import resolve_recipe

BILLION = 10**9


def test_gpt3s_batch_grows_in_steps_of_its_first() -> None:
    recipe = resolve_recipe(ModelSettings(preset="gpt3-125M"), TrainSettings())
    plan = recipe.plan(2048)
    # 32,768 tokens are 16 sequences, 524,288 are 256; 4 billion tokens are 1,953,125 sequences.
    assert (plan.first, plan.full, plan.ramp) == (16, 256, 1_953_125)
    assert plan.size(0) == 16
    assert plan.size(130_208) == 16  # 16 + 240/15 of the way, but for one sequence.
    assert plan.size(130_209) == 32
    assert plan.size(1_953_124) == 240
    assert plan.size(1_953_125) == 256


def test_a_ramp_reads_all_tokens_in_more_steps() -> None:
    plan = BatchPlan(first=2, full=8, ramp=12, total=30)
    # 2 at 0, 2 at 2, 4 at 4, 6 at 8, then 8 at 14 and 22.
    assert plan.steps_left(0) == 6
    assert plan.steps_left(8) == 3
    assert [plan.position_after(steps) for steps in range(7)] == [0, 2, 4, 8, 14, 22, 30]
    assert BatchPlan(first=8, full=8, ramp=0, total=30).steps_left(0) == 4


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 200), st.integers(1, 300))
def test_plans_agree_with_a_walk(first: int, times: int, ramp: int, total: int) -> None:
    plan = BatchPlan(first=first, full=first * times, ramp=ramp, total=total)
    positions = [0]
    while positions[-1] < total:
        size = plan.size(positions[-1])
        assert first <= size <= plan.full
        assert size % first == 0
        positions.append(positions[-1] + size)
    assert [plan.steps_left(p) for p in positions] == list(range(len(positions) - 1, -1, -1))
    assert [plan.position_after(steps) for steps in range(len(positions))] == positions
    sizes = [plan.size(p) for p in range(total)]
    assert sizes == list(accumulate(sizes, max))


def test_gpt3s_recipe_is_the_papers() -> None:
    recipe = resolve_recipe(ModelSettings(preset="gpt3-175B"), TrainSettings())
    assert (recipe.tokens, recipe.decay_tokens) == (300 * BILLION, 260 * BILLION)
    assert (recipe.warmup_tokens, recipe.batch_tokens) == (375_000_000, 3_276_800)
    assert (recipe.ramp_tokens, recipe.learning_rate) == (12 * BILLION, 0.6e-4)
    batch = recipe.batch_tokens
    assert learning_rate(0, 37_500_000, recipe) == pytest.approx(0.6e-5)
    assert learning_rate(375_000_000, batch, recipe) == pytest.approx(0.6e-4)
    halfway = (375_000_000 + 260 * BILLION) // 2
    assert learning_rate(halfway, batch, recipe) == pytest.approx(0.55 * 0.6e-4)
    for read in (260 * BILLION, 299 * BILLION):
        assert learning_rate(read, batch, recipe) == pytest.approx(0.6e-5)


def test_alberts_recipe_is_the_papers() -> None:
    recipe = resolve_recipe(ModelSettings(architecture="albert"), TrainSettings())
    step = 4096 * 512
    assert recipe.tokens == recipe.decay_tokens == 125_000 * step
    assert recipe.warmup_tokens == 3125 * step
    assert learning_rate(0, step, recipe) == pytest.approx(0.00176 / 3125)
    assert learning_rate(3124 * step, step, recipe) == pytest.approx(0.00176)
    assert learning_rate(125_000 * step, step, recipe) == 0
    assert recipe.ramp_tokens == 0


def test_tokens_or_steps_set_the_length() -> None:
    model = ModelSettings(preset="gpt3-125M")
    recipe = resolve_recipe(model, TrainSettings(tokens=10 * BILLION))
    assert (recipe.tokens, recipe.decay_tokens) == (10 * BILLION, 10 * BILLION)
    assert (recipe.ramp_tokens, recipe.warmup_tokens) == (BILLION, 375_000_000)
    recipe = resolve_recipe(model, TrainSettings(steps=1000))
    assert recipe.plan(2048).steps_left(0) == 1000
    assert recipe.decay_tokens == recipe.tokens < 1000 * recipe.batch_tokens
    recipe = resolve_recipe(ModelSettings(), TrainSettings(steps=1000, warmup_tokens=7, decay_tokens=9))
    assert (recipe.tokens, recipe.warmup_tokens, recipe.decay_tokens) == (1000 * 512 * 1024, 7, 9)
    with pytest.raises(ValueError, match="tokens: leave it out"):
        TrainSettings(steps=1, tokens=1)


def test_the_constant_schedule_stays_at_the_peak() -> None:
    settings = TrainSettings(tokens=1000, warmup_tokens=100, schedule="constant", learning_rate=1.0)
    recipe = resolve_recipe(ModelSettings(), settings)
    assert [learning_rate(read, 50, recipe) for read in (0, 50, 100, 999)] == [0.5, 1.0, 1.0, 1.0]
