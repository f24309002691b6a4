"""What was rejected and why: every reason with its count, and the records with the value that did it."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import duckdb

from pipeline.filter.rules import RULES
from pipeline.inspector.judging.reasons import Limit, limit, meaning
from pipeline.records import Reason
from pipeline.runs import Manifest
from pipeline.status import COUNTED, UNITS

WITH_ROWS = ("fetch", "extract", "filter", "dedupe")  # the other stages only count

ROWS_A_PAGE = 50

_NUM_VALUES = 12
_NUM_BARS = 32  # at the most
_EPSILON = 1e-9  # by which 0.3 / 0.1 falls short of 3

# What is measured of these is a number; of the others it is a name, or a remark.
_NUMBERS = frozenset(
    (Reason.TOO_SHORT, Reason.NEAR_DUPLICATE, Reason.CONTAMINATED, *(rule.reason for rule in RULES))
)

# Here it is the id of the document that is kept.
_OTHERS = frozenset((Reason.SAME_PAGE, Reason.EXACT_DUPLICATE))

Order = Literal["value", "-value", "url"]
ORDERS: tuple[Order, ...] = get_args(Order)


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """How many records a stage rejected for a reason, of all that came in; what it means, and asked for."""

    reason: str
    meaning: str
    limit: str
    num: int
    share: float


@dataclass(frozen=True, slots=True)
class StageReasons:
    """A stage's reasons, the most frequent first; ``num_in`` is None where it is not finished."""

    stage: str
    unit: str  # what it takes in
    num_in: int | None
    reasons: tuple[ReasonCount, ...]
    has_rows: bool  # the records can be looked at


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record: the value that did it, and the number in it where there is one."""

    id: str
    url: str
    value: str
    number: float | None


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many records have which value: ``nums[n]`` from ``start + n * width`` on."""

    start: float
    width: float
    nums: tuple[int, ...]
    limit: float | None
    num_above: int  # records whose values lie beyond the last bar, far from the others

    @property
    def end(self) -> float:
        """Where the last bar ends."""
        return self.start + self.width * len(self.nums)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the records that a stage rejected for a reason.

    Attributes:
        total: How many records there are, with the value that was chosen if one was.
        rows: Those of this page.
        values: The most frequent values, where they are names, each with its number of records.
        num_values: How many different there are.
        limit: What was asked for.
        histogram: Of the values, where they are numbers.
    """

    total: int
    rows: tuple[Rejected, ...]
    values: tuple[tuple[str, int], ...]
    num_values: int
    limit: Limit | None
    histogram: Histogram | None


def read_reasons(manifests: Mapping[str, Manifest]) -> list[StageReasons]:
    """Every stage's reasons, by the manifests of those that are finished."""
    return [_stage_reasons(stage.name, manifests.get(stage.name)) for stage in COUNTED]


def _stage_reasons(stage: str, manifest: Manifest | None) -> StageReasons:
    unit, has_rows = UNITS[stage][0], stage in WITH_ROWS
    if manifest is None:
        return StageReasons(stage, unit, None, (), has_rows)
    counts = manifest.counts
    ordered = sorted(counts.rejected.items(), key=lambda item: (-item[1], item[0]))
    reasons = []
    for reason, num in ordered:
        if num:
            asked = limit(stage, reason, manifest.settings)
            text = "" if asked is None else asked.text
            reasons.append(ReasonCount(reason, meaning(reason), text, num, num / counts.num_in))
    return StageReasons(stage, unit, counts.num_in, tuple(reasons), has_rows)


def read_page(
    cursor: duckdb.DuckDBPyConnection,
    manifest: Manifest,
    reason: str,
    *,
    value: str | None = None,
    order: Order = "value",
    page: int = 0,
) -> Page:
    """A page of the records that a stage rejected for a reason.

    Args:
        cursor: Of the catalogue.
        manifest: Of the stage, one of WITH_ROWS.
        reason: One of Reason.
        value: Only those with this value; of languages the code alone.
        order: By value, ascending or descending, or by URL.
        page: From 0.

    Raises:
        duckdb.Error: A table cannot be read.
    """
    stage = manifest.stage
    found = limit(stage, reason, manifest.settings)
    # Of a language that is kept it was the detector's doubt.
    is_doubt = reason == Reason.LANGUAGE and value in manifest.settings.get("languages", ())
    is_number = reason in _NUMBERS or is_doubt
    records = _Records(cursor, stage, reason, value)
    values = [] if reason in _NUMBERS or reason in _OTHERS else records.values()
    return Page(
        total=records.total(),
        rows=tuple(records.rows(order, page)),
        values=tuple(values[:_NUM_VALUES]),
        num_values=len(values),
        limit=found,
        histogram=records.histogram(None if found is None else found.number) if is_number else None,
    )


