"""The small rules of fetch: types, robots, redirects, SURT keys."""

import math
from datetime import UTC, datetime

import pytest

from pipeline.config import FetchSettings
from pipeline.fetch import robots
from pipeline.fetch.cdxj import surt
from pipeline.fetch.client import guard, user_agent
from pipeline.fetch.exchange import Headers, Refusal, Response
from pipeline.fetch.politeness import Host, retry_after_s
from pipeline.fetch.response import (
    asked_address,
    judge,
    looks_like_text,
    media_type,
    redirect_target,
    refusal,
)
from pipeline.fetch.tags import barred_by_meta
from pipeline.records import Reason
from pipeline.urls import parse


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://www.Example.com", "com,example)/"),
        ("https://www2.example.co.uk/A/B/?b=2&a=1#c", "uk,co,example)/a/b?a=1&b=2"),
        ("http://example.com:8080//", "com,example:8080)/"),
        ("http://127.0.0.1/x", "127.0.0.1)/x"),
        ("http://example.com/?", "com,example)/"),
    ],
)
def test_surt_keys(url: str, key: str) -> None:
    assert surt(url) == key


@pytest.mark.parametrize(
    ("tag", "barred"),
    [
        ("noindex", True),
        ("NoAI, nofollow", True),
        ("none", True),
        ("webtext: noindex", True),
        ("googlebot: noindex", False),
        ("nofollow", False),
        ("unavailable_after: 25 Jun 2010 15:00:00 PST", False),
    ],
)
def test_robots_tags(tag: str, barred: bool) -> None:
    headers = Headers((("Content-Type", "text/html"), ("X-Robots-Tag", tag)))
    assert (refusal(200, headers, ("noindex", "none", "noai")) is not None) == barred
    assert refusal(200, headers, ()) is None, "the settings may ask to ignore them"


def test_types() -> None:
    assert media_type(" Text/HTML ; charset=x") == "text/html"
    assert media_type(None) == ""
    assert looks_like_text(b"")
    assert looks_like_text("﻿ümlaut".encode())
    assert looks_like_text(b"\xff\xfeh\x00i\x00")
    assert not looks_like_text(b"%PDF-1.7 text")
    assert not looks_like_text(b"a\x00b")


def test_redirect_targets() -> None:
    base = "http://example.com/a/b?c"
    assert [
        target and target.href
        for target in (
            redirect_target(base, to)
            for to in ("../d", "?x", "//b.org", " /e ", "http://[", "ftp://x.org/", None)
        )
    ] == [
        "http://example.com/d",
        "http://example.com/a/b?x",
        "http://b.org/",
        "http://example.com/e",
        None,
        None,
        None,
    ]


def test_robots_by_status() -> None:
    rules = robots.of_response(200, b"\xef\xbb\xbfUser-agent: *\nDisallow: /x\nCrawl-delay: 3\n\xff")
    assert rules.refusal("http://a.com/x", 30) == Refusal(Reason.ROBOTS, "disallowed")
    assert rules.refusal("http://a.com/y", 30) is None
    assert rules.refusal("http://a.com/y", 2) == Refusal(Reason.CRAWL_DELAY, "3 s")
    assert robots.of_response(404, b"User-agent: *\nDisallow: /").refusal("http://a.com/x", 30) is None
    for status in (429, 500, 503):
        assert robots.of_response(status, b"").refusal("http://a.com/", 30) == Refusal(
            Reason.ROBOTS_UNREACHABLE, f"robots.txt: HTTP {status}"
        )
    timeout = robots.of_failure(Refusal(Reason.TIMEOUT)).refusal("http://a.com/", 30)
    assert timeout == Refusal(Reason.TIMEOUT, "robots.txt: timeout")
    no_name = robots.of_failure(Refusal(Reason.DNS, "no such name")).refusal("http://a.com/", 30)
    assert no_name == Refusal(Reason.DNS, "robots.txt: no such name")
    garbage = robots.of_failure(Refusal(Reason.PROTOCOL, "odd")).refusal("http://a.com/", 30)
    assert garbage == Refusal(Reason.ROBOTS_UNREACHABLE, "robots.txt: odd")


def test_the_decision_on_robots_that_the_ledger_tells() -> None:
    rules = robots.of_response(200, b"User-agent: *\nDisallow: /x")
    assert rules.decision(rules.refusal("http://a.com/x", 30)) == "disallowed"
    assert rules.decision(rules.refusal("http://a.com/y", 30)) == "allowed"
    assert robots.ALLOW_ALL.decision(None) == "none"
    barred = robots.of_response(503, b"")
    assert barred.decision(barred.barred) == "unreachable"


def test_the_longer_of_crawl_delay_and_request_rate_counts() -> None:
    text = b"User-agent: *\nCrawl-delay: 2\nRequest-rate: 1/10\n"
    assert robots.of_response(200, text).crawl_delay_s == 10
    assert robots.of_response(200, text.replace(b"10", b"1")).crawl_delay_s == 2


