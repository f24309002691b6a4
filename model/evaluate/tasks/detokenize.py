"""Undoing what tokenizers did to the language-modelling data sets, so that it can be done again.

A model of ordinary text should be asked about ordinary text: "don't (really)", not "don 't ( really )". What
is asked instead of the original has the original's probability only if the original follows from it (Radford
et al., 2019, section 3.1: "invertible de-tokenizers"). So tokens are joined only where taking the joined word
apart by rule gives the same tokens: `tokenize(detokenize(line))` is the line unless one of its tokens looks
like several ("1,000th" in WikiText, whose numbers are cut at commas).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MARKS = {"@-@": "-", "@,@": ",", "@.@": "."}  # WikiText's, for what stood between letters or digits

_BEFORE = frozenset(",.;:?!)]%′″")  # written against the token before them
_BEHIND = frozenset("([$£¥€#")  # written against the token behind them
_BETWEEN = frozenset("/—") | MARKS.keys()
_BETWEEN_DIGITS = frozenset(":–⁄")
_RULES = frozenset("=")  # of headings: one word where several follow each other
_WITHIN = MARKS.keys() | {"–"}
_QUOTES = ('"', "'")
_ALONE = re.compile(r"""(["()\[\];:?!%$£¥€#/=—⁄′″]|(?<=\d)–(?=\d))""")
_APOSTROPHE = re.compile(r"(?<=[\w>])'(?=\w)")
_SINGLE_QUOTE = re.compile(r"(?<![\w> ])'(?!(?:s|t|re|ve|ll|d|m)\b)|'(?!\w)")
_LAST_PERIOD = re.compile(r"(.*[^.])\.")
_WITH_PERIOD = re.compile(r"(?:\w\.)*\w|No|Nos|St|Mr|Mrs|Ms|Messrs|Dr|Prof|Rev|Hon|Gov|Sen|Sens|Rep|Reps|Pres"
                          r"|Gen|Brig|Col|Maj|Capt|Cmdr|Lt|Sgt|Cpl|Pvt|Adm|Jr|Sr|Bros|Inc|Co|Corp|Ltd|vs|var|al|pp"
                          r"|Jan|Feb|Aug|Sept|Oct|Nov|Dec|Ft|Mt|etc|Ph\.D")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tokenization:
    """How a data set's text was cut.

    Attributes:
        split: The tokens of a word, that is of text without spaces.
        are_joined: Of each token of a line, whether ordinary text has it and the token before as one word.
    """

    split: Callable[[str], list[str]]
    are_joined: Callable[[Sequence[str]], list[bool]]


def detokenize(line: str, tokenization: Tokenization) -> str:
    """A line of tokens between single spaces as ordinary text."""
    tokens = line.split(" ")
    joined = tokenization.are_joined(tokens)
    words: list[list[str]] = []
    index = 0
    while index < len(tokens):
        # What is told only by both its neighbours is joined with both or with none.
        num_added = 2 if tokens[index] in _WITHIN and index + 1 < len(tokens) else 1
        word = [*words[-1], *tokens[index : index + num_added]] if words and joined[index] else []
        if word and tokenization.split(_written(word)) == word:
            words[-1] = word
            index += num_added
        else:
            words.append([tokens[index]])
            index += 1
    return " ".join(map(_written, words))


def tokenize(text: str, tokenization: Tokenization) -> str:
    """A line of ordinary text as tokens between spaces: what `detokenize` made it of."""
    return " ".join(token for word in text.split(" ") for token in tokenization.split(word))


def _written(word: Sequence[str]) -> str:
    return word[0] + "".join(MARKS.get(token, token) for token in word[1:])


def _split_wikitext(word: str) -> list[str]:
    marked = re.sub(r"(?<=[\d>])([,.])(?=[\d<])|(?<=[\w>])(-)(?=[\w<])", r" @\1\2@ ", word)
    return _split_english(re.sub(r"(?<!@),(?!@)", " , ", marked))


def _split_one_billion_words(word: str) -> list[str]:
    return _split_english(re.sub(r"(?<!\d),|,(?!\d)", " , ", word))


def _split_english(text: str) -> list[str]:
    apart = _ALONE.sub(r" \1 ", text)
    apart = _SINGLE_QUOTE.sub(" ' ", _APOSTROPHE.sub(" '", apart))
    return [token for part in apart.split(" ") if part for token in _without_period(part)] or [text]


def _without_period(part: str) -> tuple[str, ...]:
    """A full stop is a token of its own, an abbreviation's period is not."""
    found = _LAST_PERIOD.fullmatch(part)
    return (part,) if not found or _WITH_PERIOD.fullmatch(found[1]) else (found[1], ".")


def _are_english_joined(tokens: Sequence[str]) -> list[bool]:
    """Punctuation as English has it; of quotation marks every other one opens."""
    is_open = {'"': _closes_first(tokens), "'": False}
    joined = []
    joins_next = False
    for index, token in enumerate(tokens):
        before, behind = (
            tokens[index - 1] if index else "",
            tokens[index + 1] if index + 1 < len(tokens) else "",
        )
        if token in _QUOTES:
            is_possessive = token == _QUOTES[1] and not is_open[token] and before.endswith("s")
            is_open[token] ^= not is_possessive
            left, right = not is_open[token], is_open[token]
        elif (
            token in _BETWEEN_DIGITS and before[-1:].isdigit() and behind[:1].isdigit()
        ) or token in _BETWEEN:
            left, right = True, True
        else:
            left = (
                token in _BEFORE
                or (token in _RULES and token == before)
                or (token[:1] == "'" and len(token) > 1)
            )
            right = token in _BEHIND
        joined.append(left or joins_next)
        joins_next = right
    return joined


def _closes_first(tokens: Sequence[str]) -> bool:
    """Whether a line's first quotation mark closes what another line opened, as in `fine , " he said .`."""
    if tokens.count('"') % 2 == 0:
        return False
    index = tokens.index('"')
    behind = "".join(tokens[index + 1 : index + 2])
    return index > 0 and tokens[index - 1] in (",", ".", "?", "!") and (not behind or behind.islower())


def _split_penn(word: str) -> list[str]:
    if word.endswith("n't"):
        return [*_split_penn(word[:-3]), "n't"] if word[:-3] else [word]
    apart = re.sub(r"(?<=[\w.>])('\w*)$", r" \1", word)
    return re.sub(r"(?<=[$#])(?=[^ ])", " ", apart).split(" ")


def _are_penn_joined(tokens: Sequence[str]) -> list[bool]:
    """The Penn Treebank in Mikolov's form has no punctuation but apostrophes and signs of currencies."""
    return [
        token.startswith(("n't", "'")) or (index > 0 and tokens[index - 1].endswith(("$", "#")))
        for index, token in enumerate(tokens)
    ]


WIKITEXT = Tokenization(_split_wikitext, _are_english_joined)
ONE_BILLION_WORDS = Tokenization(_split_one_billion_words, _are_english_joined)
PENN_TREEBANK = Tokenization(_split_penn, _are_penn_joined)
