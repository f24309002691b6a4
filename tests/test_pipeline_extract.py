"""The pieces of extract: charsets, WARC records, the child that is ended, URLs that meet."""

import base64
import gzip
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import Extraction
from pipeline.errors import RunError
from pipeline.extract.charset import decode
from pipeline.extract.extractor import MAX_BYTES, Extractor
from pipeline.extract.metadata import Metadata
from pipeline.extract.responses import Response, read_response
from pipeline.extract.same_page import MEMBERS, Absorbed, Joined, find_same_pages, places, shared
from pipeline.extract.sketch import are_alike, sketch
from pipeline.extract.wire import Extracted, Request
from pipeline.records import Reason, Rejection

SENTENCE = "Nothing in this paragraph is out of the ordinary, and there is a good deal of it to read. "
HEAD = "<html><head><title>Good</title></head>"
GOOD = f"{HEAD}<body><article><p>{SENTENCE * 9}</p></article></body></html>".encode()
ROWS = b"<html><body><table>" + b"<tr><td>cell</td></tr>" * 100_000 + b"</table></body></html>"

FRENCH = (
    "<html><body><p>L’été dernier, où étiez-vous ? À l’île de Ré, peut-être, pour 30 €.</p></body></html>"
)
LATIN = "<html><body><p>Käse, größer, façade, año, naïve: all in one page.</p></body></html>"
JAPANESE = "<html><body><p>これは日本語のページです。文字コードは正しく判定されるべきです。</p></body></html>"
RUSSIAN = "<html><body><p>Съешь же ещё этих мягких французских булок, да выпей чаю.</p></body></html>"


@pytest.mark.parametrize(
    ("text", "charset", "content_type"),
    [
        (LATIN, "latin-1", "text/html; charset=ISO-8859-1"),
        (FRENCH, "cp1252", "text/html; charset=ISO-8859-1"),  # as browsers take that name
        (FRENCH, "cp1252", 'text/html; Charset="windows-1252"'),
        (FRENCH, "cp1252", "text/html; charset=utf-8"),  # a lie, and no word in the page
        (FRENCH, "utf-8", "text/html; charset=ISO-8859-1"),  # a lie that the bytes tell
        (JAPANESE, "utf-8", "text/html; charset=Shift_JIS"),
        (JAPANESE, "shift_jis", "text/html; charset=Shift_JIS"),
        (JAPANESE, "shift_jis", "text/html; charset=utf-8"),
        (JAPANESE, "euc_jp", "text/html; charset=x-euc-jp"),  # no such name
        (JAPANESE, "iso2022_jp", "text/html; charset=iso-2022-jp"),
        (RUSSIAN, "koi8-r", "text/html; charset=koi8-r"),
        (RUSSIAN, "cp1251", "text/html"),
        (FRENCH, "utf-16", ""),  # by its mark
        (FRENCH, "utf-16-le", "text/html; charset=utf-16le"),
        (FRENCH, "utf-8-sig", "text/html; charset=latin-1"),
        (LATIN, "cp1252", "text/html; charset=rot13"),  # a codec, but not of text
    ],
)
def test_a_page_is_decoded_whatever_its_header_says(text: str, charset: str, content_type: str) -> None:
    assert decode(text.encode(charset), content_type) == text


@pytest.mark.parametrize("charset", ["shift_jis", "euc_jp", "utf-8"])
def test_a_page_names_its_own_charset(charset: str) -> None:
    page = JAPANESE.replace("<body>", f'<head><meta charset="{charset}"></head><body>')
    assert decode(page.encode(charset), "text/html") == page


def test_one_broken_byte_spoils_one_character() -> None:
    page = RUSSIAN * 20
    assert decode(page.encode()[:-200] + b"\xff" + page.encode()[-200:], "").replace("\ufffd", "") == page


@given(st.binary(max_size=300), st.text(max_size=40))
def test_decoding_never_fails(body: bytes, content_type: str) -> None:
    decode(body, content_type).encode()
    decode(body, f"text/html; charset={content_type}")


