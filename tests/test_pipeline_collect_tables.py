"""CSV and Parquet files with the dumps' columns: the rows that a dump has, every record accounted for."""

import bz2
import csv
import gzip
import io
import lzma
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipeline.collect import tables
from pipeline.collect.dumps import Damaged, unpack
from pipeline.collect.tables import read_table
from pipeline.config import CollectSettings, LinkSettings
from pipeline.errors import InputError
from pipeline.records import Reason
from pipeline.runs import Folder
from tests.conftest import RunStage

HEADER = "id,url,score,created_utc"
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".csv": bytes,
    ".csv.zst": zstandard.ZstdCompressor().compress,
    ".csv.xz": lzma.compress,
    ".csv.bz2": bz2.compress,
    ".csv.gz": gzip.compress,
}


def read(path: Path) -> list[Any]:
    return list(read_table(str(path)))


def of_csv(folder: Path, content: str | bytes) -> list[Any]:
    path = folder / "table.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read(path)


def of_parquet(folder: Path, columns: dict[str, Any], **options: Any) -> list[Any]:
    path = folder / "table.parquet"
    pq.write_table(pa.table(columns), path, **options)
    return read(path)


def until_damage(path: Path) -> list[Any]:
    """The rows before the damage that must be there."""
    rows = []
    with pytest.raises(Damaged):  # noqa: PT012
        for row in read_table(str(path)):
            rows.append(row)  # noqa: PERF402
    return rows


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_csv_row_has_a_dumps_values(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"top{suffix}"
    header = "created_utc,score,id,title,permalink,over_18,is_self,promoted,name,url,retrieved_on,unknown"
    line = (
        "1368066617.0,1432,1dz5rj,One,http://www.reddit.com/r/Food/comments/1dz5rj/one/,"
        "False,true,,t3_1dz5rj,http://example.com/?a&amp;b,2013-05-09 02:30:17,x"
    )
    path.write_bytes(PACKERS[suffix](f"{header}\n{line}\n".encode()))
    assert read(path) == [
        {
            "created_utc": 1368066617,
            "score": 1432,
            "id": "1dz5rj",
            "title": "One",
            "permalink": "http://www.reddit.com/r/Food/comments/1dz5rj/one/",
            "over_18": False,
            "is_self": True,
            "promoted": None,
            "name": "t3_1dz5rj",
            "url": "http://example.com/?a&amp;b",
            "retrieved_on": 1368066617,
            "subreddit": "Food",
        }
    ]


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("score", "-3", -3),
        ("score", "1e3", 1000),
        ("score", "2.5", 2.5),
        ("score", "NaN", None),
        ("score", "None", None),
        ("score", "1_0", "1_0"),
        ("score", "٣", "٣"),
        ("score", "9" * 5000, "9" * 5000),
        ("score", "many", "many"),
        ("created_utc", "2013-05-09T02:30:17Z", 1368066617),
        ("created_utc", "2013-05-09 02:30:17 UTC", 1368066617),
        ("created_utc", "2013-05-09 04:30:17+02:00", 1368066617),
        ("created_utc", "soon", "soon"),
        ("created_utc", "0001-01-01T00:00+23:59", -62135683140),
        ("over_18", "True", True),
        ("over_18", "t", True),
        ("over_18", "1.0", True),
        ("over_18", "FALSE", False),
        ("over_18", "0", False),
        ("over_18", "nan", None),
        ("over_18", "perhaps", "perhaps"),
        ("subreddit", "", None),
        ("url_overridden_by_dest", "None", None),
        ("removed_by_category", "None", None),
        ("removed_by_category", "moderator", "moderator"),
        ("id", "t3_abc", "abc"),
        ("id", "none", "none"),
        ("_meta", '"{""was_deleted_later"": true}"', {"was_deleted_later": True}),
        ("_meta", "{'was_deleted_later': False}", {"was_deleted_later": False}),
        ("crosspost_parent_list", "[{'id': 'a'; 'is_self': True}]", [{"is_self": True}]),
        ("crosspost_parent_list", "[]", [{"is_self": False}]),
    ],
)
def test_fields(tmp_path: Path, name: str, field: str, value: Any) -> None:
    columns = {"id": "a", "url": "u", "score": "1", "created_utc": "1", name: field}
    (row,) = of_csv(tmp_path, f"{','.join(columns)}\n{','.join(columns.values())}\n")
    assert row[name] == value
    assert type(row[name]) is type(value)


