"""URLs: what is one page has one key, and what are two have two."""

import json
import pickle
from pathlib import Path
from typing import Any

import can_ada
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.canonical import canonical, key_of
from pipeline.config import UrlSettings
from pipeline.hosts import registrable_domain
from pipeline.url_lists import read_list, read_words
from pipeline.urls import Url, parse

DEFAULTS = UrlSettings()
SWITCHES = ("drop_trackers", "drop_session_ids", "drop_amp", "drop_mobile", "drop_trailing_slash")
BARE = UrlSettings(**dict.fromkeys(SWITCHES, False))
SESSION_24 = "lit3py55t21z5v55vlm25s55"
MD5 = "0123456789abcdef0123456789ABCDEF"


def parsed(text: str) -> Url:
    url = parse(text)
    assert url is not None, text
    return url


def canonical_of(text: str, rules: UrlSettings = DEFAULTS) -> str:
    return canonical(parsed(text), rules)


# Parsing


def test_a_url_in_its_parts() -> None:
    url = parsed(" HTTPS://User:pw@WWW.Exämple.com.:8443/a/../b c?x=1&amp;y=<#top\n")
    assert url == Url(
        href="https://User:pw@www.xn--exmple-cua.com.:8443/b%20c?x=1&y=%3C#top",
        host="www.xn--exmple-cua.com",
        port="8443",
        path="/b%20c",
        query="?x=1&y=%3C",
    )
    assert url.domain == "xn--exmple-cua.com"
    assert url.canonical == canonical(url, DEFAULTS)
    assert url.key == key_of(url.canonical)
    assert pickle.loads(pickle.dumps(url)) == url  # noqa: S301 (our own bytes)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://example.com/?a=1&amp;b=2", "http://example.com/?a=1&b=2"),
        ("http://example.com/?a=1&amp;amp;amp;b=2", "http://example.com/?a=1&b=2"),
        ("http://example.com/AT&amp;amp;T", "http://example.com/AT&T"),
        ("http://example.com/&lt;i&gt;", "http://example.com/%3Ci%3E"),
        ("http://example.com/&amp;lt;", "http://example.com/%3C"),
        ("http://example.com/?a=1&\nam\tp;b=2", "http://example.com/?a=1&b=2"),
        # What is no escape of Reddit's means itself.
        ("http://example.com/?a=1&copy=2&lt=3&reg;", "http://example.com/?a=1&copy=2&lt=3&reg;"),
        ("http://example.com/?a=1&amp=2", "http://example.com/?a=1&amp=2"),
        ("http://example.com/it&#39;s", "http://example.com/it&#39;s"),
        ("http://example.com/it&#x27;s", "http://example.com/it&#x27;s"),
    ],
)
def test_reddits_escapes_are_undone_and_no_others(written: str, meant: str) -> None:
    assert parsed(written).href == meant


@pytest.mark.parametrize(
    "text",
    ["", "http://", "https:///nohost", "javascript:alert(1)", "ftp://example.org/f", "http://exa mple.com/",
     "http://[::1", "/r/x/comments/3/", "http://intranet/", "mailto:a@example.org", "http://%zz.com/",
     "http://\ud800.com/", "http://example..com/", "http://.example.com/", "http://0x7f.1../", "http://com./",
     "http://1.2.3.4.5/", "http://example.com:99999/", f"http://{'a' * 64}.com/", f"http://{'a.' * 130}com/",
     "example.com/page", "//example.com/page", "http://..", "https://@/", "http://xn--pokxncvks.com/"],
)  # fmt: skip
def test_what_is_no_web_page_is_refused(text: str) -> None:
    assert parse(text) is None


def test_what_is_longer_than_servers_read_is_refused() -> None:
    assert parse("http://example.com/" + "a" * 16_000) is not None
    assert parse("http://example.com/" + "a" * 17_000) is None
    assert parse("http://example.com/" + "é" * 3_000) is None


def standard_cases(realdata: Path) -> list[tuple[str, dict[str, Any]]]:
    """The WHATWG's own cases with their absolute input; where one has a base, as can_ada resolves it."""
    cases = []
    for case in json.loads((realdata / "urls" / "urltestdata.json").read_text("utf-8")):
        if not isinstance(case, dict):
            continue
        text = case["input"]
        if case["base"]:
            try:
                text = str(can_ada.parse(case["base"]) + text)
            except ValueError:
                assert case.get("failure"), case
                continue
        cases.append((text, case))
    return cases


def is_unwanted(text: str, hostname: str) -> bool:
    """Whether a case is a URL for a browser, and yet leads to no host on the internet."""
    labels = hostname.removesuffix(".").split(".")
    no_name = not hostname.startswith("[") and hostname != "localhost" and (len(labels) < 2 or "" in labels)
    # Punycode that decodes to nothing allowed: can_ada refuses it, as registries do.
    return no_name or "xn--pokxncvks" in hostname or text.partition(":")[2].startswith("///")


