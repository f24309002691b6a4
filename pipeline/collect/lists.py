"""Lists of URLs that others chose, as rows: plain text, and OpenWebText's and OpenWebText2's files."""

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.collect.dumps import read_lines
from pipeline.collect.rows import Row
from pipeline.collect.tables import number, seconds, unpacked_name
from pipeline.records import Reason

_MONTH = re.compile(r"(?<![0-9])(20[0-9]{2})-(0[1-9]|1[0-2])(?![0-9])")
_TSV_COLUMNS = ("url", "id", "subreddit", "title", "score", "created_utc")
_TSV_ESCAPE = re.compile(r"\\([tnr\\])")
_TSV_MEANS = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}


def read_list(path: str, karma: int) -> Iterator[Row | Reason]:
    """The rows of a list, packed or not; what it is its name tells.

    - .jsonl: OpenWebText2's ``urls_N.jsonl.zst`` (lm_dataformat): a URL a line as ``text``, and in ``meta``
      the ids, scores, subreddits, titles and times of its submissions: a row each.
    - .tsv, .dat: OpenWebText2's ``urls.dat`` and ``urls_sorted.dat``, made by ``jq``'s ``@tsv``: url, id,
      subreddit, title, score, created_utc; a row a line.
    - Any other: a URL a line, as OpenWebText's ``RS_2011-01.bz2.deduped.txt``; lines that start with ``#``
      are remarks. A row's id is the file's name and the line's number, its score is ``karma``, its time the
      first second (UTC) of the month that the file's name tells, or None.

    Raises:
        Damaged: The packing is cut off or corrupt; all rows before have been given.
    """
    name = Path(path).name
    suffix = Path(unpacked_name(name)).suffix.lower()
    created = _month(name)
    for line_number, line in enumerate(read_lines(path), start=1):
        text = _text(line, is_first=line_number == 1)
        if isinstance(text, Reason):
            yield text
        elif suffix == ".jsonl":
            yield from _submissions(text)
        elif suffix in (".tsv", ".dat"):
            yield _tab_separated(text)
        elif not text.startswith("#"):
            yield {
                "id": f"{name}:{line_number}",
                "url": text.strip(),
                "score": karma,
                "created_utc": created,
                "subreddit": "",
            }


def _text(line: bytes | Reason, *, is_first: bool) -> str | Reason:
    if isinstance(line, Reason):
        return line
    if is_first:
        line = line.removeprefix(codecs.BOM_UTF8)
    if not line.strip():
        return Reason.BLANK_LINE
    try:
        return line.decode()
    except UnicodeDecodeError:
        return Reason.NOT_UTF8


def _month(name: str) -> int | None:
    """The first second of the month that a file's name tells.

    >>> _month("RS_v2_2005-06.xz.goodlinks.txt"), _month("urls.txt")
    (1117584000, None)
    """
    match = _MONTH.search(name)
    return int(datetime(int(match[1]), int(match[2]), 1, tzinfo=UTC).timestamp()) if match else None


def _tab_separated(line: str) -> Row | Reason:
    """A line of jq's ``@tsv``, which escapes tabs, line ends and backslashes, and quotes nothing."""
    fields = line.removesuffix("\r").split("\t")
    if len(fields) != len(_TSV_COLUMNS):
        return Reason.NOT_A_ROW
    values = (_TSV_ESCAPE.sub(lambda match: _TSV_MEANS[match[1]], field) or None for field in fields)
    row: dict[str, Any] = dict(zip(_TSV_COLUMNS, values, strict=True))
    return {**row, "score": number(row["score"]), "created_utc": seconds(row["created_utc"])}


def _submissions(line: str) -> Iterator[Row | Reason]:
    """The submissions of a line of OpenWebText2's: at least one row, or a Reason."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        yield Reason.NOT_JSON
        return
    meta = record.get("meta") if isinstance(record, Mapping) else None
    if not isinstance(meta, Mapping):
        yield Reason.NOT_A_ROW
        return
    columns = {name: meta[name] for name in _TSV_COLUMNS[1:] if name in meta}
    if not all(isinstance(column, list) for column in columns.values()):
        yield Reason.BAD_FIELD
        return
    lengths = {len(column) for column in columns.values()}
    if "id" not in columns or len(lengths) != 1 or lengths == {0}:
        yield Reason.BAD_FIELD
        return
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        # From its database, ids come as numbers and times in ISO 8601, in the time zone of who made it.
        yield {
            **row,
            "url": record.get("text"),
            "id": _base36(row["id"]),
            "score": number(row.get("score")),
            "created_utc": seconds(row.get("created_utc")),
        }


def _base36(ident: Any) -> Any:
    """A submission's id as Reddit writes it, from the number that it stands for.

    >>> _base36(82_873_279), _base36("1dz5rj")
    ('1dc9fj', '1dz5rj')
    """
    return np.base_repr(ident, 36).lower() if type(ident) is int and ident >= 0 else ident
