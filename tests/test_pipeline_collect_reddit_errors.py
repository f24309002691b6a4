"""Reddit's API asked in vain: what people are told, and that no answer is lost over it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InputError, RunError
from tests.reddit_replay import (
    DROP,
    ENVIRON,
    SECRET,
    Reddit,
    answer,
    ids_of,
    publish_two,
    quietly,
    serving,
)

pytest.importorskip("praw")


@pytest.fixture
def reddit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reddit]:
    # prawcore waits some seconds before it tries again.
    monkeypatch.setattr("prawcore.sessions.FiniteRetryStrategy._sleep_seconds", lambda _: None)
    with serving() as server:
        yield server


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return tmp_path / "reddit.zst"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (answer(b"down", 503), "again and again with HTTP status 503"),
        (answer(b"", 401), "again and again with HTTP status 401"),
        (answer(b"", 401, WWW_Authenticate="Basic"), "HTTP status 401"),
        (answer(b"", 418), "a listing with HTTP status 418"),
        (answer(b"<html>", 200), "with what is not JSON"),
        (answer(b"", 200), "no listing"),
        (answer([]), "no listing"),
        (answer({"data": {"children": None}}), "no listing"),
        (answer({"data": {"children": [{"kind": "t3", "data": {"id": 5}}]}}), "has no id"),
        (answer({"data": {"children": [{"kind": "t3", "data": None}]}}), "has no id"),
        (DROP, "cannot be reached"),
    ],
)
def test_what_cannot_be_mended_ends_the_run_and_loses_nothing(
    reddit: Reddit, dump: Path, fault: Any, message: str
) -> None:
    ids = publish_two(reddit)[:5]
    reddit.known["/r/a/new", "", "t3_a3"] = fault
    with pytest.raises(RunError, match=message):
        quietly(reddit.settings(dump))
    assert not dump.exists()
    publish_two(reddit)
    quietly(reddit.settings(dump))
    assert sorted(ids_of(dump)) == ids


def test_all_subreddits_that_cannot_be_read_are_told_at_once(reddit: Reddit, dump: Path) -> None:
    ids = publish_two(reddit)
    reddit.known |= {
        ("/r/hidden/new", "", ""): answer({"reason": "private", "message": "Forbidden"}, 403),
        ("/r/gone/new", "", ""): answer(b"<html>", 404),
        ("/r/withheld/new", "", ""): answer({"reason": ["?"]}, 451, WWW_Authenticate="Bearer x"),
        ("/r/mistyped/new", "", ""): answer(b"", 302, Location="/subreddits/search?q=mistyped"),
    }
    names = ("hidden", "a", "gone", "withheld", "b", "mistyped")
    with pytest.raises(InputError) as error:
        quietly(reddit.settings(dump, subreddits=names, listings=("new",)))
    assert "  hidden: private\n  gone: banned, or there is none of this name\n" in str(error.value)
    assert "  withheld: withheld for legal reasons\n  mistyped: there is none" in str(error.value)
    assert not dump.exists()
    reddit.log.clear()
    quietly(reddit.settings(dump, subreddits=("a", "b")), {})  # all is answered: no credentials are needed
    assert reddit.log == []
    assert ids_of(dump) == ids


def test_a_subreddit_that_cannot_be_read_is_asked_once(reddit: Reddit, dump: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        quietly(reddit.settings(dump, subreddits=("nowhere",), listings=("new", "hot", "rising")))
    assert reddit.asked == ["/r/nowhere/new"]


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        (answer({"message": "Unauthorized", "error": 401}, 401), InputError, r"HTTP status 401\): they must"),
        (answer(b"", 403), InputError, "March 2027"),
        (answer({"error": "unauthorized_client"}), InputError, "unauthorized_client"),
        (answer(b"<html>closed"), RunError, "a token with something that is none"),
        (answer({"access_token": "x", "scope": "*"}), RunError, "something that is none"),
        (answer(b"", 500), RunError, "a token with HTTP status 500"),
        (answer(b"", 410), RunError, "a token with HTTP status 410"),
    ],
)
def test_a_token_that_is_not_given(
    reddit: Reddit, dump: Path, fault: Any, kind: type[Exception], message: str
) -> None:
    reddit.faults[0] = fault
    with pytest.raises(kind, match=message) as error:
        quietly(reddit.settings(dump))
    assert SECRET not in str(error.value)
    assert error.value.__cause__ is None


@pytest.mark.parametrize("missing", list(ENVIRON))
@pytest.mark.parametrize("value", [None, " ", "…"])
def test_a_missing_credential_is_named_and_no_value_shown(
    reddit: Reddit, dump: Path, missing: str, value: str | None
) -> None:
    environ = {name: given for name, given in {**ENVIRON, missing: value}.items() if given is not None}
    with pytest.raises(InputError, match=f"set {missing} in the environment") as error:
        quietly(reddit.settings(dump), environ)
    assert not [given for given in ENVIRON.values() if given in str(error.value)]
    assert "need no account" in str(error.value)
    assert reddit.log == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"contact": ""}, "contact.*it is empty"),
        ({"contact": "me@example.org"}, "is none"),
        ({"contact": "name)\r\nX: y"}, "is none"),
        ({"subreddits": ("a b", "../x", "ok")}, r"named 'a b', '\.\./x'\."),
        ({"subreddits": ("",)}, "no subreddit is named ''"),
        ({"listings": ()}, "nothing to ask for"),
        ({"listings": ("top",), "time_filters": ()}, "nothing to ask for"),
        ({"url": "http://www.reddit.com"}, r"url: .* is no https"),
        ({"oauth_url": "oauth.reddit.com"}, r"oauth_url: .* is no https"),
        ({"dump": "/x/reddit.ndjson"}, "ends with .zst"),
        ({"dump": "s3://bucket/reddit.zst"}, "local file"),
    ],
)
def test_settings_that_cannot_be(reddit: Reddit, dump: Path, values: dict[str, Any], message: str) -> None:
    asked = reddit.settings(dump, subreddits=("aa",)).model_copy(update=values)
    with pytest.raises(InputError, match=message):
        quietly(asked)
    assert reddit.log == []


def test_without_praw_it_says_how_to_get_it(
    reddit: Reddit, dump: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "praw", None)
    with pytest.raises(InputError, match="pip install 'praw"):
        quietly(reddit.settings(dump))
