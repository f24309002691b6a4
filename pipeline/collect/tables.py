"""Submissions as tables: CSV and Parquet files with the dumps' columns, read as the rows that a dump has."""

import codecs
import csv
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.collect.dumps import PACKINGS, Damaged, read_lines
from pipeline.collect.rows import Row
from pipeline.errors import InputError
from pipeline.records import Reason

_MAX_RECORD_BYTES = 1 << 24  # as of a dump's line
_ROWS_AT_ONCE = 1_000  # of a Parquet file; a self post's text may have 40,000 characters
_PAGE_BUFFER_BYTES = 1 << 20  # without one, whole column chunks are read
_PARQUET_ERRORS = (pa.ArrowException, OSError, ValueError)

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_NUMBER = frozenset(("nan", "null", "none"))  # in whatever case
_NO_TEXT = frozenset(("NaN", "NULL", "None"))  # in lower case they could be ids
_TRUE = ("True", "TRUE", "true", "T", "t", "yes", 1)
_FALSE = ("False", "FALSE", "false", "F", "f", "no", 0)
_FLAGS = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}
_SUBREDDIT = re.compile(r"/r/([^/]+)/comments/")
# A parent's or _meta's flag in JSON, or as Python and DuckDB write such a value into a CSV field.
_IS_SELF = re.compile(r"""["']is_self["']\s*:\s*true\b""", re.IGNORECASE)
_WAS_DELETED = re.compile(r"""["']was_deleted_later["']\s*:\s*true\b""", re.IGNORECASE)


def read_table(path: str) -> Iterator[Row | Reason]:
    """The rows of a .csv (packed or not) or .parquet file, with the values that a dump has.

    Numbers, times and flags are brought out of text, empty fields are None; ``name`` (t3_abc) gives ``id``,
    and ``permalink`` gives ``subreddit``, where those are missing. What cannot be read as what it should be
    is left as it is: the rules see to it. Memory does not depend on the file's size.

    Raises:
        InputError: It is no such table, or lacks columns that are needed.
        Damaged: The file is corrupt, or its packing is cut off; all rows before have been given.
    """
    name = Path(path).name
    if name.lower().endswith(".parquet"):
        return _parquet_rows(path)
    if unpacked_name(name).lower().endswith(".csv"):
        return _csv_rows(path)
    raise InputError(
        f"{path} is no table that can be read: give .csv, also packed ({', '.join(PACKINGS)}), or .parquet."
    )


def unpacked_name(name: str) -> str:
    """A file's name without the suffix of its packing.

    >>> unpacked_name("urls_0.jsonl.zst")
    'urls_0.jsonl'
    """
    stem, dot, suffix = name.rpartition(".")
    return stem if dot + suffix in PACKINGS else name


def number(value: Any) -> Any:
    """An int, or a float where it is no whole number, from text or from either; None for nan.

    Text that is no number stays as it is.

    >>> number("1368066617.0"), number("-3"), number("0.5"), number("nan"), number("soon")
    (1368066617, -3, 0.5, None, 'soon')
    """
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        if match is None:
            return None if value.lower() in _NO_NUMBER else value
        try:
            value = int(value) if match.lastindex is None else float(value)
        except ValueError:  # thousands of digits
            return value
    if isinstance(value, float):
        if value != value:  # noqa: PLR0124 (nan)
            return None
        return int(value) if value.is_integer() else value
    return value


def seconds(value: Any) -> Any:
    """Seconds since 1970 from a number, or from a date and time in ISO 8601 (UTC unless it says otherwise).

    >>> seconds("1368066617.0"), seconds("2013-05-09 02:30:17"), seconds("2013-05-09T04:30:17+02:00")
    (1368066617, 1368066617, 1368066617)
    """
    value = number(value)
    if not isinstance(value, str):
        return value
    try:
        time = datetime.fromisoformat(value.removesuffix(" UTC"))
    except ValueError:
        return value
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return (time - _EPOCH) // (datetime.resolution * 1_000_000)


def _flag(value: Any) -> Any:
    """True or False from whatever stands for them; what is neither stays, and is no false."""
    if value not in _FLAGS:
        value = number(value)
    return _FLAGS.get(value, value)


def _text(value: str) -> str | None:
    """The same text, if any; UnicodeEncodeError where it stands for bytes that are not UTF-8."""
    if not value.isascii():
        value.encode()
    return None if value in _NO_TEXT else value


