"""A task put to a model: all its items are asked at once, then judged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Protocol

from model.evaluate.requests import Reply, Request
from model.evaluate.shots import ExamplePool, ask_with_examples
from model.evaluate.task import Item, Task, mean_measures
from tokenizer.encode import Tokenizer

NUM_SHOWN = 3  # items whose prompts are kept with the result


class Model(Protocol):
    """What answers requests: `model.evaluate.language_model.LanguageModel`."""

    @property
    def tokenizer(self) -> Tokenizer:
        """What splits its texts."""

    @property
    def context(self) -> int:
        """Tokens of its window."""

    def answer(
        self, requests: Sequence[Request], on_progress: Callable[[int, int], None] | None = None
    ) -> list[Reply]:
        """The replies, in the order of the requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a task has come to.

    Attributes:
        measures: The task's measures.
        num_items: Items that were asked.
        mean_examples: Examples that stood before an item, on average: fewer than were asked for where the
            window does not hold them, or where there are not as many.
        prompts: Of each of the first three items the first request, as it was put to the model.
    """

    measures: Mapping[str, float]
    num_items: int
    mean_examples: float = 0.0
    prompts: Sequence[Mapping[str, Any]] = ()


def evaluate(
    model: Model,
    task: Task,
    items: Sequence[Item],
    *,
    shots: int = 0,
    pool: ExamplePool | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Puts a task's items to a model, each behind up to `shots` examples out of `pool`.

    Args:
        model: Who answers.
        task: The task.
        items: Its items, one at least.
        shots: Examples before each item.
        pool: Where they are drawn from; None where `shots` is 0.
        on_progress: Called with how many of how many pieces of work are done, whatever the model counts.
    """
    asked = []
    for item in items:
        examples = pool.draw(item, shots) if pool is not None else []
        asked.append(ask_with_examples(task, item, examples, model.tokenizer, model.context))
    replies = iter(model.answer([request for requests, _ in asked for request in requests], on_progress))
    found = [
        task.judge(item, list(islice(replies, len(requests))))
        for item, (requests, _) in zip(items, asked, strict=True)
    ]
    return Outcome(
        measures=(task.summarize or mean_measures)(found),
        num_items=len(items),
        mean_examples=sum(count for _, count in asked) / len(items),
        prompts=[asdict(request) for requests, _ in asked[:NUM_SHOWN] for request in requests[:1]],
    )
