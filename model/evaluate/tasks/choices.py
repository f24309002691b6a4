"""What tasks share where the answer is the likeliest of a few texts behind a context."""

from collections.abc import Sequence
from dataclasses import dataclass

from model.evaluate.requests import Likelihood, Likely, Reply
from model.evaluate.task import Item, Measures


@dataclass(frozen=True, slots=True)
class Choices:
    """What may follow a context, and which of it is right.

    Attributes:
        context: What stands before.
        continuations: What may follow, each with the space in front of it where one belongs there.
        right: The index of the right one.
    """

    context: str
    continuations: tuple[str, ...]
    right: int

    @property
    def solved(self) -> str:
        """The context with the right continuation."""
        return self.context + self.continuations[self.right]


def ask(item: Item, examples: str) -> list[Likelihood]:
    """How likely each continuation of an item's `Choices` is behind the examples and its context."""
    choices: Choices = item.fields
    return [Likelihood(examples + choices.context, text) for text in choices.continuations]


def judge(item: Item, replies: Sequence[Reply]) -> Measures:
    """Whether the right continuation is the likeliest one, lengths left aside."""
    choices: Choices = item.fields
    return {"accuracy": float(choose(likely(replies)) == choices.right)}


def likely(replies: Sequence[Reply]) -> list[Likely]:
    """The replies, which must all be answers to likelihoods."""
    found = [reply for reply in replies if isinstance(reply, Likely)]
    if len(found) != len(replies):
        raise TypeError("a likelihood was asked for, and a text was answered")
    return found


def choose(found: Sequence[Likely], sizes: Sequence[int] | None = None) -> int:
    """The index of the likeliest answer; of answers that are equally likely, the first's.

    Args:
        found: How likely each answer is.
        sizes: How long each one is: its log-probability is taken per token, byte or whatever they count.
            None: the probability of the whole answer counts, which is lower for longer ones.
    """
    scores = [one.log_probability for one in found]
    if sizes is not None:
        scores = [score / size for score, size in zip(scores, sizes, strict=True)]
    return max(range(len(scores)), key=scores.__getitem__)
