"""Dump lines to submissions: every line is counted, whatever it holds and however it is packed."""

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collect import dumps
from pipeline.collect.dumps import read_lines
from pipeline.collect.rules import Submission, judge
from pipeline.config import CollectSettings
from pipeline.errors import InputError
from pipeline.records import Reason
from pipeline.runs import Folder
from tests.conftest import RunStage

SETTINGS = CollectSettings()


def row(**changes: Any) -> bytes:
    fields = {
        "id": "abc",
        "created_utc": 1575158476,
        "score": 5,
        "url": "https://example.com/article",
        "subreddit": "science",
        "is_self": False,
        "over_18": False,
        "promoted": None,
        "removed_by_category": None,
        "selftext": "",
    }
    return json.dumps({**fields, **changes}).encode()


def test_a_submission_that_points_outward() -> None:
    judged = judge(row(created_utc="1575158476", score=7), SETTINGS)
    assert isinstance(judged, Submission)
    assert (judged.id, judged.score, judged.subreddit, judged.created) == ("abc", 7, "science", 1575158476)
    assert judged.url.canonical == "example.com/article"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"is_self": True}, Reason.SELF_POST),
        ({"promoted": True}, Reason.AD),
        ({"removed_by_category": "moderator"}, Reason.REMOVED),
        ({"selftext": "[removed]", "is_self": True}, Reason.REMOVED),
        ({"_meta": {"was_deleted_later": True}}, Reason.REMOVED),
        ({"over_18": True}, Reason.OVER_18),
        ({"score": None}, Reason.NO_SCORE),
        ({"url": None}, Reason.NO_URL),
        ({"url": ""}, Reason.BAD_URL),
        ({"url": "/r/science/comments/1/"}, Reason.REDDIT_INTERNAL),
        ({"url": "https://np.reddit.com/r/science/"}, Reason.REDDIT_INTERNAL),
        ({"url": "https://redd.it/abc"}, Reason.REDDIT_INTERNAL),
        ({"url": "https://i.redd.it/abc"}, Reason.MEDIA_DOMAIN),
        ({"url": "https://m.youtube.com/watch?v=x"}, Reason.MEDIA_DOMAIN),
        ({"url": "https://notyoutube.com/watch.PDF?v=x"}, Reason.MEDIA_EXTENSION),
        ({"url": "http://[::ffff:10.0.0.1]/"}, Reason.PRIVATE_HOST),
        ({"url": "ftp://example.org/"}, Reason.BAD_URL),
        ({"created_utc": "soon"}, Reason.MALFORMED),
        ({"created_utc": 1e300}, Reason.MALFORMED),
        ({"id": ""}, Reason.MALFORMED),
        ({"id": 7}, Reason.MALFORMED),
        ({"score": 1e30}, Reason.NO_SCORE),
    ],
)
def test_reasons(changes: dict[str, Any], reason: Reason) -> None:
    assert judge(row(**changes), SETTINGS) == reason


def test_over_18_may_be_kept() -> None:
    assert isinstance(judge(row(over_18=True), CollectSettings(over_18=True)), Submission)


def test_the_destination_overrides_the_url() -> None:
    line = row(url="/r/a/comments/b/", url_overridden_by_dest="https://example.com/x")
    judged = judge(line, SETTINGS)
    assert isinstance(judged, Submission)
    assert judged.submitted_url == "https://example.com/x"


@pytest.mark.parametrize("line", [b"", b"not json", b'["a"]', b'{"id": "x', b"\xff\xfe{}", b"null", b"1"])
def test_what_is_no_row_is_malformed(line: bytes) -> None:
    assert judge(line, SETTINGS) == Reason.MALFORMED


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(st.binary(max_size=80))
def test_any_bytes_get_an_answer(line: bytes) -> None:
    assert isinstance(judge(line, SETTINGS), (Submission, Reason))


@given(st.sampled_from(sorted(json.loads(row()))), JSON)
def test_any_value_in_any_field_gets_an_answer(field: str, value: Any) -> None:
    assert isinstance(judge(row(**{field: value}), SETTINGS), (Submission, Reason))


