"""The Winograd Schema Challenge: who is meant by a pronoun.

Levesque et al. 2012. Scored as by Trinh and Le 2018 (https://arxiv.org/abs/1806.02847), whom GPT-2's paper
follows: each candidate takes the pronoun's place, and what is likelier then is the answer, either the whole
sentence (full scoring) or what follows the candidate (partial scoring).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.evaluate.reading import read_bytes
from model.evaluate.requests import Likelihood, Reply
from model.evaluate.task import EvaluationFileError, Item, Measures, Task
from model.evaluate.tasks.choices import choose, likely

_NUM_SCHEMAS = 273  # WSC273: the collection has grown since
_LETTERS = "ABCDE"
_POSSESSIVES = ("his", "her", "its", "their", "my", "your", "our")
# What candidates begin with that is written small within a sentence.
_SMALL_WITHIN = ("The", "A", "An", "His", "Her", "Its", "Their", "My", "Your", "Our", "People")


@dataclass(frozen=True, slots=True)
class Schema:
    """A sentence, cut at its pronoun.

    Attributes:
        sentence: The sentence as it is.
        starts: What stands before the cut, with each candidate in the pronoun's place.
        rest: What follows, with the space before it where one belongs there.
        right: The index of the right candidate.
    """

    sentence: str
    starts: tuple[str, ...]
    rest: str
    right: int


def read(path: Path) -> list[Item]:
    """The first 273 schemas of WSCollection.xml: WSC273.

    Raises:
        EvaluationFileError: Where the file is no XML, is cut, has a document type, or is another collection.
    """
    schemas = _root(path).findall("schema")
    if not schemas:
        raise EvaluationFileError(f"{path}: no <schema> in it: give the official WSCollection.xml")
    items = []
    for number, element in enumerate(schemas[:_NUM_SCHEMAS], 1):
        schema = _schema(element, f"{path}, line {element.sourceline}, schema {number}")
        items.append(Item(f"schema {number}", schema.starts[schema.right] + schema.rest, schema))
    return items


def _root(path: Path) -> Any:
    """The file's root element. Nothing is fetched, and no entity is expanded."""
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(read_bytes(path), parser)
    except etree.XMLSyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise EvaluationFileError(
            f"{path}{line}: not XML ({error.msg}): the file may be cut or of another format: get the "
            "official WSCollection.xml again"
        ) from error
    if root.getroottree().docinfo.doctype:
        raise EvaluationFileError(
            f"{path}: it declares a document type, which the official WSCollection.xml does not: get that one"
        )
    return root


def _schema(element: Any, where: str) -> Schema:
    before, pronoun, rest = (_text(element, f"text/{name}") for name in ("txt1", "pron", "txt2"))
    candidates = [" ".join("".join(one.itertext()).split()) for one in element.findall("answers/answer")]
    letter = _text(element, "correctAnswer").rstrip(".").strip()
    if not pronoun or not rest or len(candidates) < 2 or not all(candidates):
        raise EvaluationFileError(
            f"{where}: not a text with <txt1>, <pron>, <txt2> and at least two <answer>s: get the official "
            "WSCollection.xml again"
        )
    if len(letter) != 1 or letter not in _LETTERS[: len(candidates)]:
        raise EvaluationFileError(
            f'{where}: <correctAnswer> is "{letter}" and not the letter of one of {len(candidates)} answers: '
            "get the official WSCollection.xml again"
        )
    start = f"{before} " if before else ""
    rest = rest if re.match(r"[.,;:!?']", rest) else f" {rest}"
    return Schema(
        f"{start}{pronoun}{rest}",
        tuple(start + _in_place(candidate, pronoun, rest) for candidate in candidates),
        rest,
        _LETTERS.index(letter),
    )


def _text(element: Any, path: str) -> str:
    found = element.find(path)
    return "" if found is None else " ".join("".join(found.itertext()).split())


def _in_place(candidate: str, pronoun: str, rest: str) -> str:
    """A candidate as it is written where the pronoun stood.

    >>> _in_place("The man", "his", " arms"), _in_place("Jane", "her", "."), _in_place("the dog", "It", " is")
    ("the man's", 'Jane', 'The dog')
    """
    first, space, others = candidate.partition(" ")
    if pronoun[0].isupper():
        first = first[0].upper() + first[1:]
    elif first in _SMALL_WITHIN:
        first = first.lower()
    written = first + space + others
    if pronoun.lower() in _POSSESSIVES and rest.startswith(" "):  # "saw her." has no possessive
        written += "'" if pronoun.lower() == "their" and written.endswith("s") else "'s"
    return written


def ask(item: Item, examples: str) -> list[Likelihood]:
    """Of each candidate: the whole sentence, and what follows the candidate."""
    schema: Schema = item.fields
    return [
        request
        for start in schema.starts
        for request in (Likelihood(examples, start + schema.rest), Likelihood(examples + start, schema.rest))
    ]


def judge(item: Item, replies: Sequence[Reply]) -> Measures:
    """Whether each of the two scorings finds the right candidate."""
    schema: Schema = item.fields
    found = likely(replies)
    return {
        "accuracy_partial": float(choose(found[1::2]) == schema.right),
        "accuracy_full": float(choose(found[::2]) == schema.right),
    }


_MEASURES = ("accuracy_partial", "accuracy_full")

TASKS = (
    Task(
        name="winograd",
        title="Winograd (WSC273)",
        measures=_MEASURES,
        read=read,
        ask=ask,
        judge=judge,
        texts=lambda item: (item.fields.sentence,),
        is_better_high=frozenset(_MEASURES),
        # GPT-2's section 3.4; GPT-3's table 3.5.
        published={
            "GPT-2 1542M": {"accuracy_partial": 70.70},
            "GPT-3 175B, 0 shots": {"accuracy_partial": 88.3},
            "GPT-3 175B, 1 shot": {"accuracy_partial": 89.7},
            "GPT-3 175B, few shots": {"accuracy_partial": 88.6},
        },
        units=dict.fromkeys(_MEASURES, "%"),
    ),
)
