"""Hosts: nothing private gets through, in whatever spelling."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.hosts import (
    has_listed_suffix,
    is_global_address,
    is_private_host,
    is_subdomain,
    registrable_domain,
)
from pipeline.urls import parse


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "0x7f.1", "0X7F.0x1", "2130706433", "017700000001", "0177.0.0.1", "127.0.0.1.",
     "%31%32%37.0.0.1", "１２７.0.0.1", "①②⑦.0.0.1", "127。0。0。1", "[::1]", "::1", "[::]", "[0:0::1]",
     "[::ffff:7f00:1]", "[::ffff:127.0.0.1]", "[::FFFF:10.0.0.1]", "[::7f00:1]", "0.0.0.1", "0", "10.1.2.3",
     "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "192.0.0.1", "192.0.0.8", "198.18.0.1",
     "198.19.255.255", "192.0.2.1", "203.0.113.9", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.88.99.1",
     "[fe80::1]", "[fc00::1]", "[fd12::1]", "[fec0::1]", "[ff02::1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::1]",
     "[2002:7f00:1::]", "[2001::1]", "[2001:db8::1]", "[3fff::1]", "[100::1]", "[5f00::1]",
     "localhost", "LOCALHOST", "localhost.", "LocalHost.", "%6cocalhost", "ｌocalhost", "a.localhost",
     "printer.local", "router.lan", "db.internal", "nas.home", "a.home.arpa", "pc.localdomain", "x.intranet",
     "abc.onion", "site.i2p", "intranet", "", "exa mple.com", "a..example.com", "\ud800.com"],
)  # fmt: skip
def test_private_hosts_in_every_spelling(host: str) -> None:
    assert is_private_host(host)
    url = parse(f"http://{host}/")
    assert url is None or is_private_host(url.host)


@pytest.mark.parametrize(
    "host",
    ["93.184.216.34", "0x5d.0xb8d822", "[2606:2800:220:1::1]", "2606:2800:220:1::1", "[::ffff:5db8:d822]",
     "example.com", "EXAMPLE.com.", "localhost.example.com", "local.example.com", "mylocalhost.com",
     "10.example.com", "lan.org", "xn--exmple-cua.com", "100.128.0.1", "198.20.0.1",
     "172.32.0.1"],
)  # fmt: skip
def test_public_hosts_are_public(host: str) -> None:
    assert not is_private_host(host)


@given(st.ip_addresses())
def test_an_address_that_python_calls_private_is_never_global(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if address.is_private or address.is_multicast:
        assert not is_global_address(address) or getattr(address, "ipv4_mapped", None) is not None


@given(st.ip_addresses(v=4))
def test_an_address_is_as_private_in_one_spelling_as_in_another(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    octets = address.packed
    spellings = [str(number), hex(number), f"0{number:o}", ".".join(f"0{octet:o}" for octet in octets),
                 f"{octets[0]}.{number & 0xFFFFFF}", f"[::ffff:{address}]", f"{address}."]  # fmt: skip
    assert {is_private_host(one) for one in spellings} == {not is_global_address(address)}


def test_registrable_domains() -> None:
    assert registrable_domain("news.bbc.co.uk") == "bbc.co.uk"
    assert registrable_domain("a.b.github.io") in {"github.io", "b.github.io"}
    assert registrable_domain("127.0.0.1") == "127.0.0.1"
    assert registrable_domain("[2001:db8::1]") == "[2001:db8::1]"
    assert registrable_domain("co.uk") == "co.uk"
    assert registrable_domain("localhost") == "localhost"


def test_names_are_registered_right_below_a_top_level_domain_that_no_list_knows() -> None:
    assert registrable_domain("www.news.example") == registrable_domain("news.example") == "news.example"
    assert is_subdomain("www.news.example")
    assert not is_subdomain("www.example")
    assert has_listed_suffix("a.ck")
    assert not has_listed_suffix("news.example")


@given(
    st.lists(
        st.sampled_from(["www", "example", "c0", "0x7f", "1", "09", "x", "0xg", "é", "１", "%31"]), min_size=1
    )
)
def test_any_labels_make_a_host_that_is_private_or_not(labels: list[str]) -> None:
    assert is_private_host(".".join(labels)) in (True, False)


def test_a_name_may_end_in_a_digit_where_its_last_label_is_no_number() -> None:
    assert not is_private_host("www.example.c0")
