"""Reddit's API asked with the real client: nothing lost, nothing twice, whatever is answered in between."""

import base64
import json
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.collect.reddit import ask
from pipeline.config import CollectSettings
from pipeline.errors import InputError, RunError
from tests.conftest import RunStage
from tests.reddit_replay import (
    CLIENT_ID,
    DROP,
    ENVIRON,
    NOW,
    SECRET,
    SIGN_IN,
    TOO_MANY,
    Answer,
    Reddit,
    answer,
    ids_of,
    page,
    partial,
    publish_two,
    quietly,
    row,
    rows_of,
    serving,
    token,
)

praw = pytest.importorskip("praw")


@pytest.fixture
def reddit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reddit]:
    # prawcore waits some seconds before it tries again.
    monkeypatch.setattr("prawcore.sessions.FiniteRetryStrategy._sleep_seconds", lambda _: None)
    with serving() as server:
        yield server


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return tmp_path / "reddit.zst"


# What Reddit has answered to PRAW.


@pytest.fixture
def recorded(reddit: Reddit, realdata: Path) -> Reddit:
    for name in ("top", "new", "hot", "rising"):
        reddit.replay(realdata / "reddit" / f"praw_TestSubredditListings.test_{name}.json")
    reddit.replay(realdata / "reddit" / "praw_TestListingGenerator.test_exhaust_items.json", "/r/spez/top")
    return reddit


def test_recorded_listings_come_whole_and_in_order(recorded: Reddit, dump: Path) -> None:
    names = ("top", "new", "hot", "rising")
    # The recording ends each listing after one page; what comes after it is empty.
    for name in names:
        (key,) = [key for key in recorded.known if key[0] == f"/r/askreddit/{name}"]
        after = json.loads(recorded.known[key].body)["data"]["after"]
        recorded.known[key[0], key[1], after] = page([])
    quietly(recorded.settings(dump, subreddits=("AskReddit",), listings=names))
    given = recorded.rows(*(f"/r/askreddit/{name}" for name in names))
    latest = {one["id"]: number for number, one in enumerate(given)}
    written = rows_of(dump)
    assert [one["id"] for one in written] == [one["id"] for one in given if given[latest[one["id"]]] is one]
    assert len(written) > 300
    by_id = {one["id"]: one for one in given}
    for one in written:
        recording = {key: value for key, value in by_id[one["id"]].items() if not key.startswith("author")}
        assert {**recording, **one} == {**one, **recording}, "a field is another"
        assert one.keys() - {"author"} == recording.keys() | {"retrieved_on"}
        assert one["retrieved_on"] == int(NOW)


def test_a_recorded_listing_is_exhausted_as_by_praws_own_listing(recorded: Reddit, dump: Path) -> None:
    quietly(recorded.settings(dump, subreddits=("spez",), listings=("top",)))
    after = [key[2] for key in recorded.known if key[0] == "/r/spez/top"]
    assert len(after) == 11
    assert recorded.asked == [" ".join(["/r/spez/top", *([one] if one else [])]) for one in after]
    client = praw.Reddit(
        client_id=CLIENT_ID,
        client_secret=SECRET,
        user_agent="an oracle",
        reddit_url=recorded.url,
        oauth_url=recorded.url,
        check_for_updates=False,
    )
    things = list(client.subreddit("spez").top(limit=None))
    assert len(things) == 1001
    submissions = [one.id for one in things if isinstance(one, praw.models.Submission)]
    assert ids_of(dump) == submissions
    assert len(submissions) == len(recorded.rows("/r/spez/top"))


def test_recorded_answers_with_a_429_before_each_are_the_same_file(recorded: Reddit, tmp_path: Path) -> None:
    values: dict[str, Any] = {"subreddits": ("spez",), "listings": ("top",)}
    quietly(recorded.settings(tmp_path / "smooth.zst", **values))
    num = len(recorded.log)
    recorded.log.clear()
    recorded.faults = {2 * number: TOO_MANY._replace(headers={"Retry-After": "7"}) for number in range(num)}
    assert quietly(recorded.settings(tmp_path / "rough.zst", **values)) == [7.0] * num
    assert len(recorded.log) == 2 * num
    assert (tmp_path / "rough.zst").read_bytes() == (tmp_path / "smooth.zst").read_bytes()


