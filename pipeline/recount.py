"""What collect, link and filter say of their tables, told again from the tables: for verify."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.canonical import key_of
from pipeline.filter.decide import decide
from pipeline.filter.plan import MEASURED
from pipeline.filter.settings import FilterSettings
from pipeline.records import Reason
from pipeline.runs import Folder, Part
from pipeline.stages import part_name

SUBMISSION_COLUMNS = ["score", "subreddit", "created"]
LINK_COLUMNS = ["id", "canonical", "karma", "karma_max", "karma_sum", "created", "submissions"]


def recount_submissions(
    table: pa.Table, num_in: int, facts: Mapping[str, Any], settings: Mapping[str, Any]
) -> Iterator[str]:
    """What is wrong with a part of collect, in words.

    Args:
        table: Its submissions, with SUBMISSION_COLUMNS.
        num_in: How many rows came in.
        facts: The part's.
        settings: What decided the stage's output, as its manifest has it.
    """
    rows, high = Counter(facts.get("months", {})), Counter(facts.get("months_3", {}))
    if rows.total() > num_in:
        yield f"its months have {rows.total():,} rows, but {num_in:,} came in"
    if high - rows:
        yield f"{_some(high - rows)} has more rows with a score of 3 or more than rows"
    if rows:  # a list of URLs has none
        at_3 = table.filter(pc.greater_equal(table["score"], 3))
        for kept, said, which in ((table, rows, ""), (at_3, high, " with a score of 3 or more")):
            missing = _months(kept["created"]) - said
            if missing:
                yield f"{_some(missing)} has more submissions{which} than its facts count rows"
    # What tells its subreddit is of a dump, and was judged by its day.
    days = pc.cast(table.filter(pc.not_equal(table["subreddit"], ""))["created"], pa.date32())
    days = pc.cast(days.drop_null(), pa.string())
    since, before = settings.get("since"), settings.get("before")
    if since and pc.any(pc.less(days, since)).as_py():
        yield f"has submissions from before {since}, the first day that the settings keep"
    if before and pc.any(pc.greater_equal(days, before)).as_py():
        yield f"has submissions from {before} on, which the settings leave out"


def _months(created: pa.ChunkedArray) -> Counter[str]:
    names = pc.value_counts(pc.strftime(created.drop_null(), "%Y-%m"))
    return Counter({one["values"]: one["counts"] for one in names.to_pylist()})


def _some(counted: Counter[str]) -> str:
    return min(counted)


def recount_links(table: pa.Table, num_in: int, rejected: Mapping[str, int], karma: str) -> Iterator[str]:
    """What is wrong with a part of link, in words.

    Args:
        table: Its links, with LINK_COLUMNS.
        num_in: How many submissions came in.
        rejected: The part's counts of them.
        karma: By which the links were chosen, max or sum.
    """
    hashes = [key_of(url).hex() for url in table["canonical"].to_pylist()]
    if hashes != table["id"].to_pylist():
        yield "has ids that are not the hashes of their canonical URLs"
    if not table["karma"].equals(table[f"karma_{karma}"]):
        yield f"has karma that is not the {karma} that the settings ask for"
    lists = table["submissions"].combine_chunks()
    sizes = pc.list_value_length(lists).to_numpy()
    if sizes.sum() != num_in - sum(num for reason, num in rejected.items() if reason != "same_link"):
        yield "its links do not have the submissions that are counted to them"
    if not table.num_rows:
        return
    if not sizes.all():
        yield "has links without a submission"
        return
    inner = lists.flatten()
    starts = np.cumsum(sizes) - sizes
    scores = inner.field("score").to_numpy().astype(np.int64)
    again: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {
        "karma_max": (table["karma_max"].to_numpy(), np.maximum.reduceat(scores, starts)),
        "karma_sum": (table["karma_sum"].to_numpy(), np.add.reduceat(scores, starts)),
        "created": (_ms(table["created"]), np.minimum.reduceat(_ms(inner.field("created")), starts)),
    }
    for column, (said, counted) in again.items():
        if not np.array_equal(said, counted):
            yield f"has {column} that is not that of the links' submissions"


_NO_TIME = np.iinfo(np.int64).max


def _ms(times: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """Milliseconds since 1970, the largest number where there is no time: the least is then the earliest."""
    milliseconds: NDArray[np.int64] = pc.fill_null(pc.cast(times, pa.int64()), _NO_TIME).to_numpy()
    return milliseconds


def recount_thresholds(
    tables: Iterable[pa.Table], facts: Mapping[str, Any], settings: Mapping[str, Any]
) -> Iterator[str]:
    """What is wrong with link's facts of links by least karma, in words.

    From the least karma of the settings on, all links of the facts are in the tables.

    Args:
        tables: All links, with the column karma.
        facts: The stage's.
        settings: What decided its output, as its manifest has it.
    """
    karma = np.concatenate([np.zeros(0, np.int64), *(table["karma"].to_numpy() for table in tables)])
    name = f"links_by_{settings['karma']}"
    for least, num in facts.get(name, {}).items():
        counted = int((karma >= int(least)).sum())
        if int(least) >= settings["min_karma"] and num != counted:
            yield f"its {name} has {num:,} for {least}, but {counted:,} links have so much"
        elif num < counted:
            yield f"its {name} has {num:,} for {least}, but there are {counted:,} links"


def recount_verdicts(folder: Folder, number: int, part: Part, settings: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a part of filter, in words: every document decided again from its measures.

    Args:
        folder: The stage's.
        number: The part's, from 0.
        part: The part.
        settings: What decided the stage's output, as its manifest has it.
    """
    measured = folder.read_table(f"{part_name(number, MEASURED)}.parquet")
    rejected = folder.read_table(f"{part.name}.rejected.parquet", ["id", "reason"])
    kept = folder.read_table(f"{part.name}.parquet", ["id"])["id"].to_pylist()
    said = dict(zip(rejected["id"].to_pylist(), rejected["reason"].to_pylist(), strict=True))
    names = measured["id"].to_pylist()
    if sorted([*kept, *said]) != sorted(names):
        yield "its documents are not those that were measured"
        return
    for name, verdict in zip(names, decide(measured, FilterSettings.model_validate(settings)), strict=True):
        reason, expected = said.get(name), None if verdict is None else str(verdict.reason)
        if reason != expected and not (verdict is None and reason == Reason.CONTAMINATED):
            yield f"{name} is {reason or 'kept'}, and by its measures {expected or 'kept'}"