def _remark(value: str) -> str | None:
    return None if value in _NO_TEXT else value


def _parents(value: Any) -> Any:
    """A crosspost's parents, of which one thing matters; Parquet has them as such."""
    return [{"is_self": _IS_SELF.search(value) is not None}] if isinstance(value, str) else value


def _meta(value: Any) -> Any:
    return {"was_deleted_later": _WAS_DELETED.search(value) is not None} if isinstance(value, str) else value


# The columns that are read. Of title and text it matters only whether they say "[removed]".
_READERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("url", "url_overridden_by_dest", "id", "name", "subreddit", "permalink"), _text),
    **dict.fromkeys(("title", "selftext", "removed_by_category"), _remark),
    **dict.fromkeys(("created_utc", "retrieved_on", "retrieved_utc"), seconds),
    **dict.fromkeys(("is_self", "over_18", "promoted", "is_created_from_ads_ui"), _flag),
    "score": number,
    "crosspost_parent_list": _parents,
    "_meta": _meta,
}
_INNER = {"crosspost_parent_list": "is_self", "_meta": "was_deleted_later"}


def _row(names: Sequence[str], values: Sequence[Any]) -> Row | Reason:
    """A row of the wanted columns' values."""
    try:
        row = {
            name: None if value is None or value == "" else _READERS[name](value)
            for name, value in zip(names, values, strict=True)
        }
    except UnicodeEncodeError:
        return Reason.NOT_UTF8
    full_name = row.get("id") or row.get("name")
    if full_name:
        row["id"] = full_name.removeprefix("t3_")
    if not row.get("subreddit"):
        match = _SUBREDDIT.search(row.get("permalink") or "")
        row["subreddit"] = match[1] if match else None
    return row


def _wanted(path: str, found: Sequence[str]) -> list[str]:
    """The columns to read. Raises InputError where needed ones are missing, or one is there twice."""
    needed = ("url", "name" if "name" in found else "id", "score", "created_utc")
    missing = [name for name in needed if name not in found]
    if missing:
        shown = ", ".join(repr(name if len(name) <= 20 else f"{name[:20]}…") for name in found[:40])
        raise InputError(
            f"{path} lacks the columns {', '.join(missing)}; it has {shown or 'none'}. A table of "
            "submissions needs a header with url, id (or name), score and created_utc, as Reddit names them."
        )
    wanted = [name for name in found if name in _READERS]
    twice = sorted({name for name in wanted if wanted.count(name) > 1})
    if twice:
        raise InputError(f"{path} has the columns {', '.join(twice)} more than once: rename all but one.")
    return wanted


class _RecordTooLong(Exception):  # noqa: N818 (not an error: the record is counted)
    """A CSV record goes on for longer than any submission, as after a quote that is never closed."""


class _RecordLines:
    """A CSV file's lines for csv.reader, which joins those of a record that has line ends in quotes."""

    def __init__(self, lines: Iterator[bytes | Reason]) -> None:
        self._lines = lines
        self._is_first = True
        self.num_bytes = 0  # of the record that is being read

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        if isinstance(line, Reason):
            raise _RecordTooLong
        self.num_bytes += len(line)
        if self.num_bytes > _MAX_RECORD_BYTES:
            raise _RecordTooLong
        if self._is_first:
            line = line.removeprefix(codecs.BOM_UTF8)
            self._is_first = False
        # Python's own writer leaves a carriage return in a field unquoted where lines end in "\n". It would
        # end the line here, and nothing that is read has use for it: URLs lose theirs when they are parsed.
        return line.replace(b"\r", b"").decode("utf-8", "surrogateescape") + "\n"


def _records(path: str) -> Iterator[list[str] | Reason]:
    """The records of a CSV file (RFC 4180). After one that is malformed, reading goes on at the next line."""
    # The limit is the whole process's, and too low for a self post's text; the lines have their own.
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_RECORD_BYTES))
    lines = _RecordLines(read_lines(path))
    reader = csv.reader(lines, strict=True)
    while True:
        lines.num_bytes = 0
        try:
            fields = next(reader, None)
        except csv.Error:
            yield Reason.NOT_A_ROW
            continue
        except _RecordTooLong:
            yield Reason.LINE_TOO_LONG
            continue
        if fields is None:
            return
        yield fields or Reason.BLANK_LINE


