"""Personal data in texts, counted and masked: e-mail and IP addresses, phone numbers, payment cards.

What is found is meant to be right rather than complete: a year, a price or a version number that is masked
damages a text for good. So all that is found obeys a rule that can be checked (a public suffix, a numbering
plan, a check digit), and what could be either stays.

One place is one kind: an e-mail address first, then an IP address, a card, a phone number. The digits are
ASCII's.
"""

import re
from collections.abc import Collection, Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

from pipeline.hosts import has_listed_suffix, is_global_address

KINDS = ("email", "phone", "ip", "card")

_MASKS = {"email": "<EMAIL>", "phone": "<PHONE>", "ip": "<IP>", "card": "<CARD>"}

# Scripts that put spaces between words: elsewhere an address may follow on the word before it.
_LETTERS = r"0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u052f"
_ASCII_LABEL = r"[0-9A-Za-z](?:[0-9A-Za-z-]{0,61}[0-9A-Za-z])?"
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_TOP = (
    r"(?:(?:xn--[0-9A-Za-z-]{1,58}[0-9A-Za-z]|[A-Za-z]{2,63})(?![0-9A-Za-z_-])|[^\W\d_a-zA-Z]{2,63}(?![\w-]))"
)
# It begins with the at sign, for which the search is fast; what stands before it is looked at afterwards.
_AT_DOMAIN = re.compile(rf"@((?:{_LABEL}\.){{1,8}}({_TOP}))(?!\.?@|\.[^\W_])")
_LOCAL = re.compile(rf"(?<![{_LETTERS}@!#$%&*+/=?^`|~_.-])[{_LETTERS}_][{_LETTERS}_.+%&'~-]{{0,63}}\Z")
_LONGEST_LOCAL = 64  # octets, RFC 5321, section 4.5.3.1.1
_HIDDEN_AT = tuple(re.compile(rf"\{a} ?(?:[Aa][Tt]|@) ?\{b}") for a, b in ("()", "[]", "{}"))
_DOT = r" ?[(\[{] ?(?:[Dd][Oo][Tt]|\.) ?[)\]}] ?"
_HIDDEN_DOMAIN = re.compile(rf" ?({_ASCII_LABEL}(?:(?:{_DOT}|\.){_ASCII_LABEL}){{1,8}})(?![0-9A-Za-z_@-])")
_HIDDEN_DOT = re.compile(_DOT)

_DASHES = r"\u2010-\u2015"
# What has fewer digits together is neither a number nor an address.
_FEWEST_DIGITS = b"0" * 6
# In UTF-8; the bytes of the no-break space and of dashes beyond ASCII are among them.
_BETWEEN_DIGITS = b" .-()/+\xc2\xa0\xe2\x80\x90\x91\x92\x93\x94\x95"
_DIGITS_ONLY = bytes(ord("0") if chr(byte) in "0123456789" else ord("x") for byte in range(256))
_COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:")
_CLUSTER = re.compile(rf"[0-9][0-9A-Fa-f:.()/ +\u00a0{_DASHES}-]{{5,}}")
_CONTEXT = 24  # characters before a number in which a word says what it is

_IPV4 = re.compile(r"(?<![0-9A-Za-z_.$€£])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z_]|\.[0-9A-Za-z])")
# A global address is one of 2000::/3, so its first group has four digits.
_IPV6 = re.compile(r"(?<![0-9A-Za-z_:.])[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:.]{2,41}(?![0-9A-Za-z_:%])")
_SHORTEST_IPV4 = len(_FEWEST_DIGITS) + 3
_VERSION = re.compile(
    r"(?i:(?:\b(?:v|ver|version|build|release|firmware|update|section|chapter)|§)\W{0,3})\Z"
)
_ADDRESS = re.compile(r"(?i:(?:(?<!<)\b(?:ips?|ipv4|address|addresses)\W{1,3}|://|@))\Z")