def test_every_part_is_as_the_urls_standard_has_it(realdata: Path) -> None:
    num_parsed = 0
    for text, case in standard_cases(realdata):
        url = parse(text)
        if case.get("failure") or case["protocol"] not in ("http:", "https:"):
            assert url is None, text
        elif url is None:
            assert is_unwanted(text, case["hostname"]), text
        else:
            num_parsed += 1
            parts = (case["href"], case["port"], case["pathname"], case["search"])
            assert (url.href, url.port, url.path, url.query) == parts, text
            assert url.host == case["hostname"].removesuffix(".")
    assert num_parsed > 180


# The canonical form


@pytest.mark.parametrize(
    "variant",
    [
        "https://example.com/a?x=1&y=2",
        "http://www.example.com/a?y=2&x=1",
        "HTTP://WWW.EXAMPLE.COM:80/a?x=1&y=2#part",
        "https://example.com:443/b/../a?x=1&utm_source=reddit&y=2&UTM_Medium=social&fbclid=q",
        "http://example.com:443/a?x=1&y=2",
        "https://user:password@example.com/a?x=1&y=2",
        "https://example.com./a?x=1&amp;y=2",
        "  https://example.com/a?x=1&y=2\n",
        "https://example.com/%61/?&y=2&&x=%31&",
        "https://m.example.com/a?x=1&y=2",
        "https://www.mobile.example.com/a?x=1&y=2",
        "https://amp.example.com/a?x=1&y=2",
        "https://example.com/amp/a?x=1&y=2",
        "https://example.com/a/amp/?x=1&y=2",
        "https://example.com/a.amp?x=1&y=2",
        "https://example.com/a?x=1&amp=1&y=2&amp_js_v=0.1",
        "https://example.com/a?x=1&y=2&outputType=amp&amp",
        f"https://example.com/a;jsessionid=0A1B?x=1&y=2&PHPSESSID={MD5.lower()}&sid={MD5}",
        f"https://example.com/(S({SESSION_24}))/a?x=1&y=2",
        "https://example.com/a;_ylt=AvzQ;_ylu=X3oD?x=1&y=2&WT.mc_id=3",
    ],
)
def test_variants_of_one_page_have_one_canonical_form(variant: str) -> None:
    assert canonical_of(variant) == "example.com/a?x=1&y=2"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("https://example.com", "example.com"),
        ("https://www.example.com/?", "example.com"),
        ("https://example.com/?id=3", "example.com?id=3"),
        ("https://example.com:8080/", "example.com:8080"),
        ("http://[2606:2800:220:1::1]:80/a", "[2606:2800:220:1::1]/a"),
        ("https://www.www.example.com/a//", "example.com/a"),
        ("https://example.com/%7efoo/%e2%82%ac%3a/50%", "example.com/~foo/%E2%82%AC%3A/50%25"),
        ("https://en.wikipedia.org/wiki/Foo_%28bar%29", "en.wikipedia.org/wiki/Foo_(bar)"),
        ("https://en.m.wikipedia.org/wiki/Foo", "en.wikipedia.org/wiki/Foo"),
        ("https://m.wikidata.org/wiki/Q1", "wikidata.org/wiki/Q1"),
        ("https://nytimes.com/a.html?_r=0&pagewanted=all&smid=tw", "nytimes.com/a.html?pagewanted=all"),
        ("https://blog.blogspot.com/a.html?m=1", "blog.blogspot.com/a.html"),
        ("https://twitter.com/#!/user/status/1", "twitter.com#!/user/status/1"),
        ("https://twitter.com/#!/", "twitter.com"),
        # The last of one name counts for some sites, the first for others: their order stays.
        ("https://example.com/?b=1&page=2&a=3&page=1", "example.com?a=3&b=1&page=2&page=1"),
    ],
)  # fmt: skip
def test_canonical_forms(text: str, form: str) -> None:
    assert canonical_of(text) == form


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://example.com/a", "https://example.com/A"),
        ("https://example.com/a", "https://example.com/a.html"),
        ("https://example.com/", "https://example.com:8443/"),
        ("http://example.com:8080/", "http://example.com:8081/"),
        ("https://example.com/?a=1", "https://example.com/?a=2"),
        ("https://example.com/?a=1", "https://example.com/?A=1"),
        ("https://example.com/?a", "https://example.com/?a="),
        ("https://example.com/?page=1&page=2", "https://example.com/?page=2&page=1"),
        ("https://example.com/?copy=1&a=b", "https://example.com/?©=1&a=b"),
        ("https://example.com/?a=1%26b=2", "https://example.com/?a=1&b=2"),
        ("https://example.com/a%2Fb", "https://example.com/a/b"),
        ("https://example.com/a%3Fb", "https://example.com/a?b"),
        ("https://example.com/?q=1%2B1", "https://example.com/?q=1+1"),
        ("https://example.com/%252e", "https://example.com/%2e"),
        # Hosts that look like variants of others
        ("https://m.com/a", "https://com.com/a"),
        ("https://m.co.uk/a", "https://co.uk/a"),
        ("https://amp.dev/a", "https://www.dev.com/a"),
        ("https://mobile.de/a", "https://m.de/a"),
        ("https://camp.example.com/", "https://example.com/"),
        ("https://mm.example.com/", "https://example.com/"),
        ("https://www2.example.com/", "https://example.com/"),
        ("https://www-m.example.com/", "https://example.com/"),
        ("https://m.github.io/", "https://github.io/"),
        ("https://mobile.wordpress.com/a", "https://wordpress.com/a"),
        ("https://en.wikipedia.org/wiki/Berlin", "https://de.wikipedia.org/wiki/Berlin"),
        ("https://en.m.wikipedia.org/wiki/Berlin", "https://de.m.wikipedia.org/wiki/Berlin"),
        ("https://a.m.example.com/", "https://a.example.com/"),
        # Paths and queries with amp in them that is not AMP
        ("https://example.com/amp/", "https://example.com/"),
        ("https://example.com/amplifiers/1", "https://example.com/lifiers/1"),
        ("https://example.com/guitar/amp/fender", "https://example.com/guitar/fender"),
        ("https://example.com/stamp", "https://example.com/st"),
        ("https://example.com/x-amp", "https://example.com/x"),
        ("https://example.com/?amp=fender", "https://example.com/"),
        ("https://example.com/?amplitude=1", "https://example.com/"),
        # Parameters that choose a page, some of them trackers elsewhere
        ("https://example.com/?id=1", "https://example.com/"),
        ("https://blog.example.com/?p=1", "https://blog.example.com/?p=2"),
        ("https://example.com/?ref=1", "https://example.com/?ref=2"),
        ("https://example.com/?source=1", "https://example.com/"),
        ("https://example.com/?pk_id=1", "https://example.com/?pk_id=2"),
        ("https://example.com/?utm=1", "https://example.com/"),
        ("https://example.com/?smid=1", "https://example.com/?smid=2"),
        ("https://mynytimes.com/?smid=1", "https://mynytimes.com/?smid=2"),
        ("https://example.com/?m=1", "https://example.com/"),
        # Session ids, and what has their names
        ("https://slashdot.org/article.pl?sid=05/06/23/1", "https://slashdot.org/article.pl?sid=05/06/23/2"),
        ("https://example.com/?s=search", "https://example.com/"),
        ("https://example.com/a;v=1", "https://example.com/a;v=2"),
        ("https://example.com/(S(short))/a", "https://example.com/a"),
        ("https://example.com/..;jsessionid=1/a", "https://example.com/a"),
        # Fragments that choose a page
        ("https://gawker.com/#!5800000/one", "https://gawker.com/#!5800001/two"),
        ("https://gawker.com/#!5800000/one", "https://gawker.com/"),
    ],
)
def test_other_pages_have_other_keys(one: str, other: str) -> None:
    assert parsed(one).key != parsed(other).key


