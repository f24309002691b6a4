"""CDXJ: an index of WARC records by their URL in sort-friendly form (SURT), as pywb and others read it."""

import re
from datetime import UTC, datetime

import can_ada
import msgspec

from pipeline.fetch.response import media_type

_encoder = msgspec.json.Encoder()
_SIGNS = str.maketrans("", "", "-:T")
_WWW = re.compile(r"^www\d*\.")


def surt(url: str) -> str:
    """A URL as key: host labels reversed, all in lower case, the query sorted.

    >>> surt("http://www.Example.com:8080/A/?b=2&a=1")
    'com,example:8080)/a?a=1&b=2'
    """
    try:
        parsed = can_ada.parse(url)
    except (TypeError, ValueError):
        return url.lower()
    host = _WWW.sub("", parsed.hostname.lower().rstrip("."))
    port = f":{parsed.port}" if parsed.port else ""
    path = parsed.pathname.lower()
    if len(path) > 1:
        path = path.rstrip("/") or "/"
    query = "&".join(sorted(parsed.search.lower().removeprefix("?").split("&")))
    return f"{_reversed(host)}{port}){path}{f'?{query}' if query else ''}"


def _reversed(host: str) -> str:
    if host.startswith("[") or host[-1:].isdigit():  # the parser lets only addresses end so
        return host
    return ",".join(reversed(host.split(".")))


def line(
    url: str,
    date: datetime,
    *,
    status: int,
    content_type: str | None,
    digest: str,
    offset: int,
    length: int,
    filename: str,
) -> str:
    """One record's line."""
    values = {
        "url": url,
        "mime": media_type(content_type) or "unk",
        "status": str(status),
        "digest": digest,
        "length": str(length),
        "offset": str(offset),
        "filename": filename,
    }
    return f"{surt(url)} {stamp(date)} {_encoder.encode(values).decode()}"


def stamp(date: datetime) -> str:
    """A time as a stamp of 14 digits, in UTC."""
    return date.astimezone(UTC).isoformat()[:19].translate(_SIGNS)


def encode(lines: list[str]) -> bytes:
    """The file: lines in the order of their bytes, which is what a binary search needs."""
    encoded = sorted(one.encode() for one in lines)
    return b"".join(one + b"\n" for one in encoded)
