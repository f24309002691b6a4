"""C4's rules on lines: what they remove, what they count, and the text that they leave.

Source: Raffel et al., Exploring the Limits of Transfer Learning (https://arxiv.org/abs/1910.10683), section
2.2, with the two rules that only C4's published code has (words of over 1,000 characters, notes on cookies
and terms), in the order of datatrove 0.10.
"""

import re
from typing import NamedTuple

from pipeline.filter.words import count_sentences

_CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")
_ENDS = (".", "?", "!", '"', "'")
_ELLIPSIS = "..."
_LOREM_IPSUM = "lorem ipsum"
_JAVASCRIPT = "javascript"
_POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)


class LineRules(NamedTuple):
    """Which lines are removed; None or False switches a rule off."""

    max_word_length: int | None  # characters: lines with a longer word go
    citations: bool  # [1], [], [edit] and [citation needed] are taken out; no line goes for them
    terminal_punctuation: bool  # lines go that end in none of . ? ! " ' or that end in an ellipsis
    min_words: int | None  # lines with fewer go; words are what white space parts
    javascript: bool  # lines that speak of JavaScript go
    policy: bool  # lines that speak of cookies, privacy policies or terms of use go


C4_LINES = LineRules(1_000, True, True, 3, True, True)
"""The paper's."""

FINEWEB_LINES = C4_LINES._replace(terminal_punctuation=False)
"""FineWeb's (https://arxiv.org/abs/2406.17557): lines may end as they like."""


class C4(NamedTuple):
    """What was counted. An empty text has 0 of each."""

    c4_sentences: int  # of the lines that stay
    c4_lorem_ipsum: int  # occurrences, in lines that no earlier rule removed
    c4_curly_brackets: int  # occurrences of "{", likewise
    c4_lines_long_word: int  # lines removed, each by the first rule that it breaks
    c4_lines_open_end: int
    c4_lines_few_words: int
    c4_lines_javascript: int
    c4_lines_policy: int


def clean_lines(text: str, rules: LineRules) -> tuple[str, C4]:
    """The text without the lines that the rules remove, and what was counted.

    The lines that stay are stripped, citations are taken out of them, and empty lines at both ends go.
    """
    lines, removed = _remove_by_shape(text, rules)
    kept, found = _remove_by_content(lines, rules)
    num_sentences = sum(map(count_sentences, kept))
    return "\n".join(kept).strip(), C4(
        num_sentences,
        found.lorem_ipsum,
        found.curly_brackets,
        removed.long_word,
        removed.open_end,
        removed.few_words,
        found.javascript,
        found.policy,
    )


class _ByShape(NamedTuple):
    long_word: int
    open_end: int
    few_words: int


class _ByContent(NamedTuple):
    lorem_ipsum: int
    curly_brackets: int
    javascript: int
    policy: int


def _remove_by_shape(text: str, rules: LineRules) -> tuple[list[str], _ByShape]:
    """The lines with no word too long, a proper end, and enough words; citations taken out."""
    lines: list[str] = []
    num_long = num_open = num_few = 0
    for whole in text.splitlines():
        line = whole.strip()
        words = line.split()
        longest = rules.max_word_length
        if longest is not None and len(line) > longest and max(map(len, words)) > longest:
            num_long += 1
            continue
        if rules.citations and "[" in line:
            line = _CITATION.sub("", line)
        if rules.terminal_punctuation and (not line.endswith(_ENDS) or line.endswith(_ELLIPSIS)):
            num_open += 1
        elif rules.min_words is not None and len(words) < rules.min_words:
            num_few += 1
        else:
            lines.append(line)
    return lines, _ByShape(num_long, num_open, num_few)


def _remove_by_content(lines: list[str], rules: LineRules) -> tuple[list[str], _ByContent]:
    """The lines that do not say what they must not."""
    whole = "\n".join(lines).lower()
    phrases = (_LOREM_IPSUM, "{", _JAVASCRIPT, *_POLICIES)
    if not any(phrase in whole for phrase in phrases):  # nearly always
        return lines, _ByContent(0, 0, 0, 0)
    kept: list[str] = []
    num_lorem = num_curly = num_javascript = num_policy = 0
    for line in lines:
        low = line.lower()
        num_lorem += low.count(_LOREM_IPSUM)
        if rules.javascript and _JAVASCRIPT in low:
            num_javascript += 1
            continue
        num_curly += line.count("{")
        if rules.policy and any(phrase in low for phrase in _POLICIES):
            num_policy += 1
        else:
            kept.append(line)
    return kept, _ByContent(num_lorem, num_curly, num_javascript, num_policy)
