"""LAMBADA: the last word of a passage, which only the whole passage gives away.

Paperno et al. 2016, https://arxiv.org/abs/1606.06031; as GPT-2 was asked: Radford et al. 2019, section 3.3;
with solved examples, as GPT-3 was: Brown et al. 2020, section 3.1.1.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from model.evaluate.reading import read_json_lines, read_lines, text_of
from model.evaluate.requests import Generation, Likelihood, Likely, Reply, Request, Written
from model.evaluate.task import EvaluationFileError, Item, Measures, Task, mean_measures
from model.evaluate.tasks.perplexity import perplexity

_MAX_WORD_TOKENS = 6  # nearly all words that passages end in are of one or two of GPT-2's

# Words that go on with a sentence instead of ending it: determiners, subjects, prepositions that are no
# adverbs too, conjunctions, auxiliaries. GPT-2's own list was not published; it was meant for predictions
# that go on with the sentence well, but cannot be its last word (Radford et al. 2019, section 3.3).
_STOP_WORDS = """
    a an the every my your our their its whose i we he she they who
    of at by from for to with into onto upon among amongst between against toward towards during until via per
    and but or nor because although unless whether while whereas than if as
    am is are was were be been being has have had having do does did can could may might must shall should
    will would
    not very so just
"""
_NOT_FIRST = tuple(f" {form}" for word in _STOP_WORDS.split() for form in (word, word.capitalize()))


class Passage(NamedTuple):
    """A passage, its last word apart; a space between the two belongs to the word."""

    context: str
    ending: str

    @property
    def text(self) -> str:
        """The whole passage."""
        return self.context + self.ending

    @property
    def word(self) -> str:
        """The last word alone."""
        return self.ending.strip()

    @property
    def cloze(self) -> str:
        """The passage with a blank for the word, as GPT-3's few-shot form has it."""
        return f"{self.context.rstrip()} ____. →"


def read(path: Path) -> list[Item]:
    """Passages of OpenAI's lambada_test.jsonl, or of the original plain text with one a line.

    Raises:
        EvaluationFileError: Where a line has no text, or one of less than two words, or is cut.
    """
    items = []
    for number, text in _texts(path):
        passage = _passage(text.strip(), f"{path}, line {number}")
        items.append(Item(str(number), f"{passage.cloze} {passage.word}", passage))
    return items


def _texts(path: Path) -> list[tuple[int, str]]:
    if _is_json(path):
        records = read_json_lines(path)
        return [(number, text_of(record, "text", f"{path}, line {number}")) for number, record in records]
    return [(number, line) for number, line in read_lines(path, every_line_ends=True) if line.strip()]


def _is_json(path: Path) -> bool:
    return next(line for _, line in read_lines(path) if line.strip()).lstrip().startswith(("{", "["))


def _passage(text: str, where: str) -> Passage:
    word = text.rsplit(maxsplit=1)[-1]
    start = len(text) - len(word)
    if not start:
        raise EvaluationFileError(
            f"{where}: one word is no passage: give lambada_test.jsonl or lambada_test_plain_text.txt"
        )
    start -= text[start - 1] == " "
    return Passage(text[:start], text[start:])


def ask(item: Item, examples: str) -> Sequence[Request]:
    """The last word's likelihood, and what is written in its place where no stop word may be."""
    passage: Passage = item.fields
    context, ending = (examples + passage.cloze, f" {passage.word}") if examples else passage
    return (
        Likelihood(context, ending),
        Generation(prompt=context, max_tokens=_MAX_WORD_TOKENS, not_first=_NOT_FIRST),
    )


def judge(item: Item, replies: Sequence[Reply]) -> Measures:
    """The last word: whether it was the likeliest, whether it was written first, and its log-probability."""
    likely, written = replies
    if not isinstance(likely, Likely) or not isinstance(written, Written):
        raise TypeError("the replies are not those to the item's requests")
    # More of the word than was asked for is another word: "signs" for "sign".
    is_written = re.match(rf"\s*{re.escape(item.fields.word)}(?!\w)", written.text)
    return {
        "accuracy": float(likely.is_likeliest),
        "accuracy_stop_words": float(bool(is_written)),
        "log_probability": likely.log_probability,
    }


def summarize(found: Sequence[Measures]) -> Measures:
    """Accuracies, and the perplexity of the last word as a whole, however many tokens it has."""
    means = mean_measures(found)
    means["perplexity"] = perplexity(means.pop("log_probability"), 1)
    return means


TASKS = (
    Task(
        name="lambada",
        title="LAMBADA",
        measures=("accuracy", "accuracy_stop_words", "perplexity"),
        read=read,
        ask=ask,
        judge=judge,
        texts=lambda item: (item.fields.text,),
        summarize=summarize,
        is_better_high=frozenset({"accuracy", "accuracy_stop_words"}),
        # GPT-2's table 3 is with the stop-word filter, its section 3.3 has the largest model without.
        published={
            "GPT-2 117M": {"accuracy_stop_words": 45.99, "perplexity": 35.13},
            "GPT-2 345M": {"accuracy_stop_words": 55.48, "perplexity": 15.60},
            "GPT-2 762M": {"accuracy_stop_words": 60.12, "perplexity": 10.87},
            "GPT-2 1542M": {"accuracy": 52.66, "accuracy_stop_words": 63.24, "perplexity": 8.63},
            "GPT-3 175B, 0 shots": {"accuracy": 76.2, "perplexity": 3.00},
            "GPT-3 175B, 1 shot": {"accuracy": 72.5, "perplexity": 3.35},
            "GPT-3 175B, few shots": {"accuracy": 86.4, "perplexity": 1.92},
        },
        units={"accuracy": "%", "accuracy_stop_words": "%"},
    ),
)
