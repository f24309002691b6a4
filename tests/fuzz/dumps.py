"""What collect reads: dumps and their packings, tables, lists, and the answers of Reddit's API."""

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Iterable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pipeline.collect.batches import judge_all
from pipeline.collect.dumps import Damaged, read_lines
from pipeline.collect.glance import read_rows
from pipeline.collect.journal import append, appending, pages, write_dump
from pipeline.collect.lists import read_list
from pipeline.collect.patience import _is_token, _json, _put_headers_right, _wait_s, _why
from pipeline.collect.reddit import _Listing, _submissions
from pipeline.collect.rows import Row, holds_comment
from pipeline.collect.rules import Rules
from pipeline.collect.tables import read_table
from pipeline.collect.work import table_of
from pipeline.config import CollectSettings
from pipeline.errors import InputError, RunError
from pipeline.records import Reason
from tests.fuzz.target import Target, file_of

_ROW: dict[str, Any] = {
    "id": "abc", "name": "t3_abc", "created_utc": 1575158476, "retrieved_on": 1575158477, "score": 5,
    "url": "https://www.example.com/article?id=1&amp;b=2", "url_overridden_by_dest": "https://example.com/x",
    "subreddit": "science", "permalink": "/r/science/comments/abc/an_article/", "title": "An article",
    "selftext": "", "is_self": False, "over_18": False, "promoted": None, "removed_by_category": None,
    "crosspost_parent_list": [{"is_self": False}], "_meta": {"was_deleted_later": False},
}  # fmt: skip
_VALUES = (
    b'"https://i.redd.it/a.jpg"', b'"/r/a/"', b'"[removed]"', b'"t3_"', b'"is_self":true', b'"score":"5"',
    b'"is_self": true', b'"2013-05-09 02:30:17"', b'"2013-05-09T04:30:17+02:00"', b"1368066617.0", b'"url":"',
    b"https://out.reddit.com/t3_a?url=https%3A%2F%2Fexample.com", b"https://www.google.com/url?q=", b"http://[::1]/",
)  # fmt: skip
_DUMP_RULES = Rules.of(CollectSettings())
_LIST_RULES = Rules.of(CollectSettings(), listed=True)


def _judge(rows: Iterable[Row | Reason], rules: Rules) -> bool:
    """Through to the table that is written; every row has one answer. Whether any is kept."""
    given = list(rows)
    batches = list(judge_all(given, rules))
    for batch in batches:
        batch.months()
    assert sum(len(batch.kept) + len(batch.reasons) for batch in batches) == len(given)
    return any(table_of(batch.kept).num_rows for batch in batches)


def dump_lines(data: bytes) -> bool:
    """Lines of a dump: an answer each, whatever they are."""
    lines = data.split(b"\n")
    holds_comment(lines[0])
    rows = list(read_rows(lines, _DUMP_RULES))
    assert len(rows) == len(lines)
    return _judge(rows, _DUMP_RULES)


def packed_dumps(data: bytes) -> bool:
    """A dump in each of its packings (and in none), as the first byte says."""
    suffix = (".zst", ".xz", ".bz2", ".gz", "")[(data[0] if data else 0) % 5]
    with suppress(Damaged):
        for line in read_lines(str(file_of(data[1:], f"RS_2011-01{suffix}"))):
            assert isinstance(line, Reason) or b"\n" not in line
        return True
    return False


def csv_tables(data: bytes) -> bool:
    """A table of submissions as CSV."""
    with suppress(InputError, Damaged):
        return _judge(read_table(str(file_of(data, "rows.csv"))), _DUMP_RULES)
    return False


def parquet_tables(data: bytes) -> bool:
    """A table of submissions as Parquet."""
    with suppress(InputError, Damaged):
        return _judge(read_table(str(file_of(data, "rows.parquet"))), _DUMP_RULES)
    return False


def url_lists(data: bytes) -> bool:
    """Lists of URLs, in each of their forms."""
    names = ("RS_2011-01.txt", "urls.jsonl", "urls.tsv")
    found = [_judge(read_list(str(file_of(data, name)), 3), _LIST_RULES) for name in names]
    return any(found)


def reddit_answers(data: bytes) -> bool:
    """An answer of Reddit's API: a listing, and what its header fields say."""
    head, _, body = data.partition(b"\n\n")
    fields = dict(line.partition(": ")[::2] for line in head.decode("latin-1").split("\n"))
    response: Any = SimpleNamespace(status_code=200, headers=fields, json=lambda: json.loads(body))
    _wait_s(fields.get("retry-after"), 1, 1.5e9)
    _put_headers_right(response)
    _why(response)
    if _is_token(response):
        return True
    with suppress(RunError):
        rows, _ = _submissions(_json(response), _Listing("science", "top", "all"), 1_500_000_000)
        return _judge(rows, _DUMP_RULES)
    return False


