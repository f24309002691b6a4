"""Reading answers to questions off a text: the first and the last token of a stretch of it.

A text that does not fit behind its question is read in windows that overlap (`STRIDE`). In a window without
the answer, the place that tells of the whole sequence is what is to be found; where some questions have
no answer (SQuAD 2.0), that place's score is the score of "none".

Source: Devlin et al. 2019 and run_squad.py of the released BERT (windows, the window that sees most around
a token, at most 30 tokens). There the 20 best first and last tokens are combined; here all are.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from model.data.ragged import Integers
from model.evaluate.tasks.answers import best, exact_match, f1, normalized
from model.finetune.framing import Framed, Framing, Tokens
from model.finetune.heads import SpanReader
from model.finetune.squad import Answer, Question
from tokenizer.text import well_formed

STRIDE: Final = 128
LONGEST_QUESTION: Final = 64
LONGEST_ANSWER: Final = 30

Item = tuple[Framed, tuple[int, int]]
Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Window:
    """A question in front of a stretch of its text.

    Attributes:
        framed: Both of them.
        first: The stretch's first token, counted in the text.
        count: Its tokens.
        is_best: bool (count,), whether no other window sees more on both sides of the token.
    """

    framed: Framed
    first: int
    count: int
    is_best: npt.NDArray[np.bool_]

    @property
    def places(self) -> slice:
        """Where the stretch stands in the sequence."""
        return slice(self.framed.num_first, self.framed.num_first + self.count)


class _Found(NamedTuple):
    """The likeliest answer in a window: its score, first and last token; and the score of none."""

    score: float
    first: int
    last: int
    none: float


class QuestionReader:
    """A network that finds answers in texts.

    Args:
        module: The network with its head.
        framing: How it reads texts.
        answers_none: Whether it may find that a text has no answer.

    Attributes:
        module: As given.
        framing: As given.
        answers_none: As given.
    """

    def __init__(self, module: SpanReader, framing: Framing, *, answers_none: bool) -> None:
        self.module = module
        self.framing = framing
        self.answers_none = answers_none

    def items(self, questions: Sequence[Question]) -> list[Item]:
        """What is learned of questions: each window with the places of its answer's first and last token."""
        found: list[Item] = []
        for question in questions:
            context = self.framing.tokenizer.encode_array(question.context)
            answer = question.answer
            span = None if answer is None else self._token_span(question.context, context, answer)
            found += [(one.framed, _target(one, span)) for one in self.windows(question, context)]
        return found

    def loss(self, items: Sequence[Item]) -> Tensor:
        """Mean cross-entropy of first and last tokens in nats; a scalar."""
        logits = self._logits([framed for framed, _ in items])
        targets = torch.tensor([target for _, target in items], device=logits.device)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def predict(self, questions: Sequence[Question], rows: int = 32) -> list[str]:
        """The likeliest answer to each, "" for none; `rows` windows at a time, which changes no answer."""
        contexts = [self.framing.tokenizer.encode_array(one.context) for one in questions]
        windows = [
            (number, window)
            for number, (question, context) in enumerate(zip(questions, contexts, strict=True))
            for window in self.windows(question, context)
        ]
        windows.sort(key=lambda one: len(one[1].framed.tokens))
        found: list[list[_Found]] = [[] for _ in questions]
        self.module.eval()
        with torch.inference_mode():
            for start in range(0, len(windows), rows):
                batch = windows[start : start + rows]
                logits = self._logits([window.framed for _, window in batch]).cpu().numpy()
                for (number, window), one in zip(batch, logits, strict=True):
                    found[number].append(_likeliest(window, one))
        return [
            self._text(question.context, context, some)
            for question, context, some in zip(questions, contexts, found, strict=True)
        ]

    def measure(self, questions: Sequence[Question], predicted: Sequence[str]) -> dict[str, float]:
        """F1 and exact match of answers, as the official script computes them, as shares of 1."""
        references = [_references(one) for one in questions]
        judged = list(zip(predicted, references, strict=True))
        return {
            "f1": sum(best(f1, *one) for one in judged) / len(judged),
            "exact_match": sum(best(exact_match, *one) for one in judged) / len(judged),
        }

    def render(self, questions: Sequence[Question], predicted: Sequence[str]) -> tuple[str, str]:
        """Name and text of the file of predictions, in the form that the official script reads."""
        answers = {one.id: answer for one, answer in zip(questions, predicted, strict=True)}
        return "predictions.json", json.dumps(answers, ensure_ascii=False, indent=1) + "\n"

    def windows(self, question: Question, context: Tokens) -> list[Window]:
        """The question before its text, `context` (n,), or before stretches of it that overlap."""
        longest = min(LONGEST_QUESTION, self.framing.max_length // 2)
        asked = self.framing.tokenizer.encode_array(question.question)[:longest]
        room = self.framing.room(for_two=True) - len(asked)
        stride = min(STRIDE, (room + 1) // 2)
        starts = np.arange(0, max(1, len(context) - room + stride), stride)
        stops = np.minimum(starts + room, len(context))
        widest = _widest(starts, stops, len(context))
        return [
            Window(self.framing.frame(asked, context[a:b]), a, b - a, widest[a:b] == number)
            for number, (a, b) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True))
        ]

    def _token_span(self, text: str, context: Tokens, answer: Answer) -> tuple[int, int]:
        """First and last of the tokens of `text` that have a byte of the answer, blanks at its ends aside."""
        ends = self._ends(context)
        said = answer.text.strip()
        begin = len(text[: answer.start + answer.text.index(said)].encode())
        end = begin + len(said.encode())
        return int(np.searchsorted(ends, begin, side="right")), int(np.searchsorted(ends, end, side="left"))

    def _text(self, text: str, context: Tokens, found: Sequence[_Found]) -> str:
        likeliest = max(found, key=lambda one: one.score)
        none = min(one.none for one in found)
        if likeliest.score == -np.inf or (self.answers_none and none > likeliest.score):
            return ""
        ends = self._ends(context)
        begin = ends[likeliest.first - 1] if likeliest.first else 0
        return well_formed(text).encode()[begin : ends[likeliest.last]].decode(errors="ignore").strip()

    def _ends(self, context: Tokens) -> npt.NDArray[np.int64]:
        """The byte behind each token."""
        return np.cumsum(self.framing.tokenizer.token_lengths[context], dtype=np.int64)

    def _logits(self, framed: Sequence[Framed]) -> Tensor:
        logits: Tensor = self.module(self.framing.batch(framed, self.module.head.weight.device))
        return logits


