"""Examples before an item: which ones, in what order, and how many of them the window holds."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from model.evaluate.requests import Generation, Likelihood, Request, TextLikelihood
from model.evaluate.shots import ExamplePool, ask_with_examples, num_read
from model.evaluate.task import Item, Task
from tests.test_model_shards import make_vocabulary
from tokenizer.encode import Tokenizer

ITEMS = [
    Item(str(number), f"Q: cat {number}\nA: dog {number}", f"story {number // 4}") for number in range(80)
]


def ask(item: Item, examples: str) -> list[Request]:
    return [Generation(prompt=f"{examples}Q: {item.id}\nA:", max_tokens=5)]


def no_file(_: Path) -> list[Item]:
    raise AssertionError


TASK = Task(
    name="quiz",
    title="Quiz",
    measures=("accuracy",),
    read=no_file,
    ask=ask,
    judge=lambda *_: {},
    texts=lambda item: [item.fields],
    separator="\n\n",
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(make_vocabulary(), "digest")


def drawn(pool: ExamplePool, count: int) -> dict[str, list[str]]:
    return {item.id: pool.draw(item, count) for item in ITEMS}


def test_a_smaller_number_of_examples_is_the_first_of_a_larger() -> None:
    pool = ExamplePool(TASK, ITEMS)
    for item in ITEMS:
        most = pool.draw(item, 8)
        assert len(set(most)) == 8
        assert [pool.draw(item, count) for count in range(8)] == [most[:count] for count in range(8)]


def test_examples_hang_on_the_item_and_not_on_the_order_of_the_file() -> None:
    shuffled = random.Random(3).sample(ITEMS, len(ITEMS))
    expected = drawn(ExamplePool(TASK, ITEMS), 4)
    assert drawn(ExamplePool(TASK, shuffled), 4) == expected
    assert len({tuple(one) for one in expected.values()}) == len(ITEMS)


def test_another_seed_or_task_draws_others() -> None:
    expected = drawn(ExamplePool(TASK, ITEMS, seed=1), 4)
    assert expected == drawn(ExamplePool(TASK, ITEMS, seed=1), 4)
    for other in (ExamplePool(TASK, ITEMS, seed=2), ExamplePool(replace(TASK, name="riddle"), ITEMS, seed=1)):
        found = drawn(other, 4)
        assert sum(found[name] != expected[name] for name in expected) > 70


def test_every_candidate_is_drawn_about_as_often() -> None:
    counts = Counter(one for found in drawn(ExamplePool(TASK, ITEMS), 40).values() for one in found)
    assert len(counts) == 80
    assert all(25 < count < 55 for count in counts.values())  # 40 on average, with a deviation of 4.5


def test_neither_the_item_nor_one_that_shares_a_text_is_an_example() -> None:
    for pool in (
        ExamplePool(TASK, ITEMS),
        ExamplePool(TASK, [replace(one, id="x" + one.id) for one in ITEMS]),
    ):
        for item in ITEMS:
            found = pool.draw(item, 1000)
            assert set(found) == {one.solved for one in ITEMS if one.fields != item.fields}


def test_where_there_are_few_candidates_all_are_taken() -> None:
    assert len(ExamplePool(TASK, ITEMS[:6]).draw(ITEMS[0], 8)) == 2
    assert ExamplePool(TASK, ITEMS[:3]).draw(ITEMS[0], 8) == []
    assert ExamplePool(TASK, []).draw(ITEMS[0], 8) == []


def test_examples_stand_before_the_item_with_a_separator_behind_each(tokenizer: Tokenizer) -> None:
    examples = [ITEMS[5].solved, ITEMS[9].solved]
    requests, count = ask_with_examples(TASK, ITEMS[0], examples, tokenizer, 10_000)
    assert count == 2
    assert requests == [
        Generation(prompt="Q: cat 5\nA: dog 5\n\nQ: cat 9\nA: dog 9\n\nQ: 0\nA:", max_tokens=5)
    ]


def test_as_many_examples_are_kept_as_the_window_holds(tokenizer: Tokenizer) -> None:
    examples = ExamplePool(TASK, ITEMS).draw(ITEMS[0], 8)
    asked = [ask(ITEMS[0], "".join(f"{one}\n\n" for one in examples[:count])) for count in range(9)]
    lengths = [num_read(requests[0], tokenizer) for requests in asked]
    assert lengths == sorted(set(lengths))
    for context in range(5, lengths[8] + 3):
        fitting = max((count for count in range(9) if lengths[count] <= context), default=0)
        assert ask_with_examples(TASK, ITEMS[0], examples, tokenizer, context) == (asked[fitting], fitting)


def test_the_longest_of_an_items_requests_tells(tokenizer: Tokenizer) -> None:
    def ask_twice(item: Item, examples: str) -> Sequence[Request]:
        return [Likelihood(examples + item.id, " dog"), Likelihood(examples + item.id, " dog" * 20)]

    task = replace(TASK, ask=ask_twice)
    context = max(num_read(one, tokenizer) for one in ask_twice(ITEMS[0], "cat\n\n"))
    assert ask_with_examples(task, ITEMS[0], ["cat", "cat"], tokenizer, context)[1] == 1
    assert ask_with_examples(task, ITEMS[0], ["cat", "cat"], tokenizer, context - 1)[1] == 0


def test_what_a_request_takes_of_the_window(tokenizer: Tokenizer) -> None:
    """Nothing follows a request's last token, so that it is not read."""
    ids = len(tokenizer.encode("The cat sees a dog"))
    assert num_read(Likelihood("The cat", " sees a dog"), tokenizer) == ids - 1
    assert num_read(Generation(prompt="The cat sees a dog", max_tokens=7), tokenizer) == ids + 6
    assert num_read(TextLikelihood("The cat sees a dog"), tokenizer) == ids
