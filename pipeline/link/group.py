"""The submissions of some canonical URLs grouped into links: columns in, columns out."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.canonical import canonical
from pipeline.config import LinkSettings, UrlSettings
from pipeline.link.deal import binary_halves
from pipeline.link.opt_out import OptOuts
from pipeline.records import LINKS, SUBMISSION, Reason
from pipeline.runs import Counts
from pipeline.urls import Url, parse

THRESHOLDS = (1, 2, 3, 5, 10)  # of karma, for which links are counted

Columns = dict[str, pa.Array]
Numbers = NDArray[np.int64]

_HEX = np.frombuffer(bytes(range(256)).hex().encode(), np.uint16)  # two digits for each byte
_LEAST, _GREATEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Grouped:
    """Links in the order of their ids, and what became of the submissions.

    ``by_max`` and ``by_sum`` are how many links have at least each karma of THRESHOLDS, the best submission's
    or that of all together; whatever the settings ask for, and without those opted out.
    """

    links: pa.Table
    counts: Counts
    by_max: dict[str, int]
    by_sum: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Gathered:
    """Numbers of rows, those of a key together: in ``rows`` each key has its start and its size (never 0)."""

    rows: Numbers
    starts: Numbers
    sizes: Numbers

    @classmethod
    def of(cls, rows: Numbers, sizes: Numbers) -> "_Gathered":
        """From the rows of keys of these sizes; keys of size 0 vanish."""
        sizes = sizes[sizes > 0]
        return cls(rows, np.cumsum(sizes) - sizes, sizes)

    def keys(self) -> Numbers:
        """The number of each row's key."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def only(self, keep: NDArray[np.bool_]) -> "_Gathered":
        """The rows of some keys."""
        return _Gathered.of(self.rows[np.repeat(keep, self.sizes)], self.sizes[keep])

    def without(self, gone: NDArray[np.bool_]) -> "_Gathered":
        """All but some rows."""
        return _Gathered.of(self.rows[~gone], self.sizes - np.add.reduceat(gone, self.starts, dtype=np.int64))


def group(submissions: pa.Table, settings: LinkSettings, opt_outs: OptOuts, rules: UrlSettings) -> Grouped:
    """All submissions of some canonical URLs to their links.

    Args:
        submissions: Rows of SUBMISSIONS with all the submissions of each key, later sources behind earlier.
        settings: The threshold, and which karma it is of.
        opt_outs: The entries of the settings and of the files that they name.
        rules: By which collect has made the keys.

    Returns:
        Of a kept link's submissions one is counted as kept, the others as SAME_LINK.
    """
    columns = {name: submissions[name].combine_chunks() for name in submissions.column_names}
    once = _each_once(_by_key(columns["key"]), columns)
    asked = _without_opted_out(once, columns, opt_outs)
    scores = columns["score"].to_numpy()[asked.rows].astype(np.int64)
    by_max, by_sum = np.maximum.reduceat(scores, asked.starts), np.add.reduceat(scores, asked.starts)
    karma = by_max if settings.karma == "max" else by_sum
    high = karma >= settings.min_karma
    kept = asked.only(high)
    rejected = {
        Reason.SAME_SUBMISSION: submissions.num_rows - len(once.rows),
        Reason.OPT_OUT: len(once.rows) - len(asked.rows),
        Reason.LOW_KARMA: len(asked.rows) - len(kept.rows),
        Reason.SAME_LINK: len(kept.rows) - len(kept.sizes),
    }
    return Grouped(
        _links(kept, columns, (karma[high], by_max[high], by_sum[high]), rules),
        Counts(submissions.num_rows, len(kept.sizes), {r.value: num for r, num in rejected.items() if num}),
        {str(least): int((by_max >= least).sum()) for least in THRESHOLDS},
        {str(least): int((by_sum >= least).sum()) for least in THRESHOLDS},
    )


def _by_key(keys: pa.Array) -> _Gathered:
    """All rows in the order of their keys, and those of a key in their own."""
    high, low = binary_halves(keys)
    rows = np.lexsort((low, high))
    high, low = high[rows], low[rows]
    heads = _heads(high, low)
    return _Gathered.of(rows, np.diff(np.flatnonzero(heads), append=len(rows)))


def _each_once(by_key: _Gathered, columns: Columns) -> _Gathered:
    """Each submission once, those of a key in the order of time, then of id."""
    several = by_key.sizes > 1  # most URLs are submitted once, and their rows are in order
    in_several = np.repeat(several, by_key.sizes)
    rows, keys = _settled(by_key.rows[in_several], by_key.keys()[in_several], columns)
    sizes = np.where(several, np.bincount(keys, minlength=len(several)), 1)
    once = np.empty(sizes.sum(), np.int64)
    again_in_several = np.repeat(several, sizes)
    once[again_in_several] = rows
    once[~again_in_several] = by_key.rows[~in_several]
    return _Gathered.of(once, sizes)


