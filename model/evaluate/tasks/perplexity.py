"""Language-modelling data sets: how well a model foresees their test texts.

As GPT-2 was measured (Radford et al. 2019, section 3.1): the text is put back into ordinary form by an
invertible de-tokenizer, its whole log-probability is taken, and that is divided by the number of tokens that
the data set itself counts, the end of each line among them. So figures compare with those of models that were
trained on the data set's own tokens.
"""

import codecs
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from model.evaluate.reading import read_bytes, read_lines
from model.evaluate.requests import Likely, Reply, Request, TextLikelihood
from model.evaluate.task import EvaluationFileError, Item, Measures, Task
from model.evaluate.tasks.detokenize import (
    ONE_BILLION_WORDS,
    PENN_TREEBANK,
    WIKITEXT,
    Tokenization,
    detokenize,
)

_WHOLE_BYTES = 100_000_000  # of enwik8 and of text8
_TEST_BYTES = 5_000_000  # the last ones of them, which papers test on
_BLOCK_LETTERS = 100_000
_BLOCK_LINES = 200


class Text(NamedTuple):
    """A text in ordinary form, and what its lines count as they were: tokens and line ends, and bytes."""

    text: str
    num_words: int
    num_bytes: int


def perplexity(log_probability: float, count: float) -> float:
    """The exponential of the mean negative log-probability; infinite where no number is as large."""
    try:
        return math.exp(-log_probability / count)
    except OverflowError:
        return math.inf


def read_wikitext(path: Path) -> list[Item]:
    """Articles of wiki.test.tokens, each from its heading on.

    Raises:
        EvaluationFileError: Where the file is cut, or begins with no article.
    """
    articles: list[list[str]] = [[]]
    is_blank, has_begun = True, False
    for number, raw in read_lines(path, every_line_ends=True):
        line = raw.strip()
        is_heading = is_blank and re.fullmatch(r"= [^=].* =", line) is not None
        if not has_begun and line and not is_heading:
            raise EvaluationFileError(
                f"{path}, line {number}: no article's heading ( = Title = ), which WikiText begins with: "
                "give wiki.test.tokens or wiki.valid.tokens"
            )
        if is_heading and has_begun:
            articles.append([])
        has_begun = has_begun or is_heading
        articles[-1].append(line)
        is_blank = not line
    return _items([_detokenized(lines, WIKITEXT) for lines in articles])


def read_penn_treebank(path: Path) -> list[Item]:
    """Blocks of 200 sentences of ptb.test.txt, which does not tell where a document begins.

    Raises:
        EvaluationFileError: Where the file is cut, or a line is not in Mikolov's form.
    """
    lines = []
    for number, line in read_lines(path, every_line_ends=True):
        if not line.strip() or re.search(r"[A-Z]", line.replace("N", "")):
            raise EvaluationFileError(
                f"{path}, line {number}: no sentence in small letters, with N for numbers: give ptb.test.txt "
                "or ptb.valid.txt of Mikolov's simple-examples"
            )
        lines.append(line.strip())
    blocks = [lines[start : start + _BLOCK_LINES] for start in range(0, len(lines), _BLOCK_LINES)]
    return _items([_detokenized(block, PENN_TREEBANK) for block in blocks])


def read_one_billion_words(path: Path) -> list[Item]:
    """Sentences of news.en.heldout-00000-of-00050; they were shuffled, so each stands for itself.

    Raises:
        EvaluationFileError: Where the file is cut, or a line is blank or of another format.
    """
    lines = []
    for number, line in read_lines(path, every_line_ends=True):
        if not line.strip() or line.startswith(('{"', "[", "<")):
            raise EvaluationFileError(
                f"{path}, line {number}: no sentence of tokens between spaces: give "
                "news.en.heldout-00000-of-00050"
            )
        lines.append(line.strip())
    return _items([_detokenized([line], ONE_BILLION_WORDS) for line in lines])


def read_enwik8(path: Path) -> list[Item]:
    """Blocks of about 100,000 characters out of the test part of enwik8.

    Raises:
        EvaluationFileError: Where the file is of another size, or no UTF-8 text.
    """
    return _items([_as_it_is(block) for block in _blocks(_test_part(path), "\n")])


def read_text8(path: Path) -> list[Item]:
    """Blocks of about 100,000 characters out of the test part of text8.

    Raises:
        EvaluationFileError: Where the file is of another size, or has other characters than text8.
    """
    text = _test_part(path).rstrip("\n")
    if found := re.search(r"[^a-z ]", text):
        line = text.count("\n", 0, found.start()) + 1
        raise EvaluationFileError(
            f"{path}, line {line}: {found[0]!r}, where text8 has only small letters and spaces: give text8"
        )
    return _items([_as_it_is(block) for block in _blocks(text, " ")])


