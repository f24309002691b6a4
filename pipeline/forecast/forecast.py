"""The forecast: what each stage will have to do, keep, write and take, from a sample and constants."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pipeline.config import FetchSettings, LinkSettings, ShardSettings
from pipeline.forecast.calibration import Sections
from pipeline.forecast.constants import Constant
from pipeline.forecast.crawl import Crawl, foresee_crawl
from pipeline.forecast.finished import vocabulary_factor
from pipeline.forecast.links import Grouped, Pool
from pipeline.forecast.ranges import Range, product, total
from pipeline.forecast.rot import Rot, dead_of_all, rot
from pipeline.forecast.sample import SourceSample
from pipeline.link.group import THRESHOLDS
from pipeline.plain_table import percentage
from tokenizer.config import TokenizerSettings
from tokenizer.tokenfile import token_dtype

_EXACT = "counted: the sample is everything"
_SAMPLED = "extrapolated from the sample"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of the forecast: what of, in which unit, what it rests on, and where that is from."""

    name: str
    value: Range
    unit: str
    basis: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the forecast is of: the sections of the settings that it asks for, and the machines."""

    sections: Sections
    fetch: FetchSettings
    tokenizer: TokenizerSettings
    shard: ShardSettings
    machines: int
    cores: int
    today: date

    @property
    def link(self) -> LinkSettings:
        """Link's section."""
        return self.sections.link


@dataclass(frozen=True, slots=True)
class Forecast:
    """Everything that is foreseen but training, each figure with what it rests on.

    ``karma`` has for "max" and "sum" the links over each threshold. ``core_hours`` are of one core; with
    ``fetch.source = "warc"`` there is no ``crawl``.
    """

    records: tuple[Figure, ...]
    karma: Mapping[str, Mapping[int, Range]]
    rot: tuple[Rot, ...]
    crawl: Crawl | None
    num_bytes: tuple[Figure, ...]
    core_hours: tuple[Figure, ...]
    tokens: tuple[Figure, ...]

    def likely(self, name: str) -> float:
        """A figure's likely value, by its name."""
        return self.figure(name).value.likely

    def figure(self, name: str) -> Figure:
        """A figure by its name; names of bytes and hours are those of stages, and so asked elsewhere."""
        (found,) = [one for one in (*self.records, *self.tokens) if one.name == name]
        return found


def foresee(
    samples: Sequence[SourceSample], submissions: Pool, constants: Mapping[str, Constant], wanted: Wanted
) -> Forecast:
    """The whole forecast.

    Args:
        samples: What was read of each source.
        submissions: Those that point outward, of all of them.
        constants: Ours, those that this machine or a finished run has measured in their place.
        wanted: The settings and machines.
    """
    grouped = Grouped.of(submissions)
    above = grouped.above(wanted.link.karma, wanted.link.min_karma)
    years = rot(above.by_year(), wanted.today, constants)
    records = tuple(_records(samples, above.number(), years, constants, wanted))
    numbers = {one.name: one.value for one in records}
    tokens = tuple(_tokens(numbers["corpus"], constants, wanted))
    numbers |= {one.name: one.value for one in tokens}
    crawl = None
    if wanted.fetch.source == "web" and above.number().likely:
        crawl = foresee_crawl(above, submissions.domains, wanted.fetch, wanted.machines, dead_of_all(years))
    return Forecast(
        records=records,
        karma={
            karma: {least: grouped.above(karma, least).number() for least in THRESHOLDS}
            for karma in ("max", "sum")
        },
        rot=years,
        crawl=crawl,
        num_bytes=tuple(_num_bytes(numbers, constants, wanted)),
        core_hours=tuple(_core_hours(numbers, constants, wanted)),
        tokens=tokens,
    )


def _records(
    samples: Sequence[SourceSample],
    links: Range,
    years: Sequence[Rot],
    constants: Mapping[str, Constant],
    wanted: Wanted,
) -> Iterator[Figure]:
    is_whole = all(one.is_whole for one in samples)
    basis = _EXACT if is_whole else _SAMPLED
    yield Figure("posts", total(one.rows for one in samples), "rows", basis)
    kept = total(_outward(one) for one in samples)
    yield Figure("submissions", kept, "submissions that point outward", basis)
    least = f"karma ({wanted.link.karma}) of at least {wanted.link.min_karma:,}"
    yield Figure("links", links, f"links with {least}", basis)
    pages = _pages(links, years, constants, wanted)
    yield pages
    before = pages.value
    for stage, name, unit in (
        ("extract", "documents", "documents with text"),
        ("filter", "filtered", "documents that pass the filters"),
        ("dedupe", "corpus", "documents, each said once"),
    ):
        share = constants[f"{stage}.kept"]
        before = product((before, share.value))
        yield Figure(name, before, unit, f"{_percent(share.value)} of those before", (share.source,))


def _outward(sample: SourceSample) -> Range:
    if sample.is_whole:
        return Range.exact(sample.kept.num_rows)
    return product((sample.rows, Range.share(sample.kept.num_rows, sample.num_rows)))