def _csv_rows(path: str) -> Iterator[Row | Reason]:
    records = _records(path)
    header = next((record for record in records if record is not Reason.BLANK_LINE), None)
    if header is None:
        return
    found = [] if isinstance(header, Reason) else header
    names = _wanted(path, found)
    places = [found.index(name) for name in names]
    for record in records:
        if isinstance(record, Reason):
            yield record
        elif len(record) != len(found):
            yield Reason.NOT_A_ROW
        else:
            yield _row(names, [record[place] for place in places])


def _parquet_rows(path: str) -> Iterator[Row | Reason]:
    try:
        file = pq.ParquetFile(
            path, buffer_size=_PAGE_BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True
        )
        schema, paths = file.schema_arrow, [column.path for column in file.schema]
    except _PARQUET_ERRORS as error:
        raise InputError(
            f"{path} cannot be read as Parquet ({error}). A file that was cut off has lost its table of "
            f"contents, which stands at its end, and with it all rows: get the file again."
        ) from error
    with file:
        names = _wanted(path, schema.names)
        for name in names:
            _check_type(path, schema.field(name))
        leaves = [leaf for leaf in paths if _is_read(leaf, names)]
        for columns in _parquet_columns(file, leaves):
            for values in zip(*columns.values(), strict=True):
                yield _row(tuple(columns), values)


def _is_read(leaf: str, names: Sequence[str]) -> bool:
    """Whether a column of a Parquet file, by its path, is wanted: of a structure, one field is."""
    name, *inner = leaf.split(".")
    return name in names and (not inner or inner[-1] == _INNER.get(name))


def _parquet_columns(file: pq.ParquetFile, leaves: list[str]) -> Iterator[dict[str, list[Any]]]:
    """A Parquet file's columns, some rows at a time. Raises Damaged after all rows before the damage."""
    num_rows = 0
    for group in range(file.num_row_groups):
        num_done = 0
        try:
            for batch in file.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=leaves):
                yield _values(batch)
                num_done += batch.num_rows
        except _PARQUET_ERRORS:
            # Some rows of the batch may stand before the damage: over the row group again, row by row.
            again = file.iter_batches(1, row_groups=[group], columns=leaves)
            try:
                for batch in islice(again, num_done, None):
                    yield _values(batch)
                    num_done += 1
            except _PARQUET_ERRORS as error:
                where = f"in row group {group} of {file.num_row_groups}, after {num_done:,} of its rows"
                raise Damaged(None, f"{where}: {error}") from error
        num_rows += num_done
    if num_rows != file.metadata.num_rows:
        raise Damaged(None, f"its row groups hold {num_rows:,} rows, and not {file.metadata.num_rows:,}")


def _values(batch: pa.RecordBatch) -> dict[str, list[Any]]:
    return {name: _plain(batch.column(name)) for name in batch.schema.names}


def _plain(column: pa.Array) -> list[Any]:
    """A column's values as Python's; times as seconds since 1970; bytes that are not UTF-8 as surrogates."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if _is_text(kind):
        values = column.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode("utf-8", "surrogateescape") for value in values]
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        column = column.cast(pa.timestamp("s", tz=getattr(kind, "tz", None)), safe=False).cast(pa.int64())
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        column = column.cast(pa.float64(), safe=False)
    return list(column.to_pylist())


def _is_text(kind: pa.DataType) -> bool:
    is_kind = pa.types
    return bool(
        is_kind.is_string(kind)
        or is_kind.is_large_string(kind)
        or is_kind.is_string_view(kind)
        or is_kind.is_binary(kind)
        or is_kind.is_large_binary(kind)
        or is_kind.is_binary_view(kind)
        or is_kind.is_fixed_size_binary(kind)
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _is_structure(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind))


# What a column may hold besides text, by how it is read.
_MAY_HOLD: dict[Callable[[Any], Any], tuple[Callable[[pa.DataType], bool], ...]] = {
    number: (_is_number,),
    seconds: (_is_number, _is_time),
    _flag: (_is_number, pa.types.is_boolean),
    _parents: (_is_structure,),
    _meta: (_is_structure,),
}


def _check_type(path: str, field: pa.Field) -> None:
    """Raises InputError where a Parquet column holds what its name does not let expect."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    allowed = (_is_text, pa.types.is_null, *_MAY_HOLD.get(_READERS[field.name], ()))
    if not any(is_kind(kind) for is_kind in allowed):
        raise InputError(
            f"{path}: its column {field.name} holds {field.type}, which is not what Reddit's dumps have "
            f"under this name. Convert it, or leave it out if it is not needed."
        )