@pytest.mark.parametrize(
    ("switch", "variant"),
    [
        ("drop_trackers", "https://example.com/a?utm_source=x"),
        ("drop_trackers", "https://nytimes.com/a?_r=0"),
        ("drop_trackers", "https://example.com/a;_ylt=x"),
        ("drop_session_ids", "https://example.com/a?PHPSESSID=1"),
        ("drop_session_ids", f"https://example.com/a?sid={MD5}"),
        ("drop_session_ids", "https://example.com/a;jsessionid=1"),
        ("drop_session_ids", f"https://example.com/(S({SESSION_24}))/a"),
        ("drop_amp", "https://amp.example.com/a"),
        ("drop_amp", "https://example.com/a/amp"),
        ("drop_amp", "https://example.com/a?amp"),
        ("drop_mobile", "https://m.example.com/a"),
        ("drop_mobile", "https://en.m.wikipedia.org/a"),
        ("drop_mobile", "https://b.blogspot.com/a?m=1"),
        ("drop_trailing_slash", "https://example.com/a/"),
    ],
)
def test_each_rule_has_its_switch(switch: str, variant: str) -> None:
    url = parsed(variant)
    as_submitted = url.host + url.path + url.query
    assert canonical(url, BARE) == as_submitted
    assert canonical(url, DEFAULTS.model_copy(update={switch: False})) == as_submitted
    alone = canonical(url, BARE.model_copy(update={switch: True}))
    assert len(alone) < len(as_submitted)
    assert alone == canonical(url, DEFAULTS)