def _pages(links: Range, years: Sequence[Rot], constants: Mapping[str, Constant], wanted: Wanted) -> Figure:
    """Pages of links: as a finished run got them; or of those alive, and of the dead what archives have."""
    unit = "pages fetched"
    known = constants.get("fetch.kept")
    if known is None and wanted.fetch.source == "warc":
        known = constants["fetch.in_warcs"]
    if known is not None:
        value = product((links, known.value))
        return Figure("pages", value, unit, f"{_percent(known.value)} of links", (known.source,))
    dead, answered = dead_of_all(years), constants["fetch.answered"]
    found = product((links, dead.complement(), answered.value))
    basis = f"{_percent(dead)} are dead, {_percent(answered.value)} of the others answer"
    sources = (*(constants[name].source for name in ("rot.at_once", "rot.a_year")), answered.source)
    if not wanted.fetch.rescue:
        return Figure("pages", found, unit, basis, sources)
    archived = constants["fetch.archived"]
    rescued = product((links, dead, archived.value))
    basis = f"{basis}, archives have {_percent(archived.value)} of the dead"
    return Figure("pages", total((found, rescued)), unit, basis, (*sources, archived.source))


def _tokens(corpus: Range, constants: Mapping[str, Constant], wanted: Wanted) -> Iterator[Figure]:
    text = constants["dedupe.text"]
    num_bytes = product((corpus, text.value))
    basis = f"{text.value.likely:,.0f} bytes a document"
    yield Figure("text", num_bytes, "bytes of text in the corpus", basis, (text.source,))
    a_token = constants["shard.bytes_a_token"]
    length = a_token.value * vocabulary_factor(wanted.tokenizer.vocab_size)
    tokens = product((num_bytes, length.inverse()))
    basis = f"{length.likely:.2f} bytes a token of {wanted.tokenizer.vocab_size:,} ids"
    yield Figure("tokens", tokens, "tokens", basis, (a_token.source,))
    size = wanted.shard.tokens_per_shard
    shards = Range(*(float(max(1, -(-end // size))) for end in (tokens.low, tokens.likely, tokens.high)))
    yield Figure("shards", shards, "shards of each split", f"{size:,} tokens in each")


def _num_bytes(
    numbers: Mapping[str, Range], constants: Mapping[str, Constant], wanted: Wanted
) -> Iterator[Figure]:
    width = token_dtype(wanted.tokenizer.vocab_size).itemsize / 2
    for stage, *terms in (
        ("collect", ("submissions", "collect.bytes", 1.0)),
        ("link", ("submissions", "link.dealt_bytes", 1.0), ("links", "link.bytes", 1.0)),
        ("fetch", ("pages", "fetch.bytes", 1.0)),
        ("extract", ("documents", "extract.bytes", 1.0)),
        ("filter", ("filtered", "filter.bytes", 1.0)),
        ("dedupe", ("corpus", "dedupe.bytes", 1.0)),
        ("shard", ("tokens", "shard.bytes", width)),
    ):
        value = total(product((numbers[of], constants[name].value * factor)) for of, name, factor in terms)
        basis = " and ".join(
            f"{_bytes(constants[name].value.likely * factor)} for each of {_plural(of)}"
            for of, name, factor in terms
        )
        yield Figure(stage, value, "bytes", basis, tuple(constants[name].source for _, name, _ in terms))


def _core_hours(
    numbers: Mapping[str, Range], constants: Mapping[str, Constant], wanted: Wanted
) -> Iterator[Figure]:
    text = numbers["text"]
    for stage, of, num in (
        ("collect", "posts", numbers["posts"]),
        ("link", "submissions", numbers["submissions"]),
        ("fetch", "links", numbers["links"]),
        ("extract", "pages", numbers["pages"]),
        ("filter", "documents", numbers["documents"]),
        ("dedupe", "documents", numbers["filtered"]),
        ("tokenizer", "the sample's bytes", text.at_most(wanted.tokenizer.sample_bytes)),
        ("shard", "the text's bytes", text),
    ):
        parts = [constants[f"{stage}.core_s"]]
        if stage == "dedupe":
            parts.append(constants["dedupe.joining_core_s"])
        each = total(part.value for part in parts)
        basis = f"{_seconds(each.likely)} for each of {_plural(of)}"
        sources = tuple(part.source for part in parts)
        yield Figure(stage, product((num, each * (1 / 3600))), "hours of a core", basis, sources)


def _plural(of: str) -> str:
    """Records as people call them."""
    return {"filtered": "the filtered documents", "corpus": "the corpus' documents"}.get(of, of)


def _bytes(value: float) -> str:
    return f"{value:,.{0 if value >= 100 else 1}f} bytes"


def _percent(share: Range) -> str:
    return percentage(share.likely, 1, digits=0)


def _seconds(value: float) -> str:
    for unit, length in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= length:
            return f"{value / length:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"