def test_collect_reads_recorded_answers(
    recorded: Reddit, tmp_path: Path, run_stage: RunStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    asked = recorded.settings(tmp_path / "reddit.zst", subreddits=("spez",), listings=("top",))
    manifest = run_stage("collect", CollectSettings(reddit=asked))
    given = recorded.rows("/r/spez/top")
    assert manifest.counts.num_in == len(given)
    assert manifest.counts.rejected["self_post"] == sum(one["is_self"] for one in given)
    num = len(recorded.log)
    assert run_stage("collect", CollectSettings(reddit=asked)).encode() == manifest.encode()
    assert len(recorded.log) == num  # the file is there: nothing is asked again
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


# Whatever comes in between.


def some_faults(chance: random.Random, num_requests: int) -> dict[int, Answer]:
    """Faults that can be lived with: prawcore tries a request three times in all, and 429s come in fives."""
    faults: dict[int, Answer] = {}
    number = 1  # the token comes first
    while number < num_requests:
        kind = chance.choice(("none", "429", "503", "drop", "401"))
        if kind == "429":
            fields = chance.choice(({}, {"Retry-After": str(chance.randrange(900))}, {"Retry-After": "soon"}))
            burst = [TOO_MANY._replace(headers=fields)] * chance.randrange(1, 6)
        elif kind == "none":
            burst = []
        else:
            fault = {"503": answer(b"", 503), "drop": DROP, "401": answer(b"", 401)}[kind]
            burst = [fault] * (1 if kind == "401" else chance.randrange(1, 3))
        faults |= dict(enumerate(burst, number))
        number += len(burst) + (2 if kind == "401" else 1)  # a new token, and then what was asked for
    return faults


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_faults_anywhere_change_nothing(reddit: Reddit, seed: int) -> None:
    ids = publish_two(reddit)
    reddit.log.clear()
    reddit.faults = some_faults(random.Random(seed), 20)
    with tempfile.TemporaryDirectory() as folder:
        dump = Path(folder) / "reddit.zst"
        quietly(reddit.settings(dump, subreddits=("a", "b")))
        assert ids_of(dump) == ids


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        ("900", 900.0),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.5),  # a minute from NOW, to a second
        ("Tue, 14 Nov 2023 22:14:20 -0000", 60.5),
        (None, 60),
        ("", 60),
        ("0", 60),
        ("-5", 60),
        ("nan", 60),
        ("soon", 60),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 60),
        ("Tue, 99 Nov 99999 22:14:20 GMT", 60),
    ],
)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_how_long_a_429_is_waited_out(
    reddit: Reddit, dump: Path, retry_after: str | None, pause: float, at: int
) -> None:
    ids = publish_two(reddit)[:5]
    reddit.faults[at] = TOO_MANY._replace(headers={} if retry_after is None else {"Retry-After": retry_after})
    assert quietly(reddit.settings(dump)) == [pause]
    assert ids_of(dump) == ids


@pytest.mark.parametrize("retry_after", ["901", "1e30", "inf", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_pause_too_long_to_wait_for_ends_the_run(reddit: Reddit, dump: Path, retry_after: str) -> None:
    publish_two(reddit)
    reddit.faults[2] = TOO_MANY._replace(headers={"Retry-After": retry_after})
    pauses: list[float] = []
    with pytest.raises(RunError, match="fewer requests"):
        ask(reddit.settings(dump), ENVIRON, sleep=pauses.append, say=lambda _: None)
    assert pauses == []
    assert not dump.exists()
    assert "a1" in partial(dump).read_text()


def test_it_gives_up_in_the_end_and_the_next_run_goes_on(reddit: Reddit, dump: Path) -> None:
    ids = publish_two(reddit)
    reddit.faults = dict.fromkeys(range(5, 11), TOO_MANY)  # the second page of b, six times
    asked = reddit.settings(dump, subreddits=("a", "b"))
    pauses: list[float] = []
    with pytest.raises(RunError, match=r"reddit\.zst\.partial; run again"):
        ask(asked, ENVIRON, sleep=pauses.append, say=lambda _: None)
    assert pauses == [60, 120, 240, 480, 900]
    assert not dump.exists()
    reddit.log.clear()
    reddit.faults.clear()
    quietly(asked)
    assert reddit.asked == ["/r/b/new", "/r/b/new t3_b0"]
    assert ids_of(dump) == ids
    assert not partial(dump).exists()


def test_a_page_that_an_earlier_run_alone_was_given_stays(reddit: Reddit, dump: Path) -> None:
    publish_two(reddit)
    reddit.known["/r/a/new", "", "t3_a3"] = answer(b"", 418)
    with pytest.raises(RunError):
        quietly(reddit.settings(dump))
    reddit.publish("/r/a/new", [[row("a2", score=9), row("a3")], [row("a4")]])  # a0 and a1 have gone
    quietly(reddit.settings(dump))
    assert ids_of(dump) == ["a0", "a1", "a2", "a3", "a4"]
    assert rows_of(dump)[2]["score"] == 9


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1))
def test_a_journal_cut_off_anywhere_loses_nothing(reddit: Reddit, share: float) -> None:
    ids = publish_two(reddit)
    reddit.faults.clear()
    with tempfile.TemporaryDirectory() as folder:
        dump = Path(folder) / "reddit.zst"
        asked = reddit.settings(dump, subreddits=("a", "b"))
        reddit.faults = {len(reddit.log) + 5: answer(b"", 418)}
        with pytest.raises(RunError):
            quietly(asked)
        written = partial(dump).read_bytes()
        partial(dump).write_bytes(written[: int(len(written) * share)])
        quietly(asked)
        assert ids_of(dump) == ids