ANY_TEXT = st.text(st.characters(), max_size=60)  # surrogates with it
HOST_PIECES = ("www.", "m.", "mobile.", "amp.", "en.", "a.", "xn--exmple-cua.", "%77ww.", "..", ".")
DOMAINS = ("example.com", "wikipedia.org", "b.blogspot.com", "nytimes.com", "co.uk", "com", "m.com", "foo",
           "127.0.0.1", "0x7f.1", "[::1]", "bücher.example", "a.example", "com.", "github.io")  # fmt: skip
PATH_PIECES = ("/", "amp", "a", ".", "%", "%2e", "%2E", "%61", "41", "&", "amp;", "lt;", "%6ct;", "?", ".amp",
               ".html", ";", "jsessionid=", ";_ylt=b", f"(S({SESSION_24}))", "%3B", "%3b", "é", "\\", " ",
               "#", "#!", "%ff", "(", "'", "//", "%00")  # fmt: skip
QUERY_PIECES = ("&", "amp", "=1", "amp;", "lt;", "a", "b=", "=", ";", "utm_x=", "PHPSESSID=1", "sid=", MD5,
                "%41", "%", "%6", "%26", "%61mp;", "?", "'", "%27", "+", "%20", "smid=2", "m=1", "#!", "/",
                "\t", "é")  # fmt: skip


def joined(pieces: tuple[str, ...], most: int) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(pieces), max_size=most).map("".join)


URLS = st.tuples(
    st.sampled_from(("http://", "https://", "http://u:p@")),
    joined(HOST_PIECES, 3),
    st.sampled_from(DOMAINS),
    st.sampled_from(("", ":80", ":443", ":8080", ":")),
    st.just("/"),
    joined(PATH_PIECES, 7),
    st.sampled_from(("", "?", "#!")),
    joined(QUERY_PIECES, 7),
).map("".join)
RULES = st.fixed_dictionaries(dict.fromkeys(SWITCHES, st.booleans())).map(
    lambda chosen: UrlSettings(**chosen)
)


def assert_canonical_form_is_its_own(url: Url, rules: UrlSettings) -> None:
    form = canonical(url, rules)
    for scheme in ("http://", "https://"):
        assert canonical_of(scheme + form, rules) == form


@settings(max_examples=500, deadline=None)
@given(URLS | ANY_TEXT | ANY_TEXT.map(lambda text: "https://example.com/" + text), RULES)
def test_a_canonical_form_is_its_own_canonical_form(text: str, rules: UrlSettings) -> None:
    url = parse(text)
    if url is not None:
        assert_canonical_form_is_its_own(url, rules)


@settings(max_examples=500, deadline=None)
@given(URLS | ANY_TEXT.map(lambda text: f"https://www.{text}"), RULES)
def test_urls_of_one_key_are_of_one_domain(text: str, rules: UrlSettings) -> None:
    """They would be dealt to different parts otherwise, and never meet."""
    url = parse(text)
    if url is not None:
        assert parsed(f"http://{canonical(url, rules)}").domain == url.domain


@pytest.mark.parametrize("rules", [DEFAULTS, BARE], ids=["defaults", "bare"])
def test_canonical_forms_of_the_urls_standards_cases_are_their_own(
    realdata: Path, rules: UrlSettings
) -> None:
    urls = [url for text, _ in standard_cases(realdata) if (url := parse(text)) is not None]
    assert len(urls) > 180
    for url in urls:
        assert_canonical_form_is_its_own(url, rules)


# The lists


@pytest.mark.parametrize("name", ["trackers.txt", "session_ids.txt", "session_ids_by_value.txt",
                                  "amp_parameters.txt", "site_trackers.txt"])  # fmt: skip
def test_names_of_parameters_are_listed_as_they_are_compared(name: str) -> None:
    words = [word for entry in read_list(name) for word in entry]
    assert words == [word.lower() for word in words]
    assert all(len(word) > 2 for word in words if word.endswith("*"))
    if name != "site_trackers.txt":
        assert len(words) == len(set(words))


def test_no_parameter_that_chooses_pages_is_a_tracker_everywhere() -> None:
    choosing = {
        "id",
        "p",
        "page",
        "q",
        "ref",
        "src",
        "source",
        "cid",
        "via",
        "feature",
        "s",
        "sid",
        "story",
        "v",
    }
    assert not choosing & read_words("trackers.txt")


def test_hosts_are_listed_as_they_are_parsed() -> None:
    listed = read_words("shorteners.txt") | read_words("mobile_domains.txt") | read_words("user_domains.txt")
    listed |= {host for host, *_ in read_list("site_trackers.txt")}
    listed |= {host.removeprefix("*.") for host, *_ in read_list("wrappers.txt") if host != "google.*"}
    assert {parsed(f"http://{host}/").host for host in listed} == listed
    for host, *_ in read_list("site_trackers.txt"):
        assert registrable_domain(host) == host