def record_of(body: bytes, *headers: tuple[str, str], kind: str = "response") -> bytes:
    """A gzipped WARC record of an HTTP response."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    block = f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode() + body
    digest = base64.b32encode(hashlib.sha1(block, usedforsecurity=False).digest()).decode()
    header = (
        f"WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Date: 2019-12-15T12:00:00Z\r\n"
        "WARC-Record-ID: <urn:uuid:00000000-0000-0000-0000-000000000000>\r\n"
        f"WARC-Block-Digest: sha1:{digest}\r\nContent-Type: application/http; msgtype=response\r\n"
        f"Content-Length: {len(block)}\r\n\r\n"
    )
    return gzip.compress(header.encode() + block + b"\r\n\r\n", mtime=0)


def read(record: bytes, max_bytes: int = 10_000) -> Response | Rejection:
    padding = b"what stands before the record"
    warc = pa.BufferReader(padding + record + b"and after it")
    return read_response(warc, len(padding), len(record), max_bytes)


def chunked(body: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:50], body[50:], b""))


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (GOOD, []),
        (chunked(GOOD), [("Transfer-Encoding", "chunked")]),
        (gzip.compress(GOOD), [("Content-Encoding", "gzip")]),
        (chunked(gzip.compress(GOOD)), [("Transfer-Encoding", "chunked"), ("Content-Encoding", "gzip")]),
        (GOOD, [("Content-Encoding", "gzip")]),  # undone by whoever wrote the file
        (GOOD, [("Transfer-Encoding", "chunked"), ("Content-Encoding", "br")]),
    ],
)
def test_a_body_is_read_without_its_encodings(body: bytes, headers: list[tuple[str, str]]) -> None:
    content_type = ("Content-Type", "text/html; charset=utf-8")
    assert read(record_of(body, content_type, *headers)) == Response("text/html; charset=utf-8", GOOD)


def test_a_bomb_is_read_to_the_limit_only() -> None:
    bomb = record_of(gzip.compress(b"<" * 50_000_000), ("Content-Encoding", "gzip"))
    answer = read(bomb, max_bytes=1000)
    assert isinstance(answer, Response)
    assert len(answer.body) == 1001


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"no WARC file at all, and for more than a few bytes",
        record_of(GOOD)[:-30],
        record_of(GOOD)[5:],
        gzip.compress(gzip.decompress(record_of(GOOD)).replace(b"ordinary", b"original")),
        record_of(GOOD, kind="revisit"),
        record_of(GOOD, kind="resource"),
        record_of(b"\x1f\x8b\x08 not gzip", ("Content-Encoding", "gzip")),
    ],
    ids=["empty", "garbage", "cut", "wrong offset", "digest", "revisit", "resource", "encoding"],
)
def test_a_damaged_record_is_rejected(record: bytes) -> None:
    answer = read(record)
    assert isinstance(answer, Rejection)
    assert answer.reason is Reason.BAD_RECORD
    assert answer.value


def test_damage_to_the_digest_as_well_is_found() -> None:
    # Without the header there is no digest to compare: gzip's own checksum tells.
    record = bytearray(record_of(GOOD))
    record[135] = record[320] = 0
    answer = read(bytes(record))
    assert isinstance(answer, Rejection)
    assert answer.reason is Reason.BAD_RECORD


@given(st.data())
@settings(max_examples=100)
def test_any_damage_gives_an_answer(data: st.DataObject) -> None:
    record = bytearray(record_of(GOOD))
    for _ in range(data.draw(st.integers(1, 4))):
        record[data.draw(st.integers(0, len(record) - 1))] = data.draw(st.integers(0, 255))
    answer = read(bytes(record))
    assert isinstance(answer, Rejection) or answer.body == GOOD


def ask(extractor: Extractor, body: bytes, content_type: str = "text/html") -> Extracted | Rejection:
    return extractor.extract(Request("https://example.com/page", content_type, date(2020, 1, 1)), body)


def extract_good(extractor: Extractor) -> None:
    answer = ask(extractor, GOOD)
    assert answer == Extracted((SENTENCE * 9).strip(), Metadata(title="Good"))


def test_a_page_over_the_deadline_is_too_slow_and_the_next_is_extracted() -> None:
    with Extractor(Extraction(deadline_s=1, max_elements=1_000_000)) as extractor:
        extract_good(extractor)
        started = time.process_time()
        assert ask(extractor, ROWS, "text/html") == Rejection(Reason.TOO_SLOW, "over 1 s")
        assert time.process_time() - started < 1  # the work is not this process's
        extract_good(extractor)


def test_a_page_of_too_many_tags_or_bytes_is_not_tried() -> None:
    with Extractor(Extraction()) as extractor:
        num_tags = ROWS.count(b"<")
        assert ask(extractor, ROWS, "") == Rejection(Reason.TOO_LARGE, f"{num_tags} tags")
        large = b"x" * (MAX_BYTES + 1)
        assert ask(extractor, large, "") == Rejection(Reason.TOO_LARGE, f"{MAX_BYTES + 1} bytes")


def test_a_page_that_takes_too_much_memory_is_too_large_and_the_next_is_extracted() -> None:
    limits = Extraction(max_elements=1_000_000, max_memory_mb=24)
    with Extractor(limits) as extractor:
        extract_good(extractor)
        assert ask(extractor, ROWS, "") == Rejection(Reason.TOO_LARGE, "over 24 MB of memory")
        extract_good(extractor)


def test_a_child_that_cannot_start_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with Extractor(Extraction()) as extractor, pytest.raises(RunError, match="ended with status 1"):
        ask(extractor, GOOD, "")


@pytest.mark.parametrize("body", [b"", b" ", b"plain text, no markup", b"\0" * 99, b"<html></html>", b"<"])
def test_a_page_without_text_is_rejected(body: bytes) -> None:
    with Extractor(Extraction()) as extractor:
        answer = ask(extractor, body, "text/html")
        assert isinstance(answer, Rejection)
        assert answer.reason is Reason.NO_TEXT


@pytest.mark.parametrize(
    ("head", "title"),
    [
        ("<title> Two\n  words\t</title>", "Two words"),
        ("<title></title>", None),
        ("", None),
        ("<title>Caf&eacute;\u200b &amp; Bar</title>", "Café & Bar"),
        ("<svg><title>Icon</title></svg><title>Page</title>", "Page"),
    ],
)
def test_the_title_is_the_head_s(head: str, title: str | None) -> None:
    page = f"<html><head>{head}</head><body><article><p>{SENTENCE * 5}</p></article></body></html>"
    with Extractor(Extraction()) as extractor:
        answer = ask(extractor, page.encode(), "text/html; charset=utf-8")
    assert isinstance(answer, Extracted)
    assert answer.metadata.title == title


@pytest.fixture(scope="module")
def extractor() -> Iterator[Extractor]:
    with Extractor(Extraction(deadline_s=5)) as opened:
        yield opened


@given(st.one_of(st.binary(max_size=2000), st.text(alphabet='<>/="&;apdivtblr \0\ud800é\n', max_size=500)))
@settings(max_examples=60, deadline=None)
def test_foreign_bytes_get_an_answer(extractor: Extractor, foreign: bytes | str) -> None:
    body = foreign.encode(errors="surrogatepass") if isinstance(foreign, str) else foreign
    answer = ask(extractor, b"<html><body>" + body, "text/html; charset=\udcff")
    assert ask(extractor, b"<html><body>" + body, "text/html; charset=\udcff") == answer


@contextmanager
def a_parent_with_a_busy_child() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A process that extracts the slow page, and its child's id."""
    program = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from pipeline.config import Extraction\n"
        "from pipeline.extract.extractor import Extractor\n"
        "from test_pipeline_extract import GOOD, ROWS, ask\n"
        "with Extractor(Extraction(deadline_s=2, max_elements=1_000_000)) as extractor:\n"
        "    ask(extractor, GOOD)\n"
        "    print(extractor._child.process.pid, flush=True)\n"
        "    ask(extractor, ROWS)\n"
    )
    root = Path(__file__).resolve().parents[1]
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout is not None
        try:
            yield parent, int(parent.stdout.readline())
        finally:
            parent.kill()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_child_does_not_outlive_its_parent_for_long() -> None:
    with a_parent_with_a_busy_child() as (parent, child):
        assert is_running(child)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        until = time.monotonic() + 60  # its deadline is two seconds of CPU time
        while is_running(child) and time.monotonic() < until:
            time.sleep(0.1)
        assert not is_running(child)