def test_the_full_name_gives_the_id(tmp_path: Path) -> None:
    assert [row["id"] for row in of_csv(tmp_path, "name,url,score,created_utc\nt3_abc,u,1,1\n")] == ["abc"]
    both = of_csv(tmp_path, f"name,{HEADER}\nt3_abc,,u,1,1\nt3_abc,xyz,u,1,1\n")
    assert [row["id"] for row in both] == ["abc", "xyz"]


def test_what_stands_in_a_csv_file_is_one_row_a_record(tmp_path: Path) -> None:
    records = [
        'a,"http://example.com/?q=1,2",1,1',
        'b,"http://example.com/\r\n""two"" lines",1,1',
        "c,http://example.com/\0,1,1",
        "d,u,1",
        "e,u,1,1,1",
        "",
        f"f,{'x' * 200_000},1,1",
        'g,"u"x,1,1',
        "h,u\rv,1,1",
        "i,u,1,1",
    ]
    content = "\ufeff" + "\r\n".join([HEADER, *records])
    found = of_csv(tmp_path, content)
    assert [one if isinstance(one, Reason) else (one["id"], one["url"]) for one in found] == [
        ("a", "http://example.com/?q=1,2"),
        ("b", 'http://example.com/\n"two" lines'),
        ("c", "http://example.com/\0"),
        Reason.NOT_A_ROW,
        Reason.NOT_A_ROW,
        Reason.BLANK_LINE,
        ("f", "x" * 200_000),
        Reason.NOT_A_ROW,
        ("h", "uv"),
        ("i", "u"),
    ]


def test_bytes_that_are_not_utf8_matter_where_the_field_does(tmp_path: Path) -> None:
    rows = of_csv(
        tmp_path,
        f"{HEADER},title,author\n".encode()
        + b"a,http://example.com/\xff,1,1,,\nb,u,1,1,\xff,\xff\nc,\xed\xa0\x80,1,1,,\nd,\xc3\xa9,1,1,,\n",
    )
    assert [rows[0], rows[2]] == [Reason.NOT_UTF8, Reason.NOT_UTF8]
    assert [(rows[1]["id"], rows[1]["url"]), (rows[3]["id"], rows[3]["url"])] == [("b", "u"), ("d", "é")]


def test_a_quote_that_is_never_closed_costs_few_rows(tmp_path: Path) -> None:
    lines = [HEADER, 'a,"u,1,1', *(f'{n},"u{n}",1,1' for n in range(5))]
    found = of_csv(tmp_path, "\n".join(lines))
    assert [one if isinstance(one, Reason) else one["id"] for one in found] == [
        Reason.NOT_A_ROW, "1", "2", "3", "4"
    ]  # fmt: skip


def test_a_record_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_MAX_RECORD_BYTES", 1000)
    lines = [HEADER, 'a,"u,1,1', *(f"{n},u,1,1" for n in range(1000))]
    found = of_csv(tmp_path, "\n".join(lines))
    assert found[0] is Reason.LINE_TOO_LONG
    rest = [row["id"] for row in found[1:]]
    assert rest == [str(n) for n in range(1000)][-len(rest) :]
    assert len(rest) > 850


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("url,title\n", r"lacks the columns id, score, created_utc; it has 'url', 'title'\. A table"),
        ("1dz5rj,http://example.com/,5,1368066617\n", "lacks the columns url, id, score, created_utc"),
        (f"{HEADER},url\n", "has the columns url more than once"),
        ('"\n', "lacks the columns url, id, score, created_utc; it has none"),
        (HEADER.replace(",", ";"), "it has 'id;url;score;created…'"),
        (HEADER.encode("utf-16"), "lacks the columns"),
        (b"\x50\x4b\x03\x04" * 100, "lacks the columns"),
    ],
)
def test_a_table_without_the_columns_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        of_csv(tmp_path, content)
    assert "table.csv" in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("content", ["", "\n\n", HEADER, "\n" + HEADER + "\n"])
