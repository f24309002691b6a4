"""What is measured of a document: everything that a rule may ask for, whether it is in force or not."""

import re
from typing import Any, NamedTuple

from pipeline.filter.bad_words import count_bad_words
from pipeline.filter.c4 import C4_LINES, LineRules, clean_lines
from pipeline.filter.fineweb import measure_fineweb
from pipeline.filter.gopher import measure_gopher
from pipeline.filter.language import Detector
from pipeline.filter.pii import mask
from pipeline.filter.wikipedia import wikipedia_host
from pipeline.filter.words import split_words


class Document(NamedTuple):
    """What of a document is looked at."""

    url: str
    final_url: str
    canonical_url: str | None
    text: str


class Tools(NamedTuple):
    """What measuring needs besides a document."""

    detector: Detector
    lines: LineRules | None  # in force; None: no line is removed
    bad_words: re.Pattern[str] | None
    phone_region: str


def measure(document: Document, tools: Tools) -> dict[str, Any]:
    """What is measured of a document, by the names of MEASURES.

    Language, Gopher's measures and C4's are of the whole text, all others of what is left of it where lines
    are removed. Where none are, C4's are counted as C4 has them.
    """
    words = split_words(document.text)
    cleaned, c4 = clean_lines(document.text, tools.lines or C4_LINES)
    text = cleaned if tools.lines else document.text
    words_left = words if text == document.text else split_words(text)
    language, score = tools.detector(document.text)
    return {
        "wikipedia": wikipedia_host(document.url, document.final_url, document.canonical_url),
        "language": language,
        "language_score": score,
        "num_words": len(text.split()),
        **measure_gopher(document.text, words)._asdict(),
        **c4._asdict(),
        "c4_bad_words": count_bad_words(text, tools.bad_words) if tools.bad_words else 0,
        **measure_fineweb(text, words_left)._asdict(),
        **mask(text, (), phone_region=tools.phone_region)[1]._asdict(),
    }