def _test_part(path: Path) -> str:
    """The last 5 MB of a file of 100 MB; of a file that is no longer than those, all."""
    data = read_bytes(path)
    if _TEST_BYTES < len(data) != _WHOLE_BYTES:
        raise EvaluationFileError(
            f"{path}: {len(data):,} bytes, so the file seems to be cut: give all {_WHOLE_BYTES:,} bytes, or "
            f"the last {_TEST_BYTES:,} of them"
        )
    begun = data[-_TEST_BYTES:]
    start = next((i for i, byte in enumerate(begun[:4]) if byte & 0xC0 != 0x80), 0)  # behind half a character
    try:
        # An incremental decoder leaves half a character at the end out.
        text = codecs.getincrementaldecoder("utf-8")().decode(begun[start:])
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, len(data) - len(begun) + start + error.start) + 1
        raise EvaluationFileError(
            f"{path}, line {line}: not UTF-8 text: unpack it, or get it again"
        ) from error
    if "\0" in text or not text:
        raise EvaluationFileError(f"{path}: not text but binary: unpack it, or get it again")
    return text


def _blocks(text: str, separator: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = text.find(separator, start + _BLOCK_LETTERS)
        end = len(text) if end < 0 else end
        yield text[start:end]
        start = end


def _as_it_is(text: str) -> Text:
    return Text(text, len(text.split()), len(text.encode()))


def _detokenized(lines: Sequence[str], tokenization: Tokenization) -> Text:
    return Text(
        "".join(f"{detokenize(line, tokenization)}\n" for line in lines),
        sum(len(line.split()) + 1 for line in lines),
        sum(len(line.encode()) + 1 for line in lines),
    )


def _items(texts: Sequence[Text]) -> list[Item]:
    return [Item(str(number), "", text) for number, text in enumerate(texts, 1)]


def ask(item: Item, examples: str) -> Sequence[Request]:  # noqa: ARG001
    """The likelihood of the whole text; no examples are taken."""
    return (TextLikelihood(item.fields.text),)


def judge(item: Item, replies: Sequence[Reply]) -> Measures:
    """The text's log-probability and counts: what `summarize` adds up."""
    (likely,) = replies
    if not isinstance(likely, Likely):
        raise TypeError("the reply is not that to the item's request")
    return {
        "log_probability": likely.log_probability,
        "num_words": item.fields.num_words,
        "num_bytes": item.fields.num_bytes,
    }


def summarize(found: Sequence[Measures]) -> Measures:
    """Perplexity per original token, and bits per original byte, of all texts together."""
    if not found:
        return {}
    total = {name: math.fsum(one[name] for one in found) for name in found[0]}
    bits = -total["log_probability"] / math.log(2) / total["num_bytes"]
    return {
        "perplexity": perplexity(total["log_probability"], total["num_words"]),
        "bits_per_byte": bits,
        "bits_per_character": bits,  # of text8, where a character is a byte
    }


_SIZES = ("117M", "345M", "762M", "1542M")


def _task(
    name: str,
    title: str,
    read: Callable[[Path], Sequence[Item]],
    gpt2: tuple[float, float, float, float],
    measures: tuple[str, ...] = ("perplexity", "bits_per_byte"),
) -> Task:
    """A task whose main measure is what GPT-2's table 3 has in `gpt2`, smallest model first."""
    return Task(
        name=name,
        title=title,
        measures=measures,
        read=read,
        ask=ask,
        judge=judge,
        texts=lambda item: (item.fields.text,),
        summarize=lambda found: {name: value for name, value in summarize(found).items() if name in measures},
        takes_examples=False,
        published={f"GPT-2 {size}": {measures[0]: value} for size, value in zip(_SIZES, gpt2, strict=True)},
    )


TASKS = (
    _task("wikitext2", "WikiText-2", read_wikitext, (29.41, 22.76, 19.93, 18.34)),
    _task("wikitext103", "WikiText-103", read_wikitext, (37.50, 26.37, 22.05, 17.48)),
    _task("ptb", "Penn Treebank", read_penn_treebank, (65.85, 47.33, 40.31, 35.76)),
    _task("1bw", "One Billion Words", read_one_billion_words, (75.20, 55.72, 44.575, 42.16)),
    _task("enwik8", "enwik8", read_enwik8, (1.16, 1.01, 0.97, 0.93), ("bits_per_byte",)),
    _task("text8", "text8", read_text8, (1.17, 1.06, 1.02, 0.98), ("bits_per_character",)),
)
