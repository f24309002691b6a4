"""filter: personal data, found where it is sure to be, counted and masked."""

import re
import subprocess
import sys
from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.filter.pii import KINDS, PII, mask

MASKS = {"email": "<EMAIL>", "phone": "<PHONE>", "ip": "<IP>", "card": "<CARD>"}
NOTHING = PII(0, 0, 0, 0)


def masked(text: str, region: str = "US") -> str:
    return mask(text, KINDS, phone_region=region)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mail jane.doe+news@mail.example.co.uk.", "Mail <EMAIL>."),
        ("to: A@B.COM, <o'brien@x.com>", "to: <EMAIL>, <<EMAIL>>"),
        ("'a_b@x.com' (c-d@x.com)", "'<EMAIL>' (<EMAIL>)"),
        ("a@x.com<mailto:a@x.com>", "<EMAIL><mailto:<EMAIL>>"),
        ("mailto:a@x.com?subject=b", "mailto:<EMAIL>?subject=b"),
        ("иван@почта.рф, jürgen@müller.de", "<EMAIL>, <EMAIL>"),
        ("a@xn--e1afmkfd.xn--p1ai", "<EMAIL>"),
        ("邮箱bob@qq.com查询", "邮箱<EMAIL>查询"),
        ("a@例え.jp", "<EMAIL>"),
        ("2127365000@txt.example.com", "<EMAIL>"),
        ("name [at] example [dot] com", "<EMAIL>"),
        ("name(at)example.com; x { AT } mail.example (dot) org.", "<EMAIL>; <EMAIL>."),
        ("name[@]example[.]com", "<EMAIL>"),
        ("a" * 64 + "@x.com", "<EMAIL>"),
    ],
)
def test_email_addresses(text: str, expected: str) -> None:
    assert masked(text) == expected
    assert mask(text, ()) == (text, PII(expected.count("<EMAIL>"), 0, 0, 0))


@pytest.mark.parametrize(
    "text",
    [
        "@handle and @name.surname said",
        "@user@mastodon.social",
        "root@localhost, user@host",
        "icon@2x.png, lodash@4.17.21, a@b.notatld",
        "git clone git@github.com:owner/project.git",
        "a..b@x.com .a@x.com a.@x.com",
        "a@b@x.com",
        "a@-x.com",
        "2 @ 3.50 each",
        "<andrew@...>",
        "@@ -457,16 +457,21 @@ }, 0);",
        "look (at) this. It is",
        "me [at] work [dot] y",
        "a" * 65 + "@x.com",
        "name at example dot com",
    ],
)
def test_what_is_no_email_address(text: str) -> None:
    assert mask(text, KINDS) == (text, NOTHING)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from 93.184.216.34.", "from <IP>."),
        ("http://93.184.216.34:8080/x", "http://<IP>:8080/x"),
        ("93.184.216.0/24", "<IP>/24"),
        ("IP: 85.17.28.11; address 85.17.28.11", "IP: <IP>; address <IP>"),
        ("访问93.184.216.34查询", "访问<IP>查询"),
        ("2606:4700:4700::1111, 2A00:1450:4001:081b:0000:0000:0000:200e.", "<IP>, <IP>."),
        ("[2606:4700::6810:84e5]:443", "[<IP>]:443"),
        ("at 2606:4700::1111: refused", "at <IP>: refused"),
        ("::ffff:93.184.216.34", "::ffff:<IP>"),
        ("2606:4700::93.184.216.34", "<IP>"),
        ("user@93.184.216.34", "user@<IP>"),
    ],
)
def test_ip_addresses(text: str, expected: str) -> None:
    assert masked(text) == expected
    assert mask(text, ()) == (text, PII(0, 0, expected.count("<IP>"), 0))


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1 192.168.100.200 10.0.0.150 172.16.100.1 224.100.0.1 255.255.255.255",
        "203.0.113.200 198.51.100.200 2001:db8::1 fe80::1 ::1 ff02::1",
        "IP 1.2.3.4 on 2019-12-15",
        "8.8.8.8 1.2.3 1.2.3.4 10.15.7.2 12.30.45.60",
        "version 41.120.2.8, v1.2.3.104, build 7.8.100.4, § 1.2.3.100",
        "1.3.6.1.4.1.311.100 93.184.216.34.5 93.184.216.340 93.184.216.034",
        "34.216.184.93.in-addr.arpa x93.184.216.34 93.184.216.34x",
        "12:30:45 2019:12:30 2019:12:30:45 std::vector 2::face 2019::",
        "00:1b:63:84:45:e6 2606:4700::1111::1 2606:4700:12345::1",
    ],
)
def test_what_is_no_global_address(text: str) -> None:
    assert mask(text, KINDS) == (text, NOTHING)


