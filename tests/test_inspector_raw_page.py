"""Raw pages: read from their records, made harmless, and answered so that nothing of them can run or load."""

import gzip
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.inspector.catalogue.catalogue import Catalogue
from pipeline.inspector.document.harmless import MOST_CHARACTERS, harmless
from pipeline.inspector.document.raw_page import MOST_BYTES, in_plain_sight, read_page
from pipeline.inspector.document.stored import find_page, part_of
from pipeline.records import LEDGER
from pipeline.runs import Folder
from tests.inspected import Answer, ask, inspecting
from tests.synthetic_run import warc_record, write_run

# ---- records


def ledger(run: Folder) -> list[dict[str, Any]]:
    return [
        row
        for path in sorted(Path(run.path("pages")).glob("*.ledger.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def with_page(path: Path, record: bytes) -> tuple[Folder, str]:
    """A run one of whose links has this WARC record, and the link's id."""
    run = write_run(path, 20, "extract")
    warc, file = Path(run.path("pages/part-00000.warc.gz")), Path(run.path("pages/part-00000.ledger.parquet"))
    rows = pq.read_table(file).to_pylist()
    row = next(one for one in rows if one["outcome"] == "fetched")
    row |= {"offset": warc.stat().st_size, "length": len(record)}
    warc.write_bytes(warc.read_bytes() + record)
    pq.write_table(pa.Table.from_pylist(rows, LEDGER), file)
    return run, row["id"]


def http_record(headers: str, body: bytes) -> bytes:
    """A response record with these HTTP headers."""
    plain = gzip.decompress(warc_record("response", "http://a.example/", body))
    block = b"HTTP/1.1 200 OK\r\n" + headers.encode() + b"\r\n\r\n" + body
    head = re.sub(
        rb"Content-Length: \d+", b"Content-Length: %d" % len(block), plain.partition(b"\r\n\r\n")[0]
    )
    return gzip.compress(head + b"\r\n\r\n" + block + b"\r\n\r\n")


def test_every_page_is_the_one_of_its_record(tmp_path: Path) -> None:
    """A page whose body is another's too is the record that has the body."""
    run = write_run(tmp_path / "run", 90, retried=True)
    rows = [row for row in ledger(run) if row["outcome"] == "fetched"]
    assert {row["revisit"] for row in rows} == {False, True}
    assert len({row["warc"] for row in rows}) == 3
    with Catalogue(run) as catalogue:
        for row in [*rows[::9], *(one for one in rows if one["revisit"])]:
            found = find_page(catalogue, row["id"])
            assert found is not None
            assert part_of(found) in ("part-00000", "part-00001")
            assert {**found, "fetched": None} == {**row, "fetched": None}
            page = read_page(catalogue, found)
            data = Path(run.path(f"pages/{row['warc']}")).read_bytes()[row["offset"] :]
            block = gzip.decompress(data[: row["length"]]).split(b"\r\n\r\n", 2)[2]
            assert page.html == block.removesuffix(b"\r\n\r\n").decode()
            assert page.is_html
            assert page.status_line == "HTTP/1.1 200 OK"
            assert dict(page.headers) == {"Content-Type": "text/html"}
            assert dict(page.record)["WARC-Type"] == "response"
            assert dict(page.record)["WARC-Target-URI"] == row["final_url"] or row["revisit"]
        assert find_page(catalogue, next(one["id"] for one in ledger(run) if one["outcome"] == "dns")) is None


@pytest.mark.parametrize(
    ("headers", "body", "html", "is_html"),
    [
        ("Content-Type: text/html; charset=utf-8", "<p>ünï".encode("latin-1"), "<p>ünï", True),
        ("Content-Type: text/html; charset=shift_jis", "<p>日本語".encode("shift_jis"), "<p>日本語", True),
        (
            "Content-Type: text/html\r\nContent-Encoding: gzip",
            gzip.compress(b"<p>packed", mtime=0),
            "<p>packed",
            True,
        ),
        ("X-None: none", b"<p>no type", "<p>no type", True),
        ("Content-Type: text/plain", b"<script>x</script>", "<script>x</script>", False),
        ("Content-Type: image/svg+xml", b"<svg onload=x()>", "<svg onload=x()>", False),
        ("Content-Type: text/html", b"<p>" + b"a" * 2000 + b"\0b", f"<p>{'a' * 2000}\0b", True),
    ],
)
def test_bodies_are_read_as_extract_reads_them(
    tmp_path: Path, headers: str, body: bytes, html: str, is_html: bool
) -> None:
    run, document_id = with_page(tmp_path / "run", http_record(headers, body))
    with Catalogue(run) as catalogue:
        row = find_page(catalogue, document_id)
        assert row is not None
        page = read_page(catalogue, row)
    assert (page.html, page.is_html, page.is_cut) == (html, is_html, False)
    with inspecting(run) as address:
        shown = ask(f"{address}/documents/{document_id}/page")
        source = ask(f"{address}/documents/{document_id}/source")
    assert shown.status == 200
    assert shown.headers["content-type"].startswith("text/html" if is_html else "text/plain")
    assert is_html or shown.text.endswith("shown as source only.")
    assert source.status == 200
    assert "<script>x" not in source.text
    assert headers.partition("\r")[0].partition(": ")[2] in source.text


def test_a_bomb_is_cut(tmp_path: Path) -> None:
    packed = gzip.compress(b"<p>" + b"a" * (5 * MOST_BYTES))
    run, document_id = with_page(
        tmp_path / "run", http_record("Content-Type: text/html\r\nContent-Encoding: gzip", packed)
    )
    with inspecting(run) as address:
        page = ask(f"{address}/documents/{document_id}/page")
        source = ask(f"{address}/documents/{document_id}/source")
    assert page.status == source.status == 200
    assert len(page.text) < MOST_CHARACTERS + 1000
    assert len(source.text) < 100_000
    assert "It goes on" in source.text


@pytest.mark.parametrize("damage", ["cut", "other", "gone", "request"])
def test_a_record_that_is_damaged_says_so(tmp_path: Path, damage: str) -> None:
    record = warc_record("request" if damage == "request" else "response", "http://a.example/", b"<p>a page")
    run, document_id = with_page(tmp_path / "run", record)
    warc = Path(run.path("pages/part-00000.warc.gz"))
    if damage == "cut":
        warc.write_bytes(warc.read_bytes()[:-20])
    elif damage == "other":
        warc.write_bytes(b"\x1f\x8b" + b"x" * warc.stat().st_size)
    elif damage == "gone":
        warc.unlink()
    with Catalogue(run) as catalogue:
        row = find_page(catalogue, document_id)
        assert row is not None
        with pytest.raises(InputError, match=r"pages/part-00000\.warc\.gz cannot be read"):
            read_page(catalogue, row)
    with inspecting(run) as address:
        assert ask(f"{address}/documents/{document_id}").status == 200
        assert "webtext verify" in ask(f"{address}/documents/{document_id}/source").text
        framed = ask(f"{address}/documents/{document_id}/page")
    assert framed.headers["x-frame-options"] == "SAMEORIGIN"  # else the frame could not say what is wrong
    assert framed.headers["content-type"].startswith("text/plain")
    assert "webtext verify" in framed.text


# ---- what is answered


def page_of(tmp_path: Path, html: bytes) -> Answer:
    run, document_id = with_page(tmp_path / "run", warc_record("response", "http://a.example/", html))
    with inspecting(run) as address:
        return ask(f"{address}/documents/{document_id}/page")


def test_a_page_has_a_policy_of_its_own(tmp_path: Path) -> None:
    answer = page_of(tmp_path, b"<p>a page")
    policy = answer.headers["content-security-policy"].split("; ")
    assert "sandbox" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert not re.search(r"script|allow-|http|\*|connect|frame-src", "; ".join(policy))
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


# ---- harmless


class Harms(HTMLParser):
    """What of a page could run, load or lead anywhere, by Python's own parser."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes an element or an attribute that does something."""
        if tag in (
            "script",
            "iframe",
            "object",
            "embed",
            "link",
            "meta",
            "base",
            "form",
            "svg",
            "math",
            "template",
        ):
            self.found.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name in (
                "href",
                "srcset",
                "action",
                "formaction",
                "background",
                "srcdoc",
                "ping",
            ):
                self.found.append(f"{tag} {name}")
            if name == "src" and not (value or "").lower().startswith("data:image/"):
                self.found.append(f"{tag} {name}={value}")
            if name == "style":
                self.css(value or "")

    def handle_data(self, data: str) -> None:
        """Notes a style that loads something; keeps texts."""
        if self.cdata_elem == "style":
            self.css(data)
        else:
            self.text.append(data)

    def css(self, text: str) -> None:
        """Notes a style that loads something."""
        if re.search(r"@import|url\(", text, re.IGNORECASE):
            self.found.append(text)


def harms(html: str) -> list[str]:
    reader = Harms()
    reader.feed(html)
    reader.close()
    return reader.found


MARKUP = [
    "<script>x()</script>",
    "<SCRIPT SRC=//e>",
    "<img src=x onerror=x()>",
    "<svg onload=x()><script>x()</script></svg>",
    "<iframe srcdoc='<script>x()</script>'></iframe>",
    "<meta http-equiv=refresh content='0;url=//e'>",
    "<base href=//e target=_top>",
    "<form action=//e><button formaction=//e>",
    "<a href='javascript:x()'>a</a>",
    "<a href=//e ping=//e target=_top>a</a>",
    "<link rel=preconnect href=//e>",
    "<style>@import '//e'; b { background: url(//e) }</style>",
    "<style></style><img src=x onerror=x()></style>",
    "<b style='background:URL(//e)'>b",
    "<object data=//e><embed src=//e>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--><img src=x onerror=x()>'>",
    "<noscript><p title='</noscript><img src=x onerror=x()>'>",
    "<style><<//style><img src=x onerror=x()>",
    "<style><<<///style><script>x()</script>",
    "<style>b { background: u</rl(//e) }</style>",
    *("<style>" + " " * (num - 3) + "@import '//e'</style>" for num in (300, 1_000, 4_000, 5_000)),
    "<textarea></textarea><img src=x onerror=x()>",
    "<title></title><img src=x onerror=x()>",
    "<sty\0le></sty\0le><scr\0ipt>x()</scr\0ipt>",
    "<style></sty\0le><img src=x onerror=x()>",
    "<![CDATA[<script>x()</script>]]><?php <script> ?><!-- --!><script>x()</script>",
    "<p title='\"><script>x()</script>'>p",
    "<img src='data:text/html,<script>x()</script>'><img src='data:image/svg+xml,<svg onload=x()>'>",
    "<video src=//e poster=//e autoplay><source src=//e><track src=//e></video>",
    "<body background=//e onload=x()><table background=//e>",
    "<details open ontoggle=x()><marquee onstart=x()>",
    "<template><script>x()</script></template><xmp><script>x()</script></xmp><plaintext>",
    "&lt;script&gt;x()&lt;/script&gt;",
    "<p\x0bonclick=x()>p</p\x0c>",
    "<div " * 50,
    "\u202e\u2066<script>\ufeffx()</script>",
]


@pytest.mark.parametrize("markup", MARKUP)
def test_nothing_that_could_do_something_stays(markup: str) -> None:
    assert harms(harmless(f"<html><body><p>before</p>{markup}")) == []
    assert harms(harmless(markup)) == []


@given(
    st.lists(
        st.one_of(st.sampled_from(MARKUP), st.text(alphabet="<>/\"'= !-x\0&#;ab", max_size=12)), max_size=12
    )
)
def test_nothing_that_could_do_something_stays_however_it_is_mixed(pieces: list[str]) -> None:
    assert harms(harmless("".join(pieces))) == []


@given(st.text(max_size=200))
def test_text_stays_what_it_is(text: str) -> None:
    page = f"<p>{''.join(f'&#{ord(char)};' for char in text if char.isprintable())}</p>"
    reader = Harms()
    reader.feed(harmless(page))
    reader.close()
    assert "".join(reader.text).strip() == "".join(char for char in text if char.isprintable()).strip()


def test_what_shows_a_text_stays() -> None:
    page = harmless(
        "<html lang=ar dir=rtl><head><title>no</title><style>p { color: red }</style></head><body class=x>"
        "<h1 id=h>A</h1><p style='margin:0'>b <b>c</b><br>d</p><img src=/x.png alt='a cat'>"
        "<img src='data:image/png;base64,AAAA'><a href=/there>link</a><table><tr><td colspan=2>e</table>"
    )
    for kept in (
        '<html lang="ar" dir="rtl">',
        "p { color: red }",
        '<p style="margin:0">b <b>c</b><br>d</p>',
        '<img alt="a cat">',
        '<img src="data:image/png;base64,AAAA">',
        '<a title="leads to /there">link</a>',
        '<td colspan="2">e</td>',
    ):
        assert kept in page


@pytest.mark.parametrize(
    "page",
    [
        "<div>" * 400_000,
        "<p " + " ".join(f"a{n}=x" for n in range(90_000)) + ">",
        "<b><p>" * 150_000,
        "&" * 900_000,
    ],
    ids=["deep", "attributes", "misnested", "ampersands"],
)
def test_pages_that_are_monsters_are_shown(page: str) -> None:
    """Those that other ways of parsing take minutes for, or end the process at."""
    assert harms(harmless(page)) == []


def test_a_source_hides_nothing() -> None:
    assert in_plain_sight("a\0b\u202ec\u2066\x1b\x7f\td\n") == "a␀b⟦U+202E⟧c⟦U+2066⟧␛␡\td\n"
