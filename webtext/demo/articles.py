"""Articles of a few hundred to a few thousand words, merged from docstrings that have something to say."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import xxhash

from webtext.demo.prose import (
    Block,
    Code,
    Heading,
    Items,
    Paragraph,
    count_words,
    parse_docstring,
    readable_texts,
    without_empty_sections,
)
from webtext.demo.sources import Docstring, Package, installed_packages

_MIN_SECTION_WORDS = 30
# Most pages are short, a few are long.
_LENGTHS = (220, 260, 300, 350, 400, 450, 500, 560, 640, 760, 1000, 1800)
# No package fills more than this share of the web.
_MAX_SHARE = 0.3
_MAX_CODE_LINES = 10
_NGRAM = 5


@dataclass(frozen=True, slots=True)
class Article:
    """Something to read: what it is about, its title and its blocks."""

    subject: str
    title: str
    blocks: tuple[Block, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """The sentences: paragraphs and list items, in order."""
        return tuple(text for block in self.blocks for text in readable_texts(block))

    @property
    def num_words(self) -> int:
        """How many words there are to read."""
        return count_words(self.blocks)


def gather_articles(num_articles: int) -> list[Article]:
    """Makes articles from the modules that are installed: always the same ones, of many packages.

    No text is used twice, so two articles never resemble each other. There are fewer articles than asked
    for where too little is installed.
    """
    said: set[int] = set()
    articles: list[Article] = []
    share = max(1, round(num_articles * _MAX_SHARE))
    with _collector_paused():
        for package in installed_packages():
            num_wanted = min(share, num_articles - len(articles))
            articles.extend(islice(_articles_of(package, said), num_wanted))
            if len(articles) == num_articles:
                break
    return articles


def choose(text: str, num_choices: int) -> int:
    """Chooses a number under `num_choices` by a text's hash: chance that is the same each time."""
    return xxhash.xxh3_64_intdigest(text.encode()) % num_choices


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Spares the garbage collector from walking each file's syntax tree: that is half of the whole time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _articles_of(package: Package, said: set[int]) -> Iterator[Article]:
    """Merges a package's sections, in order, until each article has its length."""
    blocks: list[Block] = []
    num_words = 0
    subject = ""
    for docstring in package.docstrings():
        section = _section(docstring, said)
        if not section:
            continue
        subject = subject or docstring.name
        blocks.extend(section)
        num_words += count_words(section)
        if num_words >= _LENGTHS[choose(subject, len(_LENGTHS))]:
            yield Article(subject, _title(subject, blocks), tuple(blocks))
            blocks, num_words, subject = [], 0, ""


def _section(docstring: Docstring, said: set[int]) -> tuple[Block, ...]:
    """Makes a section under its own heading of what was not said before; nothing if that is little."""
    if len(docstring.text.split()) < _MIN_SECTION_WORDS:
        return ()
    blocks = [new for block in parse_docstring(docstring.text) if (new := _news(block, said)) is not None]
    if count_words(blocks) < _MIN_SECTION_WORDS:
        return ()
    return (Heading(_spoken(docstring.name)), *without_empty_sections(blocks))


def _news(block: Block, said: set[int]) -> Block | None:
    match block:
        case Paragraph(text):
            return block if _is_new(text, said) else None
        case Items(items):
            new = tuple(item for item in items if _is_new(item, said))
            return Items(new) if new else None
        case Code(text):
            return block if text.count("\n") < _MAX_CODE_LINES else None
        case _:
            return block


def _is_new(text: str, said: set[int]) -> bool:
    """Tells whether most of a text's word n-grams were never said, and notes them as said."""
    words = text.lower().split()
    ngrams = {
        xxhash.xxh3_64_intdigest(" ".join(words[at : at + _NGRAM]).encode())
        for at in range(max(1, len(words) - _NGRAM + 1))
    }
    new = ngrams - said
    said |= new
    return 2 * len(new) > len(ngrams)


def _spoken(name: str) -> str:
    """Writes a dotted name as words.

    >>> _spoken("asyncio.streams.StreamReader.read_until")
    'Stream reader: read until'
    """
    parts = [part for part in name.split(".") if part.strip("_")][-2:]
    if parts[-1][0].islower() and len(parts) == 2 and parts[0][0].islower():
        parts = parts[-1:]
    words = [re.sub(r"(?<=[a-z])(?=[A-Z])", " ", part).replace("_", " ").strip().lower() for part in parts]
    text = ": ".join(words)
    return text[:1].upper() + text[1:]


def _title(subject: str, blocks: list[Block]) -> str:
    first = next(text for block in blocks for text in readable_texts(block))
    sentence = re.split(r"(?<=[a-z)])[.:;](?:\s|$)", first, maxsplit=1)[0]
    return f"{_spoken(subject)} – {sentence}" if 20 <= len(sentence) <= 90 else _spoken(subject)
