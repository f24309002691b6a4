"""Lists of URLs: plain ones, OpenWebText's and OpenWebText2's, every line accounted for."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collect import dumps
from pipeline.collect.dumps import Damaged
from pipeline.collect.lists import read_list
from pipeline.records import Reason

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".zst": zstandard.ZstdCompressor().compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".gz": gzip.compress,
}


def read(folder: Path, name: str, content: bytes | str) -> list[Any]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_list(str(path), 3))


@pytest.mark.parametrize("packing", PACKERS)
def test_a_url_a_line(tmp_path: Path, packing: str) -> None:
    content = "\ufeff# chosen by hand\r\nhttp://example.com/é \r\n\r\nhttp://example.org/#part"
    found = read(tmp_path, f"mine.txt{packing}", PACKERS[packing](content.encode()))
    shared = {"score": 3, "created_utc": None, "subreddit": ""}
    assert found == [
        {"id": f"mine.txt{packing}:2", "url": "http://example.com/é", **shared},
        Reason.BLANK_LINE,
        {"id": f"mine.txt{packing}:4", "url": "http://example.org/#part", **shared},
    ]


def test_lines_that_are_no_urls_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumps, "_MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(dumps, "_UNPACKED_BYTES", 100)
    found = read(tmp_path, "mine", b"http://a.example/\xff\n \t\n" + b"x" * 5000 + b"\nhttp://b.example/\n")
    assert found[:3] == [Reason.NOT_UTF8, Reason.BLANK_LINE, Reason.LINE_TOO_LONG]
    assert [row["id"] for row in found[3:]] == ["mine:4"]


@pytest.mark.parametrize(
    ("name", "month"),
    [
        ("RS_2011-01.bz2.deduped.txt", (2011, 1)),
        ("RS_v2_2005-06.xz.goodlinks.txt", (2005, 6)),
        ("RS_2018-12.xz.goodlinks.txt.xz", (2018, 12)),
        ("urls.txt", None),
        ("RS_2011-13.txt", None),
        ("id-12011-011.txt", None),
    ],
)
def test_the_name_tells_the_month(tmp_path: Path, name: str, month: tuple[int, int] | None) -> None:
    content = b"http://example.com/\n"
    (row,) = read(tmp_path, name, lzma.compress(content) if name.endswith("txt.xz") else content)
    assert row["created_utc"] == (month and datetime(*month, 1, tzinfo=UTC).timestamp())


def test_an_openwebtext2_url_has_its_submissions(tmp_path: Path) -> None:
    """As its database gives them: ids are numbers, times are in ISO 8601."""
    meta = {
        "id": [int("1dz5rj", 36), int("abc", 36)],
        "score": [1432, -1],
        "title": ["One", "Two"],
        "subreddit": ["Foodforthought", None],
        "created_utc": ["2013-05-09T02:30:17", "2013-05-09T02:30:18"],
    }
    line = json.dumps({"text": "http://example.com/", "meta": meta})
    found = read(tmp_path, "urls_0.jsonl.zst", PACKERS[".zst"](f"{line}\n\n".encode()))
    assert found == [
        {
            "url": "http://example.com/",
            "id": "1dz5rj",
            "score": 1432,
            "title": "One",
            "subreddit": "Foodforthought",
            "created_utc": 1368066617,
        },
        {
            "url": "http://example.com/",
            "id": "abc",
            "score": -1,
            "title": "Two",
            "subreddit": None,
            "created_utc": 1368066618,
        },
        Reason.BLANK_LINE,
    ]


def test_an_openwebtext2_url_by_way_of_its_tsv_has_text_for_numbers(tmp_path: Path) -> None:
    meta = {"id": ["123456"], "score": ["5"], "created_utc": ["1368066617"]}
    line = json.dumps({"text": "http://example.com/", "meta": meta})
    assert read(tmp_path, "urls_0.jsonl", line) == [
        {"url": "http://example.com/", "id": "123456", "score": 5, "created_utc": 1368066617}
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("http://example.com/", Reason.NOT_JSON),
        ("[" * 100_000, Reason.NOT_JSON),
        ('"http://example.com/"', Reason.NOT_A_ROW),
        ('{"text": "u"}', Reason.NOT_A_ROW),
        ('{"text": "u", "meta": []}', Reason.NOT_A_ROW),
        ('{"text": "u", "meta": {}}', Reason.BAD_FIELD),
        ('{"text": "u", "meta": {"score": [1]}}', Reason.BAD_FIELD),
        ('{"text": "u", "meta": {"id": [], "score": []}}', Reason.BAD_FIELD),
        ('{"text": "u", "meta": {"id": ["a", "b"], "score": [1]}}', Reason.BAD_FIELD),
        ('{"text": "u", "meta": {"id": "ab", "score": "12"}}', Reason.BAD_FIELD),
        (b'{"text": "\xff", "meta": {"id": ["a"]}}', Reason.NOT_UTF8),
    ],
)
def test_malformed_openwebtext2_lines(tmp_path: Path, line: str | bytes, reason: Reason) -> None:
    assert read(tmp_path, "urls_0.jsonl", line) == [reason]


@pytest.mark.parametrize("name", ["urls.tsv", "urls_sorted.dat", "urls.tsv.gz"])
def test_jqs_tab_separated_values(tmp_path: Path, name: str) -> None:
    lines = [
        'http://example.com/\t1dz5rj\tFood\tTabs\\tand\\nlines \\\\n, "quotes\t5\t1368066617\n',
        "http://example.com/\tabc\t\t\t\t1368066617.0\r\n",
        "http://example.com/\tabc\n",
    ]
    content = "".join(lines).encode()
    found = read(tmp_path, name, gzip.compress(content) if name.endswith(".gz") else content)
    shared = {"url": "http://example.com/", "created_utc": 1368066617}
    title = 'Tabs\tand\nlines \\n, "quotes'
    assert found == [
        {**shared, "id": "1dz5rj", "subreddit": "Food", "title": title, "score": 5},
        {**shared, "id": "abc", "subreddit": None, "title": None, "score": None},
        Reason.NOT_A_ROW,
    ]


def test_no_row_before_the_damage_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "urls.txt.gz"
    packed = gzip.compress(b"".join(b"http://example.com/%d\n" % (n * n) for n in range(50_000)))
    path.write_bytes(packed[: len(packed) // 2])
    urls = []
    with pytest.raises(Damaged):  # noqa: PT012
        for row in read_list(str(path), 3):
            assert not isinstance(row, Reason)
            urls.append(row["url"])
    assert urls == [f"http://example.com/{n * n}" for n in range(len(urls))]
    assert len(urls) > 10_000


@given(st.integers(0, 1 << 70))
def test_ids_come_back_from_numbers(tmp_path_factory: pytest.TempPathFactory, number: int) -> None:
    line = json.dumps({"text": "u", "meta": {"id": [number], "score": [1]}})
    (row,) = read(tmp_path_factory.getbasetemp(), "urls_1.jsonl", line)
    assert int(row["id"], 36) == number
    assert row["id"] == np.base_repr(number, 36).lower()


ANY_BYTES = st.lists(
    st.sampled_from(
        [b"\n", b"\r", b"\t", b"\0", b"\xff", b"#", b"\\t", b"http://a.example/", b"{", b"\xef\xbb\xbf"]
    )
)


@given(st.sampled_from(["a.txt", "a.tsv", "a.jsonl"]), ANY_BYTES.map(b"".join) | st.binary())
def test_any_bytes_get_an_answer_a_line(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes
) -> None:
    found = read(tmp_path_factory.getbasetemp(), name, content)
    assert all(isinstance(one, (Reason, dict)) for one in found)
    lines = content.split(b"\n")
    lines = lines if lines[-1] else lines[:-1]
    lines[:1] = [line.removeprefix(b"\xef\xbb\xbf") for line in lines[:1]]
    num_remarks = 0
    if name == "a.txt":
        for line in lines:
            try:
                num_remarks += line.decode().startswith("#")
            except UnicodeDecodeError:
                continue
    assert len(found) == len(lines) - num_remarks


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(["id", "score", "title", "created_utc"]), JSON | st.lists(JSON)))
def test_any_meta_gets_an_answer(tmp_path_factory: pytest.TempPathFactory, meta: dict[str, Any]) -> None:
    line = json.dumps({"text": "u", "meta": meta})
    found = read(tmp_path_factory.getbasetemp(), "urls_2.jsonl", line)
    ids = meta.get("id")
    if any(isinstance(one, Reason) for one in found):
        assert len(found) == 1
    else:
        assert isinstance(ids, list)
        assert len(found) == len(ids)
