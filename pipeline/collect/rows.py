"""A dump's lines as rows: JSON objects of which only the fields that matter are read."""

import json
from collections.abc import Mapping
from typing import Any, TypedDict

import msgspec

from pipeline.records import Reason

Row = Mapping[str, Any]


class _Meta(TypedDict, total=False):
    was_deleted_later: Any


class _Parent(TypedDict, total=False):
    is_self: Any


class _Fields(TypedDict, total=False):
    """What rules ask for. Types have drifted over the years: the rules look at them, where they look."""

    id: Any
    created_utc: Any
    retrieved_on: Any
    retrieved_utc: Any
    score: Any
    subreddit: Any
    url: Any
    url_overridden_by_dest: Any
    title: Any
    selftext: Any
    is_self: Any
    over_18: Any
    promoted: Any
    is_created_from_ads_ui: Any
    removed_by_category: Any
    crosspost_parent_list: list[_Parent] | None
    _meta: _Meta | None


_decoder = msgspec.json.Decoder(_Fields)


def parse_row(line: bytes) -> Row | Reason:
    """The row that a line holds, or why it holds none; any bytes give an answer."""
    try:
        return _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # It is strict where Python is not (lone surrogates, NaN, the shape of a field), and nests less deep.
        return _second_opinion(line)


def holds_comment(line: bytes) -> bool:
    """Whether a line is of a dump of comments, which have a body and a submission that they belong to."""
    row = _second_opinion(line)
    return not isinstance(row, Reason) and "body" in row and "link_id" in row


def _second_opinion(line: bytes) -> Row | Reason:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return Reason.NOT_UTF8
    except (ValueError, RecursionError):
        return Reason.NOT_JSON if line.strip() else Reason.BLANK_LINE
    return row if isinstance(row, dict) else Reason.NOT_A_ROW
