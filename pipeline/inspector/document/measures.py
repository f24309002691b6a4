"""What filter measured of a document, beside what the rules ask for."""

from dataclasses import dataclass

import pyarrow as pa

from pipeline.filter.decide import check_rule, checks
from pipeline.filter.rules import RULES, Rule
from pipeline.filter.settings import FilterSettings
from pipeline.inspector.judging.reasons import limit, rule_limit
from pipeline.records import MEASURES, Reason


@dataclass(frozen=True, slots=True)
class Judged:
    """A rule: what it measured of a document, what it asks for, and whether that is so.

    ``presets`` are those that have the rule, where it is not in force.
    """

    rule: str
    value: str
    asked: str
    passes: bool
    presets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measures:
    """Of one document: the rules in force, those that are not, and everything that was measured."""

    in_force: tuple[Judged, ...]
    others: tuple[Judged, ...]
    every: tuple[tuple[str, object], ...]


def judge(measured: pa.Table, settings: FilterSettings) -> Measures:
    """A document's measures, judged as filter does.

    Args:
        measured: Its row, of MEASURES.
        settings: Those in force.
    """
    row = measured.to_pylist()[0]
    in_force = tuple(
        Judged(
            rule=str(check.reason),
            value="–" if row["wikipedia"] is None and check.reason == Reason.WIKIPEDIA else check.value(0),
            asked=_asked(check.reason, settings),
            passes=not check.breaks[0],
        )
        for check in checks(measured, settings)
    )
    names = {one.rule for one in in_force}
    others = tuple(_not_in_force(measured, rule) for rule in RULES if rule.name not in names)
    return Measures(in_force, others, tuple((name, row[name]) for name in MEASURES.names))


def _asked(reason: Reason, settings: FilterSettings) -> str:
    if reason == Reason.WIKIPEDIA:
        return "no page of Wikipedia"
    found = limit("filter", reason, settings.model_dump(mode="json"))
    return "" if found is None else found.text


def _not_in_force(measured: pa.Table, rule: Rule) -> Judged:
    check = check_rule(measured, rule)
    return Judged(rule.name, check.value(0), rule_limit(rule).text, not check.breaks[0], rule.presets)
