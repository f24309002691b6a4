"""Collecting submissions: what every line of a dump becomes, and what becomes of whole dumps."""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.collect.dumps import read_lines, zstd
from pipeline.collect.rows import parse_row
from pipeline.collect.rules import Rules, Submission, judge
from pipeline.config import CollectSettings, UrlSettings
from pipeline.errors import InputError
from pipeline.records import Reason
from pipeline.runs import Folder
from tests.conftest import RunStage

ROW: Mapping[str, Any] = {
    "id": "abc",
    "created_utc": 1575158476,
    "score": 5,
    "url": "https://www.example.com/article",
    "subreddit": "science",
    "title": "An article",
    "is_self": False,
    "over_18": False,
    "promoted": None,
    "removed_by_category": None,
    "selftext": "",
}


def judged(settings: CollectSettings | None = None, **changes: Any) -> Submission | Reason:
    """A row with these changes, by way of its line; a field changed to ``...`` is left out."""
    row = {name: value for name, value in {**ROW, **changes}.items() if value is not ...}
    parsed = parse_row(json.dumps(row).encode())
    assert not isinstance(parsed, Reason)
    return judge(parsed, Rules.of(settings or CollectSettings()))


def kept(settings: CollectSettings | None = None, **changes: Any) -> Submission:
    submission = judged(settings, **changes)
    assert isinstance(submission, Submission), submission
    return submission


def test_a_submission_that_points_outward() -> None:
    one = kept(created_utc="1575158476", score=7, retrieved_on=1577836800)
    assert (one.id, one.score, one.subreddit, one.created) == ("abc", 7, "science", 1575158476)
    assert (one.url, one.domain, one.retrieved) == (ROW["url"], "example.com", 1577836800)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"is_self": True}, Reason.SELF_POST),
        ({"is_self": "yes"}, Reason.BAD_FIELD),
        ({"promoted": True}, Reason.AD),
        ({"promoted": False, "is_created_from_ads_ui": True}, Reason.AD),
        ({"removed_by_category": "moderator"}, Reason.REMOVED),
        ({"title": "[deleted by user]"}, Reason.REMOVED),
        ({"selftext": "[removed]"}, Reason.REMOVED),
        ({"_meta": {"was_deleted_later": True}}, Reason.REMOVED),
        ({"over_18": True}, Reason.OVER_18),
        ({"crosspost_parent_list": [{"is_self": True}]}, Reason.CROSSPOST_OF_SELF),
        ({"score": None}, Reason.NO_SCORE),
        ({"score": ...}, Reason.NO_SCORE),
        ({"score": "5"}, Reason.BAD_FIELD),
        ({"score": True}, Reason.BAD_FIELD),
        ({"score": 1e30}, Reason.BAD_FIELD),
        ({"score": float("nan")}, Reason.BAD_FIELD),
        ({"url": None}, Reason.NO_URL),
        ({"url": ...}, Reason.NO_URL),
        ({"url": 7}, Reason.BAD_FIELD),
        ({"url": ["https://example.com/"]}, Reason.BAD_FIELD),
        ({"url": ""}, Reason.BAD_URL),
        ({"url": "https://example.com/\ud83d"}, Reason.BAD_URL),
        ({"url": "ftp://example.org/"}, Reason.BAD_URL),
        ({"url": "/r/science/comments/1/"}, Reason.REDDIT_INTERNAL),
        ({"url": "https://np.reddit.com/r/science/"}, Reason.REDDIT_INTERNAL),
        ({"url": "https://redd.it/abc"}, Reason.REDDIT_INTERNAL),
        ({"url": "https://i.redd.it/abc"}, Reason.REDDIT_MEDIA),
        ({"url": "http://v.redd.it/abc"}, Reason.REDDIT_MEDIA),
        ({"url": "https://m.youtube.com/watch?v=x"}, Reason.MEDIA_DOMAIN),
        ({"url": "https://notyoutube.com/watch.PDF?v=x"}, Reason.MEDIA_EXTENSION),
        ({"url": "http://[::ffff:10.0.0.1]/"}, Reason.PRIVATE_HOST),
        ({"url": "http://0x7f.1/"}, Reason.PRIVATE_HOST),
        ({"created_utc": "soon"}, Reason.NO_TIME),
        ({"created_utc": None}, Reason.NO_TIME),
        ({"created_utc": ...}, Reason.NO_TIME),
        ({"created_utc": 1e300}, Reason.NO_TIME),
        ({"created_utc": True}, Reason.NO_TIME),
        ({"id": ""}, Reason.NO_ID),
        ({"id": ...}, Reason.NO_ID),
        ({"id": 7}, Reason.BAD_FIELD),
        ({"id": "a\ud800"}, Reason.BAD_FIELD),
        ({"subreddit": 7}, Reason.BAD_FIELD),
        ({"subreddit": "\ud800"}, Reason.BAD_FIELD),
    ],
)
def test_reasons(changes: dict[str, Any], reason: Reason) -> None:
    assert judged(**changes) == reason