def member_table(*rows: tuple[int, int, str, int, int], text: str = "", found: bool = True) -> pa.Table:
    """Rows of MEMBERS from key, part, id, karma and hour."""
    return pa.Table.from_pylist(
        [
            {
                "key": key.to_bytes(16, "big"),
                "found": found,
                "part": part,
                "row": 0,
                "id": name,
                "karma": karma,
                "submissions": [f"t3_{name}", "both"],
                "subreddits": sorted([name, "all"]),
                "created": datetime(2019, 1, 1, hour, tzinfo=UTC),
                "sketch": sketch(text or name),
            }
            for key, part, name, karma, hour in rows
        ],
        schema=MEMBERS,
    )


def test_of_links_to_one_page_the_highest_karma_stays_then_the_oldest_then_the_smallest_id() -> None:
    table = member_table(
        (2, 0, "low", 3, 0),
        (2, 1, "high", 4, 5),
        (3, 0, "young", 7, 2),
        (3, 2, "old", 7, 1),
        (4, 1, "b", 7, 1),
        (4, 0, "a", 7, 1),
        (4, 3, "c", 7, 1),
    )
    first, second = datetime(2019, 1, 1, 0, tzinfo=UTC), datetime(2019, 1, 1, 1, tzinfo=UTC)
    expected = [
        (1, Joined("high", 4, ["t3_high", "both", "t3_low"], ["all", "high", "low"], first)),
        (0, Absorbed("low", "high")),
        (2, Joined("old", 7, ["t3_old", "both", "t3_young"], ["all", "old", "young"], second)),
        (0, Absorbed("young", "old")),
        (0, Joined("a", 7, ["t3_a", "both", "t3_b", "t3_c"], ["a", "all", "b", "c"], second)),
        (1, Absorbed("b", "a")),
        (3, Absorbed("c", "a")),
    ]
    assert list(find_same_pages(table, "max")) == expected
    assert list(find_same_pages(table.take(list(range(6, -1, -1))), "max")) == expected
    assert list(find_same_pages(table.slice(0, 1), "max")) == []