def _references(question: Question) -> list[str]:
    """What an answer is compared with: "" where the text has none."""
    return [one.text for one in question.answers if normalized(one.text)] or [""]


def _widest(starts: Integers, stops: Integers, num_tokens: int) -> Integers:
    """The window that sees most on both sides of each token, the longer one where two see as much: (n,)."""
    places = np.arange(num_tokens)
    around = np.minimum(places - starts[:, None], stops[:, None] - 1 - places)  # (windows, n)
    sight = np.where(around < 0, -np.inf, around + 0.01 * (stops - starts)[:, None])
    widest: Integers = sight.argmax(axis=0)
    return widest


def _target(window: Window, span: tuple[int, int] | None) -> tuple[int, int]:
    whole = window.framed.whole
    if span is None or span[0] < window.first or span[1] >= window.first + window.count:
        return whole, whole
    offset = window.framed.num_first - window.first
    return span[0] + offset, span[1] + offset


def _likeliest(window: Window, logits: Floats) -> _Found:
    """The likeliest answer of a window, of `logits` (2, T), that begins where the window sees most."""
    first, last = logits[:, window.places]
    none = float(logits[:, window.framed.whole].sum())
    scores = np.where(window.is_best, first, -np.inf)[:, None] + last  # (first, last)
    scores = np.where(np.tri(window.count, k=-1, dtype=bool), -np.inf, scores)
    scores = np.where(np.tri(window.count, k=LONGEST_ANSWER - 1, dtype=bool), scores, -np.inf)
    if not window.count:
        return _Found(-np.inf, 0, 0, none)
    begin, end = divmod(int(scores.argmax()), window.count)
    return _Found(float(scores[begin, end]), window.first + begin, window.first + end, none)
