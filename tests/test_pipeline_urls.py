"""URLs: what is one page has one key, and nothing private gets through."""

import ipaddress
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.urls import is_global_address, is_private_host, parse, registrable_domain


@pytest.mark.parametrize(
    "variant",
    [
        "https://example.com/a?x=1&y=2",
        "http://www.example.com/a?y=2&x=1",
        "HTTP://WWW.EXAMPLE.COM:80/a?x=1&y=2#part",
        "https://example.com:443/b/../a?x=1&utm_source=reddit&y=2&UTM_Medium=social&fbclid=q",
        "https://user:password@example.com/a?x=1&y=2",
        "https://example.com./a?x=1&amp;y=2",
        "  https://example.com/a?x=1&y=2\n",
    ],
)
def test_variants_of_one_page_have_one_key(variant: str) -> None:
    url = parse(variant)
    assert url is not None
    assert url.canonical == "example.com/a?x=1&y=2"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://example.com/a", "https://example.com/A"),
        ("https://example.com/a", "https://example.com/a/"),
        ("https://example.com/", "https://example.com:8443/"),
        ("https://example.com/?a=1", "https://example.com/?a=2"),
        ("https://example.com/?copy=1&a=b", "https://example.com/?©=1&a=b"),
    ],
)
def test_other_pages_have_other_keys(one: str, other: str) -> None:
    first, second = parse(one), parse(other)
    assert first is not None
    assert second is not None
    assert first.key != second.key


@pytest.mark.parametrize(
    "text",
    ["", "http://", "https:///nohost", "javascript:alert(1)", "ftp://example.org/f", "http://exa mple.com/",
     "http://[::1", "/r/x/comments/3/", "http://intranet/", "mailto:a@example.org", "http://%zz.com/", "http://\ud800.com/"],
)  # fmt: skip
def test_what_is_no_web_page_is_refused(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    "text",
    ["http://127.0.0.1/", "http://0x7f.1/", "http://2130706433/", "http://017700000001/", "http://[::1]/",
     "http://[::ffff:10.0.0.1]/", "http://localhost:8080/", "http://a.localhost/", "http://169.254.169.254/",
     "http://192.168.1.1/", "http://100.64.0.1/", "http://0.0.0.0/", "http://[fe80::1]/", "http://[fc00::1]/",
     "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://224.0.0.1/", "http://printer.local/",
     "http://①②⑦.0.0.1/", "http://[fec0::1]/"],
)  # fmt: skip
def test_private_hosts_in_every_spelling(text: str) -> None:
    url = parse(text)
    assert url is not None
    assert is_private_host(url.host)


def test_public_hosts_are_public() -> None:
    for text in ("http://93.184.216.34/", "http://[2606:2800:220:1::1]/", "https://example.com/"):
        url = parse(text)
        assert url is not None
        assert not is_private_host(url.host)


@given(st.ip_addresses())
def test_an_address_that_python_calls_private_is_never_global(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if address.is_private or address.is_multicast:
        assert not is_global_address(address) or getattr(address, "ipv4_mapped", None) is not None


ANY_TEXT = st.text(st.characters(), max_size=60)  # surrogates with it


@given(ANY_TEXT.map(lambda text: "https://example.com/" + text) | ANY_TEXT)
def test_canonical_form_is_stable(text: str) -> None:
    url = parse(text)
    if url is not None:
        again = parse("https://" + url.canonical)
        assert again is not None
        assert again.canonical == url.canonical


def test_registrable_domains() -> None:
    assert registrable_domain("news.bbc.co.uk") == "bbc.co.uk"
    assert registrable_domain("a.b.github.io") in {"github.io", "b.github.io"}
    assert registrable_domain("127.0.0.1") == "127.0.0.1"


def test_hosts_agree_with_the_urls_standard(realdata: Path) -> None:
    """The WHATWG's own cases: where they give an http(s) URL a host, so do we, the same one."""
    cases = json.loads((realdata / "urls" / "urltestdata.json").read_text("utf-8"))
    num_checked = 0
    for case in cases:
        if not isinstance(case, dict) or case.get("failure") or case.get("base"):
            continue
        if case["protocol"] not in ("http:", "https:") or "&" in case["input"]:
            continue
        url = parse(case["input"])
        if url is None:
            # No dot, no host that we want; and can_ada refuses punycode that stands for nothing.
            hostname = case["hostname"]
            assert "." not in hostname.strip(".") or "xn--" in hostname or "///" in case["input"], case[
                "input"
            ]
            continue
        num_checked += 1
        assert url.host == case["hostname"].rstrip("."), case["input"]
    assert num_checked > 90
