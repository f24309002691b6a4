"""The rules by which a document is kept or rejected: each a measure and a threshold, under one name.

Sources: Gopher (Rae et al. 2021, appendix A and table A1), C4 (Raffel et al. 2020, section 2.2), FineWeb
(Penedo et al. 2024, section 3.6).
"""

from dataclasses import dataclass

from pipeline.records import Reason


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: why it rejects, the measure, whether it asks for at least or at most so much, of what.

    A document whose measure equals the threshold is kept. ``presets`` are those that the rule is part of.
    """

    reason: Reason
    measure: str  # a column of MEASURES
    at_least: bool
    threshold: float
    what: str
    presets: tuple[str, ...] = ("gopher", "fineweb")

    @property
    def name(self) -> str:
        """As in the settings and in the waterfall."""
        return str(self.reason)

    def describe(self) -> str:
        """The rule in a sentence, for the settings file."""
        bound = "At least" if self.at_least else "At most"
        return f"{bound} {self.threshold:g} {self.what} (in: {', '.join(self.presets)})."


def _at_least(reason: Reason, measure: str, threshold: float, what: str, *presets: str) -> Rule:
    return Rule(reason, measure, True, threshold, what, presets or ("gopher", "fineweb"))


def _at_most(reason: Reason, measure: str, threshold: float, what: str, *presets: str) -> Rule:
    return Rule(reason, measure, False, threshold, what, presets or ("gopher", "fineweb"))


_TOP_GRAMS = (
    (2, Reason.GOPHER_TOP_2_GRAMS, 0.2),
    (3, Reason.GOPHER_TOP_3_GRAMS, 0.18),
    (4, Reason.GOPHER_TOP_4_GRAMS, 0.16),
)
_DUPLICATE_GRAMS = (
    (5, Reason.GOPHER_DUPLICATE_5_GRAMS, 0.15),
    (6, Reason.GOPHER_DUPLICATE_6_GRAMS, 0.14),
    (7, Reason.GOPHER_DUPLICATE_7_GRAMS, 0.13),
    (8, Reason.GOPHER_DUPLICATE_8_GRAMS, 0.12),
    (9, Reason.GOPHER_DUPLICATE_9_GRAMS, 0.11),
    (10, Reason.GOPHER_DUPLICATE_10_GRAMS, 0.1),
)

# In the order in which the first that a document breaks is its reason.
RULES = (
    _at_most(
        Reason.GOPHER_DUPLICATE_PARAGRAPHS,
        "gopher_duplicate_paragraphs",
        0.3,
        "of the paragraphs are repeated",
    ),
    _at_most(
        Reason.GOPHER_DUPLICATE_PARAGRAPH_CHARACTERS,
        "gopher_duplicate_paragraph_characters",
        0.2,
        "of the characters are in repeated paragraphs",
    ),
    _at_most(Reason.GOPHER_DUPLICATE_LINES, "gopher_duplicate_lines", 0.3, "of the lines are repeated"),
    _at_most(
        Reason.GOPHER_DUPLICATE_LINE_CHARACTERS,
        "gopher_duplicate_line_characters",
        0.2,
        "of the characters are in repeated lines",
    ),
    *(
        _at_most(
            reason,
            f"gopher_top_{n}_grams",
            threshold,
            f"of the characters are the most frequent run of {n} words",
        )
        for n, reason, threshold in _TOP_GRAMS
    ),
    *(
        _at_most(
            reason,
            f"gopher_duplicate_{n}_grams",
            threshold,
            f"of the characters are in repeated runs of {n} words",
        )
        for n, reason, threshold in _DUPLICATE_GRAMS
    ),
    _at_least(Reason.GOPHER_FEW_WORDS, "gopher_words", 50, "words that are more than punctuation"),
    _at_most(Reason.GOPHER_MANY_WORDS, "gopher_words", 100_000, "words that are more than punctuation"),
    _at_least(Reason.GOPHER_SHORT_WORDS, "gopher_word_length", 3, "characters in a word, on average"),
    _at_most(Reason.GOPHER_LONG_WORDS, "gopher_word_length", 10, "characters in a word, on average"),
    _at_most(Reason.GOPHER_HASHES, "gopher_hashes", 0.1, "number signs a word"),
    _at_most(Reason.GOPHER_ELLIPSES, "gopher_ellipses", 0.1, "ellipses a word"),
    _at_most(
        Reason.GOPHER_BULLET_LINES, "gopher_bullet_lines", 0.9, "of the lines begin with a bullet point"
    ),
    _at_most(Reason.GOPHER_ELLIPSIS_LINES, "gopher_ellipsis_lines", 0.3, "of the lines end with an ellipsis"),
    _at_least(
        Reason.GOPHER_ALPHABETIC_WORDS, "gopher_alphabetic_words", 0.8, "of the words have a letter in them"
    ),
    _at_least(
        Reason.GOPHER_STOP_WORDS,
        "gopher_stop_words",
        2,
        "different words of: the, be, to, of, and, that, have, with",
    ),
    _at_most(
        Reason.C4_LOREM_IPSUM,
        "c4_lorem_ipsum",
        0,
        'times "lorem ipsum" in lines that are kept',
        "c4",
        "fineweb",
    ),
    _at_most(
        Reason.C4_CURLY_BRACKETS, "c4_curly_brackets", 0, 'times "{" in lines that are kept', "c4", "fineweb"
    ),
    _at_least(Reason.C4_SENTENCES, "c4_sentences", 5, "sentences in lines that are kept", "c4", "fineweb"),
    _at_most(Reason.C4_BAD_WORDS, "c4_bad_words", 0, "words of the list that filter.bad_words names", "c4"),
    _at_least(
        Reason.FINEWEB_PUNCTUATED_LINES,
        "fineweb_punctuated_lines",
        0.12,
        "of the lines end with a mark that ends a sentence",
        "fineweb",
    ),
    _at_most(
        Reason.FINEWEB_SHORT_LINES,
        "fineweb_short_lines",
        0.67,
        "of the lines have 30 characters or fewer",
        "fineweb",
    ),
    _at_most(
        Reason.FINEWEB_DUPLICATE_CHARACTERS,
        "fineweb_duplicate_characters",
        0.01,
        "of the characters are in repeated lines",
        "fineweb",
    ),
    _at_most(Reason.FINEWEB_LINE_BREAKS, "fineweb_lines_a_word", 0.3, "line breaks a word", "fineweb"),
)
