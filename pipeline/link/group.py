"""The submissions of a part grouped by canonical URL: columns in, columns out."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.config import LinkSettings
from pipeline.records import LINKS, SUBMISSION, SUBMISSIONS, Reason
from pipeline.runs import Counts
from pipeline.urls import Url, parse

# A submission, and the position of the dump that it came from: of two rows with one id the later counts.
DEALT = SUBMISSIONS.append(pa.field("dump", pa.int32(), nullable=False))


def group(submissions: pa.Table, settings: LinkSettings) -> tuple[pa.Table, Counts]:
    """All submissions of some canonical URLs to their links.

    Args:
        submissions: Rows of DEALT in any order, with all the submissions of each key.
        settings: The threshold, and which karma it is of.

    Returns:
        Rows of LINKS in the order of their ids, and the counts: of a link's submissions one is kept as the
        link, the others are SAME_LINK.
    """
    num_in = submissions.num_rows
    once = _each_submission_once(submissions)
    links = _links(once, settings)
    sizes = pc.list_value_length(links["submissions"]).to_numpy()
    opted_out = np.array(
        [_opted_out(domain, settings.opt_out) for domain in links["domain"].to_pylist()], bool
    )
    low = (links["karma"].to_numpy() < settings.min_karma) & ~opted_out
    keep = ~opted_out & ~low
    rejected = {
        Reason.SAME_SUBMISSION: num_in - once.num_rows,
        Reason.OPT_OUT: int(sizes[opted_out].sum()),
        Reason.LOW_KARMA: int(sizes[low].sum()),
        Reason.SAME_LINK: int((sizes[keep] - 1).sum()),
    }
    kept = links.filter(pa.array(keep))
    return kept, Counts(num_in, kept.num_rows, {r.value: num for r, num in rejected.items() if num})


def _each_submission_once(submissions: pa.Table) -> pa.Table:
    """Of the rows with one id the one from the last dump; in the order of key, time and id."""
    by_id = submissions.sort_by([("id", "ascending"), ("dump", "ascending")])
    ids = by_id["id"].combine_chunks()
    last = np.ones(len(ids), bool)
    if len(ids) > 1:
        last[:-1] = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    once = by_id.filter(pa.array(last))
    return once.sort_by(
        [("key", "ascending"), ("created", "ascending"), ("id", "ascending")]
    ).combine_chunks()


def _links(submissions: pa.Table, settings: LinkSettings) -> pa.Table:
    """One row a key; the submissions come in the order of key and time."""
    num_rows = submissions.num_rows
    if num_rows == 0:
        return LINKS.empty_table()
    keys = submissions["key"].combine_chunks()
    starts = np.flatnonzero(
        np.concatenate(([True], pc.not_equal(keys[1:], keys[:-1]).to_numpy(zero_copy_only=False)))
    )
    scores = submissions["score"].to_numpy().astype(np.int64)
    karma_max = np.maximum.reduceat(scores, starts)
    karma_sum = np.add.reduceat(scores, starts)
    offsets = np.append(starts, num_rows).astype(np.int32)
    best = submissions["url"].take(pa.array(_best_rows(scores, starts))).to_pylist()
    urls = [_parsed(url) for url in best]
    columns = {
        "id": [key.as_py().hex() for key in keys.take(pa.array(starts))],
        "url": [url.href for url in urls],
        "canonical": [url.canonical for url in urls],
        "domain": [url.domain for url in urls],
        "karma": karma_max if settings.karma == "max" else karma_sum,
        "karma_max": karma_max,
        "karma_sum": karma_sum,
        "created": submissions["created"].take(pa.array(starts)),
        "submissions": pa.ListArray.from_arrays(pa.array(offsets), _structs(submissions)),
    }
    return pa.table(columns, schema=LINKS)


def _best_rows(scores: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The row of the highest score of each group; of equals the earliest."""
    groups = np.zeros(len(scores), np.int64)
    groups[starts[1:]] = 1
    order: NDArray[np.int64] = np.lexsort((np.arange(len(scores)), -scores, np.cumsum(groups)))
    return order[starts]


def _structs(submissions: pa.Table) -> pa.StructArray:
    fields = list(SUBMISSION)
    arrays = [submissions[field.name].combine_chunks() for field in fields]
    return pa.StructArray.from_arrays(arrays, fields=fields)


def _parsed(url: str) -> Url:
    parsed = parse(url)
    if parsed is None:  # collect keeps none such
        raise ValueError(f"not a URL: {url!r}")
    return parsed


def _opted_out(domain: str, opt_out: tuple[str, ...]) -> bool:
    return any(domain == one or domain.endswith("." + one) for one in opt_out)
