"""Whether a document is worth keeping."""

from typing import NamedTuple

from pipeline.config import FilterSettings
from pipeline.filter.language import Detector
from pipeline.records import Reason, Rejection
from pipeline.urls import parse


class Document(NamedTuple):
    """What of a document a decision rests on."""

    final_url: str
    text: str


class Measures(NamedTuple):
    """What was measured of a document that is kept; the names are FILTERED's."""

    language: str
    language_score: float
    num_words: int


def decide(document: Document, settings: FilterSettings, detector: Detector) -> Measures | Rejection:
    """The document's measures if it is kept, else why it is not.

    The tests come in the order of their cost; the first that fails is the reason.
    """
    if not settings.wikipedia:
        host = wikipedia_host(document.final_url)
        if host is not None:
            return Rejection(Reason.WIKIPEDIA, host)
    num_words = len(document.text.split())
    if num_words < settings.min_words:
        return Rejection(Reason.TOO_SHORT, f"{num_words} words")
    language, score = detector(document.text)
    if settings.languages and (language not in settings.languages or score < settings.min_language_score):
        return Rejection(Reason.LANGUAGE, f"{language} {score:.4f}")
    return Measures(language, score, num_words)


def wikipedia_host(url: str) -> str | None:
    """The URL's host if it is Wikipedia's (any language, mobile, and under other endings), else None."""
    parsed = parse(url)
    if parsed is None or parsed.domain.partition(".")[0] != "wikipedia":
        return None
    return parsed.host
