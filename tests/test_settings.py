"""The settings file: refused before any work, all mistakes at once; written with every default."""

import re
import tempfile
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from pipeline.config import (
    CollectSettings,
    FetchSettings,
    LinkSettings,
    Manner,
    RedditSettings,
    Section,
    UrlSettings,
    deciding,
    settings_digest,
)
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


WRONG_INSIDE = """
[collect]
since = 2019
before = "June"
urls = ["https://example.com/"]
[collect.reddit]
subredits = ["news"]
listings = ["best"]
time_filters = "all"
[collect.reddit.api]
"""


def test_mistakes_in_sections_of_sections_are_named_too(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load(write(tmp_path, WRONG_INSIDE))
    lines = str(caught.value).split("\n  ")
    assert "7 settings are wrong" in lines[0]
    assert lines[1:] == [
        "collect.since: Input should be a day, such as 2019-06-01 (given: 2019)",
        "collect.before: Input should be a day, such as 2019-06-01 (given: 'June')",
        "collect.urls: Input should be a section of its own, [collect.urls] (given: ['https://example.com/'])",
        "collect.reddit.listings.0: Input should be 'new', 'top', 'hot' or 'rising' (given: 'best')",
        "collect.reddit.time_filters: Input should be a list (given: 'all')",
        "collect.reddit.subredits: unknown; did you mean subreddits?",
        f"collect.reddit.api: unknown; known here: {', '.join(RedditSettings.model_fields)}",
    ]


def test_a_day_is_a_day(tmp_path: Path) -> None:
    noon = write(tmp_path, "[collect]\nsince = 2019-06-01T12:00:00\n")
    with pytest.raises(
        InputError, match=r"collect\.since: .*such as 2019-06-01 \(given: 2019-06-01T12:00:00\)"
    ):
        load(noon)
    turned = write(tmp_path, "[collect]\nsince = 2020-01-01\nbefore = 2020-01-01\n")
    with pytest.raises(InputError, match=r"collect: since = 2020-01-01 is not before"):
        load(turned)


def test_what_is_no_settings_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="webtext init"):
        load(tmp_path / "missing.toml")
    with pytest.raises(InputError, match=r"is not TOML: .*line 1"):
        load(write(tmp_path, "[run\n"))
    with pytest.raises(InputError, match="is a folder, and a settings file is wanted"):
        load(tmp_path)


def test_values_in_place_of_the_files(tmp_path: Path) -> None:
    path = write(tmp_path, '[run]\ndir = "runs/all"\n[fetch]\nsource = "warc"\n[collect]\ndumps = ["RS_*"]\n')
    with pytest.raises(InputError, match=r"webtext\.toml: one setting is wrong:\n  fetch: source"):
        load(path)
    june = load(
        path,
        [
            'fetch.warcs=["june.warc.gz"]',  # which makes a file right that was not by itself
            'collect.dumps=["dumps/RS_2019-06.zst", "/data/RS_v2_2019-06.xz"]',
            "collect.since=2019-06-01",
            "run.dir = runs/2019-06",
            "dedupe.against=[]",
        ],
    )
    assert june.collect.dumps == (str(tmp_path / "dumps/RS_2019-06.zst"), "/data/RS_v2_2019-06.xz")
    assert june.fetch.warcs == (str(tmp_path / "june.warc.gz"),)
    assert june.collect.since == date(2019, 6, 1)
    assert june.run.dir == str(tmp_path / "runs/2019-06")
    assert june.dedupe.against == ()


def test_wrong_values_in_place_of_the_files(tmp_path: Path) -> None:
    path = write(tmp_path, "[link]\nmin_karma = 3\n")
    with pytest.raises(InputError, match=r"toml with --set: one setting is wrong:\n  link\.min_carma: unk"):
        load(path, ["link.min_carma=5"])
    with pytest.raises(InputError, match="'link' sets nothing: give NAME=VALUE"):
        load(path, ["link"])


def test_rendered_defaults_load_as_the_defaults(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, render(Settings())))
    assert loaded.run.dir == str(tmp_path / "runs" / "webtext")
    assert loaded.collect.reddit.dump == str(tmp_path / "reddit.zst")
    reddit = loaded.collect.reddit.model_copy(update={"dump": RedditSettings().dump})
    collect = loaded.collect.model_copy(update={"reddit": reddit})
    assert loaded.model_copy(update={"run": Settings().run, "collect": collect}) == Settings()


def test_every_value_survives_the_file(tmp_path: Path) -> None:
    fetch = FetchSettings(contact='"quoted" \\ back', resolve={"a.example": "127.0.0.1:80", "b": "[::1]:81"})
    assert load(write(tmp_path, render(Settings(fetch=fetch)))).fetch == fetch


