"""Which documents are kept, decided on what was measured of them: whole columns at a time."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.filter.rules import Rule
from pipeline.filter.settings import FilterSettings, rules_in_force
from pipeline.records import Reason, Rejection

KEPT = -1


class Check(NamedTuple):
    """A rule's verdict on each document, and what was measured of one, as people read it."""

    reason: Reason
    breaks: npt.NDArray[np.bool_]
    value: Callable[[int], str]


def columns_asked(settings: FilterSettings) -> set[str]:
    """The columns of MEASURES that the rules in force ask for."""
    found = {"num_words", *(rule.measure for rule in rules_in_force(settings))}
    if not settings.wikipedia:
        found.add("wikipedia")
    return found | {"language", "language_score"} if settings.languages else found


def checks(measured: pa.Table, settings: FilterSettings) -> list[Check]:
    """The rules in force, in their order: the first that a document breaks is why it is rejected."""
    return list(_checks(measured, settings))


def _checks(measured: pa.Table, settings: FilterSettings) -> Iterator[Check]:
    if not settings.wikipedia:
        hosts = measured["wikipedia"]
        yield Check(Reason.WIKIPEDIA, _mask(pc.is_valid(hosts)), lambda row: str(hosts[row]))
    num_words = measured["num_words"].to_numpy()
    yield Check(Reason.TOO_SHORT, num_words < settings.min_words, lambda row: f"{num_words[row]} words")
    if settings.languages:
        languages, scores = measured["language"], measured["language_score"].to_numpy()
        wanted = _mask(pc.is_in(languages, value_set=pa.array(settings.languages, pa.string())))
        unsure = scores < np.float32(settings.min_language_score)
        yield Check(Reason.LANGUAGE, ~wanted | unsure, lambda row: f"{languages[row]} {scores[row]:.4f}")
    for rule in rules_in_force(settings):
        yield check_rule(measured, rule)


def check_rule(measured: pa.Table, rule: Rule) -> Check:
    """A quality rule's verdict, whether it is in force or not."""
    values = measured[rule.measure].to_numpy()
    breaks = values < rule.threshold if rule.at_least else values > rule.threshold
    return Check(rule.reason, breaks, lambda row: f"{values[row]:.4g}")


def _mask(values: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = values.to_numpy().astype(np.bool_)
    return found


def first_broken(found: list[Check], num_rows: int) -> npt.NDArray[np.int16]:
    """For each document the place of the first check that it breaks; KEPT where it breaks none."""
    first = np.full(num_rows, KEPT, np.int16)
    for place in reversed(range(len(found))):
        first[found[place].breaks] = place
    return first


def decide(measured: pa.Table, settings: FilterSettings) -> list[Rejection | None]:
    """Why each document is rejected; None where it is kept.

    Args:
        measured: Rows of MEASURES.
        settings: The rules and their thresholds.
    """
    found = checks(measured, settings)
    places = first_broken(found, measured.num_rows).tolist()
    return [
        None if place == KEPT else Rejection(found[place].reason, found[place].value(row))
        for row, place in enumerate(places)
    ]
