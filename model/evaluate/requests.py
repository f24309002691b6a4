"""What tasks ask of a language model, and what it answers.

A task knows nothing of networks, a network nothing of tasks: between them go these values. Log-probabilities
are natural logarithms, summed over tokens.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely `continuation` is behind `context`.

    Both are one text: it is split into tokens as a whole, and a token is the continuation's where it ends in
    it. So `context` should not end in a space that belongs to the word behind it.

    Attributes:
        context: What stands before; where it is empty, the end of a text does.
        continuation: What is asked for, not empty.
    """

    context: str
    continuation: str


@dataclass(frozen=True, slots=True)
class TextLikelihood:
    """How likely a text of any length is, in windows where it is longer than the context."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What the model writes behind a prompt.

    Attributes:
        prompt: What stands before; of one that is too long its end is read.
        max_tokens: The most tokens to write.
        stop: Strings before the first of which the answer ends.
        top_k: Draw from this many likeliest tokens; 1 takes the likeliest.
        beams: Beams to search with, length penalty 0.6 as GPT-3 has it; 1 searches none. Not with `top_k`.
        seed: What draws follow from.
        not_first: Texts that the first token may not be, such as " the".
    """

    prompt: str
    max_tokens: int
    stop: tuple[str, ...] = ()
    top_k: int = 1
    beams: int = 1
    seed: int = 0
    not_first: tuple[str, ...] = ()


Request = Likelihood | TextLikelihood | Generation


@dataclass(frozen=True, slots=True)
class Likely:
    """The answer to a `Likelihood` or a `TextLikelihood`.

    Attributes:
        log_probability: Of all its tokens together.
        num_tokens: Tokens that were asked for.
        is_likeliest: Whether each of them was the likeliest one in its place.
    """

    log_probability: float
    num_tokens: int
    is_likeliest: bool


@dataclass(frozen=True, slots=True)
class Written:
    """The answer to a `Generation`: the text, without the string that stopped it.

    Attributes:
        text: What was written.
    """

    text: str


Reply = Likely | Written