def test_a_table_may_have_no_rows(tmp_path: Path, content: str) -> None:
    assert of_csv(tmp_path, content) == []


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no table that can be read"):
        read_table(str(tmp_path / "x.parquet.gz"))


@pytest.mark.parametrize("suffix", sorted(set(PACKERS) - {".csv"}))
def test_no_row_before_the_damage_is_lost(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"top{suffix}"
    lines = [f"{n:x},http://example.com/{n * n * 7919 % 99991},{n},1368066617" for n in range(60_000)]
    packed = PACKERS[suffix]("\n".join([HEADER, *lines]).encode())
    path.write_bytes(packed[: len(packed) * 2 // 3])
    whole = b""
    with pytest.raises(Damaged):  # noqa: PT012
        for chunk in unpack(str(path)):
            whole += chunk
    rows = until_damage(path)
    assert [row["score"] for row in rows] == list(range(whole.count(b"\n") - 1))
    assert rows or suffix == ".csv.zst"


TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('",\r\n'), max_size=12)


@given(st.lists(st.tuples(TEXT, TEXT, st.integers(-10, 10)), max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_what_pythons_writer_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[str, str, int]], end: str
) -> None:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator=end)
    writer.writerows([[*HEADER.split(","), "title"], *(("a", url, n, 1, title) for url, title, n in values)])
    rows = of_csv(tmp_path_factory.getbasetemp(), file.getvalue())
    assert [(row["url"], row["title"], row["score"]) for row in rows] == [
        (read_as(url), read_as(title), n) for url, title, n in values
    ]


def read_as(text: str) -> str | None:
    text = text.replace("\r", "")
    return None if text in {"", "None", "NaN", "NULL"} else text


CSV_BYTES = st.lists(st.sampled_from([b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"a", b"1", b"\xc3\xa9"]))


@given(CSV_BYTES.map(b"".join))
def test_any_bytes_in_a_csv_file_get_an_answer(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp()
    found = of_csv(folder, HEADER.encode() + b"\n" + content)
    num_lines = content.count(b"\n") + (not content.endswith(b"\n") and content != b"")
    assert all(isinstance(one, (Reason, dict)) for one in found)
    assert len(found) <= num_lines
    if b'"' not in content:
        assert len(found) == num_lines
    try:
        of_csv(folder, content)
    except InputError:
        pass
    else:
        assert not content.strip()


PLAIN: dict[str, pa.Array] = {
    "id": pa.array(["a", "b", None]),
    "url": pa.array(["http://example.com/é", "", None]),
    "score": pa.array([5, -1, None], pa.int64()),
    "created_utc": pa.array([1368066617, 1368066618, None], pa.int64()),
    "over_18": pa.array([True, False, None]),
}
TIMES = [datetime.fromtimestamp(1368066617, UTC), datetime.fromtimestamp(1368066618, UTC), None]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("url", PLAIN["url"].cast(pa.large_string())),
        ("url", PLAIN["url"].cast(pa.binary())),
        ("url", PLAIN["url"].dictionary_encode()),
        ("url", PLAIN["url"].cast(pa.string_view())),
        ("score", PLAIN["score"].cast(pa.int8())),
        ("score", PLAIN["score"].cast(pa.float32())),
        ("score", pa.array([5.0, -1.0, float("nan")])),
        ("score", pa.array([Decimal(5), Decimal(-1), None], pa.decimal128(10, 2))),
        ("score", pa.array(["5", "-1", None])),
        ("score", PLAIN["score"].dictionary_encode()),
        ("created_utc", PLAIN["created_utc"].cast(pa.uint32())),
        ("created_utc", PLAIN["created_utc"].cast(pa.float64())),
        ("created_utc", pa.array(["1368066617.0", "1368066618", ""])),
        ("created_utc", pa.array(TIMES, pa.timestamp("s"))),
        ("created_utc", pa.array(TIMES, pa.timestamp("ns"))),
        ("created_utc", pa.array(TIMES, pa.timestamp("us", "America/New_York"))),
        ("over_18", pa.array(["True", "f", ""])),
        ("over_18", pa.array([1, 0, None], pa.int8())),
        ("over_18", pa.array([1.0, 0.0, float("nan")])),
    ],
)
def test_parquet_columns_of_many_types_are_the_same_rows(tmp_path: Path, name: str, column: pa.Array) -> None:
    rows = of_parquet(tmp_path, {**PLAIN, name: column})
    assert [row.pop("subreddit") for row in rows] == [None] * 3
    assert rows == [
        {"id": "a", "url": "http://example.com/é", "score": 5, "created_utc": 1368066617, "over_18": True},
        {"id": "b", "url": None, "score": -1, "created_utc": 1368066618, "over_18": False},
        {"id": None, "url": None, "score": None, "created_utc": None, "over_18": None},
    ]
    assert all(type(row["score"]) in (int, type(None)) for row in rows)


