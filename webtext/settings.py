"""The settings file: read, checked all at once, written with every default and its comment."""

import difflib
import hashlib
import json
import textwrap
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from model.config import ModelSettings, TrainSettings
from pipeline.config import (
    CollectSettings,
    DedupeSettings,
    ExtractSettings,
    FetchSettings,
    FilterSettings,
    LinkSettings,
    RunSettings,
    ShardSettings,
)
from pipeline.errors import InputError
from tokenizer.config import TokenizerSettings


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


def load(path: Path) -> Settings:
    """Reads a settings file; paths in it are relative to its folder.

    Raises:
        InputError: The file is not there, is not TOML, or holds unknown keys, wrong types or impossible
            values: all of them, by dotted name.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"no settings file at {path}. Write one with: webtext init {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems = error.errors()
        lines = "\n".join(f"  {_explain(problem)}" for problem in problems)
        number = "one setting is" if len(problems) == 1 else f"{len(problems)} settings are"
        raise InputError(f"{path}: {number} wrong:\n{lines}") from error
    return _resolved(settings, path.parent)


def _explain(problem: ErrorDetails) -> str:
    name = ".".join(str(step) for step in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{name}: unknown{_nearest(problem['loc'])}"
    message = problem["msg"].removeprefix("Value error, ").replace("valid tuple", "list")
    given = problem["input"]
    shown = "" if isinstance(given, (dict, BaseModel)) else f" (given: {given!r})"
    return f"{name}: {message}{shown}"


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


def _resolved(settings: Settings, folder: Path) -> Settings:
    """The same with every path absolute."""

    def absolute(path: str) -> str:
        return path if "://" in path else str((folder / Path(path).expanduser()).absolute())

    train = settings.train
    return settings.model_copy(
        update={
            "run": settings.run.model_copy(update={"dir": absolute(settings.run.dir)}),
            "collect": settings.collect.model_copy(
                update={"dumps": tuple(absolute(dump) for dump in settings.collect.dumps)}
            ),
            "fetch": settings.fetch.model_copy(
                update={"warcs": tuple(absolute(warc) for warc in settings.fetch.warcs)}
            ),
            "train": train.model_copy(
                update={"dir": Path(absolute(str(train.dir))) if train.dir is not None else None}
            ),
        }
    )


def render(settings: Settings, *, comments: bool = True) -> str:
    """A settings file with these values, each under what its field's docstring says."""
    sections = []
    for name in Settings.model_fields:
        section: BaseModel = getattr(settings, name)
        lines = [f"[{name}]"]
        if comments:
            lines.insert(0, _comment(type(section).__doc__ or ""))
        for key, of in type(section).model_fields.items():
            value = getattr(section, key)
            if comments:
                lines.append(_comment(of.description or ""))
            lines.append(f"# {key} =" if value is None else f"{key} = {_toml(value)}")
        sections.append("\n".join(line for line in lines if line))
    return "\n\n".join(sections) + "\n"


def digest(settings: Settings) -> str:
    """The SHA-256, in hex, of the settings as rendered without comments."""
    return hashlib.sha256(render(settings, comments=False).encode()).hexdigest()


def _comment(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 100, initial_indent="# ", subsequent_indent="# ")


def _toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(item) for item in value)}]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, Path):
        value = str(value)
    # JSON's strings, numbers and booleans are TOML's too.
    return json.dumps(value, ensure_ascii=False)