# The last try of a link is what became of it.
_LEDGER = """
SELECT id, url, detail AS value FROM ledger this WHERE outcome = $reason AND NOT EXISTS (
    SELECT 1 FROM ledger later
    WHERE later.attempt > 1 AND later.id = this.id AND later.attempt > this.attempt
)"""
_REJECTED = "SELECT id, url, value FROM rejected WHERE stage = $stage AND reason = $reason"

# A number that stands alone: of "0.25", "31 words at a quick look", "de 0.9958", "<id> 0.914".
_NUMBER = r"(?:^| )(-?[0-9.]{1,20}(?:e[-+]?[0-9]{1,3})?)(?: |$)"

_ROWS = {
    "value": "ORDER BY number NULLS LAST, value, id",
    "-value": "ORDER BY number DESC NULLS LAST, value DESC, id",
    "url": "ORDER BY url, id",
}


class _Records:
    """The records of one reason, with SQL: ``named`` are all, ``chosen`` those with the value asked for."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, stage: str, reason: str, value: str | None) -> None:
        self._cursor = cursor
        name = "split_part(value, ' ', 1)" if reason == Reason.LANGUAGE else "value"
        self._with = f"""
WITH records AS ({_LEDGER if stage == "fetch" else _REJECTED}), named AS (
    SELECT *, {name} AS name, TRY_CAST(regexp_extract(value, $number, 1) AS DOUBLE) AS number FROM records
), chosen AS (
    SELECT * FROM named WHERE coalesce(name = $value, true)
), numbers AS (
    SELECT number FROM chosen WHERE isfinite(number)
)
"""  # noqa: S608 - our own pieces
        self._given = {"stage": stage, "reason": reason, "value": value, "number": _NUMBER}

    def _ask(self, sql: str, **more: object) -> list[Any]:
        whole = self._with + sql
        given = {name: one for name, one in {**self._given, **more}.items() if f"${name}" in whole}
        return self._cursor.execute(whole, given).fetchall()

    def total(self) -> int:
        return int(self._ask("SELECT count(*) FROM chosen")[0][0])

    def values(self) -> list[tuple[str, int]]:
        return self._ask(
            "SELECT name, count(*) AS num FROM named WHERE name <> '' GROUP BY name ORDER BY num DESC, name"
        )

    def rows(self, order: Order, page: int) -> list[Rejected]:
        select = "SELECT id, url, value, number FROM chosen "
        found = self._ask(
            f"{select} {_ROWS[order]} LIMIT $limit OFFSET $offset",
            limit=ROWS_A_PAGE,
            offset=page * ROWS_A_PAGE,
        )
        return [Rejected(*row) for row in found]

    def histogram(self, limit: float | None) -> Histogram | None:
        low, high, highest, is_whole = self._ask(
            "SELECT min(number), quantile_cont(number, 0.99), max(number), bool_and(number = floor(number)) "
            "FROM numbers"
        )[0]
        if low is None:
            return None
        if highest - low <= 2 * (high - low):
            high = highest
        ends = [low, high, *([] if limit is None else [limit])]
        width = _bar_width(max(ends) - min(ends), is_whole=is_whole)
        first, last = (math.floor(end / width + _EPSILON) for end in (min(ends), max(ends)))
        counted: Counter[int] = Counter()
        for bar, num in self._ask(
            "SELECT CAST(floor(number / $width + $epsilon) AS BIGINT) AS bar, count(*) "
            "FROM numbers GROUP BY bar",
            width=width,
            epsilon=_EPSILON,
        ):
            counted[min(bar, last + 1)] += num
        nums = tuple(counted[bar] for bar in range(first, last + 1))
        return Histogram(first * width, width, nums, limit, counted[last + 1])


def _bar_width(span: float, *, is_whole: bool) -> float:
    """A round width (1, 2 or 5 of a power of ten) by which few enough bars cover a span."""
    least = span / (_NUM_BARS - 2) or 1.0
    power = 10.0 ** math.floor(math.log10(least))
    width = next(round_ * power for round_ in (1, 2, 5, 10) if round_ * power >= least * (1 - 1e-9))
    return max(1.0, width) if is_whole else width