def _settled(rows: Numbers, keys: Numbers, columns: Columns) -> tuple[Numbers, Numbers]:
    """Rows and their keys: of those with one key and id the one whose score was read last stays.

    Of rows that were read at the same time, or where no source tells, it is that of the last source.
    """
    taken = pa.array(rows)
    ids = _in_order(columns["id"].take(taken))
    retrieved = _times(columns["retrieved"].take(taken), null=_LEAST)
    order = np.lexsort((retrieved, ids, keys))
    order = order[np.roll(_heads(keys[order], ids[order]), -1)]  # the last of each
    created = _times(columns["created"].take(taken), null=_GREATEST)
    order = order[np.lexsort((ids[order], created[order], keys[order]))]
    return rows[order], keys[order]


def _without_opted_out(once: _Gathered, columns: Columns, opt_outs: OptOuts) -> _Gathered:
    """The submissions that nobody asked to leave out, neither for themselves nor for a URL of their link."""
    if len(opt_outs.submissions):
        once = once.without(opt_outs.among_ids(columns["id"])[once.rows])
    if opt_outs.domains or opt_outs.hashed:
        on_host = opt_outs.on_host(columns["domain_hash"].to_numpy(), columns["url"])
        once = once.only(~np.logical_or.reduceat(on_host[once.rows], once.starts))
    if len(opt_outs.keys):
        once = once.only(~opt_outs.among_keys(columns["key"].take(pa.array(once.rows[once.starts]))))
    return once


def _links(
    kept: _Gathered, columns: Columns, karmas: tuple[Numbers, Numbers, Numbers], rules: UrlSettings
) -> pa.Table:
    """Rows of LINKS, given each key's karma by the settings, its greatest and its sum."""
    karma, karma_max, karma_sum = karmas
    rows, firsts = pa.array(kept.rows), pa.array(kept.rows[kept.starts])
    fields = list(SUBMISSION)
    submissions = pa.StructArray.from_arrays([columns[f.name].take(rows) for f in fields], fields=fields)
    offsets = pa.array(np.append(kept.starts, len(kept.rows)), pa.int32())
    submitted = columns["url"].take(pa.array(_best(kept, columns, karma_max)))
    urls = [_parsed(url) for url in submitted.to_pylist()]
    table = {
        "id": _hex(columns["key"].take(firsts)),
        "url": [url.href for url in urls],
        "canonical": [canonical(url, rules) for url in urls],
        "domain": [url.domain for url in urls],
        "karma": karma,
        "karma_max": karma_max,
        "karma_sum": karma_sum,
        "created": columns["created"].take(firsts),
        "submissions": pa.ListArray.from_arrays(offsets, submissions),
    }
    return pa.table(table, schema=LINKS)


def _best(kept: _Gathered, columns: Columns, karma_max: Numbers) -> Numbers:
    """The row of each key's highest score; of equals the earliest, then that of the smallest id."""
    highest = columns["score"].to_numpy()[kept.rows] == np.repeat(karma_max, kept.sizes)
    keys = kept.keys()[highest]
    best: Numbers = kept.rows[highest][_heads(keys)]
    return best


def _parsed(url: str) -> Url:
    parsed = parse(url)
    if parsed is None:  # collect keeps none such
        raise ValueError(f"not a URL: {url!r}")
    return parsed


def _heads(*columns: NDArray[np.int64] | NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which rows differ from the one before; the first does."""
    heads = np.ones(len(columns[0]), np.bool_)
    heads[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return heads


def _times(times: pa.Array, *, null: int) -> Numbers:
    milliseconds: Numbers = pc.fill_null(times.cast(pa.int64()), null).to_numpy()
    return milliseconds


def _in_order(texts: pa.Array) -> NDArray[np.uint64]:
    """Numbers that compare as the texts do: their bytes where these are few, as in Reddit's ids."""
    lengths = pc.binary_length(texts).to_numpy()
    _, offsets, data = texts.buffers()
    raw = np.frombuffer(data or b"", np.uint8)
    if lengths.max(initial=0) > 8 or not raw.all():  # a zero byte could not be told from none
        ranks: NDArray[np.uint64] = pc.rank(texts, tiebreaker="dense").to_numpy()
        return ranks
    places = np.frombuffer(offsets, np.int32, len(texts), 4 * texts.offset)[:, None] + np.arange(8)
    digits = np.append(raw, np.zeros(8, np.uint8))[places]
    digits[np.arange(8) >= lengths[:, None]] = 0
    numbers: NDArray[np.uint64] = digits.view(">u8").ravel().astype(np.uint64)
    return numbers


def _hex(keys: pa.Array) -> pa.Array:
    """Keys of 16 bytes as 32 digits each."""
    digits = _HEX[np.frombuffer(keys.buffers()[1], np.uint8, 16 * len(keys), 16 * keys.offset)]
    offsets = np.arange(len(keys) + 1, dtype=np.int32) * 32
    return pa.StringArray.from_buffers(len(keys), pa.py_buffer(offsets), pa.py_buffer(digits))
