"""Mutated pages: an answer each, whatever became of the page, and the process that asks goes on."""

import gzip
import io
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import date

import pytest
from fastwarc.warc import ArchiveIterator
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import Extraction, Hopeless
from pipeline.extract.extractor import Extractor
from pipeline.extract.wire import Extracted, Request
from pipeline.records import Reason, Rejection
from tests.conftest import SHARED

# A test run takes 150 of the smaller pages; "make fuzz" 20,000 of all.
_IS_LONG = settings().max_examples > 1000
NUM_PAGES = settings().max_examples // 5 if _IS_LONG else 150
_MOST_BYTES = 10_000_000 if _IS_LONG else 60_000

CHARSETS = [
    "utf-8", "utf-16", "utf-16le", "utf-7", "shift_jis", "iso-2022-jp", "iso-2022-kr", "hz", "big5",
    "gb18030", "koi8-r", "windows-1252", "cp037", "mac_arabic", "idna", "punycode", "unicode_escape",
    "undefined", "rot13", "", "no-such-charset", "\udcff",
]  # fmt: skip
PIECES = [
    b"<p>", b"</p>", b"<div>", b"</div>", b"<table><tr><td>", b"</table>", b"<li>", b"<ul>", b"<form>",
    b"</form>", b"<a href=", b"<b>", b"</i>", b"<script>", b"</script>", b"<style>", b"<textarea>",
    b"<plaintext>", b"<svg>", b"<math>", b"<template>", b"<select>", b"<frameset>", b"<noscript>",
    b"<article>", b"<html>", b"<body>", b"</body>", b"</html>", b"<title>",
    b"<base href='http://[::1'>", b"<link rel=canonical href='//['>",
    b"<meta property=og:url content='http://e.example:x/'>", b"<!--", b"-->", b"<![CDATA[", b"]]>",
    b"<?xml ", b"<!DOCTYPE html [", b"<![if IE]>", b"<", b">", b"'", b'"', b"&", b"&#0;", b"&#1;",
    b"&#x0c;", b"&#xD800;", b"&#xFFFE;", b"&#x110000;", b"&amp;", b"&nosuch;", b"&lt;p&gt;", b"\0",
    b"\0\0\0\0", b"\xff\xfe", b"\xed\xa0\x80", b"\xef\xbf\xbe", b"\xf4\x90\x80\x80", b"\x1b$B", b"~{",
    b"\x01", b"\x0b", b"\xe2\x80\xa8",
]  # fmt: skip

OF_PAGES = [
    Reason.NO_TEXT, Reason.TOO_SHORT, Reason.ERROR_PAGE, Reason.LANGUAGE, Reason.TOO_LARGE, Reason.TOO_SLOW,
]  # fmt: skip

Mutation = Callable[[random.Random, bytes, Sequence[bytes]], bytes]


