"""Other settings of filter as a form gives them: read, and what is wrong with them told field by field."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from pipeline.filter.rules import RULES
from pipeline.filter.settings import FilterSettings, Preset, rules_in_force

PRESETS: tuple[Preset, ...] = get_args(Preset)

_RULE = "rules."
_NOT_A_NUMBER = "Write a number, such as {}."


@dataclass(frozen=True, slots=True)
class Field:
    """A setting as the form shows it.

    Attributes:
        name: As in the settings file, without ``filter.``
        what: What it asks for, in words.
        now: What is in force, as it would be typed; empty: no such rule.
        typed: What is tried.
        is_set: It is tried in this very field, and does not follow from another.
        error: What is wrong with it.
    """

    name: str
    what: str
    now: str
    typed: str
    is_set: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """Settings that are tried, and the form that shows them; ``then`` is None where a field is wrong."""

    fields: tuple[Field, ...]
    then: FilterSettings | None
    assignments: tuple[str, ...]  # as `webtext try-filters --set` takes them

    def field(self, name: str) -> Field:
        """A field by its name."""
        return next(field for field in self.fields if field.name == name)

    @property
    def rules(self) -> list[Field]:
        """The fields of rules that are in force, or would be, or are wrong."""
        return [field for field in self.fields if field.name.startswith(_RULE) and _is_used(field)]

    @property
    def other_rules(self) -> list[Field]:
        """The fields of the other rules."""
        return [field for field in self.fields if field.name.startswith(_RULE) and not _is_used(field)]


def changes(now: FilterSettings, sent: Mapping[str, str]) -> dict[str, str]:
    """Of what an address has, the settings that are tried.

    Args:
        now: The settings in force.
        sent: The fields of a form, which has them all and ``shown``, the preset of which it showed the rules:
            then those count that say something else than was shown. Or, without ``shown``, what counts.
    """
    names = _typed(now)
    given = {name: sent[name].strip() for name in names if name in sent}
    if "shown" not in sent:
        return given
    preset = sent["shown"] if sent["shown"] in PRESETS else now.preset
    shown = {**_typed(now.model_copy(update={"preset": preset})), "preset": now.preset}
    return {name: text for name, text in given.items() if text != shown[name]}


def read_trial(now: FilterSettings, changed: Mapping[str, str]) -> Trial:
    """The settings in force with others in their places.

    Args:
        now: The settings in force.
        changed: Other values, as people type them.
    """
    errors: dict[str, str] = {}
    values: dict[str, Any] = {}
    for name, text in changed.items():
        try:
            values[name] = _read(name, text)
        except ValueError as error:
            errors[name] = str(error)
    then, refused = _settings(now, values)
    errors = {**refused, **errors}
    typed = {**_typed(then or now), **changed}
    fields = tuple(
        Field(name, what, before, typed[name], name in changed, errors.get(name, ""))
        for (name, before), what in zip(_typed(now).items(), _WHATS.values(), strict=True)
    )
    said = tuple(f"filter.{name}={json.dumps(value)}" for name, value in values.items())
    return Trial(fields, None if errors else then, said)


def _is_used(field: Field) -> bool:
    return bool(field.now or field.typed or field.error)


def _typed(settings: FilterSettings) -> dict[str, str]:
    """Every field's value, as people type it."""
    rules = {rule.name: _number(rule.threshold) for rule in rules_in_force(settings)}
    return {
        "preset": settings.preset,
        "languages": ", ".join(settings.languages),
        "min_language_score": _number(settings.min_language_score),
        "min_words": _number(settings.min_words),
        "wikipedia": "keep" if settings.wikipedia else "leave out",
        **{f"{_RULE}{rule.name}": rules.get(rule.name, "") for rule in RULES},
    }


_WHATS: Mapping[str, str] = {
    "preset": "The preset of quality rules",
    "languages": "Languages kept (codes such as en, de; none: all)",
    "min_language_score": "How sure of the language the detector must be, from 0 to 1",
    "min_words": "The fewest words",
    "wikipedia": "Wikipedia's pages",
    **{
        f"{_RULE}{rule.name}": f"{'At least' if rule.at_least else 'At most'} so many {rule.what}"
        for rule in RULES
    },
}


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _read(name: str, text: str) -> Any:
    """A field's value; ValueError with what is wrong in words."""
    if name == "preset":
        return text
    if name == "wikipedia":
        return text == "keep"
    if name == "languages":
        return [code for code in text.replace(",", " ").split() if code]
    if name == "min_words":
        return _parsed(int, text, "50")
    if name == "min_language_score":
        return _parsed(float, text, "0.5")
    return _parsed(float, text, "0.25") if text else False


def _parsed(kind: type[int] | type[float], text: str, example: str) -> float:
    try:
        value = kind(text.replace(",", ""))
    except ValueError:
        raise ValueError(_NOT_A_NUMBER.format(example)) from None
    if not math.isfinite(value):
        raise ValueError(_NOT_A_NUMBER.format(example))
    return value


def _settings(now: FilterSettings, values: Mapping[str, Any]) -> tuple[FilterSettings | None, dict[str, str]]:
    """The settings with other values, and by field what is wrong with these."""
    given = now.model_dump()
    for name, value in values.items():
        if name.startswith(_RULE):
            given["rules"][name.removeprefix(_RULE)] = value
        else:
            given[name] = value
    try:
        return FilterSettings.model_validate(given), {}
    except ValidationError as error:
        return None, dict(_problems(error))


def _problems(error: ValidationError) -> Iterator[tuple[str, str]]:
    for problem in error.errors():
        name = ".".join(str(step) for step in problem["loc"])
        yield name, problem["msg"].replace("Input should be", "It should be") + "."