PACKERS = {
    ".zst": lambda data: zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=27)
    ).compress(data),
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".gz": gzip.compress,
    "": bytes,
}


@pytest.mark.parametrize("suffix", PACKERS)
def test_lines_survive_every_packing_and_chunk_boundary(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dumps, "_CHUNK_BYTES", 7)  # cuts lines and characters everywhere
    lines = [f'{{"n": {n}, "text": "ein Straßenname 字 {n}"}}'.encode() for n in range(50)] + [b"", b"end"]
    path = tmp_path / f"RS_2019-01{suffix}"
    path.write_bytes(PACKERS[suffix](b"\n".join(lines)))
    assert list(read_lines(str(path))) == lines


def test_several_zstd_frames_are_one_dump(tmp_path: Path) -> None:
    path = tmp_path / "RS_2019-01.zst"
    compress = zstandard.ZstdCompressor().compress
    path.write_bytes(compress(b"one\ntw") + compress(b"o\nthree\n"))
    assert list(read_lines(str(path))) == [b"one", b"two", b"three"]


@pytest.mark.parametrize("suffix", [".xz", ".bz2", ".gz", ".zst"])
def test_a_damaged_dump_is_named_with_the_offset(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"RS_2019-01{suffix}"
    packed = PACKERS[suffix](b"\n".join(row(id=str(n)) for n in range(20_000)))
    path.write_bytes(packed[: len(packed) // 2] + b"\xff" * 200)
    with pytest.raises(InputError, match=rf"RS_2019-01{suffix} is damaged after [\d,]+ unpacked bytes"):
        list(read_lines(str(path)))


def test_a_genuine_dump(realdata: Path, run: Folder, run_stage: RunStage) -> None:
    """June 2005 holds 103 submissions, 83 of them with a score of 3 and more."""
    path = realdata / "reddit" / "RS_v2_2005-06.xz"
    lines = list(read_lines(str(path)))
    assert len(lines) == 103
    assert sum(json.loads(line)["score"] >= 3 for line in lines) == 83
    manifest = run_stage("collect", CollectSettings(dumps=(str(path),)))
    assert manifest.counts.num_in == 103
    table = pq.read_table((run / "submissions").path("part-00000.parquet"))
    assert table.num_rows == manifest.counts.kept > 90


def test_realweb_rejections(realdata: Path, run_stage: RunStage) -> None:
    expected = json.loads((realdata / "realweb" / "expected.json").read_text("utf-8"))
    dump = realdata / "realweb" / "RS_2019-12.zst"
    counts = run_stage("collect", CollectSettings(dumps=(str(dump),))).counts
    assert counts.num_in == expected["lines"]
    dropped = {reason: len(ids) for reason, ids in expected["dropped"].items()}
    assert counts.rejected == {
        "ad": dropped["promoted"],
        "bad_url": dropped["bad_url"],
        "malformed": len(expected["bad_lines"]) - 1,
        "media_domain": dropped["media_domain"],
        "media_extension": dropped["extension"],
        "no_score": dropped["null_score"],
        "no_url": 1,
        "over_18": dropped["over_18"],
        "private_host": dropped["private_host"],
        "reddit_internal": dropped["reddit_internal"],
        "removed": dropped["removed"],
        "self_post": dropped["self"],
    }


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "names no file"),
        (("missing.zst",), "nothing is at"),
        (("RS_*.zst",), "nothing is at"),
        ((".",), "is not a file"),
        (("RC_2019-01.zst",), "holds comments"),
    ],
)
def test_dumps_that_cannot_be_read_are_refused(
    tmp_path: Path, run_stage: RunStage, names: tuple[str, ...], message: str
) -> None:
    (tmp_path / "RC_2019-01.zst").touch()
    with pytest.raises(InputError, match=message):
        run_stage("collect", CollectSettings(dumps=tuple(str(tmp_path / name) for name in names)))
