"""The extractors' texts side by side, for a person to look at: one page that needs nothing but itself."""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from pipeline.report.extract_audit import (
    AGREE,
    Audit,
    ComparedPage,
    figure_rows,
    fraction,
    sample_size,
    share,
    words_of,
)
from pipeline.report.rendering import load_template, show_value
from pipeline.runs import Folder

PAGE = "extract-audit.html"
MOST_CHARACTERS = 20_000  # of a text that are shown

_RUN = 3  # words
_SAME = 0.8  # of a line's runs of words: extractors break lines in other places, and spell bullets otherwise


class Line(NamedTuple):
    """A line of a text, and whether no other extractor has it."""

    text: str
    is_only: bool


class Lacked(NamedTuple):
    """A line that an extractor lacks, and those that have it."""

    text: str
    had_by: tuple[str, ...]


_Shown = TypeVar("_Shown", Line, Lacked)


class Column(NamedTuple):
    """What one extractor gave for a page, as it is shown.

    ``lines`` and ``lacked`` are cut; ``num_characters``, ``num_only`` and ``num_lacked`` (lines) are of all.
    """

    name: str
    num_words: int
    reason: str
    lines: tuple[Line, ...]
    lacked: tuple[Lacked, ...]
    num_characters: int
    num_only: int
    num_lacked: int
    is_cut: bool


def write_page(run: Folder, audit: Audit) -> str:
    """Writes the page into the run's ``report`` folder; its path, or URI."""
    report = run / "report"
    report.write(PAGE, render(audit).encode())
    return f"{report.uri}/{PAGE}"


def render(audit: Audit) -> str:
    """The page: the figures, then every page of the sample, those of most disagreement first."""
    filters = {"value": show_value, "fraction": fraction, "share": share, "sha256": _sha256}
    return load_template("extract_audit.html.jinja", filters).render(
        run=Folder(audit.run).name,
        sample=sample_size(audit),
        agree=AGREE,
        most=MOST_CHARACTERS,
        extractors=audit.extractors,
        figures=figure_rows(audit),
        pairs=audit.pairs,
        pages=[_shown(page) for page in audit.by_disagreement()],
    )


def _sha256(script: object) -> str:
    """A script's digest as a content security policy names it: nothing else on the page may run."""
    return base64.b64encode(hashlib.sha256(str(script).encode()).digest()).decode()


def _shown(page: ComparedPage) -> dict[str, Any]:
    return {
        "id": page.id,
        "title": page.title,
        "url": page.url,
        "is_link": _is_link(page.url),
        "f1": page.agreement,
        "length": max(page.words.values()),
        "columns": columns(page),
    }


def _is_link(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return False


def columns(page: ComparedPage) -> list[Column]:
    """What stands side by side: of each extractor its lines, those that it alone has, those that it lacks.

    A line is in another text where most of its runs of three words are.
    """
    lines = {name: _lines(one.text) for name, one in page.answers.items()}
    runs = {name: _runs_of(words_of(one.text)) for name, one in page.answers.items()}
    had_by = {
        line: _had_by(words_of(line), runs)
        for line in dict.fromkeys(line for of_one in lines.values() for line in of_one)
    }
    return [_column(page, name, lines[name], had_by) for name in lines]


def _column(
    page: ComparedPage, name: str, lines: Sequence[str], had_by: Mapping[str, tuple[str, ...]]
) -> Column:
    answer = page.answers[name]
    own = [Line(line, had_by[line] == (name,)) for line in lines]
    lacked: dict[str, Lacked] = {}  # by its words: others may have it with another bullet
    for line, names in had_by.items():
        if name not in names:
            lacked.setdefault(" ".join(words_of(line)), Lacked(line, names))
    return Column(
        name=name,
        num_words=page.words[name],
        reason=answer.reason,
        lines=tuple(_cut(own)),
        lacked=tuple(_cut(list(lacked.values()))),
        num_characters=len(answer.text),
        num_only=sum(line.is_only for line in own),
        num_lacked=len(lacked),
        is_cut=len(answer.text) > MOST_CHARACTERS,
    )


def _cut(lines: Sequence[_Shown]) -> Iterator[_Shown]:
    """The first of the lines that have MOST_CHARACTERS together, the last one cut where it is too long."""
    room = MOST_CHARACTERS
    for line in lines:
        if len(line.text) > room:
            if room:
                yield line._replace(text=f"{line.text[:room]}…")
            return
        yield line
        room -= len(line.text)


def _lines(text: str) -> list[str]:
    """The lines with something in them."""
    return [line.rstrip() for line in text.split("\n") if line.strip()]


def _runs_of(words: Sequence[str]) -> set[tuple[str, ...]]:
    """All runs of one to three words."""
    return {run for num in range(1, _RUN + 1) for run in _runs(words, num)}


def _runs(words: Sequence[str], num: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(num)), strict=False)


def _had_by(words: Sequence[str], runs: Mapping[str, set[tuple[str, ...]]]) -> tuple[str, ...]:
    """Whose texts have a line of these words; all have one without any."""
    of_line = list(_runs(words, min(_RUN, len(words))))
    least = _SAME * len(of_line)
    return tuple(name for name, of_text in runs.items() if sum(map(of_text.__contains__, of_line)) >= least)
