"""A dump's lines as rows. Most are rejected at a glance, by a few fields that nearly every row has.

simdjson parses a line whole and strictly, and makes no Python object of a field until it is asked for. What
is rejected here :func:`pipeline.collect.rules.judge` would reject for the same reason.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

try:
    from simdjson import Parser
except ModuleNotFoundError:  # no build of it for this Python: slower, with the same answers
    Parser = None  # type: ignore[assignment, misc]

from pipeline.collect.rows import Row, parse_row
from pipeline.collect.rules import Rules, within_reddit
from pipeline.records import Reason


def read_rows(lines: Iterable[bytes | Reason], rules: Rules) -> Iterator[Row | Reason]:
    """The rows of a dump, with the reasons against those that are none or are rejected at a glance."""
    glance = _glance_by(rules) if Parser is not None else parse_row
    for line in lines:
        yield line if isinstance(line, Reason) else glance(line)


def _glance_by(rules: Rules) -> Callable[[bytes], Row | Reason]:
    """A function for the lines of one dump: the reason against a row, or the row."""
    parse: Callable[[bytes], Any] = Parser().parse
    over_18_too = rules.over_18

    def glance(line: bytes) -> Row | Reason:
        try:
            row = parse(line)  # the parser cannot go on until this is gone: it stays in here
            is_self = row["is_self"]
            if is_self:
                return Reason.SELF_POST if is_self is True else parse_row(line)
            if row["over_18"] and not over_18_too:
                return Reason.OVER_18
            stays = within_reddit(row["url"]) and within_reddit(row["url_overridden_by_dest"])
            if stays is not None:
                return stays
        except (ValueError, RuntimeError, KeyError, TypeError, AttributeError):
            pass  # no JSON, or not of the usual shape: parse_row tells
        return parse_row(line)

    return glance
