"""The reference of all settings, ``docs/settings.md``: ``python -m webtext.settings_reference`` prints it.

Names, values, defaults and descriptions are those of the sections by which a settings file is checked and
written; presets are the tables that the code goes by.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel

from model.config import ALBERT_PRESETS, GPT2_PRESETS, Architecture, ModelSettings, TrainSettings
from model.training.recipe import resolve_recipe
from pipeline.config import Manner
from pipeline.filter.c4 import C4_LINES, FINEWEB_LINES
from pipeline.filter.rules import RULES, Rule
from webtext.settings import Settings, sections, toml

HOW_TO = {
    "run": "object-stores.md",
    "collect": "collect.md",
    "collect.reddit": "reddit.md",
    "link": "link.md",
    "fetch": "fetch.md",
    "extract": "extract.md",
    "filter": "filter.md",
    "dedupe": "dedupe.md",
    "tokenizer": "tokenizer.md",
    "shard": "shard.md",
    "model": "pretraining.md",
    "train": "pretraining.md",
}

_INTRODUCTION = """\
# All settings

<!-- Written by `make docs` from the code; changes go there. -->
The settings are one TOML file. `webtext init webtext.toml` writes it with all that stands here; a file need \
only hold what differs from the defaults. `--set NAME=VALUE` of `webtext build` puts a value in place of the \
file's, under the name in the tables: `--set link.min_karma=5`.

- All mistakes are told at once, by name, before any work: unknown names, wrong types, impossible values.
- Paths are relative to the folder of the settings file ("this file"); where it says so, they may be globs.
- Another value makes the parts of the stage that go by it stale, and `webtext build` does them again. \
Settings marked **○** say how the work is done, or where files lie of which the content is what counts: \
they leave finished parts as they are.
- A default of — is none: the setting is left out, and its description says what holds then."""

# What a number counts, by the words of its name (`timeout_s`, `max_bytes`).
_UNITS = {
    "s": "seconds",
    "mb": "megabytes",
    **{unit: unit for unit in ("bytes", "documents", "minutes", "steps", "submissions", "tokens", "words")},
}
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_RECIPE = ("tokens", "batch_tokens", "ramp_tokens", "learning_rate", "warmup_tokens", "decay_tokens")
_PRESETS = ("webtext", "gopher", "c4", "fineweb")


def reference() -> str:
    """The whole document."""
    return "\n\n".join((_INTRODUCTION, *_sections())) + "\n"


def _sections() -> Iterator[str]:
    manner: tuple[str, ...] = ()  # sections of which every setting says how and not what
    for name, section in sections(Settings()):
        kind = type(section)
        manner += tuple(f"{name}.{key}." for key in kind.model_fields if _says_how(kind, key))
        description = " ".join((kind.__doc__ or "").split())
        guide = f" How to: [{HOW_TO[name]}]({HOW_TO[name]})." if name in HOW_TO else ""
        yield f"{'#' * (2 + name.count('.'))} [{name}]"
        yield description + guide
        if name == "filter.rules":
            yield _rules(name)
            continue
        yield _settings(name, section, all_how=f"{name}.".startswith(manner))
        if name == "filter.lines":
            yield _lines(kind)
        if name == "model":
            yield from _models()
        if name == "train":
            yield from _recipes()


def _says_how(section: type[BaseModel], key: str) -> bool:
    return any(mark is Manner for mark in section.model_fields[key].metadata)


def _settings(name: str, section: BaseModel, *, all_how: bool) -> str:
    kind = type(section)
    rows = []
    for key, schema in kind.model_json_schema()["properties"].items():
        value = getattr(section, key)
        if isinstance(value, BaseModel):
            continue
        how = " ○" if all_how or _says_how(kind, key) else ""
        default = "—" if value is None else f"`{toml(value)}`"
        rows.append((f"`{name}.{key}`{how}", _values(key, schema), default, _text(schema["description"])))
    return _table(("setting", "values", "default", "what it means"), rows)


def _values(key: str, schema: dict[str, Any]) -> str:
    """What may be given, from a field's JSON schema."""
    if "anyOf" in schema:  # left out, or the other
        return _values(key, next(one for one in schema["anyOf"] if one["type"] != "null"))
    if "enum" in schema:
        return ", ".join(f"`{toml(one)}`" for one in schema["enum"])
    kind = schema["type"]
    if kind == "array":
        return f"list: {_values(key, schema['items'])}"
    if kind == "object":
        return f"table: name = {_values(key, schema['additionalProperties'])}"
    if kind == "boolean":
        return "`true`, `false`"
    if kind == "string":
        return {"date": "day", "path": "path"}.get(schema.get("format", ""), "text")
    number = "whole number" if kind == "integer" else "number"
    unit = next((f" of {_UNITS[word]}" for word in key.split("_") if word in _UNITS), "")
    bounds = "".join(f", {sign} {schema[bound]:,}" for bound, sign in _BOUNDS.items() if bound in schema)
    return f"{number}{unit}{bounds}"