@pytest.mark.parametrize(
    "number",
    [
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111111111111111",
        "4222 222 222 222",
        "5555555555554444",
        "2223003122003222",
        "378282246310005",
        "3782 822463 10005",
        "6011 1111 1111 1117",
        "3056 930902 5904",
        "3530111333300000",
        "6205500000000000004",
        "2200 0000 0000 0004",
    ],
)
def test_cards(number: str) -> None:
    text = f"card: {number}, thanks. ({number})"
    assert mask(text, KINDS) == ("card: <CARD>, thanks. (<CARD>)", PII(0, 0, 0, 2))
    assert mask(text, ()) == (text, PII(0, 0, 0, 2))


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # the check digit
        "9111111111111119, 1111111111111117",  # no issuer's
        "41111111111111111111 4111 1111 1111 1111 1111",  # a longer number
        "4111-1111 1111-1111, 41 11 11 11 11 11 11 11",  # no card's groups
        "ISBN 978-3-16-148410-0 9783161484100",
        "4006381333931",  # a barcode
        "/4111111111111111 id=4111111111111111 0.4111111111111111 x4111111111111111",
        "1499655810000 20191215123045",
    ],
)
def test_what_is_no_card(text: str) -> None:
    assert mask(text, KINDS) == (text, NOTHING)


def test_thirteen_digits_that_check_as_a_barcode_too_stay() -> None:
    both = next(f"4{i:012d}" for i in range(10**6) if mask(f"4{i:012d}", ())[1].pii_cards)
    assert mask(both, KINDS)[0] == "<CARD>"
    weights = [1, 3] * 6 + [1]
    assert sum(int(digit) * weight for digit, weight in zip(both, weights, strict=True)) % 10 != 0


@pytest.mark.parametrize(
    ("text", "region", "expected"),
    [
        ("+1 (212) 736-5000, +44 20 7946 0958", "US", "<PHONE>, <PHONE>"),
        ("tel:+1-212-736-5000 +4915112345678.", "US", "tel:<PHONE> <PHONE>."),
        ("電話+81-3-1234-5678まで", "US", "電話<PHONE>まで"),
        ("+49 (0)40 890 85-433", "US", "<PHONE>"),
        ("(404)420-5100 or (800)550-3560", "US", "<PHONE> or <PHONE>"),
        ("212-736-5000 / 212.736.5001, 1-800-275-2273", "US", "<PHONE> / <PHONE>, <PHONE>"),
        ("212-736-5000 ext. 12, 212-736-5000x123.", "US", "<PHONE>, <PHONE>."),
        ("212\u2011736\u20115000, 212\u00a0736\u00a05000", "US", "<PHONE>, <PHONE>"),
        ("Call 2127365000 or text me at 2127365001", "US", "Call <PHONE> or text me at <PHONE>"),
        ("Phone: 2127365000\nFax: 2127365001", "US", "Phone: <PHONE>\nFax: <PHONE>"),
        ("Ruf 030 123456 an, Tel. 030/1234567", "DE", "Ruf <PHONE> an, Tel. <PHONE>"),
        ("020 7946 0958 or 01785 257698", "GB", "<PHONE> or <PHONE>"),
        ("01 42 68 53 00 ou 01.42.68.53.00", "FR", "<PHONE> ou <PHONE>"),
    ],
)
def test_phone_numbers(text: str, region: str, expected: str) -> None:
    assert masked(text, region) == expected
    assert mask(text, (), phone_region=region)[1] == PII(0, expected.count("<PHONE>"), 0, 0)


@pytest.mark.parametrize(
    "text",
    [
        "1999-2004, 2015/2016, 2018 2017 2016 2015",
        "2019-12-15 12:30:45, 12/15/2019 10:30, 15.12.2019",
        "$1,234,567.89, 12.345.678, 2127365000, $212 736 5000",
        "ISBN 978-0-306-40615-7 0-306-40615-2, ISSN 2049-3630",
        "DOI 10.1016/0370-2693(96)01234-5 doi:10.1093/212-736-5000",
        "40.7128 -74.0060, 37.7749, -122.4194",
        "5035 7 0 15 24\n5033 4 6 15 26\n212 310 404 415 510 617",
        "https://example.com/212-736-5000 ?id=212-736-5000 #212-736-5000",
        "736-5000 555-0143",
        "part 212-736-5000, ISBN 212-736-5000",
        "id 2127365000, 1499655810, 1499655810000",
        "+1, +20 +15 +12, +12345",
        "212-736-50001 x212-736-5000 212-736-5000-1234",
        "030 123456, 020 7946 0958",  # another region's
    ],
)
def test_what_is_no_phone_number(text: str) -> None:
    assert mask(text, KINDS) == (text, NOTHING)


