"""From the bytes of a page to its characters."""

from charset_normalizer import from_bytes
from w3lib.encoding import html_body_declared_encoding, http_content_type_encoding, read_bom, to_unicode

# Of the characters beyond ASCII, the share that may be undecodable in the right charset: pages are cut at
# the byte cap and pasted together from sources. In a wrong multi-byte charset nearly all of them are.
_MOST_ERRORS = 0.1
_SAMPLE = 5000


def decode(body: bytes, content_type: str | None) -> str:
    """A page's characters; those that cannot be decoded are U+FFFD.

    A byte order mark decides, then UTF-8 where the bytes bear it out (hardly any other text does, whatever
    the header says), then the charset of the header, of the page itself, and the likeliest by its bytes.

    Args:
        body: The page as received, its content encoding undone.
        content_type: The header's value.
    """
    marked, mark = read_bom(body)
    if marked is not None and mark is not None:
        return to_unicode(body[len(mark) :], marked)
    declared = [http_content_type_encoding(content_type), html_body_declared_encoding(body)]
    candidates = [] if _is_escaped(body) or "hz" in declared else ["utf-8"]
    candidates += [charset for charset in declared if charset is not None]
    for charset in dict.fromkeys(candidates):
        text = _decoded(body, charset)
        if text is not None:
            return text
    return to_unicode(body, _likeliest(body))


def _is_escaped(body: bytes) -> bool:
    """Whether ASCII bytes may stand for something else: UTF-16 without a mark, ISO-2022-JP and -KR."""
    return b"\0" in body[:1024] or b"\x1b$" in body


def _decoded(body: bytes, charset: str) -> str | None:
    """The text in this charset, None if too much of it is not."""
    try:
        text = to_unicode(body, charset)
    except (UnicodeError, LookupError, ValueError):
        return None  # a codec that takes no "replace", or is not one from bytes to text
    num_errors = text.count("\ufffd")
    if num_errors == 0:
        return text
    num_beyond = len(text) - len(text.encode("ascii", "ignore"))
    return text if num_errors <= _MOST_ERRORS * num_beyond else None


def _likeliest(body: bytes) -> str:
    """The detector's choice, by both ends of the page; between equals Windows-1252, the most frequent."""
    sample = body if len(body) <= 2 * _SAMPLE else body[:_SAMPLE] + body[-_SAMPLE:]
    matches = from_bytes(sample)
    best = matches.best()
    if best is None or any(one.encoding == "cp1252" and one.chaos <= best.chaos for one in matches):
        return "cp1252"
    return best.encoding
