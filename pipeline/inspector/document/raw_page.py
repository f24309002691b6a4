"""The page that a document was made from, as it lies in its WARC file."""

import io
from dataclasses import dataclass
from typing import Any

from fastwarc.warc import ArchiveIterator

from pipeline.errors import InputError
from pipeline.extract.charset import decode
from pipeline.extract.responses import read_response
from pipeline.inspector.catalogue.catalogue import Catalogue
from pipeline.inspector.catalogue.tables import damage
from pipeline.inspector.document.stored import Row
from pipeline.records import Rejection
from pipeline.stages import BY_NAME

MOST_BYTES = 10_000_000
"""Of a body: what follows is not shown."""

_HTML = frozenset(["", "text/html", "application/xhtml+xml"])

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RawPage:
    """What a server sent.

    Attributes:
        status_line: As it was sent.
        headers: Those of HTTP.
        record: Those of the WARC record.
        html: The body's characters.
        num_bytes: Of the body, its coding undone.
        is_html: Whether it may be shown as a page, and not only as what it is made of.
        is_cut: Whether the body goes on.
    """

    status_line: str
    headers: Fields
    record: Fields
    html: str
    num_bytes: int
    is_html: bool
    is_cut: bool


def read_page(catalogue: Catalogue, place: Row) -> RawPage:
    """The page that a row of the ledger tells the place of.

    Raises:
        InputError: The WARC file is missing or damaged, or there is another thing at that place.
    """
    folder = catalogue.run / BY_NAME["fetch"].folder
    label = f"{BY_NAME['fetch'].folder}/{place['warc']}"
    try:
        with folder.open(place["warc"]) as warc:
            answer = read_response(warc, place["offset"], place["length"], MOST_BYTES)
            data = warc.read_at(place["length"], place["offset"])
        if isinstance(answer, Rejection):
            raise InputError(damage(label, ValueError(answer.value)))
        record = next(iter(ArchiveIterator(io.BytesIO(data), parse_http=True)))
    except (OSError, StopIteration) as error:
        raise InputError(damage(label, error)) from error
    body = answer.body[:MOST_BYTES]
    http = record.http_headers
    return RawPage(
        status_line=http.status_line or "",
        headers=_fields(http),
        record=_fields(record.headers),
        html=decode(body, answer.content_type),
        num_bytes=len(body),
        is_html=answer.content_type.partition(";")[0].strip().lower() in _HTML,
        is_cut=len(answer.body) > MOST_BYTES,
    )


def _fields(headers: Any) -> Fields:
    return tuple((str(name), str(value)) for name, value in headers.items())


_BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_SIGNS = {
    **{number: chr(0x2400 + number) for number in range(32) if number not in b"\t\n\r"},
    0x7F: "\u2421",
    **{ord(char): f"⟦U+{ord(char):04X}⟧" for char in _BIDI},
}


def in_plain_sight(source: str) -> str:
    r"""A source with signs for what would not be seen, or would change the order of what is.

    >>> in_plain_sight("a\0b\u202ec")
    'a␀b⟦U+202E⟧c'
    """
    return source.translate(_SIGNS)