def reddit_journals(data: bytes) -> bool:
    """A journal of answers that an earlier run has left, through to the dump that is made of it."""
    journal = file_of(data, "reddit.zst.partial")
    with suppress(InputError):
        found = list(pages(journal))
        with appending(journal) as file:
            for page in found[:1]:
                append(file, page)
        return write_dump(journal, {"r/science/top (all)"}, journal.with_name("reddit.zst")) > 0
    return False


def _line(**changes: Any) -> bytes:
    return json.dumps({**_ROW, **changes}).encode()


def _packed() -> tuple[bytes, ...]:
    text = b"".join(_line(id=str(number)) + b"\n" for number in range(4))
    return (
        b"\0" + zstandard.ZstdCompressor(write_checksum=True).compress(text),
        b"\1" + lzma.compress(text),
        b"\2" + bz2.compress(text),
        b"\3" + gzip.compress(text, mtime=0),
        b"\4" + text,
    )


def _as_csv() -> tuple[bytes, ...]:
    names = "url,id,score,created_utc,subreddit,is_self,crosspost_parent_list"
    row = 'https://example.com/a,t3_abc,5,2013-05-09 02:30:17,science,False,"[{""is_self"": false}]"'
    other = "url,name,score,created_utc,permalink\nhttps://example.com/,t3_a,5.0,1e9,/r/a/comments/a/b/"
    return f"{names}\n{row}\n{row}\n".encode(), f"\ufeff{other}\r\n".encode()


def _as_parquet() -> tuple[bytes, ...]:
    names = ("id", "url", "score", "created_utc", "crosspost_parent_list")
    rows = [{**{name: _ROW[name] for name in names}, "id": str(number)} for number in range(3)]
    made = []
    for options in ({"compression": "none", "use_dictionary": False}, {"compression": "zstd"}):
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), file, write_page_checksum=True, **options)
        made.append(file.getvalue())
    return tuple(made)


def _lists() -> tuple[bytes, ...]:
    meta = {"id": [1, "ab"], "subreddit": ["a", "b"], "title": ["", "x"], "score": [3, "4"]}
    meta["created_utc"] = ["2013-05-09T04:30:17+02:00", 1368066617]
    return (
        b"# remark\nhttps://example.com/a\n\nhttps://example.com/b\r\n",
        json.dumps({"text": "https://example.com/a", "meta": meta}).encode() + b"\n",
        b"https://example.com/a\tabc\tscience\ta \\t title\t5\t1368066617\n",
    )


def _answers() -> tuple[bytes, ...]:
    data = {"children": [{"kind": "t3", "data": {**_ROW, "author": "somebody"}}], "after": "t3_abd"}
    listing = json.dumps({"kind": "Listing", "data": data}).encode()
    limits = b"x-ratelimit-remaining: 59.0\nx-ratelimit-used: 1\nx-ratelimit-reset: 300"
    token = b'{"access_token": "a", "expires_in": 3600, "scope": "*", "reason": "private"}'
    return (
        limits + b"\n\n" + listing,
        b"retry-after: Wed, 21 Oct 2015 07:28:00 GMT\n\n" + token,
        b"retry-after: 120\n\n" + token,
    )


def _journal() -> tuple[bytes, ...]:
    page = {"listing": "r/science/top (all)", "last": False, "rows": [_ROW, {**_ROW, "id": "abd"}]}
    return (json.dumps(page).encode() + b"\n" + json.dumps({**page, "last": True}).encode() + b"\n",)


def _rows() -> tuple[bytes, ...]:
    plain = _line().replace(b": ", b":").replace(b", ", b",")
    return plain, _line(is_self=True) + b"\n" + plain, _line(title="\U0001f4a9 \ud83d", url="/r/a/")


_FIELDS = tuple(f'"{name}"'.encode() for name in _ROW)
_CSV_PIECES = (b'""', b',"', b"nan", b"None", b"t3_", b"UTC", b"url", b"created_utc", *_VALUES)

TARGETS = (
    Target(dump_lines, _rows, (*_FIELDS, *_VALUES)),
    Target(packed_dumps, _packed),
    Target(csv_tables, _as_csv, _CSV_PIECES),
    Target(parquet_tables, _as_parquet),
    Target(url_lists, _lists, (b"\\t", b"\\\\", b'"meta"', b"id", *_VALUES)),
    Target(reddit_answers, _answers, (*_FIELDS, *_VALUES, b"children", b"after", b"t3", b"nan", b"inf")),
    Target(reddit_journals, _journal, (*_FIELDS, *_VALUES, b'"rows"', b'"listing"')),
)