def _rules(name: str) -> str:
    rows = [
        (f"`{name}.{rule.name}`", *(_threshold(rule, preset) for preset in _PRESETS), _bound(rule))
        for rule in RULES
    ]
    return "A number, or `false`; what is left out is as the preset has it (—: no such rule).\n\n" + _table(
        ("setting", *_PRESETS, "a document is kept with"), rows
    )


def _threshold(rule: Rule, preset: str) -> str:
    return f"{rule.threshold:g}" if preset in rule.presets else "—"


def _bound(rule: Rule) -> str:
    return _text(f"{'at least' if rule.at_least else 'at most'} … {rule.what}")


def _lines(kind: type[BaseModel]) -> str:
    rows = [
        (
            f"`filter.lines.{key}`",
            *(f"`{toml(getattr(preset, key))}`" for preset in (C4_LINES, FINEWEB_LINES)),
        )
        for key in kind.model_fields
    ]
    return "The presets' values; `webtext` and `gopher` have none of them.\n\n" + _table(
        ("setting", "c4", "fineweb"), rows
    )


def _models() -> Iterator[str]:
    yield "### Presets of gpt2"
    yield _table(
        ("preset", "context (tokens)", "layers", "width", "heads", "dropout"),
        [
            (f"`{name}`", *map(_number, (one.context, one.layers, one.width, one.heads, one.dropout)))
            for name, one in GPT2_PRESETS.items()
        ],
    )
    yield "### Presets of albert"
    yield _table(
        ("preset", "context (tokens)", "embedding", "layers", "width", "heads", "feed-forward", "dropout"),
        [
            (
                f"`{name}`",
                *map(_number, (one.context, one.embedding, one.layers, one.width, one.heads)),
                *map(_number, (one.ffn, one.dropout)),
            )
            for name, one in ALBERT_PRESETS.items()
        ],
    )


def _recipes() -> Iterator[str]:
    yield "### What presets train by"
    yield "What holds where nothing is set. The learning rate is the highest; the others are tokens."
    presets: dict[Architecture, Iterable[str]] = {"gpt2": GPT2_PRESETS, "albert": ALBERT_PRESETS}
    rows = []
    for architecture, names in presets.items():
        for name in names:
            model = ModelSettings(architecture=architecture, preset=name)
            recipe = resolve_recipe(model, TrainSettings())
            own = (_number(getattr(recipe, column)) for column in _RECIPE)
            rows.append((architecture, f"`{name}`", *own))
    yield _table(("architecture", "preset", *(f"`{column}`" for column in _RECIPE)), rows)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _text(text: str) -> str:
    """A description as a cell: one line, and nothing that Markdown takes for its own."""
    return re.sub(r"([<|\[\]])", r"\\\1", " ".join(text.split()))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (head, ("---",) * len(head), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(reference(), end="")
