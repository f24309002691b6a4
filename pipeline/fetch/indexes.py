"""Reading CDXJ indexes: our own, pywb's, and the answers of Common Crawl's index server.

A line is a key (SURT), a time stamp of 14 digits and a JSON object
(https://pywb.readthedocs.io/en/latest/manual/indexing.html); an index server gives the object alone, with
the time stamp in it. Lines are foreign bytes: rubbish among them is counted and never an error.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pipeline.errors import InputError
from pipeline.fetch.response import media_type
from pipeline.inputs import file_digest

_SUFFIX = ".cdxj"
_STAMP = re.compile(r"[0-9]{14}")
_NUMBER = re.compile(r"[0-9]{1,18}")
_STATUS = re.compile(r"[1-9][0-9]{2}")
_NO_CAPTURES = (b"!", b"#", b" CDX")  # what the first lines of indexes begin with, which tell their format
_REVISIT = "warc/revisit"


class _Fields(msgspec.Struct):
    url: str
    filename: str
    offset: str | int
    length: str | int
    mime: str = "unk"
    status: str | int = ""
    digest: str = ""
    timestamp: str = ""


_decoder = msgspec.json.Decoder(_Fields)


@dataclass(frozen=True, slots=True)
class Indexed:
    """A line of an index.

    Attributes:
        status: None for what is no HTTP response, and where the index does not tell.
        is_revisit: Whether its record refers to an earlier response with the same body (and digest).
    """

    url: str
    date: datetime
    status: int | None
    content_type: str | None
    digest: str
    is_revisit: bool
    filename: str
    offset: int
    length: int


def is_index(path: str) -> bool:
    """Whether a file is an index of WARC files, by its name."""
    return path.lower().endswith(_SUFFIX)


def read_index(path: str) -> Iterator[Indexed | None]:
    """The lines of a CDXJ file; None for each that cannot be understood."""
    with Path(path).open("rb") as file:
        for line in file:
            if line.isspace() or line.startswith(_NO_CAPTURES):
                continue
            parts = line.split(b" ", 2)
            yield decode(parts[2], parts[1].decode("latin-1")) if len(parts) == 3 else None


def decode(data: bytes, stamp: str | None = None) -> Indexed | None:
    """A line's JSON object, with the time stamp before it or in it; None where it cannot be understood."""
    try:
        fields = _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    date = read_stamp(stamp or fields.timestamp)
    offset, length = str(fields.offset), str(fields.length)
    numbers = _NUMBER.fullmatch(offset) and _NUMBER.fullmatch(length)
    if date is None or not numbers or not fields.filename or "\0" in fields.filename:
        return None
    status = str(fields.status)
    return Indexed(
        url=fields.url,
        date=date,
        status=int(status) if _STATUS.fullmatch(status) else None,
        content_type=told_type(fields.mime),
        digest=fields.digest,
        is_revisit=fields.mime == _REVISIT,
        filename=fields.filename,
        offset=int(offset),
        length=int(length),
    )


def told_type(mime: str) -> str | None:
    """An index's media type; None where it does not know (``unk`` or ``-``)."""
    return None if mime in ("unk", "-") else media_type(mime) or None


def read_stamp(text: str) -> datetime | None:
    """The time of a stamp ``YYYYMMDDhhmmss`` (UTC)."""
    if not _STAMP.fullmatch(text):
        return None
    try:
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def locate(index: str, filename: str) -> str:
    """The path of a WARC file that an index names: beside the index, else in ``../archive`` as pywb has it.

    Raises:
        InputError: It is in neither, or the name leads elsewhere: indexes may be anybody's.
    """
    if Path(filename).is_absolute() or ".." in Path(filename).parts:
        raise InputError(
            f"fetch.warcs: {index} names {filename!r}, which leads out of its folder: WARC files stand "
            "beside their index. Where you trust it, put the file there and the bare name into the index."
        )
    folder = Path(index).parent
    places = [folder / filename, folder.parent / "archive" / filename]
    for place in places:
        if place.is_file():
            return str(place)
    raise InputError(
        f"fetch.warcs: {index} names {filename}, which is neither {places[0]} nor {places[1]}. "
        "Put the WARC file at one of them, or leave the index out."
    )


def source_digest(path: str) -> str:
    """The digest of an entry of ``fetch.warcs``: a WARC file's, or an index's with those of all its files.

    Raises:
        InputError: A WARC file that the index names is missing.
    """
    return _digest_of_index(path) if is_index(path) else file_digest(path)


def source_files(path: str) -> list[str]:
    """The WARC files of an entry of ``fetch.warcs``: itself, or those that an index names.

    Raises:
        InputError: A WARC file that the index names is missing.
    """
    if not is_index(path):
        return [path]
    names = {line.filename for line in read_index(path) if line is not None}
    return [locate(path, name) for name in sorted(names)]


def _digest_of_index(path: str) -> str:
    digests = [file_digest(path), *(file_digest(file) for file in source_files(path))]
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()