def _span(rng: random.Random, page: bytes) -> tuple[int, int]:
    """The start and end of a stretch of a page: mostly short, at times nearly all of it."""
    start = rng.randrange(len(page) + 1)
    return start, min(len(page), start + rng.choice([1, 20, 400, len(page) // 2]))


def _cut(rng: random.Random, page: bytes, _: Sequence[bytes]) -> bytes:
    return page[: rng.randrange(len(page) + 1)]


def _behead(rng: random.Random, page: bytes, _: Sequence[bytes]) -> bytes:
    return page[rng.randrange(len(page) + 1) :]


def _splice(rng: random.Random, page: bytes, pages: Sequence[bytes]) -> bytes:
    return _cut(rng, page, pages) + _behead(rng, rng.choice(pages), pages)


def _flip(rng: random.Random, page: bytes, _: Sequence[bytes]) -> bytes:
    flipped = bytearray(page)
    for _again in range(rng.choice([1, 10, 1 + len(page) // 50])):
        flipped[rng.randrange(len(page))] = rng.randrange(256)
    return bytes(flipped)


def _delete(rng: random.Random, page: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _span(rng, page)
    return page[:start] + page[end:]


def _repeat(rng: random.Random, page: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _span(rng, page)
    times = rng.choice([2, 3, 100]) if end - start < 1000 else 2
    return page[:start] + page[start:end] * times + page[end:]


def _swap(rng: random.Random, page: bytes, _: Sequence[bytes]) -> bytes:
    start, middle, end = sorted(rng.randrange(len(page) + 1) for _ in range(3))
    return page[:start] + page[middle:end] + page[start:middle] + page[end:]


def _insert(rng: random.Random, page: bytes, _: Sequence[bytes]) -> bytes:
    for _again in range(rng.choice([1, 3, 20])):
        at = rng.randrange(len(page) + 1)
        page = page[:at] + rng.choice(PIECES) * rng.choice([1, 1, 1, 300]) + page[at:]
    return page


def _declare(rng: random.Random, page: bytes, _: Sequence[bytes]) -> bytes:
    charset = rng.choice(CHARSETS).encode(errors="replace")
    return page.replace(b"<head>", b"<head><meta charset='" + charset + b"'>", 1)


def _recode(rng: random.Random, page: bytes, _: Sequence[bytes]) -> bytes:
    charset = rng.choice(["utf-16", "utf-16-be", "cp037", "latin-1", "shift_jis", "utf-7"])
    return page.decode(errors="replace").encode(charset, errors="replace")


MUTATIONS: list[Mutation] = [
    _cut, _behead, _splice, _flip, _delete, _repeat, _swap, _insert, _insert, _declare, _recode,
]  # fmt: skip


def mutated(number: int, pages: Sequence[bytes]) -> tuple[bytes, str]:
    """The body and the Content-Type of the page with this number."""
    rng = random.Random(number)
    page = rng.choice(pages)
    for mutate in rng.choices(MUTATIONS, k=rng.choice([1, 1, 2, 4])):
        page = mutate(rng, page, pages) or b" "
    charset = rng.choice(["", "", *CHARSETS])
    return page, f"text/html; charset={charset}" if charset else "text/html"


def made_pages() -> list[bytes]:
    """Small pages, each with something that extractors treat apart."""
    sentence = "Nothing in this paragraph is out of the ordinary, and there is a good deal of it to read. "
    text = "".join(f"<p>{number}. {sentence * 3}</p>" for number in range(4))
    head = (
        '<head><title>A page</title><meta charset="utf-8"><meta property="og:url" content="/page">'
        '<link rel="canonical" href="/canonical"><meta name="date" content="2019-12-01"></head>'
    )
    bodies = [
        f"<article><h1>Title</h1>{text}</article>",
        f"<table><tr><td>{text}</td><td>2</td></tr></table><ul><li>{sentence}</li></ul>",
        f"<div><div><form><table>{text}</form></table><pre><code>x = 1</code></pre></div>",
        f'<script type="application/ld+json">{{"articleBody": "{sentence * 9}"}}</script><p>x</p>',
        f"<p>Käse 日本語 Съешь 😀 &eacute;&#x201c;</p>{text}<blockquote>{sentence}</blockquote>",
    ]
    return [f"<!DOCTYPE html><html lang=en>{head}<body>{body}</body></html>".encode() for body in bodies]


@pytest.fixture(scope="module")
def pages() -> list[bytes]:
    """What is mutated: made pages, and real ones where they are at hand."""
    found = made_pages()
    real = SHARED / "realweb" / "pages.warc.gz"
    if real.exists():
        plain = io.BytesIO(gzip.decompress(real.read_bytes()))
        bodies = [record.reader.read() for record in ArchiveIterator(plain)]
        found += [body for body in bodies if 0 < len(body) <= _MOST_BYTES]
    return found


@pytest.fixture(scope="module")
def extractor() -> Iterator[Extractor]:
    """Looks at a page in both ways, the quick one and the slow one."""
    hopeless = Hopeless(languages=("en",), min_words=5)
    with Extractor(Extraction(deadline_s=5, reject_early=True, hopeless=hopeless)) as opened:
        yield opened


@given(number=st.integers(0, 2**64 - 1))
@settings(max_examples=NUM_PAGES, deadline=None, derandomize=not _IS_LONG, database=None)
def test_a_mutated_page_gets_an_answer(extractor: Extractor, pages: list[bytes], number: int) -> None:
    body, content_type = mutated(number, pages)
    answer = extractor.extract(Request("https://example.com/page", content_type, date(2020, 1, 1)), body)
    if isinstance(answer, Extracted):
        assert answer.text.strip()
        assert answer.text.encode()
        return
    assert answer.reason in OF_PAGES
    assert "ended by" not in answer.value
    if answer.reason is Reason.NO_TEXT:  # and not an exception's name
        assert answer == Rejection(Reason.NO_TEXT)