@pytest.mark.parametrize(
    "changes",
    [
        {"created_utc": 1575158476.0},
        {"score": 5.0},
        {"subreddit": ...},
        {"subreddit": None},
        {"title": "half an emoji \ud83d"},
        {"upvote_ratio": float("nan")},
        {"ups": 10**40},
        {"_meta": None},
        {"_meta": 7},
        {"crosspost_parent_list": []},
        {"crosspost_parent_list": [{"is_self": False, "url": "https://www.example.com/article"}]},
        {"crosspost_parent_list": "t3_abc"},
        {"title": ["[removed]"]},
    ],
)
def test_what_has_drifted_over_the_years_is_kept(changes: dict[str, Any]) -> None:
    one = kept(**changes)
    assert (one.score, one.created) == (5, 1575158476)


def test_the_destination_overrides_the_url() -> None:
    one = kept(url="/r/a/comments/b/", url_overridden_by_dest="https://example.com/x")
    assert one.url == "https://example.com/x"


def test_out_links_are_unwrapped_unless_switched_off() -> None:
    wrapped = "https://out.reddit.com/t3_abc?url=https%3A%2F%2Fexample.org%2Fa&amp;token=x"
    assert kept(url=wrapped).url == "https://example.org/a"
    settings = CollectSettings(urls=UrlSettings(unwrap=False))
    assert judged(settings, url=wrapped) == Reason.REDDIT_INTERNAL


@pytest.mark.parametrize(
    ("settings", "changes", "expected"),
    [
        ({"over_18": True}, {"over_18": True}, None),
        ({"subreddits": ("Science",)}, {}, None),
        ({"subreddits": ("r/science",)}, {}, None),
        ({"subreddits": ("news",)}, {}, Reason.SUBREDDIT),
        ({"subreddits": ("news",)}, {"subreddit": ...}, Reason.SUBREDDIT),
        ({"not_subreddits": ("SCIENCE",)}, {}, Reason.SUBREDDIT),
        ({"since": date(2019, 12, 1)}, {"created_utc": 1575158400}, None),
        ({"since": date(2019, 12, 1)}, {"created_utc": 1575158399}, Reason.DATE),
        ({"before": date(2019, 12, 1)}, {"created_utc": 1575158399}, None),
        ({"before": date(2019, 12, 1)}, {"created_utc": 1575158400}, Reason.DATE),
        ({"media_domains": ("Example.com",)}, {}, Reason.MEDIA_DOMAIN),
        ({"media_domains": ("ample.com",)}, {}, None),
        ({"media_extensions": (".TXT",)}, {"url": "https://example.com/a.txt"}, Reason.MEDIA_EXTENSION),
        ({"urls": UrlSettings(keep_shorteners=False)}, {"url": "https://bit.ly/x"}, Reason.SHORTENER),
        ({}, {"url": "https://bit.ly/x"}, None),
    ],
)
def test_rules_that_can_be_set(
    settings: dict[str, Any], changes: dict[str, Any], expected: Reason | None
) -> None:
    found = judged(CollectSettings(**settings), **changes)
    assert (found if isinstance(found, Reason) else None) == expected


def test_a_list_need_not_tell_times_and_subreddits() -> None:
    settings = CollectSettings(subreddits=("news",), since=date(2019, 1, 1))
    row = {"id": "urls.txt:1", "url": "https://example.com/", "score": 3}
    rules = Rules.of(settings, listed=True)
    one = judge(row, rules)
    assert isinstance(one, Submission)
    assert (one.created, one.subreddit) == (None, "")
    assert judge({**row, "subreddit": "science"}, rules) == Reason.SUBREDDIT
    assert judge({**row, "created_utc": 1546300799}, rules) == Reason.DATE


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", Reason.BLANK_LINE),
        (b" \t\r", Reason.BLANK_LINE),
        (b"not json", Reason.NOT_JSON),
        (b'{"id": "x', Reason.NOT_JSON),
        (b'{"id": "x"} {}', Reason.NOT_JSON),
        (b"[" * 100_000, Reason.NOT_JSON),
        (b"\xff\xfe{}", Reason.NOT_UTF8),
        (b'{"title": "\xff", "id": NaN}', Reason.NOT_UTF8),
        (b'["a"]', Reason.NOT_A_ROW),
        (b"null", Reason.NOT_A_ROW),
        (b"1", Reason.NOT_A_ROW),
    ],
)
def test_what_is_no_row_is_counted_by_kind(line: bytes, reason: Reason) -> None:
    assert parse_row(line) == reason


def test_a_genuine_dump(realdata: Path, run: Folder, run_stage: RunStage) -> None:
    """June 2005 holds 103 submissions, 83 of them with a score of 3 and more."""
    path = realdata / "reddit" / "RS_v2_2005-06.xz"
    rows = [parse_row(line) for line in read_lines(str(path)) if isinstance(line, bytes)]
    assert len(rows) == 103
    assert sum(row["score"] >= 3 for row in rows if not isinstance(row, Reason)) == 83
    manifest = run_stage("collect", CollectSettings(dumps=(str(path),)))
    assert manifest.facts["months"] == {"2005-06": 101}
    assert manifest.facts["months_3"] == {"2005-06": 82}  # of 6, removed: one
    assert manifest.counts.to_json() == {"in": 103, "kept": 101, "rejected": {"removed": 2}}
    assert pq.read_table((run / "submissions").path("part-00000.parquet")).num_rows == 101