def test_a_journal_that_is_none_is_not_guessed_at(reddit: Reddit, dump: Path) -> None:
    partial(dump).write_text('{"listing": "r/a/new"}\n')
    with pytest.raises(InputError, match=r"reddit\.zst\.partial: line 1"):
        quietly(reddit.settings(dump))


def test_limits_in_headers_are_kept_to_and_nonsense_in_them_is_not(
    reddit: Reddit, dump: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("prawcore.rate_limit.time.sleep", pauses.append)
    limits = [
        ("0", "600", "17"),
        ("x", "1", "2"),
        ("9" * 400, "1", "1"),
        ("nan", "1", "1"),
        ("0", "1", "9999"),
    ]
    rows = [row(f"a{number}") for number in range(len(limits))]
    reddit.publish("/r/a/new", [[one] for one in rows])
    for (key, known), (remaining, used, reset) in zip(reddit.known.items(), limits, strict=True):
        fields = {"x-ratelimit-remaining": remaining, "x-ratelimit-used": used, "x-ratelimit-reset": reset}
        reddit.known[key] = known._replace(headers=fields)
    quietly(reddit.settings(dump))
    assert ids_of(dump) == [one["id"] for one in rows]
    assert pauses
    assert all(16 < pause <= 17 for pause in pauses)


def test_a_listing_that_leads_in_a_circle_ends(reddit: Reddit, dump: Path) -> None:
    reddit.known["/r/a/new", "", ""] = page([row("a0")], "t3_a0")
    reddit.known["/r/a/new", "", "t3_a0"] = page([row("a1")], "t3_a1")
    reddit.known["/r/a/new", "", "t3_a1"] = page([row("a2")], "t3_a0")
    quietly(reddit.settings(dump))
    assert ids_of(dump) == ["a0", "a1", "a2"]


# What is asked and what is written.


def test_each_listing_is_asked_for_once_and_each_submission_written_once(reddit: Reddit, dump: Path) -> None:
    reddit.publish("/r/a/top", [[row("x", score=1), row("y")]], "day")
    reddit.publish("/r/a/top", [[row("z"), row("x", score=2)]], "week")
    reddit.publish("/r/a/new", [[row("x", score=3)]])
    reddit.publish("/r/a/hot", [])
    reddit.known["/r/a/hot", "", ""] = page([])
    asked = reddit.settings(
        dump,
        subreddits=("a", "/r/A/", "r/a"),
        listings=("top", "new", "hot", "top"),
        time_filters=("day", "week", "day"),
    )
    quietly(asked)
    assert [(one.path, one.params.get("t")) for one in reddit.log[1:]] == [
        ("/r/a/top", "day"),
        ("/r/a/top", "week"),
        ("/r/a/new", None),
        ("/r/a/hot", None),
    ]
    assert {one.params["limit"] for one in reddit.log[1:]} == {"100"}
    assert [(one["id"], one["score"]) for one in rows_of(dump)] == [("y", 5), ("z", 5), ("x", 3)]


def test_how_it_names_itself_and_where_it_shows_its_credentials(reddit: Reddit, dump: Path) -> None:
    publish_two(reddit)
    said: list[str] = []
    ask(reddit.settings(dump, contact="/u/A-name_1"), ENVIRON, sleep=lambda _: None, say=said.append)
    first, *others = reddit.log
    basic = base64.b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()
    assert (first.method, first.path, first.body) == ("POST", SIGN_IN, b"grant_type=client_credentials")
    assert first.headers["authorization"] == f"Basic {basic}"
    assert [one.headers["authorization"] for one in others] == ["bearer t0k3n"] * 3
    for one in reddit.log:
        agent = one.headers["user-agent"]
        assert agent.startswith(f"{sys.platform}:webtext:0.1.0 (by /u/A-name_1) PRAW/"), agent
    told = " ".join(said) + str(others) + first.path + dump.read_bytes().hex()
    assert SECRET not in told
    assert basic not in told


def test_authors_are_not_kept(reddit: Reddit, dump: Path) -> None:
    parent = row("p", author="a_parent", author_fullname="t2_1")
    rows = [
        row("x", author="somebody", author_flair_text="flair", crosspost_parent_list=[parent]),
        row("y", author=None),
        row("z", author="[deleted]", title="\ud800 alone"),
    ]
    reddit.publish("/r/a/new", [rows])
    quietly(reddit.settings(dump))
    x, y, z = rows_of(dump)
    assert x["crosspost_parent_list"] == [
        {key: parent[key] for key in parent if not key.startswith("author")}
    ]
    assert not [key for key in (*x, *y) if key.startswith("author")]
    assert (z["author"], z["title"]) == ("[deleted]", "\ud800 alone")


def test_what_is_no_longer_asked_for_is_not_written(reddit: Reddit, dump: Path) -> None:
    ids = publish_two(reddit)
    with pytest.raises(InputError, match="nowhere"):
        quietly(reddit.settings(dump, subreddits=("a", "nowhere", "b")))
    quietly(reddit.settings(dump, subreddits=("b",)))
    assert ids_of(dump) == ids[5:]


def test_a_file_that_is_there_is_left_alone(reddit: Reddit, dump: Path) -> None:
    dump.write_bytes(b"whatever")
    assert ask(reddit.settings(dump), {}, say=lambda _: None) == 0
    assert reddit.log == []
    assert dump.read_bytes() == b"whatever"


def test_it_says_how_many_there_are(reddit: Reddit, dump: Path) -> None:
    publish_two(reddit)
    said: list[str] = []
    assert ask(reddit.settings(dump, subreddits=("a", "b")), ENVIRON, say=said.append) == 8
    assert said == [
        "Reddit, 1 of 2: r/a/new: 5 submissions",
        "Reddit, 2 of 2: r/b/new: 3 submissions",
        f"Reddit gave 8 submissions; they are in {dump}",
    ]


def test_nothing_is_taken_from_praws_own_settings_or_netrc(
    reddit: Reddit, dump: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_two(reddit)
    monkeypatch.chdir(dump.parent)
    (dump.parent / "praw.ini").write_text(
        "[DEFAULT]\noauth_url=http://elsewhere.invalid\nuser_agent=%(broken\n"
    )
    (dump.parent / "netrc").write_text("machine 127.0.0.1 login other password one\n")
    monkeypatch.setenv("NETRC", str(dump.parent / "netrc"))
    monkeypatch.setenv("praw_site", "another")
    for name in ("client_id", "client_secret", "user_agent", "username", "password", "refresh_token"):
        monkeypatch.setenv(f"praw_{name}", "other")
    monkeypatch.setenv("praw_check_for_updates", "True")
    monkeypatch.setattr("praw.config.Config.CONFIG", None)
    monkeypatch.setattr("praw.Reddit.update_checked", False)
    monkeypatch.setattr("praw.reddit.update_check", lambda **_: pytest.fail("it asks for a newer PRAW"))
    quietly(reddit.settings(dump))
    assert ids_of(dump) == ["a0", "a1", "a2", "a3", "a4"]
    assert {one.headers["authorization"] for one in reddit.log[1:]} == {"bearer t0k3n"}
    assert reddit.log[0].body == b"grant_type=client_credentials"
    assert "webtext:0.1.0 (by /u/a_name)" in reddit.log[0].headers["user-agent"]


def test_a_token_that_has_run_out_is_renewed(reddit: Reddit, dump: Path) -> None:
    ids = publish_two(reddit)[:5]
    reddit.faults = {2: answer(b"", 401), 3: token("n3w")}
    quietly(reddit.settings(dump))
    assert ids_of(dump) == ids
    assert [one.headers["authorization"] for one in reddit.log[4:]] == ["bearer n3w"] * 2
