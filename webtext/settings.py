"""The settings file: read, checked all at once, written with every default and its comment."""

import difflib
import hashlib
import json
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from model.config import ModelSettings, TrainSettings
from pipeline.config import (
    CollectSettings,
    DedupeSettings,
    Extraction,
    ExtractSettings,
    FetchSettings,
    Hopeless,
    LinkSettings,
    RunSettings,
    Section,
    ShardSettings,
)
from pipeline.errors import InputError
from pipeline.filter.settings import FilterSettings, hopeless
from pipeline.runs import Folder
from pipeline.where_runs_are import SETTINGS, is_run, no_run
from tokenizer.config import TokenizerSettings
from webtext.paths import as_uri

_Model = TypeVar("_Model", bound=BaseModel)

# What is resolved against the settings file's folder.
_PATHS = (
    "run.dir",
    "collect.dumps",
    "collect.lists",
    "collect.reddit.dump",
    "link.opt_out_lists",
    "fetch.warcs",
    "filter.bad_words",
    "filter.decontaminate.sets",
    "dedupe.against",
    "train.dir",
)


# A bare ValueError is raised for numbers of thousands of digits and for days that there are none.
_NO_TOML = (ValueError, RecursionError)


class Settings(BaseModel):
    """A whole settings file: a section each for the run, the stages in their order, and the models."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: RunSettings = RunSettings()
    collect: CollectSettings = CollectSettings()
    link: LinkSettings = LinkSettings()
    fetch: FetchSettings = FetchSettings()
    extract: ExtractSettings = ExtractSettings()
    filter: FilterSettings = FilterSettings()
    dedupe: DedupeSettings = DedupeSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    shard: ShardSettings = ShardSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()

    def section(self, stage: str) -> Section:
        """What a stage is given: its own section, and extract what the filter leaves no hope."""
        section: Section = getattr(self, stage)
        if not isinstance(section, ExtractSettings):
            return section
        return Extraction(
            **dict(section), hopeless=hopeless(self.filter) if section.reject_early else Hopeless()
        )


def load(path: Path, assignments: Sequence[str] = ()) -> Settings:
    """Reads a settings file; paths in it are relative to its folder.

    Args:
        path: The file.
        assignments: Values in place of the file's, as in ``with_values``; their paths are relative to its
            folder too.

    Raises:
        InputError: The file is not there, is not TOML, or holds unknown keys, wrong types or impossible
            values: all of them, by dotted name.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise InputError(f"no settings file at {path}. Write one with: webtext init {path}") from None
    except IsADirectoryError:
        raise InputError(
            f"{path} is a folder, and a settings file is wanted: write one with: webtext init webtext.toml"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    values = _assigned(_tables(text, str(path)), assignments)
    where = f"{path} with --set" if assignments else str(path)
    return _resolved(_validated(values, where), path.parent)


def load_run(run: Folder) -> Settings:
    """The settings that a run's last build went by; its paths are absolute.

    Raises:
        InputError: There is no run, or its settings cannot be read.
    """
    if not is_run(run):
        raise no_run(run)
    where = f"{run.uri}/{SETTINGS}"
    try:
        text = run.read(SETTINGS).decode("utf-8")
    except FileNotFoundError:
        raise no_run(run) from None
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read {where}: {error}") from error
    return _parse(text, where)


def with_values(settings: Settings, assignments: Iterable[str]) -> Settings:
    """The same settings with other values, as in ``filter.min_words=100`` (what follows = as in TOML).

    Raises:
        InputError: An assignment is none, or gives an unknown key, a wrong type or an impossible value.
    """
    return _validated(_assigned(settings.model_dump(mode="json", exclude_none=True), assignments), "--set")


def _assigned(values: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """The same tables with the values that are assigned."""
    for assignment in assignments:
        name, equals, value = (part.strip() for part in assignment.partition("="))
        if not equals or not name:
            raise InputError(f"{assignment!r} sets nothing: give NAME=VALUE, as in filter.min_words=100.")
        *sections, key = name.split(".")
        table = values
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise InputError(f"{name}: {section} is a setting, and no section.")
        table[key] = _toml_value(value)
    return values


def _toml_value(text: str) -> Any:
    """What a value means in TOML; a word that means nothing there is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except _NO_TOML:
        return text


def _parse(text: str, where: str) -> Settings:
    return _validated(_tables(text, where), where)


def _tables(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except _NO_TOML as error:
        raise InputError(f"{where} is not TOML: {error}") from error


def _validated(values: dict[str, Any], where: str) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        problems = error.errors()
        lines = "\n".join(f"  {_explain(problem)}" for problem in problems)
        number = "one setting is" if len(problems) == 1 else f"{len(problems)} settings are"
        raise InputError(f"{where}: {number} wrong:\n{lines}") from error


def _explain(problem: ErrorDetails) -> str:
    name = ".".join(str(step) for step in problem["loc"])
    kind = problem["type"]
    if kind == "extra_forbidden":
        return f"{name}: unknown{_nearest(problem['loc'])}"
    message = problem["msg"].removeprefix("Value error, ").replace("valid tuple", "list")
    if kind == "model_type":
        message = f"Input should be a section of its own, [{name}]"
    elif kind.startswith("date"):
        message = "Input should be a day, such as 2019-06-01"
    given = problem["input"]
    shown = "" if isinstance(given, (dict, BaseModel)) else f" (given: {_shown(given)})"
    return f"{name}: {message}{shown}"


def _shown(given: Any) -> str:
    return given.isoformat() if isinstance(given, date) else repr(given)


def _nearest(location: tuple[int | str, ...]) -> str:
    model: Any = Settings
    for step in location[:-1]:
        field = model.model_fields.get(str(step))
        model = field.annotation if field else None
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return ""
    near = difflib.get_close_matches(str(location[-1]), model.model_fields, n=1)
    known = ", ".join(model.model_fields)
    return f"; did you mean {near[0]}?" if near else f"; known here: {known}"


def _resolved(model: _Model, folder: Path, within: str = "") -> _Model:
    """The same with every path absolute."""
    update: dict[str, Any] = {}
    for key in type(model).model_fields:
        value, name = getattr(model, key), f"{within}{key}"
        if isinstance(value, BaseModel):
            update[key] = _resolved(value, folder, f"{name}.")
        elif name in _PATHS:
            update[key] = _absolute(value, folder)
    return model.model_copy(update=update)


def _absolute(value: Any, folder: Path) -> Any:
    """A path, or each of several, from the folder on; a URI as it is."""
    if isinstance(value, tuple):
        return tuple(_absolute(one, folder) for one in value)
    if isinstance(value, dict):
        return {name: _absolute(one, folder) for name, one in value.items()}
    if value in (None, "") or as_uri(value):
        return value
    return type(value)((folder / Path(value).expanduser()).absolute())


def sections(settings: Settings) -> Iterator[tuple[str, BaseModel]]:
    """Every section by its dotted name, each before those inside it."""
    for name in Settings.model_fields:
        yield from _with_inner(name, getattr(settings, name))


def _with_inner(name: str, section: BaseModel) -> Iterator[tuple[str, BaseModel]]:
    yield name, section
    for key in type(section).model_fields:
        value = getattr(section, key)
        if isinstance(value, BaseModel):
            yield from _with_inner(f"{name}.{key}", value)


def render(settings: Settings, *, comments: bool = True) -> str:
    """A settings file with these values, each under what its field's docstring says."""
    return "\n\n".join(_table(*section, comments) for section in sections(settings)) + "\n"


def _table(name: str, section: BaseModel, comments: bool) -> str:
    """A section's own keys."""
    lines = [_comment(type(section).__doc__ or "") if comments else "", f"[{name}]"]
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, BaseModel):
            continue
        lines.append(_comment(field.description or "") if comments else "")
        lines.append(f"# {key} =" if value is None else f"{key} = {toml(value)}")
    return "\n".join(line for line in lines if line)


def digest(settings: Settings) -> str:
    """The SHA-256, in hex, of the settings as rendered without comments."""
    return hashlib.sha256(render(settings, comments=False).encode()).hexdigest()


def _comment(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 100, initial_indent="# ", subsequent_indent="# ")


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(toml(item) for item in value)}]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{toml(key)} = {toml(item)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Path):
        value = str(value)
    # JSON's strings, numbers and booleans are TOML's too, but for one character that TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
