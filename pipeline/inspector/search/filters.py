"""Conditions on the columns of documents, as people give them, turned into SQL with bound values."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.types as kinds

from pipeline.errors import InputError

# The operators by the names that addresses have for them, as people see them.
OPERATORS: Mapping[str, str] = {
    "eq": "=",
    "ne": "≠",
    "lt": "<",
    "le": "≤",
    "gt": ">",
    "ge": "≥",
    "has": "contains",
    "none": "is empty",
    "some": "is not empty",
}

_COMPARED: Mapping[str, str] = {
    "eq": "=",
    "ne": "IS DISTINCT FROM",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
}
_WITHOUT_VALUE: Mapping[str, str] = {"none": "IS NULL", "some": "IS NOT NULL"}
_TAKEN_BY = {
    "a number": set(_COMPARED),
    "a time": set(_COMPARED),
    "a list": {"has"},
    "text": {*_COMPARED, "has"},
}

_MAX_CHARS = 2_000
_DAY = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition: the column, the operator's name, and the value as it was typed."""

    column: str
    operator: str
    value: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, [self.column, OPERATORS.get(self.operator, self.operator), self.value]))


@dataclass(frozen=True, slots=True)
class Condition:
    """SQL that stands in a WHERE, and the values for its question marks."""

    sql: str
    values: tuple[object, ...] = ()


def condition(filters: Sequence[Filter], columns: pa.Schema) -> Condition:
    """All filters together.

    Raises:
        InputError: A column is not there, or a value or an operator is none for it.
    """
    each = [_condition(one, columns) for one in filters]
    sql = " AND ".join(f"({one.sql})" for one in each) or "true"
    return Condition(sql, tuple(value for one in each for value in one.values))


def quoted(column: str, columns: pa.Schema) -> str:
    """A column's name as SQL has it; InputError where there is no such column."""
    if column not in columns.names:
        raise InputError(f"Documents have no column “{column}”.")
    return '"' + column.replace('"', '""') + '"'


def kind_of(column: pa.DataType) -> str:
    """What people call a column's values."""
    if kinds.is_integer(column) or kinds.is_floating(column):
        return "a number"
    if kinds.is_timestamp(column) or kinds.is_date(column):
        return "a time"
    if kinds.is_list(column):
        return "a list"
    return "text"


def _condition(one: Filter, columns: pa.Schema) -> Condition:
    name = quoted(one.column, columns)
    if one.operator not in OPERATORS:
        raise InputError(f"There is no operator “{one.operator}”.")
    if one.operator in _WITHOUT_VALUE:
        return Condition(f"{name} {_WITHOUT_VALUE[one.operator]}")
    if len(one.value) > _MAX_CHARS:
        raise InputError(f"A value has at most {_MAX_CHARS:,} characters.")
    column = columns.field(one.column).type
    kind = kind_of(column)
    if one.operator not in _TAKEN_BY[kind]:
        raise InputError(f"“{OPERATORS[one.operator]}” does not go with {one.column}, which is {kind}.")
    if kind == "a number":
        return _number(name, one, column)
    if kind == "a time":
        return _time(name, one, column)
    if kind == "a list":
        return Condition(f"list_contains(list_transform({name}, lambda x: lower(x)), lower(?))", (one.value,))
    if one.operator == "has":
        return Condition(f"contains(lower({name}), lower(?))", (one.value,))
    return Condition(f"{name} {_COMPARED[one.operator]} ?", (one.value,))


def _number(name: str, one: Filter, column: pa.DataType) -> Condition:
    try:
        value = float(one.value.replace(",", "").replace("_", ""))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{one.column} is a number, and “{one.value}” is none.")
    # A value of single precision is equal only to one that was rounded as it was.
    kind = "FLOAT" if column == pa.float32() else "DOUBLE"
    return Condition(f"{name} {_COMPARED[one.operator]} ?::{kind}", (value,))


def _time(name: str, one: Filter, column: pa.DataType) -> Condition:
    """A year, a month or a day is all of it: what is later than 2019 begins with 2020."""
    begin, end = _span(one)
    times: tuple[object, object] = (begin, end)
    if kinds.is_date(column):
        times = (begin.date(), end.date())
    if one.operator == "eq":
        return Condition(f"{name} >= ? AND {name} < ?", times)
    if one.operator == "ne":
        return Condition(f"{name} < ? OR {name} >= ? OR {name} IS NULL", times)
    compared, time = {
        "lt": ("<", times[0]),
        "le": ("<", times[1]),
        "gt": (">=", times[1]),
        "ge": (">=", times[0]),
    }[one.operator]
    return Condition(f"{name} {compared} ?", (time,))


def _span(one: Filter) -> tuple[datetime, datetime]:
    """The first moment (UTC) of what is named, and the first behind it."""
    try:
        if match := _DAY.fullmatch(one.value.strip()):
            year, month, day = (int(group) if group else None for group in match.groups())
            assert year is not None  # noqa: S101 the pattern has it
            begin = datetime(year, month or 1, day or 1, tzinfo=UTC)
            if day:
                return begin, begin + timedelta(days=1)
            if month:
                return begin, (begin + timedelta(days=31)).replace(day=1)
            return begin, begin.replace(year=year + 1)
        begin = datetime.fromisoformat(one.value.strip())
        begin = begin.astimezone(UTC) if begin.tzinfo else begin.replace(tzinfo=UTC)
        return begin, begin + timedelta(seconds=1)
    except (ValueError, OverflowError):
        raise InputError(
            f"{one.column} is a time, and “{one.value}” is none: write 2019, 2019-06, 2019-06-01 or "
            "2019-06-01 12:00."
        ) from None
