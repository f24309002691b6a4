"""Pages that do harm, through the guarded extractor: a verdict each, and the page after them is extracted."""

import codecs
import encodings.aliases
import gzip
import os
import random
import signal
import socket
import unicodedata
from typing import Any

import pyarrow as pa
import pytest

from pipeline.config import Extraction, Hopeless
from pipeline.extract import extractor as module
from pipeline.extract.charset import decode
from pipeline.extract.extractor import MAX_BYTES, Extractor
from pipeline.extract.metadata import Metadata
from pipeline.extract.page import Page
from pipeline.extract.responses import Response, read_response
from pipeline.extract.wire import Extracted, Request, send
from pipeline.records import Reason, Rejection
from tests.test_pipeline_extract import GOOD, HEAD, SENTENCE, ask, extract_good, record_of

PARAGRAPHS = "".join(f"<p>Number {number}: {SENTENCE * 2}</p>" for number in range(4))
ARTICLE = f"<article>{PARAGRAPHS}</article>"
TEXT = [f"Number {number}: {SENTENCE * 2}".strip() for number in range(4)]

EXTRACTORS = ["trafilatura", "trafilatura-fast", "resiliparse"]
TOO_SLOW = Rejection(Reason.TOO_SLOW, "over 1 s")
NO_TEXT = Rejection(Reason.NO_TEXT)


def page(body: str) -> bytes:
    return f"{HEAD}<body>{body}</body></html>".encode()


def nested(tag: str, inside: str = "", depth: int = 5_000) -> str:
    return f"<{tag}>" * depth + inside + f"</{tag}>" * depth


def settings(extractor: Any, *, early: bool = False, deadline_s: float = 1) -> Extraction:
    hopeless = Hopeless(languages=("en",), min_words=20) if early else Hopeless()
    return Extraction(
        extractor=extractor, reject_early=early, deadline_s=deadline_s, max_elements=10**6, hopeless=hopeless
    )


def is_answer(answer: Extracted | Rejection) -> bool:
    """Whether it is a text, or a reason that pages themselves give: nothing died but by its deadline."""
    if isinstance(answer, Extracted):
        return bool(answer.text.strip()) and bool(answer.text.encode())
    return answer in (TOO_SLOW, NO_TEXT) or answer.reason is Reason.TOO_SHORT


ENDLESS = {
    "rows": page("<table>" + "<tr><td>cell</td></tr>" * 100_000 + "</table>"),
    "items": page("<ul>" + "<li>item</li>" * 100_000 + "</ul>"),
    "paragraphs": page("<p>x</p>" * 100_000),
    "equal paragraphs": page(f"<p>{SENTENCE}</p>" * 105_000),
}


@pytest.mark.parametrize(
    ("extractor", "early", "names"),
    [("trafilatura", False, ["rows", "equal paragraphs"]), ("trafilatura-fast", True, ["paragraphs"])],
)
def test_endless_pages_are_too_slow_and_the_next_is_extracted(
    extractor: str, early: bool, names: list[str]
) -> None:
    with Extractor(settings(extractor, early=early)) as guarded:
        for name in names:
            assert ask(guarded, ENDLESS[name]) == TOO_SLOW, name
        assert isinstance(ask(guarded, GOOD), Extracted)


def test_endless_pages_cost_nothing_by_default() -> None:
    with Extractor(Extraction()) as guarded:
        for name, body in ENDLESS.items():
            answer = ask(guarded, body)
            assert answer == Rejection(Reason.TOO_LARGE, f"{body.count(b'<')} tags"), name
        assert guarded._child is None  # not one was asked


def test_the_fast_extractor_reads_endless_pages_or_runs_out_of_time() -> None:
    with Extractor(settings("resiliparse")) as guarded:
        for name, body in ENDLESS.items():
            assert is_answer(ask(guarded, body)), name
        extract_good(guarded)


