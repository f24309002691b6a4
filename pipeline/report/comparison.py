"""This run beside the corpora whose recipe it follows: their published figures, each with its source."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline.report.rendering import show_share
from pipeline.report.statistics import Statistics

Kind = Literal["count", "bytes", "share", "ratio", "text"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where figures were published."""

    title: str
    url: str


SOURCES: Mapping[str, Source] = {
    "GPT-2": Source(
        "Radford et al. 2019, Language Models are Unsupervised Multitask Learners, sections 2.1 and 3.7",
        "https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf",
    ),
    "OWT": Source(
        "Gokaslan and Cohen 2019, OpenWebText Corpus", "https://skylion007.github.io/OpenWebTextCorpus/"
    ),
    "nanoGPT": Source(
        "nanoGPT, data/openwebtext/readme.md",
        "https://github.com/karpathy/nanoGPT/blob/master/data/openwebtext/readme.md",
    ),
    "OWT2": Source(
        "OpenWebText2's documentation (EleutherAI 2020)", "https://openwebtext2.readthedocs.io/en/latest/"
    ),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A figure and what to know of it, from one of SOURCES; where there is none, ``note`` says why."""

    value: float | str | None
    note: str = ""
    source: str | None = None  # None: computed from the figures above, or this run's own


@dataclass(frozen=True, slots=True)
class Line:
    """One thing compared: an entry for each of CORPORA."""

    name: str
    definition: str
    kind: Kind
    entries: tuple[Entry, ...]


CORPORA = ("this run", "WebText", "OpenWebText", "OpenWebText2")

_WEBTEXT_DOCUMENTS = 8_000_000
_GPT2_IDS = 50_257
_UNPUBLISHED = Entry(None, "not published")

_PUBLISHED: Sequence[Line] = (
    Line(
        "links",
        "Different links with enough karma.",
        "count",
        (Entry(45_000_000, "", "GPT-2"), _UNPUBLISHED, Entry(None, "no counts of posts or URLs published")),
    ),
    Line(
        "documents before cleaning",
        "Pages that gave a text, before filters and deduplication.",
        "count",
        (_UNPUBLISHED, _UNPUBLISHED, Entry(69_547_149, "193.9 GB, those of less karma with them", "OWT2")),
    ),
    Line(
        "documents",
        "What the finished corpus has.",
        "count",
        (
            Entry(_WEBTEXT_DOCUMENTS, "“slightly over”", "GPT-2"),
            Entry(8_013_769, "", "OWT"),
            Entry(17_103_059, "", "OWT2"),
        ),
    ),
    Line(
        "text",
        "UTF-8, in powers of 1,000.",
        "bytes",
        (
            Entry(40e9, "", "GPT-2"),
            Entry(40e9, "38 GB in powers of 1,024", "OWT"),
            Entry(65.86e9, "", "OWT2"),
        ),
    ),
    Line(
        "tokens",
        "Of all splits, with end-of-text after each document.",
        "count",
        (
            _UNPUBLISHED,
            Entry(9_035_582_198 + 4_434_897, f"GPT-2's vocabulary, {_GPT2_IDS:,} ids", "nanoGPT"),
            _UNPUBLISHED,
        ),
    ),
    Line(
        "bytes a document",
        "Text over documents, the mean.",
        "count",
        (
            Entry(40e9 / _WEBTEXT_DOCUMENTS, "rounded as its terms are"),
            Entry(40e9 / 8_013_769),
            Entry(65.86e9 / 17_103_059),
        ),
    ),
    Line(
        "bytes a token",
        "Text over tokens: it depends on the vocabulary.",
        "ratio",
        (
            Entry(None, "its tokens are not published"),
            Entry(40e9 / 9_040_017_095),
            Entry(None, "its tokens are not published"),
        ),
    ),
    Line(
        "documents of links",
        "Which share of the links became documents of the finished corpus.",
        "share",
        (
            Entry(_WEBTEXT_DOCUMENTS / 45_000_000),
            Entry(None, "its links are not published"),
            Entry(None, "its links are not published"),
        ),
    ),
    Line(
        "kept of documents",
        "Which share is left after filters and deduplication.",
        "share",
        (
            Entry(None, "what was before is not published"),
            Entry(None, "what was before is not published"),
            Entry(17_103_059 / 69_547_149, "less karma taken out with the rest"),
        ),
    ),
    Line(
        "least karma",
        "The karma that a link needs.",
        "text",
        (
            Entry("3", "", "GPT-2"),
            Entry("3", "", "OWT2"),
            Entry("3", "", "OWT2"),
        ),
    ),
    Line(
        "submissions until",
        "The month of the last.",
        "text",
        (
            Entry("2017-12", "", "GPT-2"),
            Entry("2017-12", "", "OWT2"),
            Entry("2020-04", "", "OWT2"),
        ),
    ),
    Line(
        "languages",
        "Which are kept.",
        "text",
        (Entry("English", "", "GPT-2"), Entry("English", "by fastText", "OWT"), Entry("all", "", "OWT2")),
    ),
    Line(
        "Wikipedia",
        "Whether its pages are kept.",
        "text",
        (Entry("left out", "", "GPT-2"), Entry(None, "not told"), Entry(None, "not told")),
    ),
    Line(
        "near-duplicates",
        "How they are found, and from which similarity on one is taken out.",
        "text",
        (
            Entry(None, "“de-duplication”, not told how", "GPT-2"),
            Entry("5-grams, 0.5", "locality-sensitive hashing", "OWT"),
            Entry("MinHash, 0.5", "", "OWT2"),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The table, and what to mind when reading it."""

    lines: tuple[Line, ...]
    note: str

    def to_json(self) -> dict[str, Any]:
        """As it stands in stats.json."""
        return {
            "corpora": list(CORPORA),
            "lines": [
                {"name": line.name, "entries": [asdict(entry) for entry in line.entries]}
                for line in self.lines
            ],
            "sources": {name: asdict(source) for name, source in SOURCES.items()},
            "note": self.note,
        }


def compare(statistics: Statistics) -> Comparison:
    """The published figures, and this run's as far as it has come."""
    own = _own(statistics)
    lines = [
        Line(line.name, line.definition, line.kind, (own[line.name], *line.entries)) for line in _PUBLISHED
    ]
    return Comparison(tuple(lines), _note(statistics))


def _own(statistics: Statistics) -> dict[str, Entry]:
    totals = statistics.totals()
    stages = statistics.status.stages
    links, extracted = (
        stages[name].counts.kept if stages[name].finished else None for name in ("link", "extract")
    )
    documents, num_bytes, tokens = (totals.get(name) for name in ("documents", "bytes", "tokens"))
    tokenizer = statistics.status.tokenizer
    ids = "" if tokenizer is None else f"a vocabulary of {tokenizer.vocab_size:,} ids"
    return {
        "links": _after("link", links),
        "documents before cleaning": _after("extract", extracted),
        "documents": _after("dedupe", documents),
        "text": _after("dedupe", num_bytes),
        "tokens": _after("shard", tokens, ids),
        "bytes a document": _ratio(num_bytes, documents, "dedupe"),
        "bytes a token": _ratio(num_bytes, tokens, "shard"),
        "documents of links": _ratio(documents, links, "dedupe"),
        "kept of documents": _ratio(documents, extracted, "dedupe"),
        **_settings(statistics),
    }


def _after(stage: str, value: float | str | None, note: str = "") -> Entry:
    return Entry(None, f"{stage} is not finished") if value is None else Entry(value, note)


def _ratio(value: int | None, of: int | None, stage: str) -> Entry:
    if value is None or of is None:
        return Entry(None, f"{stage} is not finished")
    return Entry(value / of) if of else Entry(None, "there are none")


def _settings(statistics: Statistics) -> dict[str, Entry]:
    """What the run's settings say, and the last month that it has."""
    settings = statistics.settings
    months = statistics.measured.get("months")
    last = Entry(None, "dedupe is not finished")
    if months is not None:
        last = Entry(months.rows[-1]["month"]) if months.rows else Entry(None, "no document tells")
    sums = {"max": "the best submission's", "sum": "all submissions together"}
    own = {
        "least karma": _after("link", None),
        "submissions until": last,
        "languages": _after("filter", None),
        "Wikipedia": _after("filter", None),
        "near-duplicates": _after("dedupe", None),
    }
    if "link" in settings:
        link = settings["link"]
        own["least karma"] = Entry(str(link["min_karma"]), sums[link["karma"]])
    if "filter" in settings:
        kept = settings["filter"]
        own["languages"] = Entry(", ".join(kept["languages"]) or "all")
        own["Wikipedia"] = Entry("kept" if kept["wikipedia"] else "left out")
    if "dedupe" in settings:
        own["near-duplicates"] = Entry(f"MinHash, {settings['dedupe']['threshold']:g}")
    return own


def _note(statistics: Statistics) -> str:
    documents = statistics.totals().get("documents")
    scale = ""
    if documents:
        share = show_share(documents / _WEBTEXT_DOCUMENTS)
        scale = f"This run has {documents:,} documents, {share} of WebText's 8 million. "
    return (
        f"{scale}Ratios (bytes a document or a token, shares) can be compared at any scale, sums only as "
        "sizes; bytes a token also follow from the vocabulary. Links die: who fetches later keeps fewer."
    )
