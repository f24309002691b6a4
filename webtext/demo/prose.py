"""From a docstring to the blocks of an article: headings, paragraphs, lists and code.

Docstrings come in several dialects (plain, reStructuredText, numpydoc, Google). This reads what they have in
common and leaves out what would not be prose on a page: directives, formulas, lists of references.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of what follows."""

    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Some sentences."""

    text: str


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """Lines to be shown as they are."""

    text: str


Block = Heading | Paragraph | Items | Code

_UNDERLINE = re.compile(r"[=\-~*^#]{3,}$")
_BULLET = re.compile(r"(?:[-*•]|\d{1,2}[.)])\s+(?=\S)")
_DEFINITION = re.compile(r"[\w*`., ]{1,60}\s?:(?:\s|$)|\*{0,2}\w+$")
_ENTRY = re.compile(r"\*{0,2}[a-z_]\w*(?: \([^)]*\))?: ")
_LABEL = re.compile(r"(Args|Arguments|Attributes|Note|Notes|Parameters|Raises|Returns|Yields):$")
_ROLE = re.compile(r":[\w:+-]+:`(?:[^`<]*<)?~?([^`>]*)>?`")
_LITERAL = re.compile(r"`{1,2}([^`]+)`{1,2}_{0,2}")
_FOOTNOTE = re.compile(r"\s*\[[\w.#]+\]_")
_SYMBOL = re.compile(r"[^\w\s,.'’-]|[\d_]")
_FORMULA = re.compile(r":math:|\\|\$")
# These sections are lists of names and of books: nothing to read.
_SKIPPED_SECTIONS = frozenset({"see also", "references", "methods", "attributes"})


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Lines between two blank ones, dedented; literal where they follow a ``::`` and stand deeper."""

    indent: int
    lines: tuple[str, ...]
    literal: bool


def parse_docstring(docstring: str) -> tuple[Block, ...]:
    """Reads a docstring (dedented, as `inspect.cleandoc` leaves it) as blocks."""
    blocks: list[Block] = []
    section_skipped = False
    for chunk in _without_directives(_chunks(docstring)):
        if chunk.literal:
            blocks.append(Code("\n".join(chunk.lines)))
            continue
        heading, lines = _split_heading(chunk.lines)
        if heading is not None:
            section_skipped = heading.text.lower() in _SKIPPED_SECTIONS
            blocks.append(heading)
        if lines and not section_skipped:
            blocks.extend(_read_chunk(lines))
    return tuple(without_empty_sections(blocks))


def count_words(blocks: Iterable[Block]) -> int:
    """Counts the words of the paragraphs and lists: what is to be read, not run."""
    return sum(len(text.split()) for block in blocks for text in readable_texts(block))


def without_empty_sections(blocks: Iterable[Block]) -> Iterator[Block]:
    """Leaves out headings under which nothing stands."""
    for block, following in pairwise([*blocks, Heading("")]):
        if not (isinstance(block, Heading) and isinstance(following, Heading)):
            yield block


def readable_texts(block: Block) -> tuple[str, ...]:
    """Returns a block's sentences: a paragraph's text, a list's items, nothing of headings and code.

    >>> readable_texts(Items(("one", "two")))
    ('one', 'two')
    """
    match block:
        case Paragraph(text):
            return (text,)
        case Items(items):
            return items
        case _:
            return ()


def is_prose(text: str) -> bool:
    """Tells whether a text reads as sentences rather than as code, a formula or a table.

    >>> is_prose("Return the number of nodes in the graph.")
    True
    >>> is_prose("x = (a + b) ** 2 / f(a, b)[0]")
    False
    """
    if len(text) < 20 or text.count(" ") < 3:
        return False
    return len(_SYMBOL.findall(text)) <= 0.12 * len(text)


def _chunks(docstring: str) -> Iterator[_Chunk]:
    lines: list[str] = []
    literal_under: int | None = None
    for line in [*docstring.expandtabs().splitlines(), ""]:
        if line.strip():
            lines.append(line.rstrip())
        elif lines:
            indent = min(len(each) - len(each.lstrip()) for each in lines)
            if literal_under is not None and indent <= literal_under:
                literal_under = None
            yield _Chunk(indent, tuple(each[indent:] for each in lines), literal_under is not None)
            if literal_under is None and lines[-1].endswith("::"):
                literal_under = len(lines[-1]) - len(lines[-1].lstrip())
            lines = []


def _without_directives(chunks: Iterable[_Chunk]) -> Iterator[_Chunk]:
    """Leaves out ``.. note::`` and its like, with what stands indented under them."""
    directive: int | None = None
    for chunk in chunks:
        if directive is not None and chunk.indent > directive:
            continue
        directive = chunk.indent if chunk.lines[0].startswith("..") else None
        if directive is None:
            yield chunk


def _split_heading(lines: tuple[str, ...]) -> tuple[Heading | None, tuple[str, ...]]:
    if len(lines) >= 2 and _UNDERLINE.match(lines[1]) and not _UNDERLINE.match(lines[0]):
        return Heading(_clean(lines[0])), lines[2:]
    label = _LABEL.match(lines[0])
    if label and len(lines) >= 2 and lines[1].startswith(" "):
        return Heading(label[1]), tuple(textwrap.dedent("\n".join(lines[1:])).splitlines())
    return None, lines


def _read_chunk(lines: tuple[str, ...]) -> Iterator[Block]:
    if any(line.lstrip().startswith(">>>") for line in lines):
        yield Code("\n".join(lines))
    elif _BULLET.match(lines[0]):
        yield from _read_items(lines, [_BULLET.match(line) is not None for line in lines])
    elif len(lines) >= 2 and _DEFINITION.match(lines[0]) and lines[1].startswith(" "):
        yield from _read_items(lines, [not line.startswith(" ") for line in lines])
    elif _ENTRY.match(lines[0]):
        yield from _read_items(lines, [_ENTRY.match(line) is not None for line in lines])
    elif text := _sentences(lines):
        yield Paragraph(text)


def _read_items(lines: tuple[str, ...], begins: list[bool]) -> Iterator[Items]:
    """Makes a list of lines, where `begins` says which of them start an item."""
    starts = [number for number, begin in enumerate(begins) if begin]
    groups = [lines[start:end] for start, end in pairwise([*starts, len(lines)])]
    unmarked = [(_BULLET.sub("", group[0], count=1), *group[1:]) for group in groups]
    items = tuple(text for item in unmarked if (text := _sentences(item)))
    if items:
        yield Items(items)


def _sentences(lines: Iterable[str]) -> str:
    """Joins lines and takes the markup off; nothing where that is not prose."""
    text = " ".join(line.strip() for line in lines)
    if _FORMULA.search(text):
        return ""
    cleaned = _clean(text)
    return cleaned if is_prose(cleaned) else ""


def _clean(text: str) -> str:
    text = _FOOTNOTE.sub("", _LITERAL.sub(r"\1", _ROLE.sub(r"\1", text)))
    return " ".join(text.replace("**", "").replace("::", ":").split())