def test_of_structures_one_field_is_read(tmp_path: Path) -> None:
    meta = [{"was_deleted_later": True, "note": "x"}, None, {"was_deleted_later": False, "note": None}]
    parents = [[{"is_self": True, "selftext": "x"}], [], None]
    rows = of_parquet(tmp_path, {**PLAIN, "_meta": meta, "crosspost_parent_list": parents})
    assert [row["_meta"] for row in rows] == [
        {"was_deleted_later": True}, None, {"was_deleted_later": False}
    ]  # fmt: skip
    assert [row["crosspost_parent_list"] for row in rows] == [[{"is_self": True}], [], None]


def test_a_parquet_string_need_not_be_utf8(tmp_path: Path) -> None:
    urls = pa.array([b"http://example.com/\xff", b"u", b"v"]).view(pa.string())
    titles = pa.array([b"", b"\xff", b""]).view(pa.string())
    rows = of_parquet(tmp_path, {**PLAIN, "url": urls, "title": titles})
    assert rows[0] is Reason.NOT_UTF8
    assert [row["url"] for row in rows[1:]] == ["u", "v"]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("id", [1, 2, 3], "column id holds int64"),
        ("url", [["u"], [], None], "column url holds list"),
        ("score", [{"value": 1}, None, None], "column score holds struct"),
    ],
)
def test_parquet_columns_of_other_types_are_refused(
    tmp_path: Path, name: str, values: list[Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        of_parquet(tmp_path, {**PLAIN, name: pa.array(values)})


def test_a_parquet_file_without_the_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lacks the columns score"):
        of_parquet(tmp_path, {name: PLAIN[name] for name in ("id", "url", "created_utc")})


def many(num: int) -> dict[str, Any]:
    return {
        "id": [f"i{n}" for n in range(num)],
        "url": [f"http://example.com/{n:06}" for n in range(num)],
        "score": list(range(num)),
        "created_utc": [1368066617] * num,
        "body": [f"body {n:06}" for n in range(num)],
    }


def write_in_pages_of_100(path: Path, num_rows: int) -> None:
    pq.write_table(
        pa.table(many(num_rows)), path, row_group_size=3000, data_page_size=1, write_batch_size=100,
        write_page_checksum=True, compression="none", use_dictionary=False,
    )  # fmt: skip


def flip(path: Path, text: bytes) -> None:
    content = path.read_bytes()
    assert content.count(text) == 1
    path.write_bytes(content.replace(text, text.swapcase()))


def test_a_corrupt_page_ends_the_rows_before_it(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_in_pages_of_100(path, 9000)
    flip(path, b"http://example.com/004250")
    rows = until_damage(path)
    assert [row["score"] for row in rows] == list(range(4200))
    with pytest.raises(Damaged, match="row group 1 of 3, after 1,200 of its rows"):
        read(path)


def test_parquet_columns_that_do_not_matter_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_in_pages_of_100(path, 9000)
    flip(path, b"body 004250")
    assert [row["score"] for row in read(path)] == list(range(9000))


def test_memory_does_not_grow_with_a_row_group(tmp_path: Path) -> None:
    num = 30_000
    columns = {**many(num), "selftext": [f"{n:0400}" for n in range(num)]}
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table(columns), path, use_dictionary=False, compression="none")
    del columns
    assert path.stat().st_size > 12_000_000
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() for _ in read_table(str(path)))
    assert most - before < 6_000_000


@pytest.mark.parametrize("keep", [0, 3, 500, -1, -8, -100])
def test_what_is_no_whole_parquet_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table(many(100)), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"table.parquet cannot be read as Parquet .* get the file again"):
        read(path)


