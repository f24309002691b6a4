"""The small rules of fetch: types, robots, redirects, SURT keys."""

import math

import pytest
from protego import Protego

from pipeline.config import FetchSettings
from pipeline.fetch import robots
from pipeline.fetch.cdxj import surt
from pipeline.fetch.client import guard, user_agent
from pipeline.fetch.exchange import Headers, Refusal
from pipeline.fetch.response import looks_like_text, media_type, redirect_target, refusal
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
    assert (refusal(200, headers) is not None) == barred


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
    assert robots.of_response(500, b"").refusal("http://a.com/", 30) == Refusal(
        Reason.ROBOTS, "robots.txt: HTTP 500"
    )
    timeout = robots.of_failure(Refusal(Reason.TIMEOUT)).refusal("http://a.com/", 30)
    assert timeout == Refusal(Reason.ROBOTS, "robots.txt: timeout")
    no_name = robots.of_failure(Refusal(Reason.DNS, "no such name")).refusal("http://a.com/", 30)
    assert no_name == Refusal(Reason.DNS, "robots.txt: dns (no such name)")


@pytest.mark.parametrize("value", ["inf", "nan", "-3", "soon"])
def test_crawl_delays_that_are_none(value: str) -> None:
    delay = robots.Robots(Protego.parse(f"User-agent: *\nCrawl-delay: {value}")).crawl_delay_s
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
