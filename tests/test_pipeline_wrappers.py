"""Redirects that name their page, and shorteners, which do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.hosts import is_private_host
from pipeline.url_lists import read_list
from pipeline.urls import Url, parse
from pipeline.wrappers import is_shortener, unwrap


def parsed(text: str) -> Url:
    url = parse(text)
    assert url is not None, text
    return url


PAGE = "https://example.com/a?x=1&y=%C3%A9"
QUOTED = "https%3A%2F%2Fexample.com%2Fa%3Fx%3D1%26y%3D%25C3%25A9"
QUOTED_TWICE = QUOTED.replace("%", "%25")


@pytest.mark.parametrize(
    "wrapped",
    [
        f"https://out.reddit.com/t3_abc?url={QUOTED}&amp;token=AQAA&amp;app_name=reddit.com",
        f"https://www.google.com/url?sa=t&url={QUOTED}&usg=1",
        f"https://www.google.com/url?q={QUOTED}",
        f"http://google.co.uk/url?q=/search&url={QUOTED}",
        "https://www.google.com/amp/s/example.com/a?x=1&y=%C3%A9",
        "https://example-com.cdn.ampproject.org/c/s/example.com/a?x=1&y=%C3%A9",
        "https://example-com.cdn.ampproject.org/v/s/example.com/a?x=1&y=%C3%A9",
        "https://cdn.ampproject.org/c/s/example.com/a?x=1&y=%C3%A9",
        "https://example-com.bing-amp.com/c/s/example.com/a?x=1&y=%C3%A9",
        f"https://l.facebook.com/l.php?h=1&u={QUOTED}",
        f"https://www.facebook.com/l.php?u={QUOTED}",
        f"https://t.umblr.com/redirect?z={QUOTED}&t=1",
        f"https://www.youtube.com/redirect?event=x&q={QUOTED}",
        f"https://duckduckgo.com/l/?kh=-1&uddg={QUOTED}",
        f"https://steamcommunity.com/linkfilter/?url={QUOTED}",
        f"https://eur01.safelinks.protection.outlook.com/?url={QUOTED}&data=1",
        f"https://href.li/?{PAGE}",
        "http://us.rd.yahoo.com/dailynews/rss/*https://example.com/a?x=1&y=%C3%A9",
        "http://rds.yahoo.com/_ylt=A0/SIG=1/**https%3A//example.com/a%3Fx=1%26y=%25C3%25A9",
        # One in another, and encoded twice
        f"https://out.reddit.com/?url=https%3A%2F%2Fl.facebook.com%2Fl.php%3Fu%3D{QUOTED_TWICE}",
        f"https://t.umblr.com/redirect?z={QUOTED_TWICE}",
    ],
)
def test_a_redirect_that_names_its_page_stands_for_it(wrapped: str) -> None:
    assert unwrap(parsed(wrapped)).href == PAGE


def test_an_amp_cache_says_whether_its_page_is_on_https() -> None:
    assert unwrap(parsed("https://www.google.com/amp/example.com/a")).href == "http://example.com/a"


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/url?url=https://other.example.com/",
        "https://google.com.example.com/url?q=https://other.example.com/",
        "https://notfacebook.com/l.php?u=https://other.example.com/",
        "https://out.reddit.com/t3_abc",
        "https://out.reddit.com/t3_abc?url=",
        "https://out.reddit.com/t3_abc?url=javascript:alert(1)",
        "https://out.reddit.com/t3_abc?url=/r/news",
        "https://out.reddit.com/t3_abc?curl=https://example.com/",
        "https://www.google.com/url?q=how+to",
        "https://www.google.com/urls?q=https://example.com/",
        "https://www.google.com/amp/",
        "https://www.google.com/amp/s/intranet/",
        "https://x.cdn.ampproject.org/i/s/example.com/picture.jpg",
        "https://www.youtube.com/watch?v=1&q=https://example.com/",
        "https://translate.google.com/translate?u=https://example.com/",
        # An archive's copy is meant as such, and may be all that is left.
        "https://web.archive.org/web/20150102030405/http://example.com/",
    ],
)
def test_what_is_no_redirect_or_names_no_page_stays(text: str) -> None:
    url = parsed(text)
    assert unwrap(url) is url


def test_redirects_in_redirects_come_to_an_end() -> None:
    text = "https://example.com/"
    for _ in range(12):
        text = f"https://href.li/?{text}"
    assert unwrap(parsed(text)).host == "href.li"  # it gives up
    itself = parsed("https://out.reddit.com/?url=https://out.reddit.com/?url=https://out.reddit.com/")
    assert unwrap(itself).href == "https://out.reddit.com/"


def test_a_redirect_to_a_private_host_is_seen_as_such() -> None:
    assert is_private_host(unwrap(parsed("https://out.reddit.com/?url=http%3A%2F%2F0x7f.1%2F")).host)


@given(
    st.text(st.characters(), max_size=60),
    st.sampled_from(("https://out.reddit.com/?url=", "https://href.li/?", "https://google.com/amp/")),
)
def test_whatever_is_in_a_redirect_it_stands_for_a_url(text: str, wrapper: str) -> None:
    url = parse(wrapper + text)
    if url is not None:
        assert parsed(unwrap(url).href) == unwrap(url)


def test_shorteners_are_known_with_their_subdomains() -> None:
    for host in ("bit.ly", "www.bit.ly", "t.co", "nyti.ms", "preview.tinyurl.com", "on.wsj.com"):
        assert is_shortener(host), host
    for host in ("habit.ly", "bit.ly.example.com", "wsj.com", "example.com", "127.0.0.1", "[::1]"):
        assert not is_shortener(host), host


def test_every_wrapper_is_described_in_full() -> None:
    for host, path, *where in read_list("wrappers.txt"):
        assert path == "*" or path.startswith("/"), host
        assert where, host
        assert ("/" in where) <= path.endswith("/"), host
