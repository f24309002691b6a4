"""Answers in a model's own words: how close they are to those of people, as the official scripts measure."""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice, pairwise

from model.evaluate.requests import Reply, Written

Score = Callable[[str, str], float]

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)

_TITLES = frozenset(
    {"Mr", "Mrs", "Ms", "Dr", "St", "Prof", "Gen", "Col", "Lt", "Sgt", "Capt", "Rep", "Sen", "Gov"}
)
_SENTENCE_END = re.compile(
    r"""
    (?<!\w)(?P<word>\w*)[.!?…]+(?:["'”’)\]]|\s?»)*  # the last word, its marks, quotation marks that close
    (?P<space>\s+)["'“‘«(\[]*\s?(?=(?P<next>\w))    # what opens the next sentence
    """,
    re.VERBOSE,
)


def written(replies: Sequence[Reply]) -> str:
    """The text of the one reply to an item that asks for one text, without the space around it."""
    (reply,) = replies
    if not isinstance(reply, Written):
        raise TypeError(f"a text was asked for, the reply is {reply!r}")
    return reply.text.strip()


def normalized(answer: str) -> str:
    """An answer without case, ASCII punctuation, English articles and superfluous space.

    In this order, so that `A.` is an article, and `the-one` is not.

    Source: SQuAD's evaluate-v1.1.py and evaluate-v2.0.py, CoQA's evaluate-v1.0.py; all normalise alike.

    >>> normalized("  The   Grand-Duke's (late) hat, a.")
    'granddukes late hat'
    """
    plain = answer.lower().translate(_WITHOUT_PUNCTUATION)
    return " ".join(_ARTICLE.sub(" ", plain).split())


def exact_match(answer: str, reference: str) -> float:
    """1 where the two are the same once normalised, else 0."""
    return float(normalized(answer) == normalized(reference))


def f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall of the answer's normalised words, each as often as it stands.

    Where one of the two has no words, 1 if the other has none either, as SQuAD 2.0's and CoQA's scripts say;
    SQuAD 1.1's gives 0.

    >>> f1("the red hat", "a red, red coat")
    0.4
    """
    words, wanted = normalized(answer).split(), normalized(reference).split()
    if not words or not wanted:
        return float(words == wanted)
    num_shared = (Counter(words) & Counter(wanted)).total()
    return 2 * num_shared / (len(words) + len(wanted))


def best(score: Score, answer: str, references: Sequence[str]) -> float:
    """The answer's score against the reference that it is closest to."""
    return max(score(answer, reference) for reference in references)


def first_sentences(text: str, count: int) -> list[str]:
    r"""The first sentences of a text.

    A sentence ends with its line, and with `.`, `!`, `?` or `…` before a space and a capital or a figure, but
    not behind a title or a single capital (`Mr. Hu`, `J. Smith`, `the U.S. Army`).

    >>> first_sentences("Mr. Hu left. Why? Nobody\nknows. Or so", 3)
    ['Mr. Hu left.', 'Why?', 'Nobody']
    """
    sentences = (sentence for line in text.splitlines() for sentence in _sentences(line))
    return list(islice(sentences, count))


def _sentences(line: str) -> list[str]:
    ends = [found.end("space") for found in _SENTENCE_END.finditer(line) if _is_end(found)]
    parts = (line[start:end].strip() for start, end in pairwise([0, *ends, len(line)]))
    return [part for part in parts if part]


def _is_end(found: re.Match[str]) -> bool:
    word, following = found["word"], found["next"]
    is_abbreviation = word in _TITLES or (len(word) == 1 and word.isupper())
    return not is_abbreviation and (following.isupper() or following.isdigit())