def test_only_what_is_asked_for_is_replaced_and_all_is_counted() -> None:
    text = "a@x.com 212-736-5000, 93.184.216.34; 4111 1111 1111 1111"
    counts = PII(1, 1, 1, 1)
    assert mask(text, ()) == (text, counts)
    assert mask(text, KINDS) == ("<EMAIL> <PHONE>, <IP>; <CARD>", counts)
    assert mask(text, {"ip"}) == (text.replace("93.184.216.34", "<IP>"), counts)
    assert mask(text, ["card", "email"]) == ("<EMAIL> 212-736-5000, 93.184.216.34; <CARD>", counts)


def test_ordinary_texts_are_looked_at_without_the_numbering_plans() -> None:
    code = (
        "import sys; from pipeline.filter.pii import mask; mask('On 15.12.2019, 1,200 people came.', ());"
        "print('phonenumbers' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


LONG = (
    *(
        "1",
        "@",
        ".",
        ":",
        "(",
        "a@",
        "1 ",
        "1.",
        "2001:",
        "a@a.",
        "(at)",
        "a (at) b.c ",
        "4111 ",
        "+1 ",
        "1a",
    ),
    *("a-", "a.", "@a.a.a.a.a.a.a.a.a.-", "5035 7 0 15 24\n", "212 ", "aé@", "-", "<", "[at]x[dot]"),
)


@pytest.mark.parametrize("unit", LONG)
def test_long_texts_of_one_thing_end(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    for whole in (text, f"{text}@x.com", f"x@{text}"):
        assert mask(whole, ())[1] in {NOTHING, PII(1, 0, 0, 0)}


FRAGMENTS = (
    *(
        "a@x.com",
        "jürgen@почта.рф",
        "name [at] x [dot] org",
        "b(at)x.com",
        "@x.com",
        "a@",
        "root@host",
        "[at]",
    ),
    *("93.184.216.34", "8.8.8.100", "2606:4700::1111", "IP ", "version ", "1.2.3.4", "::", "12:30:45"),
    *("4111 1111 1111 1111", "4111111111111111", "378282246310005", "4111-1111-1111-1111", "2019-12-15"),
    *(
        "212-736-5000",
        "(212) 736-5000",
        "+44 20 7946 0958",
        "2127365000",
        "call ",
        "phone ",
        " ext. 1",
        "x12",
    ),
    *("<EMAIL>", "<IP>", "<PHONE>", "<CARD>", "a" * 60, "\ud800", "\u00a0", "\u2013", "é", "语", "212"),
    *(" ", "  ", "-", ".", ",", "/", ":", "(", ")", "+", "<", ">", "\n", "@", "1", "a", "_"),
)
TEXTS = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join),
    st.text(alphabet="0123456789 .-()+:@aefx<>/", max_size=60),
    st.text(max_size=60),
)
CHOICES = st.sets(st.sampled_from(KINDS))


def number_of(kind: str, counts: PII) -> int:
    return dict(zip(("email", "phone", "ip", "card"), counts, strict=True))[kind]


@given(TEXTS, CHOICES)
def test_masking_again_finds_nothing_more(text: str, kinds: Collection[str]) -> None:
    once, counts = mask(text, kinds)
    assert mask(text, ()) == (text, counts)
    again, left = mask(once, kinds)
    assert again == once
    for kind in KINDS:
        assert number_of(kind, left) == (0 if kind in kinds else number_of(kind, counts))


@given(TEXTS, CHOICES)
def test_all_else_of_a_text_stays(text: str, kinds: Collection[str]) -> None:
    once, counts = mask(text, kinds)
    for kind in KINDS:
        num_new = once.count(MASKS[kind]) - text.count(MASKS[kind])
        assert num_new == (number_of(kind, counts) if kind in kinds else 0)
    parts = re.split("|".join(MASKS.values()), once)
    assert re.fullmatch(".+?".join(map(re.escape, parts)), text, re.DOTALL)