def test_karma_that_is_a_sum_is_that_of_all() -> None:
    table = member_table((1, 0, "a", 5, 0), (1, 1, "b", 4, 0), (1, 1, "c", 3, 0))
    changes = dict(find_same_pages(table, "sum"))
    assert isinstance(changes[0], Joined)
    assert changes[0].karma == 12


def test_a_page_is_as_old_as_the_oldest_of_its_links_that_tells() -> None:
    table = member_table(
        (1, 0, "told", 7, 3), (1, 0, "untold", 7, 0), (2, 0, "none", 9, 0), (2, 0, "nor", 3, 0)
    )
    hidden = pa.array([one in ("untold", "none", "nor") for one in table["id"].to_pylist()])
    created = pc.if_else(hidden, pa.scalar(None, table["created"].type), table["created"])
    untold = table.set_column(table.schema.get_field_index("created"), MEMBERS.field("created"), created)
    told, _, none, _ = (change for _, change in find_same_pages(untold, "max"))
    assert isinstance(told, Joined)
    assert told.id == "told"  # of equal karma what tells no time comes behind
    assert told.created == datetime(2019, 1, 1, 3, tzinfo=UTC)
    assert isinstance(none, Joined)
    assert none.created is None


SONG = " ".join(f"word{number}" for number in range(300))


def survivors(*tables: pa.Table) -> dict[str, str]:
    changes = [change for _, change in find_same_pages(pa.concat_tables(tables), "max")]
    return {change.id: change.survivor for change in changes if isinstance(change, Absorbed)}


def test_pages_that_declare_one_url_are_one_where_their_texts_are_alike() -> None:
    there = member_table((1, 0, "there", 3, 0), text=SONG)
    printed = member_table((1, 0, "printed", 9, 0), text=f"Print this page. {SONG}", found=False)
    first_page = member_table((1, 1, "first", 5, 0), text=SONG[:900], found=False)
    other = member_table((1, 1, "other", 7, 0), text=SONG.replace("word", "note"), found=False)
    assert survivors(there, printed, first_page, other) == {"there": "printed", "first": "printed"}
    # Nobody was at the URL itself: the one of the highest karma stands for it.
    assert survivors(printed, first_page, other) == {"first": "printed"}


def test_what_one_declares_and_where_another_was_found_may_go_on_to_a_third() -> None:
    """B was found at 2 and declares 1, C declares 2."""
    a = member_table((1, 0, "a", 3, 0), text=SONG)
    b = [member_table((key, 1, "b", 4, 0), text=SONG, found=key == 2) for key in (1, 2)]
    c = member_table((2, 2, "c", 5, 0), text=SONG, found=False)
    assert survivors(a, *b, c) == {"a": "c", "b": "c"}


def test_only_places_that_several_share_are_read_again() -> None:
    front, page = "https://a.example/", "https://a.example/page"
    documents = pa.table(
        {
            "id": [f"{number:032x}" for number in range(6)],
            "final_url": [
                page,
                f"{page}?print=1",
                f"{page}/2",
                "https://b.example/",
                "https://c.example/",
                "",
            ],
            "canonical_url": [page, page, front, "https://b.example", "no URL", None],
        }
    )
    blocks = [table for _, table in places(documents, 3)]
    found = pa.concat_tables(blocks)
    assert found.num_rows == 7  # six documents, and one that declares another's place
    ((part, rows),) = [one for block in blocks for one in shared(block)]
    assert part == 3
    assert sorted(zip(rows["row"].to_pylist(), rows["found"].to_pylist(), strict=True)) == [
        (0, True),
        (1, False),
    ]


@given(st.text(alphabet="ab ", max_size=60), st.text(alphabet="ab ", max_size=60))
def test_sketches_of_short_texts_tell_just_how_much_they_share(left: str, right: str) -> None:
    def runs(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        return {tuple(words[start : start + 3]) for start in range(max(len(words) - 3, 0) + 1)}

    ours, theirs = runs(left), runs(right)
    shares = len(ours & theirs) >= 0.2 * min(len(ours), len(theirs))
    assert are_alike(sketch(left), sketch(right)) == shares
    assert are_alike(sketch(left), sketch(left))
