"""How many links a sample of submissions stands for: at each karma, of each domain, of each year.

Submissions grow with the sample, links do not: the same URL comes again. By how much they fall behind depends
on how often few URLs come, which a small sample does not show. So there is a range: from Fisher's logarithmic
series, by which what comes again is spread over many, to as many new links as the sample's URLs that came
once promise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.forecast.ranges import Range, Z, product
from pipeline.forecast.sample import SourceSample
from pipeline.link.deal import binary_halves
from pipeline.link.opt_out import OptOuts

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_SERIES = 1.1  # URLs that come about equally often fall behind Fisher's series by a twelfth (tests)
_MORE = 1.001  # times the sample that there is at the least where it is not everything
_UNKNOWN = np.iinfo(np.int64).max  # a time that no source tells: behind all others


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The submissions of all samples as columns, one row each; those opted out left out.

    Attributes:
        keys: uint64, the first half of each canonical URL's hash.
        scores: Karma.
        created: Milliseconds since 1970.
        weights: How many submissions each stands for.
        domains: Registrable domains, each once.
        domain: The place of each submission's in ``domains``.
        is_whole: Whether the samples are everything.
    """

    keys: NDArray[np.uint64]
    scores: Ints
    created: Ints
    weights: Floats
    domains: pa.Array
    domain: Ints
    is_whole: bool

    @property
    def growth(self) -> float:
        """How many times as many submissions there are as the sample has: 1 only where it is everything."""
        if self.is_whole:
            return 1.0
        return max(_MORE, float(self.weights.mean())) if len(self.weights) else _MORE

    def rows(self, chosen: NDArray[np.bool_] | Ints) -> "Pool":
        """Some of the submissions, by a mask or by their places, in the order of these."""
        return Pool(
            self.keys[chosen],
            self.scores[chosen],
            self.created[chosen],
            self.weights[chosen],
            self.domains,
            self.domain[chosen],
            self.is_whole,
        )


def pool(samples: Sequence[SourceSample], opt_outs: OptOuts) -> Pool:
    """The submissions of some samples together."""
    tables = [one.kept for one in samples]
    kept = pa.concat_tables(tables).combine_chunks()
    columns = {name: kept[name].combine_chunks() for name in kept.column_names}
    weights = np.repeat([one.scale for one in samples], [table.num_rows for table in tables])
    encoded = columns["domain"].dictionary_encode()
    keys, _ = binary_halves(columns["key"])
    found = Pool(
        keys=keys,
        scores=columns["score"].to_numpy().astype(np.int64),
        created=columns["created"].cast(pa.int64()).fill_null(_UNKNOWN).to_numpy(),
        weights=weights.astype(np.float64),
        domains=encoded.dictionary,
        domain=encoded.indices.to_numpy().astype(np.int64),
        is_whole=all(one.is_whole for one in samples),
    )
    out = opt_outs.among_ids(columns["id"]) | opt_outs.among_keys(columns["key"])
    out |= opt_outs.on_host(columns["domain_hash"].to_numpy(), columns["url"])
    return found.rows(~out) if out.any() else found