PARQUET = pa.BufferOutputStream()
pq.write_table(pa.table({**PLAIN, "_meta": [{"was_deleted_later": True}, None, None]}), PARQUET)
PARQUET_BYTES = PARQUET.getvalue().to_pybytes()


@given(st.lists(st.tuples(st.integers(0, len(PARQUET_BYTES) - 1), st.integers(0, 255)), max_size=4))
def test_a_parquet_file_with_other_bytes_gets_an_answer(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(PARQUET_BYTES)
    for place, byte in changes:
        content[place] = byte
    path = tmp_path_factory.getbasetemp() / "changed.parquet"
    path.write_bytes(content)
    try:
        rows = read(path)
    except (InputError, Damaged):
        return
    assert all(isinstance(row, (Reason, dict)) for row in rows)


@pytest.mark.parametrize(
    "name", ["Foodforthought", "TrueReddit", "programming", "science", "technology", "worldnews"]
)
def test_genuine_tables(realdata: Path, tmp_path: Path, name: str) -> None:
    path = realdata / "reddit" / f"top_{name}.csv"
    rows = read(path)
    with path.open(newline="", encoding="utf-8") as file:
        theirs = list(csv.DictReader(file))
    assert len(rows) > 900
    assert [(row["id"], row["url"], row["score"], row["created_utc"]) for row in rows] == [
        (one["id"], one["url"], int(one["score"]), int(float(one["created_utc"]))) for one in theirs
    ]
    assert {row["subreddit"].lower() for row in rows} == {name.lower()}
    assert sum(row["is_self"] for row in rows) == sum(one["is_self"] == "True" for one in theirs)
    parquet = tmp_path / "table.parquet"
    duckdb.sql(f"COPY (FROM read_csv('{path}', header = true)) TO '{parquet}'")
    as_parquet = [
        {key: value.replace("\r", "") if isinstance(value, str) else value for key, value in row.items()}
        for row in read(parquet)
    ]
    assert as_parquet == rows


def test_a_url_of_several_submissions_is_one_link(realdata: Path, run: Folder, run_stage: RunStage) -> None:
    paths = sorted((realdata / "reddit").glob("top_*.csv"))
    submissions = run_stage("collect", CollectSettings(dumps=tuple(map(str, paths))))
    links = run_stage("link", LinkSettings(min_karma=-1000), collect=submissions)
    folder = run / "links"
    kept = [
        row for part in links.counted() for row in folder.read_table(part.file("parquet").name).to_pylist()
    ]
    link_of = {one["id"]: link["id"] for link in kept for one in link["submissions"]}
    ids_of_url = defaultdict(set)
    for path in paths:
        for row in read(path):
            if row["id"] in link_of:
                ids_of_url[row["url"]].add(row["id"])
    repeated = [ids for ids in ids_of_url.values() if len(ids) > 1]
    assert len(repeated) > 50
    assert all(len({link_of[ident] for ident in ids}) == 1 for ids in repeated)
    assert len({link["canonical"] for link in kept}) == len(kept)
