"""CNN/DailyMail: a news article in three sentences (Hermann et al. 2015, Nallapati et al. 2016).

GPT-2 reads the article and `TL;DR:`, draws 100 tokens out of the two likeliest each, and its first three
sentences are the summary (Radford et al. 2019, section 3.6). "R-L" of its table 4, which is that of
Gehrmann et al. 2018, is ROUGE-1.5.5's over sentences, which rouge-score calls rougeLsum: Lede-3 reaches 36.6
in it, but about 25 in rouge-score's rougeL, which takes a summary for one sentence. Words are stemmed.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from model.evaluate.reading import read_lines
from model.evaluate.requests import Generation, Reply
from model.evaluate.task import EvaluationFileError, Item, Measures, Task
from model.evaluate.tasks.answers import first_sentences, written

MAX_WORDS = 650
"""Of an article that is longer, the words that are read.

The paper does not tell what became of articles that a window of 1,024 tokens does not hold. A summary is
about an article's beginning, and of a prompt that is too long the end is read: so an article's end is cut off
here. 650 words of news are some 830 tokens of GPT-2, hardly ever more than the 919 that the hint and 100 new
ones leave.
"""

MEASURES = ("rouge1", "rouge2", "rougeLsum")

_FIRST_WORDS = re.compile(rf"(?:\s*\S+){{0,{MAX_WORDS}}}")
_HIGHLIGHT = "@highlight"


@dataclass(frozen=True, slots=True)
class Story:
    """An article and its highlights.

    Attributes:
        article: Its paragraphs, one a line, cut behind `MAX_WORDS` words.
        summary: Its highlights, one a line.
    """

    article: str
    summary: str


def _reader(hint: str) -> Callable[[Path], list[Item]]:
    def read(path: Path) -> list[Item]:
        """The stories of a folder of `.story` files, in the order of their names.

        Raises:
            EvaluationFileError: There are none, or one of them has no article or no highlights.
        """
        if not path.is_dir():
            raise EvaluationFileError(f"{path}: no folder: give the folder of the .story files")
        files = sorted(path.glob("*.story"))
        if not files:
            raise EvaluationFileError(f"{path}: no .story files in it: give the folder of the official ones")
        items = []
        for file in files:
            story = _parse(file)
            gap = " " if hint else "\n"
            items.append(Item(file.stem, f"{story.article}{hint}{gap}{story.summary}", story))
        return items

    return read


def _parse(file: Path) -> Story:
    lines = [line.strip() for _, line in read_lines(file) if line.strip()]
    article, highlights = _split(lines)
    if not article or not highlights:
        missing = f"behind {_HIGHLIGHT}" if article else "before the first highlight"
        raise EvaluationFileError(
            f"{file}: nothing {missing}: the file is cut, or one of the few that were published so: "
            "get it again, or take it out of the folder"
        )
    found = _FIRST_WORDS.match("\n".join(article))
    return Story(article=found.group() if found else "", summary="\n".join(highlights))


def _split(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """The lines before the first mark of a highlight, and those behind, marks left out."""
    start = lines.index(_HIGHLIGHT) if _HIGHLIGHT in lines else len(lines)
    return list(lines[:start]), [line for line in lines[start:] if line != _HIGHLIGHT]


def _asker(hint: str) -> Callable[[Item, str], list[Generation]]:
    def ask(item: Item, examples: str) -> list[Generation]:
        """A hundred tokens; what is drawn follows from the item's name."""
        seed = int.from_bytes(hashlib.sha256(item.id.encode("utf-8", "surrogateescape")).digest()[:4])
        return [
            Generation(prompt=f"{examples}{item.fields.article}{hint}", max_tokens=100, top_k=2, seed=seed)
        ]

    return ask


def judge(item: Item, replies: Sequence[Reply]) -> dict[str, float]:
    """ROUGE of the first three sentences, as F1."""
    summary = "\n".join(first_sentences(written(replies), 3))
    scores = _scorer().score(item.fields.summary, summary)
    return {name: float(scores[name].fmeasure) for name in MEASURES}


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(MEASURES, use_stemmer=True)


def _task(name: str, title: str, hint: str, published: dict[str, Measures]) -> Task:
    return Task(
        name=name,
        title=title,
        measures=MEASURES,
        read=_reader(hint),
        ask=_asker(hint),
        judge=judge,
        texts=lambda item: [item.fields.article, item.fields.summary],
        separator="\n\n",
        is_better_high=frozenset(MEASURES),
        published=published,
        units=dict.fromkeys(MEASURES, "%"),
    )


def _rouge(rouge1: float, rouge2: float, rouge_l: float) -> Measures:
    return dict(zip(MEASURES, (rouge1, rouge2, rouge_l), strict=True))


TASKS = (
    _task(
        "cnn-dm",
        "CNN/DailyMail",
        "\nTL;DR:",
        {
            "GPT-2 1542M": _rouge(29.34, 8.27, 26.58),
            "three random sentences": _rouge(28.78, 8.63, 25.52),
            "the first three sentences": _rouge(40.38, 17.66, 36.62),
        },
    ),
    _task(
        "cnn-dm-no-hint",
        "CNN/DailyMail without a hint",
        "",
        {"GPT-2 1542M": _rouge(21.58, 4.03, 19.47)},
    ),
)