def test_realweb_rejections(realdata: Path, run_stage: RunStage) -> None:
    expected = json.loads((realdata / "realweb" / "expected.json").read_text("utf-8"))
    dump = realdata / "realweb" / "RS_2019-12.zst"
    counts = run_stage("collect", CollectSettings(dumps=(str(dump),))).counts
    assert counts.num_in == expected["lines"]
    dropped = {reason: len(ids) for reason, ids in expected["dropped"].items()}
    assert counts.rejected == {
        "ad": dropped["promoted"],
        "bad_url": dropped["bad_url"],
        "blank_line": 1,
        "media_domain": dropped["media_domain"] - 2,
        "media_extension": dropped["extension"],
        "no_score": dropped["null_score"],
        "no_url": 1,
        "not_a_row": 1,
        "not_json": 2,
        "not_utf8": 1,
        "over_18": dropped["over_18"],
        "private_host": dropped["private_host"],
        "reddit_internal": dropped["reddit_internal"],
        "reddit_media": 2,
        "removed": dropped["removed"] - 1,
        "self_post": dropped["self"] + 1,  # one of the removed is a self post
    }


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "dumps names no file, nor does lists"),
        (("missing.zst",), "nothing is at"),
        (("RS_*.zst",), "nothing is at"),
        ((".",), "is not a file"),
        (("RC_2019-01.zst",), "holds comments"),
        (("empty",), "is empty"),
        (("one", "one"), "is named twice"),
        (("one", "on?"), "is named twice"),
        (("one", "copy"), "hold the same"),
    ],
)
def test_dumps_that_cannot_be_read_are_refused(
    tmp_path: Path, run_stage: RunStage, names: tuple[str, ...], message: str
) -> None:
    (tmp_path / "RC_2019-01.zst").write_bytes(b"x")
    (tmp_path / "empty").touch()
    (tmp_path / "one").write_text(json.dumps(dict(ROW)))
    (tmp_path / "copy").write_text(json.dumps(dict(ROW)))
    with pytest.raises(InputError, match=message):
        run_stage("collect", CollectSettings(dumps=tuple(str(tmp_path / name) for name in names)))


def test_comments_under_another_name_are_refused(tmp_path: Path, run_stage: RunStage) -> None:
    comment = {"id": "c1", "body": "Indeed.", "link_id": "t3_abc", "created_utc": 1575158476, "score": 3}
    (tmp_path / "dump.ndjson").write_text(json.dumps(comment) + "\n")
    with pytest.raises(InputError, match=r"dump\.ndjson holds comments"):
        run_stage("collect", CollectSettings(dumps=(str(tmp_path / "dump.ndjson"),)))


def damaged_dump(folder: Path) -> Path:
    """A dump of rows with ids 0, 1, 2 and so on, cut off in its middle."""
    lines = b"".join(json.dumps({**ROW, "id": f"{n:x}"}).encode() + b"\n" for n in range(20_000))
    packed = zstd.compress(lines)
    path = folder / "RS_2019-12.zst"
    path.write_bytes(packed[: len(packed) // 2])
    return path


def test_a_damaged_dump_fails_the_stage_with_its_offset(
    tmp_path: Path, run: Folder, run_stage: RunStage
) -> None:
    path = damaged_dump(tmp_path)
    with pytest.raises(InputError, match=r"RS_2019-12\.zst is damaged after [\d,]+ unpacked bytes"):
        run_stage("collect", CollectSettings(dumps=(str(path),)))
    assert (run / "submissions").sizes().keys() == {"plan.json"}


def test_what_lies_before_the_damage_may_be_kept(tmp_path: Path, run: Folder, run_stage: RunStage) -> None:
    path = damaged_dump(tmp_path)
    manifest = run_stage("collect", CollectSettings(dumps=(str(path),), on_damage="keep"))
    ids = pq.read_table((run / "submissions").path("part-00000.parquet"))["id"].to_pylist()
    assert 1000 < len(ids) < 20_000
    assert ids == [f"{n:x}" for n in range(len(ids))]
    offset = manifest.facts["damage"]["RS_2019-12.zst"]
    assert 0 <= offset - sum(len(json.dumps({**ROW, "id": one})) + 1 for one in ids) < 400


def test_a_dump_without_a_row_is_told(tmp_path: Path, run_stage: RunStage) -> None:
    (tmp_path / "RS_2019-12.zst").write_bytes(zstd.compress(b""))
    manifest = run_stage("collect", CollectSettings(dumps=(str(tmp_path / "RS_2019-12.zst"),)))
    assert manifest.facts["empty"] == {"RS_2019-12.zst": 1}
