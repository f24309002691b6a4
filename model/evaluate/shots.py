"""Solved examples that stand before an item: which ones, in what order, and how many the window holds.

GPT-3 draws K examples anew for each item, from the training data or, where there is none, from the other
items of the data itself (Brown et al. 2020, section 2.4). Here a draw is a hash of the seed, the task, the
item and the candidate: it hangs neither on the order of a file nor on a limit, and the examples of a
smaller K are the first ones of a larger K.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from model.data.draws import draw
from model.evaluate.requests import Generation, Likelihood, Request
from model.evaluate.task import Item, Task
from tokenizer.encode import Tokenizer


class ExamplePool:
    """Solved items that a task's examples are drawn from.

    Args:
        task: The task.
        candidates: All items of its training file or, without one, of the file that it is judged on.
        seed: Another seed, other examples.
    """

    def __init__(self, task: Task, candidates: Sequence[Item], seed: int = 0) -> None:
        self._task = task
        self._seed = seed
        self._candidates = sorted(candidates, key=lambda item: (item.id, item.solved))
        self._hashes = np.array([_hash(item.id) for item in self._candidates], np.int64)
        self._holders: dict[str, list[int]] = {}
        for place, candidate in enumerate(self._candidates):
            for text in self._texts(candidate):
                self._holders.setdefault(text, []).append(place)

    def draw(self, item: Item, count: int) -> list[str]:
        """Up to `count` solved items for `item`, in their order.

        None of them is the item itself, nor shares a text with it: another question about the same
        paragraph would give answers away.
        """
        allowed = np.ones(len(self._candidates), bool)
        for text in self._texts(item):
            allowed[self._holders.get(text, [])] = False
        places = np.flatnonzero(allowed)
        count = min(count, len(places))
        if not count:
            return []
        key = np.array([_hash(f"{self._seed}\n{self._task.name}\n{item.id}")], np.uint64)
        ranks = draw(key, self._hashes[places])
        first = np.argpartition(ranks, count - 1)[:count]
        drawn = places[first[np.argsort(ranks[first])]]
        return [self._candidates[place].solved for place in drawn]

    def _texts(self, item: Item) -> set[str]:
        return {item.solved, *self._task.texts(item)}


def ask_with_examples(
    task: Task, item: Item, examples: Sequence[str], tokenizer: Tokenizer, context: int
) -> tuple[Sequence[Request], int]:
    """The requests for an item behind as many of the first examples as a window of `context` tokens holds.

    An item that is too long by itself gets none.

    Returns:
        The requests, and how many examples stand before them.
    """

    def ask(count: int) -> Sequence[Request]:
        return task.ask(item, "".join(example + task.separator for example in examples[:count]))

    def is_too_long(count: int) -> bool:
        return any(num_read(request, tokenizer) > context for request in ask(count))

    count = len(examples)
    if count and is_too_long(count):
        count = bisect_left(range(1, count), True, key=is_too_long)
    return ask(count), count


def num_read(request: Request, tokenizer: Tokenizer) -> int:
    """Tokens that are read for a request, what is to be written included; nothing follows the last one."""
    match request:
        case Likelihood():
            return len(tokenizer.encode(request.context + request.continuation)) - 1
        case Generation():
            return len(tokenizer.encode(request.prompt)) + request.max_tokens - 1
        case _:
            return len(tokenizer.encode(request.text))


def _hash(text: str) -> int:
    """63 bits that follow from a text."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) >> 1
