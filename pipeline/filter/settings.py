"""The settings of filter, and what they come to: the rules and thresholds that are in force."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, PlainValidator, create_model

from pipeline.config import Hopeless, Manner, Section
from pipeline.filter.c4 import C4_LINES, FINEWEB_LINES, LineRules
from pipeline.filter.rules import RULES, Rule

Preset = Literal["webtext", "gopher", "c4", "fineweb"]


def _threshold(value: Any) -> float | Literal[False] | None:
    if value is None or value is False:
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("Input should be a number, or false: no such rule")
    return float(value)


Threshold = Annotated[float | Literal[False] | None, PlainValidator(_threshold)]

_FIELDS: dict[str, Any] = {rule.name: (Threshold, Field(None, description=rule.describe())) for rule in RULES}

RuleSettings = create_model(
    "RuleSettings",
    __base__=Section,
    __module__=__name__,
    __doc__="""The quality rules, each with the threshold that it has in its presets. A number here sets
    another, and brings a rule in that the preset leaves out; false takes one out.""",
    **_FIELDS,
)


class LineSettings(Section):
    """C4's rules for lines: those that break one are removed from the text.

    What is not set is as the preset has it: c4 has all of these, fineweb all but terminal_punctuation, the
    others none.
    """

    terminal_punctuation: bool | None = None
    """Remove lines that do not end with a full stop, question or exclamation mark, or a quotation mark."""

    min_words: Annotated[int, Field(ge=0)] | None = None
    """Remove lines of fewer words; 3 in the presets, 0: none."""

    max_word_length: Annotated[int, Field(ge=0)] | None = None
    """Remove lines with a longer word (characters); 1000 in the presets, 0: none."""

    javascript: bool | None = None
    """Remove lines that speak of Javascript."""

    policy: bool | None = None
    """Remove lines on cookies, terms of use and privacy policies."""

    citations: bool | None = None
    """Take marks such as [3], [edit] and [citation needed] out of lines."""


class PIISettings(Section):
    """Personal data in texts: always counted, masked where asked."""

    mask: tuple[Literal["email", "phone", "ip", "card"], ...] = ()
    """Which kinds are replaced by <EMAIL>, <PHONE>, <IP> and <CARD>."""

    phone_region: Annotated[str, Field(pattern="^[A-Z]{2}$")] = "US"
    """The country (ISO 3166) whose numbers are known without their +; those of others need it."""


class DecontaminateSettings(Section):
    """Evaluation sets kept out of the corpus, by the n-grams (runs of words) that both have."""

    sets: Annotated[dict[str, str], Manner] = Field(default_factory=dict)
    """Name to file (JSON lines, JSON, CSV, TSV, Parquet, text; plain or compressed), folder or pattern."""

    n: Annotated[int, Field(ge=2, le=100)] = 13
    """Words in an n-gram that both may not have."""

    action: Literal["cut", "remove", "report"] = "cut"
    """Cut out what is shared and the characters around it, as GPT-3's authors did; or remove the documents
    that share any; or only report."""

    window: Annotated[int, Field(ge=0)] = 200
    """Characters that are cut out on both sides of what is shared."""

    min_piece: Annotated[int, Field(ge=0)] = 200
    """Characters of the shortest piece that is kept of a document that was cut."""

    max_pieces: Annotated[int, Field(ge=1)] = 10
    """A document that falls into more pieces is removed."""

    max_documents: Annotated[int, Field(ge=0)] = 10
    """N-grams that more documents have are common phrases, and do not count; 0: all count."""


class FilterSettings(Section):
    """Documents that are worth keeping."""

    preset: Preset = "webtext"
    """Which quality rules are in force: webtext (none but those of this section, as the GPT-2 paper), gopher,
    c4, or fineweb (FineWeb's own, and most of both others)."""

    languages: tuple[str, ...] = ("en",)
    """Languages kept, as ISO 639 codes; none named ([]): every language."""

    min_language_score: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How sure of a named language the detector must be, from 0 to 1."""

    min_words: Annotated[int, Field(ge=0)] = 50
    """The fewest words (runs of non-space characters) of a document that is kept."""

    wikipedia: bool = False
    """Whether Wikipedia's pages are kept; WebText left them out, as evaluation sets draw on them."""

    bad_words: Annotated[str, Manner] = ""
    """A file of words and phrases, one a line, for the rule c4_bad_words (C4 took a list that is public)."""

    rules: RuleSettings = RuleSettings()  # type: ignore[valid-type]

    lines: LineSettings = LineSettings()

    pii: PIISettings = PIISettings()

    decontaminate: DecontaminateSettings = DecontaminateSettings()


def rules_in_force(settings: FilterSettings) -> Iterator[Rule]:
    """The preset's rules and those set, with their thresholds, in their order."""
    for rule in RULES:
        threshold = getattr(settings.rules, rule.name)
        if threshold is None and settings.preset in rule.presets:
            yield rule
        elif threshold is not None and threshold is not False:
            yield replace(rule, threshold=threshold)


def line_rules(settings: FilterSettings) -> LineRules | None:
    """C4's rules for lines that are in force; None where no line is removed."""
    preset, own = _LINES[settings.preset], settings.lines
    found = LineRules(
        max_word_length=_chosen(own.max_word_length, preset.max_word_length) or None,
        citations=_chosen(own.citations, preset.citations),
        terminal_punctuation=_chosen(own.terminal_punctuation, preset.terminal_punctuation),
        min_words=_chosen(own.min_words, preset.min_words) or None,
        javascript=_chosen(own.javascript, preset.javascript),
        policy=_chosen(own.policy, preset.policy),
    )
    return None if found == _NO_LINES else found


def hopeless(settings: FilterSettings) -> Hopeless:
    """Which pages need no extraction, since they would be rejected whatever their text."""
    return Hopeless(languages=settings.languages, min_words=min(settings.min_words, _HOPELESS_WORDS))


# Documents of fewer words are not extracted if the filter would reject them: a stricter filter finds those
# of more words as they are, and nothing is extracted again.
_HOPELESS_WORDS = 50


class Measuring(Section):
    """What of the settings decides the measures: the rest only decides on them."""

    lines: LineRules | None
    phone_region: str


class Searching(Section):
    """What of the settings decides which n-grams are looked for, and in which texts."""

    lines: LineRules | None
    ns: tuple[int, ...]


_OVERLAP_N = 8  # words in an n-gram of GPT-2's table of overlaps


def measuring(settings: FilterSettings) -> Measuring:
    """What of the settings decides the measures."""
    return Measuring(lines=line_rules(settings), phone_region=settings.pii.phone_region)


def searching(settings: FilterSettings) -> Searching:
    """What of the settings decides what is found of evaluation sets: n-grams of the set n, and of 8 words."""
    ns = dict.fromkeys((settings.decontaminate.n, _OVERLAP_N))
    return Searching(lines=line_rules(settings), ns=tuple(ns))


_NO_LINES = LineRules(None, False, False, None, False, False)
_LINES = {"webtext": _NO_LINES, "gopher": _NO_LINES, "c4": C4_LINES, "fineweb": FINEWEB_LINES}

_Value = TypeVar("_Value")


def _chosen(own: _Value | None, preset: _Value) -> _Value:
    return preset if own is None else own
