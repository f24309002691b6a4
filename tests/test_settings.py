"""The settings file: refused before any work, all mistakes at once; written with every default."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from pipeline.config import FetchSettings, settings_digest
from pipeline.errors import InputError
from webtext.settings import Settings, load, render

WRONG = """
[colect]
dumps = []
[collect]
dumps = "RS_2019-12.zst"
[link]
min_karma = "three"
karma = "median"
[fetch]
sorce = "web"
delay_s = -1
resolve = { "example.com" = "nowhere" }
[dedupe]
threshold = 1.5
[model]
architecture = "gpt5"
[train]
dropot = 0.1
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "webtext.toml"
    path.write_text(text)
    return path


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(write(tmp_path, WRONG))
    message = str(caught.value)
    assert "10 settings are wrong" in message
    for line in (
        "colect: unknown; did you mean collect?",
        "collect.dumps: Input should be a list (given: 'RS_2019-12.zst')",
        "link.min_karma: Input should be a valid integer",
        "link.karma: Input should be 'max' or 'sum' (given: 'median')",
        "fetch.sorce: unknown; did you mean source?",
        "fetch.delay_s: Input should be greater than or equal to 0 (given: -1)",
        'fetch.resolve: example.com = "nowhere" is not of the form "address:port"',
        "dedupe.threshold: Input should be less than or equal to 1",
        "model.architecture: Input should be 'gpt2' or 'albert'",
        "train.dropot: unknown",
    ):
        assert line in message


def test_what_is_no_settings_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="webtext init"):
        load(tmp_path / "missing.toml")
    with pytest.raises(InputError, match=r"is not TOML: .*line 1"):
        load(write(tmp_path, "[run\n"))
    with pytest.raises(InputError, match="cannot read"):
        load(tmp_path)


def test_rendered_defaults_load_as_the_defaults(tmp_path: Path) -> None:
    text = render(Settings())
    loaded = load(write(tmp_path, text))
    assert loaded.fetch == Settings().fetch
    assert loaded.run.dir == str(tmp_path / "runs" / "webtext")
    assert loaded.model_copy(update={"run": Settings().run}) == Settings()


def test_every_value_survives_the_file(tmp_path: Path) -> None:
    fetch = FetchSettings(contact='"quoted" \\ back', resolve={"a.example": "127.0.0.1:80", "b": "[::1]:81"})
    settings = Settings(fetch=fetch)
    assert load(write(tmp_path, render(settings))).fetch == fetch


def test_every_setting_is_documented() -> None:
    for name, section in Settings.model_fields.items():
        assert isinstance(section.annotation, type)
        assert issubclass(section.annotation, BaseModel)
        assert section.annotation.__doc__, name
        for key, field in section.annotation.model_fields.items():
            assert field.description, f"{name}.{key}"
    commented = re.findall(r"^# \w+ =", render(Settings()), re.M)
    assert commented, "settings without a default stand as comments"
    assert tomllib.loads(render(Settings()))["link"]["min_karma"] == 3


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    text = '[run]\ndir = "s3://bucket/run"\n[collect]\ndumps = ["RS_*.zst", "/data/RS_2019-01.zst"]\n'
    settings = load(write(tmp_path, text))
    assert settings.run.dir == "s3://bucket/run"
    assert settings.collect.dumps == (str(tmp_path / "RS_*.zst"), "/data/RS_2019-01.zst")


def test_how_the_work_is_done_leaves_finished_parts_standing() -> None:
    digest = settings_digest(FetchSettings(contact="a@example.org"))
    assert digest == settings_digest(FetchSettings(contact="b@example.org", delay_s=9))
    assert digest != settings_digest(FetchSettings(max_bytes=1000))