MANY = 49_000  # tags, just under what is tried by default
DEEP = {tag: page(nested(tag, "deep down")) for tag in ("div", "span", "table", "b", "ul", "p", "a")} | {
    "never closed": page("<div>" * MANY + "deep"),
    "bold paragraphs": page("<b><p>" * (MANY // 2) + "deep"),
    "cells": page("<table><tr><td>" * 5_000 + "deep"),
}
LONG = {
    "attribute": page(f"<p title='{'a' * 1_000_000}'>x</p>"),
    "attributes": page(f"<p {' '.join(f'a{number}=1' for number in range(20_000))}>x</p>"),
    "comment": page(f"<!--{'a ' * 1_500_000}-->x"),
    "script": page(f"<script>{'a < b; ' * 200_000}</script>x"),
    "entities": page("&amp;" * 300_000),
    "tag": page(f"<{'a' * 300_000}>x"),
    "spaces": page(f"<p>{' ' * 1_000_000}x</p>"),
    "word": page(f"<p>{'w' * 12_000_000}</p>"),
    "angles": b"<" * MANY,
    "quotes": page('<a href="' * 40_000),
    "JSON": page(f'<script type="application/ld+json">{{"articleBody": {"[" * 500_000}</script>x'),
}


@pytest.mark.parametrize(
    ("extractor", "early"),
    [("trafilatura", False), ("trafilatura", True), ("trafilatura-fast", False), ("resiliparse", False)],
)
def test_deep_and_long_pages_get_an_answer(extractor: str, early: bool) -> None:
    cases = DEEP | LONG
    if extractor == "trafilatura-fast":  # of the same parser
        cases = {name: cases[name] for name in ("div", "table", "attribute", "JSON")}
    with Extractor(settings(extractor, early=early)) as guarded:
        for name, body in cases.items():
            answer = ask(guarded, body)
            assert is_answer(answer), (name, answer)
        assert isinstance(ask(guarded, GOOD), Extracted)


MALFORMED = {
    "unclosed tags": f"<div><p><b><i><table><tr>{ARTICLE}",
    "misnested": f"<b><i></b><p></i><form><table></form><tr></p>{ARTICLE}<td></table><form>",
    "tags in attributes": f"<img alt='<p>no</p><script>' title=\"<b\">{ARTICLE}",
    "an open quote at the end": f'{ARTICLE}<a href="x>{SENTENCE}',
    "two documents": f"{ARTICLE}</body></html><html><head></head><body class=a><p></body></html></html>",
    "CDATA": f"{ARTICLE}<![CDATA[ <p>{SENTENCE}</p> ]]>",
    "conditional comments": f"<!--[if IE]><p>old</p><![endif]-->{ARTICLE}<![if !IE]><i></i><![endif]>",
    "instructions": f"<?php echo '<p>'; ?>{ARTICLE}<?xml version='1.0'?>",
    "attributes on end tags": ARTICLE.replace("</p>", "</p class='<'>"),
    "attributes twice": ARTICLE.replace("<p>", "<p a=1 a=2 =3 '>"),
    "deep tail": ARTICLE + nested("div"),
    "null bytes between tags": ARTICLE.replace("><", ">\0<"),
    "null bytes in words": ARTICLE.replace(" is", " i\0s"),
    "null bytes in tags": ARTICLE.replace("<p>", "<p\0>"),
    "JSON that never ends": f'{ARTICLE}<script type="application/ld+json">{"[" * 100_000}</script>',
    "a title in a drawing": f"<svg><title>Icon</title></svg>{ARTICLE}",
    "template": f"<template><p>{SENTENCE}</p></template>{ARTICLE}",
}


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_malformed_pages_still_give_their_text(extractor: str) -> None:
    with Extractor(settings(extractor, deadline_s=5)) as guarded:
        for name, body in MALFORMED.items():
            answer = ask(guarded, page(body), "text/html; charset=utf-8")
            assert isinstance(answer, Extracted), (name, answer)
            for number, paragraph in enumerate(TEXT):
                assert paragraph in " ".join(answer.text.split()), (name, number)
            assert answer.metadata.title == "Good", name


def test_null_bytes_everywhere_are_utf_16() -> None:
    body = page(ARTICLE)
    with Extractor(settings("trafilatura")) as guarded:
        expected = ask(guarded, body)
        assert isinstance(expected, Extracted)
        assert ask(guarded, body.decode().encode("utf-16-le"), "text/html; charset=utf-16le") == expected
        assert ask(guarded, b"\0" * 3_000_000) == NO_TEXT


REFERENCES = [
    "&#1;", "&#11;", "&#x0C;", "&#0031;", "&#x1f", "&#65534;", "&#xFFFE;", "&#xffff;", "&#0;",
    "&#xD800;", "&#xD83D;&#xDE00;", "&#x110000;", "&#99999999999;", "&#xFDD0;", "&#x80;", "&#;", "&#x;",
    "&nosuch;", "\x01", "\x0b", "\x0c", "\ufffe", "\uffff", "\U0001ffff", "\x80",
]  # fmt: skip


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_characters_that_are_none_spoil_no_page(extractor: str) -> None:
    with Extractor(settings(extractor, deadline_s=5)) as guarded:
        for reference in REFERENCES:
            body = ARTICLE.replace("Number 1:", f"Before {reference} after <img alt='{reference}'>")
            title = HEAD.replace("Good", f"A {reference} title")
            answer = ask(guarded, f"{title}<body>{body}</body></html>".encode(), "text/html; charset=utf-8")
            assert isinstance(answer, Extracted), (reference, answer)
            assert TEXT[0] in answer.text, reference
            assert TEXT[3] in answer.text, reference
            assert "Before" in answer.text, reference
            assert answer.text.encode(), reference
            assert (answer.metadata.title or "").startswith("A "), reference


@pytest.mark.parametrize(
    "reference", ["&#9;", "&#10;", "&#13;", "&#32;", "&#101;", "&#310;", "&#x20", "&#x1F6;"]
)
def test_references_to_characters_are_left_alone(reference: str) -> None:
    assert Page(reference).html == reference


@pytest.mark.parametrize("extractor", EXTRACTORS[:2])
def test_elements_of_odd_names_spoil_no_page(extractor: str) -> None:
    """Word writes such names; where a space is missing between a name and an attribute, they come about."""
    with Extractor(settings(extractor, deadline_s=5)) as guarded:
        for start in ("o:p", "st1:city", "fb:like", 'ahref="/page"', 'p"'):
            odd = f"<{start}>{SENTENCE}</{start.split('=')[0]}>"
            rest = f"<ul><li>{odd}</li></ul><blockquote><{start}>A quotation.</{start}></blockquote>"
            answer = ask(guarded, page(f"<article>{PARAGRAPHS}{rest}</article>"))
            assert isinstance(answer, Extracted), start
            assert all(paragraph in answer.text for paragraph in TEXT), start
            assert answer.text.count(SENTENCE.strip()) == 9, start
            assert "A quotation." in answer.text, start
            assert answer.metadata.title == "Good", start


@pytest.mark.parametrize(
    "before", ["<?xml version='1.0'?><?php echo 1; ?>", f"<!-- {'-' * 60} -->", "\n" * 60]
)
def test_the_head_alone_is_read_whatever_stands_before_it(before: str) -> None:
    with Extractor(settings("resiliparse")) as guarded:
        answer = ask(guarded, before.encode() + page(ARTICLE))
    assert isinstance(answer, Extracted)
    assert answer.metadata.title == "Good"


# Codecs of Python that are not charsets of pages: escapes of source code and of host names, and UTF-7, which
# no browser reads (w3lib refuses it), as tags can be hidden in it.
_NO_CHARSETS = {
    "idna",
    "punycode",
    "raw_unicode_escape",
    "undefined",
    "unicode_escape",
    "utf_7",
    "mbcs",
    "oem",
}
_OTHERS = ["cp720", "cp737", "cp856", "cp874", "cp875", "koi8_t", "koi8_u", "mac_croatian", "mac_romanian",
           "mac_arabic", "mac_farsi", "utf_8_sig"]  # fmt: skip
CHARSETS = sorted(
    name
    for name in {*encodings.aliases.aliases.values(), *_OTHERS} - _NO_CHARSETS
    if codecs.lookup(name)._is_text_encoding
)
# Read as their supersets, as browsers do.
_READ_AS = {
    "big5": "big5hkscs",
    "euc_kr": "cp949",
    "latin_1": "cp1252",
    "iso8859_9": "cp1254",
    "tis_620": "cp874",
}
_WITHOUT_ASCII = {"cp037", "cp1026", "cp1140", "cp273", "cp424", "cp500", "cp875"}  # EBCDIC
_WITH_OTHER_QUOTES = {"mac_arabic", "mac_farsi"}  # from right to left
_CANDIDATES = [
    chr(code)
    for start, end in ((0xC0, 0x600), (0x621, 0x64B), (0xE01, 0xE3B), (0x3041, 0x3090), (0x4E00, 0x5200),
                       (0xAC00, 0xAC80))
    for code in range(start, end)
    if unicodedata.category(chr(code)).startswith("L")
]  # fmt: skip


def letters(charset: str) -> list[str]:
    """Letters beyond ASCII that a charset has, and that its superset reads as the same."""
    found = []
    for letter in _CANDIDATES:
        encoded = letter.encode(charset, "ignore")
        if encoded and encoded.decode(_READ_AS.get(charset, charset), "ignore") == letter:
            found.append(letter)
    return found


def page_in(charset: str, declared: str = "") -> str:
    """A page of a charset's own letters."""
    own = letters(charset) or ["a", "b", "c"]
    rng = random.Random(charset)
    text = " ".join("".join(rng.choices(own, k=6)) for _ in range(200))
    meta = f'<meta charset="{declared}">' if declared else ""
    return f"<html><head>{meta}<title>{text[:20]}</title></head><body><p>{text}</p></body></html>"


@pytest.mark.parametrize("charset", CHARSETS)
def test_every_charset_is_read_where_it_is_declared(charset: str) -> None:
    content_type = f"text/html; charset={charset}"
    text = page_in(charset)
    body = text.encode(charset)
    assert decode(body, content_type) == text
    assert decode(body, content_type.upper().replace("_", "-")) == text
    if charset not in _WITHOUT_ASCII | _WITH_OTHER_QUOTES and not charset.endswith(("_le", "_be")):
        declaring = page_in(charset, charset)
        assert decode(declaring.encode(charset), "text/html") == declaring


@pytest.mark.parametrize("charset", CHARSETS)
def test_every_charset_is_read_as_something_where_it_is_not_declared(charset: str) -> None:
    text = page_in(charset)
    decoded = decode(text.encode(charset), "text/html")
    assert decoded.encode()
    if charset in ("utf_8", "utf_8_sig", "utf_16", "utf_32", "ascii", "cp1252"):
        assert decoded == text


@pytest.mark.parametrize("charset", ["utf_8", "utf_16_le", "utf_16_be", "utf_32_le", "utf_32_be"])
def test_a_byte_order_mark_decides(charset: str) -> None:
    text = page_in(charset, "koi8-r")
    assert decode(f"\ufeff{text}".encode(charset), "text/html; charset=shift_jis") == text


def test_charsets_arrive_in_the_text() -> None:
    with Extractor(settings("resiliparse")) as guarded:
        for charset in ("shift_jis", "koi8_r", "gb18030", "iso2022_kr", "utf_16", "cp1256", "hz"):
            text = page_in(charset)
            answer = ask(guarded, text.encode(charset), f"text/html; charset={charset}")
            assert isinstance(answer, Extracted), charset
            assert answer.text == text.partition("<p>")[2].partition("</p>")[0], charset


@pytest.mark.parametrize(
    "charset", [*sorted(_NO_CHARSETS), "hex", "rot13", "zlib", "../../etc/passwd", "x" * 9999]
)
def test_what_is_no_charset_is_not_used(charset: str) -> None:
    text = page_in("utf_8", charset)
    assert decode(text.encode(), f"text/html; charset={charset}") == text


@pytest.mark.parametrize("piece", [b"\0", b"<p>"])
def test_a_bomb_is_read_no_further_than_the_limit_and_is_too_large(piece: bytes) -> None:
    """A body of 1 GB in a WARC record of some MB: one gzip member after another."""
    member = gzip.compress(piece * (30_000_000 // len(piece)), 1)
    record = record_of(member * 34, ("Content-Encoding", "gzip"), ("Content-Type", "text/html"))
    response = read_response(pa.BufferReader(record), 0, len(record), MAX_BYTES)
    assert isinstance(response, Response)
    assert len(response.body) == MAX_BYTES + 1
    with Extractor(settings("trafilatura")) as guarded:
        assert ask(guarded, response.body) == Rejection(Reason.TOO_LARGE, f"{MAX_BYTES + 1} bytes")
        assert guarded._child is None
        extract_good(guarded)


def end_by(guarded: Extractor, number: int) -> None:
    """Ends the child by a signal from outside, and waits until it is gone."""
    child = guarded._child
    assert child is not None
    os.kill(child.process.pid, number)
    child.process.wait()


# By bugs of C code, by the system; one in real time has no name.
KILLED = [signal.SIGABRT, signal.SIGKILL, signal.SIGSEGV, signal.SIGRTMIN + 6]


def test_a_waiting_child_that_another_thread_takes_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Taken(list[Any]):
        """Has a child when it is asked, and none any more when that is to be taken."""

        def __bool__(self) -> bool:
            return True

    monkeypatch.setattr(module, "_IDLE", Taken())
    with Extractor(settings("resiliparse")) as guarded:
        extract_good(guarded)
    module.end_waiting()


def test_a_child_that_was_ended_between_two_pages_costs_none() -> None:
    with Extractor(settings("resiliparse")) as guarded:
        for number in KILLED[-2:]:
            extract_good(guarded)
            end_by(guarded, number)
        extract_good(guarded)


@pytest.mark.parametrize("number", KILLED)
def test_a_page_during_which_two_fresh_children_are_ended_is_rejected(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the page that did it: it is tried once more, and no more."""

    def end_and_send(connection: socket.socket, request: Request, body: bytes) -> None:
        end_by(guarded, number)
        send(connection, request, body)

    with Extractor(settings("resiliparse")) as guarded:
        with monkeypatch.context() as patch:
            patch.setattr(module, "send", end_and_send)
            answer = ask(guarded, GOOD)
        assert isinstance(answer, Rejection)
        assert answer.reason is Reason.TOO_LARGE
        known = {one.value: one.name for one in signal.Signals}
        assert answer.value == f"ended by {known.get(number, number)}"
        extract_good(guarded)


def test_a_child_that_somebody_else_ends_during_a_page_costs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's want of memory, or a person: which page was at work must not decide what the corpus is."""

    def end_once_and_send(connection: socket.socket, request: Request, body: bytes) -> None:
        monkeypatch.setattr(module, "send", send)
        end_by(guarded, signal.SIGKILL)
        send(connection, request, body)

    with Extractor(settings("resiliparse")) as guarded:
        monkeypatch.setattr(module, "send", end_once_and_send)
        extract_good(guarded)


def test_recycled_children_give_the_same_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [page(MALFORMED[name]) for name in ("CDATA", "misnested", "two documents")] + [
        GOOD,
        b"",
        DEEP["b"],
    ]
    with Extractor(settings("trafilatura", deadline_s=5)) as guarded:
        expected = [ask(guarded, body) for body in bodies]
        first = guarded._child
        assert [ask(guarded, body) for body in bodies] == expected
        assert guarded._child is first
    monkeypatch.setattr(module, "_PAGES_PER_CHILD", 2)
    with Extractor(settings("trafilatura", deadline_s=5)) as guarded:
        seen = set()
        answers = []
        for body in bodies:
            answers.append(ask(guarded, body))
            assert guarded._child is not None
            seen.add(guarded._child.process.pid)
        assert answers == expected
        assert len(seen) == 3


def test_memory_that_is_limited_is_a_verdict_and_not_the_end() -> None:
    limits = Extraction(extractor="resiliparse", max_elements=10**6, max_memory_mb=32)
    with Extractor(limits) as guarded:
        for name in ("rows", "equal paragraphs"):
            assert ask(guarded, ENDLESS[name]) == Rejection(Reason.TOO_LARGE, "over 32 MB of memory"), name
            assert ask(guarded, GOOD) == Extracted((SENTENCE * 9).strip(), Metadata(title="Good")), name