@dataclass(frozen=True, slots=True, eq=False)
class Grouped:
    """A sample's submissions by link: those of a link follow one another, the earliest first.

    Attributes:
        rows: The submissions, in this order.
        starts: Where each link's begin.
        growth: How many times larger the whole is.
    """

    rows: Pool
    starts: Ints
    growth: float

    @classmethod
    def of(cls, submissions: Pool) -> "Grouped":
        """Of a sample's submissions."""
        rows = submissions.rows(np.lexsort((submissions.created, submissions.keys)))
        heads = np.ones(len(rows.keys), np.bool_)
        heads[1:] = rows.keys[1:] != rows.keys[:-1]
        return cls(rows, np.flatnonzero(heads), submissions.growth)

    def above(self, karma: str, least: int) -> "Above":
        """The links whose karma ("max" or "sum") is at least so much."""
        if not len(self.starts):
            empty = np.zeros(0, np.int64)
            return Above(empty, empty, np.zeros(0), empty, self.growth)
        if karma == "max":  # a submission under it is none that could bring a link in
            sizes = np.add.reduceat(self.rows.scores >= least, self.starts, dtype=np.int64)
            chosen = sizes > 0
        else:
            sizes = np.diff(self.starts, append=len(self.rows.keys))
            chosen = np.add.reduceat(self.rows.scores, self.starts) >= least
        firsts = self.starts[chosen]
        return Above(
            sizes[chosen],
            self.rows.created[firsts],
            self.rows.weights[firsts],
            self.rows.domain[firsts],
            self.growth,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Above:
    """The links over a threshold, as the sample has them.

    Attributes:
        sizes: How many submissions brought each in.
        created: Of the first submission.
        weights: How many links each stands for, if they grew as submissions do.
        domain: The place of each one's domain.
        growth: How many times larger the whole is.
    """

    sizes: Ints
    created: Ints
    weights: Floats
    domain: Ints
    growth: float

    def number(self) -> Range:
        """How many there are in all: exactly what the sample has where it is everything."""
        return extrapolate(self.sizes, float(self.weights.sum()), self.growth)

    def by_domain(self) -> tuple[Ints, Ints]:
        """The places of domains, and about how many links each has, one at least.

        Domains that the sample missed are not among them; their links are counted with the others.
        """
        share = self.number().likely / max(1e-9, float(self.weights.sum()))
        places, where = np.unique(self.domain, return_inverse=True)
        links = np.bincount(where, weights=self.weights, minlength=len(places)) * share
        return places, np.maximum(1, np.rint(links)).astype(np.int64)

    def by_year(self) -> dict[int | None, Range]:
        """How many links are of each year (UTC) of first submissions; None: that no source tells."""
        total = float(self.weights.sum())
        known = self.created != _UNKNOWN
        years = np.full(len(known), -1, np.int64)
        dates = self.created[known].astype("datetime64[ms]").astype("datetime64[Y]")
        years[known] = dates.astype(np.int64) + 1970
        number = self.number()
        return {
            None if year < 0 else int(year): number * (float(self.weights[years == year].sum()) / total)
            for year in np.unique(years)
        }


def extrapolate(sizes: Ints, weighted: float, growth: float) -> Range:
    """How many distinct things there are, by how often those of a sample came.

    Likely is the geometric mean of Fisher's series and of growth without any repetition, which was nearest
    for made distributions of many kinds; chance is besides.

    Args:
        sizes: Of each thing in the sample: how often it came.
        weighted: How many things there were, if they grew as the sample does.
        growth: How many times larger everything is than the sample.
    """
    num, num_drawn = len(sizes), int(sizes.sum())
    if growth <= 1.0:
        return Range.exact(num)
    if not num:
        return Range(0, 0, 3 * growth)  # the rule of three
    once = float(np.count_nonzero(sizes == 1))
    most = (num + once * (growth - 1)) / (num * growth)
    likely = min(math.sqrt(fisher(num, num_drawn, growth) / (num * growth)), most)
    # Few repetitions may be so few by chance.
    fewer = max(1.0, num - 1 - Z * math.sqrt(num_drawn - num))
    least = fisher(fewer, num_drawn, growth) / (num * growth * _SERIES)
    shape = Range(min(least, likely), likely, most)
    found = product((shape * weighted, Range.around(1.0, math.exp(Z / math.sqrt(num)))))
    likely = max(found.likely, num)  # those of the sample are there
    return Range(min(max(found.low, num), likely), likely, max(found.high, likely))


def fisher(num: float, num_drawn: int, growth: float) -> float:
    """How many distinct things ``growth`` times as many draws have, by Fisher's logarithmic series (1943).

    >>> round(fisher(500, 1_000, 1.0)), round(fisher(1_000, 1_000, 7.0))
    (500, 7000)
    """
    if num >= num_drawn:
        return num * growth
    low, high = 0.0, 64.0  # the logarithm of its one parameter
    for _ in range(64):
        middle = (low + high) / 2
        alpha = math.exp(middle - 16)
        low, high = (middle, high) if alpha * math.log1p(num_drawn / alpha) < num else (low, middle)
    alpha = math.exp(low - 16)
    return alpha * math.log1p(num_drawn * growth / alpha)