_CARD = re.compile(
    r"(?<![0-9A-Za-z_.,/=#+$€£-])(?<![0-9][ -])"
    r"(?:[2-6][0-9]{12,18}"
    r"|[2-6][0-9]{3}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{3})?"
    r"|3[0-9]{3}([ -])[0-9]{6}\2[0-9]{4,5}"
    r"|4[0-9]{3}([ -])[0-9]{3}\3[0-9]{3}\3[0-9]{3})"
    r"(?![0-9A-Za-z_]|[ .,-][0-9])"
)
# Issuers' numbers (ISO/IEC 7812), as ranges of their first digits, with the lengths of their cards.
_ISSUERS = (
    ("4", "4", (13, 16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("6011", "6011", (16, 19)),  # Discover
    ("644", "659", (16, 19)),
    ("300", "305", (14, 16)),  # Diners Club
    ("3095", "3095", (14, 16)),
    ("36", "36", (14, 16)),
    ("38", "39", (14, 16)),
    ("3528", "3589", (16,)),  # JCB
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
    ("2200", "2204", (16,)),  # Mir
    ("5018", "5018", tuple(range(13, 20))),  # Maestro
    ("5020", "5020", tuple(range(13, 20))),
    ("5038", "5038", tuple(range(13, 20))),
    ("6304", "6304", tuple(range(13, 20))),
    ("6759", "6763", tuple(range(13, 20))),
)

_PHONE = re.compile(rf"[+(]{{0,2}}[0-9][0-9.()/ +\u00a0{_DASHES}-]*")
_FEWEST_PHONE_DIGITS = 7
_LONGEST_PHONES = 64  # characters, of some numbers in a row; longer ones are tables
_LONGEST_SPACED = 20  # characters of a number that has nothing but spaces between its digits
_INSIDE = re.compile(r"[0-9A-Za-z_/=&#%$€£¥@,:.-]\Z")  # what no phone number follows on
_DATE = re.compile(
    rf"(?<![0-9])(?<![0-9][./-])(?:(?:19|20)[0-9]{{2}}([./-])[01]?[0-9]\1[0-3]?[0-9]"
    rf"|[0-3]?[0-9]([./-])[0-3]?[0-9]\2(?:19|20)?[0-9]{{2}}"
    rf"|(?:19|20)[0-9]{{2}}[/ {_DASHES}-]{{1,3}}(?:19|20)[0-9]{{2}})(?![0-9]|[./-][0-9])"
)
_ONE_DIGIT = re.compile(r"(?<![0-9])[0-9](?![0-9])")  # several: a row of figures
_PHONE_NAMED = re.compile(
    r"(?i:(?<!<)\b(?:call|cell|contact|dial|fax|mobile|ph|phone|sms|tel|telephone|text|whatsapp)"
    r"(?: (?:at|is|me|no|number|on|us))*[ .:#]{1,3})\Z"
)
_OTHERWISE_NAMED = re.compile(
    r"(?i:\b(?:ISBN|ISSN|DOI|EAN|UPC|SKU|serial|part|model|item|order|patent|ticket|id)"
    r"(?:[ -]1[03])?(?: (?:no|number))?[ .:#]{1,3})\Z"
)
_EXTENSION = re.compile(r"(?i:,? ?(?:x|ext\.?|extension):? ?[0-9]{1,6}(?![0-9A-Za-z_]))")


class PII(NamedTuple):
    """How many of each kind a text holds; the names are FILTERED's."""

    pii_emails: int
    pii_phones: int
    pii_ips: int
    pii_cards: int


class _Span(NamedTuple):
    start: int
    end: int
    kind: str


def mask(text: str, kinds: Collection[str], *, phone_region: str = "US") -> tuple[str, PII]:
    """The text with personal data replaced by what it was (``<EMAIL>``, ``<PHONE>``, ``<IP>``, ``<CARD>``).

    All kinds are counted, whichever are replaced. Masking again finds nothing more of what was replaced, and
    all else of the text stays as it is.

    * E-mail: ``local@domain`` under a public suffix (``icon@2x.png`` and ``root@host`` are none), as it is
      or with the signs in brackets (``name [at] example [dot] com``). No handles (``@name``, Mastodon's
      ``@name@host``), and no places to clone from (``git@host:path``).
    * IP: global addresses. Four numbers are taken for a version or a heading where the word before them says
      so, and where none has three digits unless the word before them says that they are an address. Six
      digits at least: 8.8.8.8 is nobody's.
    * Card: an issuer's number of its length with a right check digit (ISO/IEC 7812), unbroken or in the
      groups that cards show; barcodes (GTIN-13 and 14) are none.
    * Phone: valid in its numbering plan, by Google's libphonenumber. Numbers of the region, without ``+`` and
      country, must be grouped as its people write them, or be called a phone number; dates are none.

    Args:
        text: Any text.
        kinds: Those of ``KINDS`` to replace; none for counting alone.
        phone_region: The ISO 3166 code of the country whose national phone numbers are meant.
    """
    spans = _all_spans(text, phone_region)
    counts = [sum(span.kind == kind for span in spans) for kind in ("email", "phone", "ip", "card")]
    chosen = sorted(span for span in spans if span.kind in kinds)
    if not chosen:
        return text, PII(*counts)
    parts, end = [], 0
    for span in chosen:
        parts += [text[end : span.start], _MASKS[span.kind]]
        end = span.end
    return "".join([*parts, text[end:]]), PII(*counts)


def _all_spans(text: str, phone_region: str) -> list[_Span]:
    """All places, with those that only show once their neighbours are masked: they no longer overlap.

    What is found is painted over with as many characters as it had, and the rest is looked at again.
    """
    spans: list[_Span] = []
    while True:
        candidates = [*_emails(text)] or [*_hidden_emails(text)] or [*_in_digits(text, phone_region)]
        found = [*_first_of_overlapping(candidates)]
        if not found:
            return spans
        spans += found
        parts, end = [], 0
        for span in found:
            parts += [text[end : span.start], "<", "X" * (span.end - span.start - 2), ">"]
            end = span.end
        text = "".join([*parts, text[end:]])


def _first_of_overlapping(spans: Collection[_Span]) -> Iterator[_Span]:
    end = 0
    for span in sorted(spans):
        if span.start >= end:
            end = span.end
            yield span


def _emails(text: str) -> Iterator[_Span]:
    if "@" not in text:
        return
    end = 0
    for match in _AT_DOMAIN.finditer(text):
        local = _local_part(text, match.start(), end)
        is_clone = local == "git" and text.startswith(":", match.end())
        if local and not is_clone and _is_public_suffix(match[2]):
            end = match.end()
            yield _Span(match.start() - len(local), end, "email")


def _hidden_emails(text: str) -> Iterator[_Span]:
    for pattern in _HIDDEN_AT:
        for match in pattern.finditer(text):
            domain = _HIDDEN_DOMAIN.match(text, match.end())
            has_space = text.startswith(" ", match.start() - 1)
            local = _local_part(text, match.start() - has_space, 0)
            if domain and local:
                top = _HIDDEN_DOT.sub(".", domain[1]).rpartition(".")[2]
                if not top.isdigit() and _is_public_suffix(top):
                    yield _Span(match.start() - has_space - len(local), domain.end(), "email")


def _local_part(text: str, at: int, start: int) -> str:
    """The name that ends at a position, empty where none does; it begins no earlier than the start."""
    begin = max(start, at - _LONGEST_LOCAL - 1, 0)
    match = _LOCAL.search(text[begin:at])
    if match is None or match[0].endswith(".") or ".." in match[0] or len(match[0]) > _LONGEST_LOCAL:
        return ""
    return match[0]


def _is_public_suffix(top: str) -> bool:
    """Whether names are registered under a top-level domain, by the public suffix list."""
    return has_listed_suffix(f"a.{top.lower()}")


def _in_digits(text: str, phone_region: str) -> Iterator[_Span]:
    """IP addresses, cards and phone numbers; of what touches, the first kind only."""
    squeezed = text.encode("utf-8", "surrogatepass").translate(_DIGITS_ONLY, _BETWEEN_DIGITS)
    if _FEWEST_DIGITS not in squeezed and not _COLONS.search(text):
        return
    for cluster in _CLUSTER.finditer(text):
        start, end = cluster.span()
        while start > cluster.start() - 2 and text[start - 1 : start] in ("+", "("):
            start -= 1
        yield from (
            [*_addresses(text, start, end)]
            or [*_cards(text, start, end)]
            or [*_phones(text, start, end, phone_region)]
        )


def _addresses(text: str, start: int, end: int) -> Iterator[_Span]:
    ahead = end + 2  # what follows may make it something else
    if text.count(":", start, end) >= 2:
        for match in _IPV6.finditer(text, start, ahead):
            address = match[0].rstrip(".")
            if not address.endswith("::"):
                address = address.removesuffix(":")
            if _is_ipv6(address):
                yield _Span(match.start(), match.start() + len(address), "ip")
    if text.count(".", start, end) >= 3:
        for match in _IPV4.finditer(text, start, ahead):
            if _is_ipv4(match[0], text[max(0, match.start() - _CONTEXT) : match.start()]):
                yield _Span(*match.span(), "ip")


def _is_ipv4(address: str, before: str) -> bool:
    try:
        if not is_global_address(IPv4Address(address)):
            return False
    except AddressValueError:
        return False
    if _VERSION.search(before) or len(address) < _SHORTEST_IPV4:
        return False
    return any(len(part) == 3 for part in address.split(".")) or _ADDRESS.search(before) is not None


def _is_ipv6(address: str) -> bool:
    try:
        return is_global_address(IPv6Address(address))
    except AddressValueError:
        return False


def _cards(text: str, start: int, end: int) -> Iterator[_Span]:
    if end - start < 13:
        return
    for match in _CARD.finditer(text, start, end + 2):
        if _is_card(match[0].replace(" ", "").replace("-", "")):
            yield _Span(*match.span(), "card")


def _is_card(digits: str) -> bool:
    known = any(
        first <= digits[: len(first)] <= last and len(digits) in lengths for first, last, lengths in _ISSUERS
    )
    return known and _passes_luhn(digits) and not (len(digits) in (13, 14) and _passes_gtin(digits))


def _passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(map(int, digits[::-2]))) % 10 == 0


def _passes_gtin(digits: str) -> bool:
    """Whether the last digit is the check digit of a barcode (GS1 General Specifications, section 7.9)."""
    return (3 * sum(map(int, digits[-2::-2])) + sum(map(int, digits[::-2]))) % 10 == 0


def _phones(text: str, start: int, end: int, region: str) -> Iterator[_Span]:
    for match in _PHONE.finditer(text, start, end):
        piece = match[0].rstrip(" .-(/+\u00a0")
        num_digits = sum(map(piece.count, "0123456789"))
        if num_digits >= _FEWEST_PHONE_DIGITS and len(piece) <= _LONGEST_PHONES and not _is_figures(piece):
            yield from _phones_in(text, match.start(), piece, region)


def _is_figures(piece: str) -> bool:
    """Whether digits and what stands between them are dates or a row of a table: not to be asked about."""
    if "+" in piece:
        return False
    is_row = len(piece) > _LONGEST_SPACED and piece.replace(" ", "").isdigit()
    return is_row or len(_ONE_DIGIT.findall(piece)) > 1 or _DATE.search(piece) is not None


def _phones_in(text: str, offset: int, piece: str, region: str) -> Iterator[_Span]:
    from phonenumbers import Leniency, PhoneNumberMatcher

    leniency = Leniency.STRICT_GROUPING if "+" in piece else Leniency.EXACT_GROUPING
    for found in PhoneNumberMatcher(piece, region, leniency, max_tries=_LONGEST_PHONES):
        start, end = offset + found.start, offset + found.end
        before = text[max(0, start - _CONTEXT) : start]
        if _is_phone(found.raw_string, before, is_whole=len(found.raw_string) == len(piece)):
            extension = _EXTENSION.match(text, end)
            if extension or not re.match(r"[0-9A-Za-z_@]|[.,/:-][0-9]", text[end : end + 2]):
                yield _Span(start, extension.end() if extension else end, "phone")


def _is_phone(number: str, before: str, *, is_whole: bool) -> bool:
    """Whether a valid number is meant as one, by how it is written and what stands before it."""
    if number.startswith(("+", "(+")):
        return not re.search(r"[0-9A-Za-z_]\Z", before)
    if _PHONE_NAMED.search(before):
        return True
    if _INSIDE.search(before) and not before.endswith(":"):
        return False
    groups = re.split(r"[^0-9]+", number.strip("()"))
    return (
        len(groups) > 1
        and (is_whole or set(number) - set("0123456789 ") != set())
        and not (_OTHERWISE_NAMED.search(before))
    )