@pytest.mark.parametrize("value", ["inf", "nan", "-3", "soon"])
def test_crawl_delays_that_are_none(value: str) -> None:
    delay = robots.of_response(200, f"User-agent: *\nCrawl-delay: {value}".encode()).crawl_delay_s
    assert delay == 0
    assert math.isfinite(delay)


def test_the_guard() -> None:
    settings = FetchSettings(contact="me@example.org", resolve={"mine.example": "10.0.0.1:80"})
    reasons = {}
    for address in (
        "http://example.com/",
        "https://example.com:443/",
        "http://example.com:8080/",
        "http://0x7f.1/",
        "http://[::1]/",
        "http://mine.example:9000/",
    ):
        url = parse(address)
        assert url is not None
        found = guard(url, settings)
        reasons[address] = found and found.reason
    assert list(reasons.values()) == [
        None,
        None,
        Reason.BAD_PORT,
        Reason.NOT_ALLOWED_ADDRESS,
        Reason.NOT_ALLOWED_ADDRESS,
        None,
    ]


def test_the_agent_names_a_contact() -> None:
    assert user_agent("me@example.org") == "webtext/0.1 (+me@example.org)"


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (b'<head><meta name="robots" content="noindex, follow"></head>', "noindex"),
        (b"<META CONTENT='NoAI' NAME=ROBOTS />", "noai"),
        (b'<meta name=webtext content="none">', "none"),
        (b'<meta name="googlebot" content="noindex">', ""),
        (b'<!-- <meta name="robots" content="noindex"> -->', ""),
        (b'<meta name="robots" content="index, follow">', ""),
        (b'<meta name="robots">', ""),
        (b'<meta property="og:robots" content="noindex">', ""),
        (b"x" * (1 << 16) + b'<meta name="robots" content="noindex">', ""),
        (b"\xff<meta\nname = 'robots'\ncontent = ' noindex , noai '>", "noai, noindex"),
    ],
)
def test_robots_meta_tags(page: bytes, said: str) -> None:
    assert barred_by_meta(page, ("noindex", "none", "noai")) == said
    assert barred_by_meta(page, ()) == ""


def answer(body: bytes, content_type: str = "text/html") -> Response:
    return Response("HTTP/1.1 200 OK", 200, Headers((("Content-Type", content_type),)), body, False)


def test_a_page_is_judged_by_what_it_is() -> None:
    reasons = {
        body: found and found.reason
        for body in (b"<html>", b"%PDF-1.4", b"\x1f\x8b\x08\x00", b"a stray \x01", b"")
        for found in [judge(answer(body), ())]
    }
    assert list(reasons.values()) == [None, Reason.WRONG_TYPE, Reason.BAD_ENCODING, None, None]
    untyped = Response("HTTP/1.1 200 OK", 200, Headers(()), b"a stray \x01", False)
    refused = judge(untyped, ())
    assert refused is not None
    assert refused.reason is Reason.WRONG_TYPE


NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("99999999999999999999", 1e9),
        ("Thu, 01 Jan 2026 12:01:40 GMT", 100.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("٣", None),
        ("", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after_s(Headers((("Retry-After", value),)), NOW) == seconds


def test_a_date_is_held_against_the_servers_clock() -> None:
    fields = (("Retry-After", "Fri, 02 Jan 2026 00:01:00 GMT"), ("Date", "Fri, 02 Jan 2026 00:00:00 GMT"))
    assert retry_after_s(Headers(fields), NOW) == 60.0


def test_a_host_is_given_up_after_so_many_failures_in_a_row() -> None:
    settings = FetchSettings(dead_after=3, retry_wait_s=60, max_pause_s=100)
    host = Host()
    silence = Refusal(Reason.TIMEOUT, "no answer within 30 s")
    assert [host.failed(silence, settings), host.failed(silence, settings)] == [0, 60]
    host.answered()
    assert [host.failed(silence, settings) for _ in range(3)] == [0, 60, 0]
    assert host.dead == Refusal(Reason.DEAD_HOST, "3 failures in a row: no answer within 30 s")


def test_a_host_that_asks_for_too_long_a_pause_is_given_up() -> None:
    settings = FetchSettings(max_pause_s=100)
    host = Host()
    assert [host.throttled(50, settings), host.throttled(101, settings)] == [50, 100]
    assert host.dead == Refusal(Reason.RATE_LIMITED, "asks to wait 101 s")
    patient = Host()
    pauses = [patient.throttled(None, settings) for _ in range(6)]
    assert pauses == [30, 60, 100, 100, 100, 100]
    assert patient.dead == Refusal(Reason.RATE_LIMITED, "6 times in a row")


def test_a_user_and_password_are_not_sent() -> None:
    assert asked_address("https://user:p%40ss@example.com/a?b=c@d#e") == "https://example.com/a?b=c@d"
    assert asked_address("http://example.com") == "http://example.com"