_names = st.lists(st.text(), max_size=3).map(tuple)
_days = st.dates(date(1970, 1, 1), date(2106, 1, 1))


@settings(max_examples=50, deadline=None)
@given(
    st.builds(
        CollectSettings,
        list_karma=st.integers(-(2**40), 2**40),
        subreddits=_names,
        media_domains=_names,
        since=st.none() | _days,
        urls=st.builds(UrlSettings, unwrap=st.booleans(), drop_amp=st.booleans()),
        reddit=st.builds(RedditSettings, subreddits=_names, contact=st.text(), dump=st.just("/data/r.zst")),
    )
)
def test_values_of_sections_of_sections_survive_the_file(collect: CollectSettings) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "webtext.toml"
        for comments in (True, False):
            path.write_text(render(Settings(collect=collect), comments=comments), "utf-8")
            assert load(path).collect == collect


def test_sections_of_sections_stand_behind_the_keys_of_theirs() -> None:
    text = render(Settings(collect=CollectSettings(since=date(2019, 6, 1))))
    assert re.findall(r"(?m)^\[(.+)\]$", text)[:5] == [
        "run", "collect", "collect.urls", "collect.reddit", "link",
    ]  # fmt: skip
    assert "\nsince = 2019-06-01\n" in text
    assert "\n# before =\n" in text
    assert f"\n# {UrlSettings.__doc__}\n[collect.urls]\n" in text


def _sections(model: type[BaseModel], name: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Every section, those inside sections with them, by dotted name."""
    for key, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield f"{name}{key}", field.annotation
            yield from _sections(field.annotation, f"{name}{key}.")


def test_every_setting_is_documented() -> None:
    sections = dict(_sections(Settings))
    assert sections.keys() > Settings.model_fields.keys()
    for name, section in sections.items():
        assert section.__doc__, name
        for key, field in section.model_fields.items():
            assert field.description or f"{name}.{key}" in sections, f"{name}.{key}"
    commented = re.findall(r"^# \w+ =", render(Settings()), re.M)
    assert commented, "settings without a default stand as comments"
    values = tomllib.loads(render(Settings()))
    assert values["link"]["min_karma"] == 3
    assert values["collect"]["urls"]["drop_amp"] is True


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    text = """
[run]
dir = "s3://bucket/run"
[collect]
dumps = ["RS_*.zst", "/data/RS_2019-01.zst"]
lists = ["urls.txt"]
[collect.reddit]
dump = "answers.zst"
[link]
opt_out_lists = ["~/gone.txt"]
[train]
dir = "models"
"""
    loaded = load(write(tmp_path, text))
    assert loaded.run.dir == "s3://bucket/run"
    assert loaded.collect.dumps == (str(tmp_path / "RS_*.zst"), "/data/RS_2019-01.zst")
    assert loaded.collect.lists == (str(tmp_path / "urls.txt"),)
    assert loaded.collect.reddit.dump == str(tmp_path / "answers.zst")
    assert loaded.link.opt_out_lists == (str(Path.home() / "gone.txt"),)
    assert loaded.train.dir == tmp_path / "models"


def test_how_the_work_is_done_leaves_finished_parts_standing() -> None:
    digest = settings_digest(FetchSettings(contact="a@example.org"))
    assert digest == settings_digest(FetchSettings(contact="b@example.org", delay_s=9))
    assert digest != settings_digest(FetchSettings(max_bytes=1000))


def test_sections_of_sections_decide_by_their_marks() -> None:
    digest = settings_digest(CollectSettings())
    manners: list[dict[str, Any]] = [
        {"reddit": RedditSettings(subreddits=("news",), contact="me")},
        {"dumps": ("RS_2019-06.zst",), "lists": ("urls.txt",), "on_damage": "keep"},
    ]
    for values in manners:
        assert settings_digest(CollectSettings(**values)) == digest
    deciders: list[dict[str, Any]] = [
        {"urls": UrlSettings(drop_amp=False)},
        {"since": date(2019, 6, 1)},
        {"list_karma": 1},
        {"not_subreddits": ("news",)},
    ]
    assert len({settings_digest(CollectSettings(**values)) for values in deciders} - {digest}) == 4
    assert settings_digest(LinkSettings(opt_out_lists=("gone.txt",))) == settings_digest(LinkSettings())
    said = deciding(CollectSettings(since=date(2019, 6, 1)))
    assert said["since"] == "2019-06-01"
    assert said["urls"] == UrlSettings().model_dump()
    assert "reddit" not in said


class _Inner(Section):
    what: int = 1
    how: Annotated[int, Manner] = 1


class _Outer(Section):
    inner: _Inner = _Inner()


def test_a_mark_inside_a_section_counts_where_the_section_is_not_marked() -> None:
    assert deciding(_Outer()) == {"inner": {"what": 1}}
