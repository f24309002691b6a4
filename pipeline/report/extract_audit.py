"""Several extractors over the same stored pages: where they agree, what each alone keeps, what it costs.

A word is a run of letters and digits, in lower case; a text is compared as the multiset of its words, page by
page, as the extraction benchmarks do. Nothing is fetched, and no file of a stage is changed.
"""

import heapq
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipeline.config import Extraction, ExtractSettings
from pipeline.errors import InputError
from pipeline.extract.documents import fetched, read_pages
from pipeline.extract.extractors import EXTRACTORS
from pipeline.extract.plan import label
from pipeline.extract.wire import Extracted
from pipeline.fetch.ledger import LEDGER_SUFFIX
from pipeline.plain_table import plain_table
from pipeline.records import LEDGER
from pipeline.runs import Folder, Manifest
from pipeline.stages import BY_NAME
from pipeline.status import require_stage

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

AGREE = 0.9  # the F1 from which two extractors are said to agree on a page
NUM_WORST = 10

_MOST_OPEN = 200  # WARC files at once
_WORD = re.compile(r"\w+")

Pair = tuple[str, str]


class Answer(NamedTuple):
    """What an extractor gave for a page: its text, or the reason why there is none, and after how long.

    ``seconds`` are by the clock, for all of it: to read the stored page, its text and its metadata.
    """

    text: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ComparedPage:
    """A page, what each extractor gave for it, and how the texts compare.

    ``alone`` are the words of an extractor that no other has on this page, of a word that it has more often
    the surplus. ``f1`` is there for the pairs of which one at least has words.
    """

    id: str
    url: str
    title: str  # empty where it has none
    answers: Mapping[str, Answer]
    words: Mapping[str, int]
    alone: Mapping[str, int]
    f1: Mapping[Pair, float]

    @property
    def agreement(self) -> float | None:
        """The mean F1 of the pairs; None where no extractor has words."""
        return fmean(self.f1.values()) if self.f1 else None

    def to_json(self) -> dict[str, Any]:
        """The numbers, without the texts."""
        return {
            "id": self.id,
            "url": self.url,
            "title": self.title,
            "f1": _rounded(self.agreement),
            "words": dict(self.words),
            "reasons": {name: one.reason for name, one in self.answers.items() if one.reason},
        }


@dataclass(frozen=True, slots=True)
class ExtractorFigures:
    """What one extractor gave for all pages of the sample.

    The median and the mean are over the pages on which it has text. ``num_only`` are pages where it alone has
    text, ``num_missed`` those where it alone has none. ``alone`` is the share of its words that no other has.
    """

    name: str
    label: str  # with the library's version
    num_texts: int
    num_words: int
    median_words: float
    mean_words: float
    num_only: int
    num_missed: int
    alone: float
    rejected: Mapping[str, int]  # by reason
    seconds: float
    pages_per_s: float
    slowest_s: float
    slowest_url: str

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "name": self.name,
            "version": self.label.rpartition(" ")[2],
            "pages_with_text": self.num_texts,
            "words": self.num_words,
            "median_words": self.median_words,
            "mean_words": round(self.mean_words, 2),
            "pages_it_alone_has": self.num_only,
            "pages_it_alone_misses": self.num_missed,
            "share_of_words_alone": round(self.alone, 4),
            "rejected": dict(self.rejected),
            "seconds": round(self.seconds, 3),
            "pages_a_second": round(self.pages_per_s, 2),
            "slowest": {"seconds": round(self.slowest_s, 3), "url": self.slowest_url},
        }


class PairFigures(NamedTuple):
    """How two extractors agree, over the pages on which one of them at least has words.

    ``agree`` is the share of these pages with an F1 of AGREE or more. Both are None where there is no page.
    """

    names: Pair
    num_pages: int
    mean_f1: float | None
    agree: float | None

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "extractors": list(self.names),
            "pages": self.num_pages,
            "mean_f1": _rounded(self.mean_f1),
            "share_that_agree": _rounded(self.agree),
        }


@dataclass(frozen=True, slots=True)
class Audit:
    """All extractors over one sample: its pages in the order of their ids, of so many that the run has."""

    run: str
    num_pages: int
    pages: tuple[ComparedPage, ...]
    extractors: tuple[ExtractorFigures, ...]
    pairs: tuple[PairFigures, ...]

    def by_disagreement(self) -> list[ComparedPage]:
        """The pages, those on which the extractors agree least first; those without any words come last."""
        return sorted(self.pages, key=lambda page: (page.agreement is None, page.agreement, page.id))

    def to_json(self) -> dict[str, Any]:
        """As ``webtext extract-audit --json`` prints it."""
        return {
            "run": self.run,
            "pages_in_run": self.num_pages,
            "extractors": [one.to_json() for one in self.extractors],
            "pairs": [one.to_json() for one in self.pairs],
            "worst": [page.id for page in self.by_disagreement()[:NUM_WORST]],
            "pages": [page.to_json() for page in self.pages],
        }


def audit_extractors(run: Folder, settings: ExtractSettings, num_sample: int) -> Audit:
    """Asks every extractor for the text of the same pages of a run, one extractor after the other.

    Args:
        run: The run directory; its fetch must be finished, and no more.
        settings: The limits on one page; the extractor that they name is one of those that are asked.
        num_sample: The most pages.

    Raises:
        InputError: Fetch is not finished, or files of it are missing or damaged.
        RunError: The extracting process failed by itself.
    """
    pages = run / BY_NAME["fetch"].folder
    manifest = require_stage(
        run,
        "fetch",
        "and only stored pages can be compared. Run `webtext build FILE --until fetch` first.",
    )
    answers: dict[str, dict[str, Answer]] = {}
    titles: dict[str, str] = {}
    try:
        rows = choose(pages, manifest, num_sample)
        for name in EXTRACTORS:
            asked = Extraction(**{**dict(settings), "extractor": name, "reject_early": False})
            for row_id, title, answer in _ask(pages, rows, asked):
                answers.setdefault(row_id, {})[name] = answer
                titles[row_id] = titles.get(row_id) or title
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{pages.uri}: a file cannot be read ({error}): `webtext verify` names it and what to do."
        ) from error
    compared = [
        compare(row["id"], row["url"], titles[row["id"]], answers[row["id"]])
        for row in rows.select(["id", "url"]).sort_by("id").to_pylist()
    ]
    return summarise(run.uri, manifest.counts.kept, compared)


def choose(pages: Folder, manifest: Manifest, num_sample: int) -> pa.Table:
    """Rows of the ledger for a sample of the pages, in the order in which they are read.

    The sample is those with the least hashes of their ids: the same again each time, and a part of any
    greater one.

    Args:
        pages: The folder with the ledgers.
        manifest: What fetch has left there.
        num_sample: The most pages.
    """
    chosen: pa.Table = LEDGER.empty_table()
    for part in manifest.counted():
        rows = fetched(pages.read_table(part.file(LEDGER_SUFFIX).name))
        chosen = pa.concat_tables([chosen, rows])
        ids = chosen["id"].to_pylist()
        least = heapq.nsmallest(num_sample, range(len(ids)), key=lambda row: (_hash(ids[row]), ids[row]))
        chosen = chosen.take(pa.array(least, pa.int64()))
    return fetched(chosen)


def _hash(page_id: str) -> int:
    return xxhash.xxh3_64_intdigest(page_id.encode())


def _ask(pages: Folder, rows: pa.Table, settings: Extraction) -> Iterator[tuple[str, str, Answer]]:
    """Each page's id, title and answer."""
    names = rows["warc"].unique()
    for start in range(0, len(names), _MOST_OPEN):
        some = rows.filter(pc.is_in(rows["warc"], names[start : start + _MOST_OPEN]))
        # The first page is asked twice: the start of the process is none of the pages' time.
        answers = read_pages(pages, pa.concat_tables([some.slice(0, 1), some]), settings)
        next(answers)
        asked = time.monotonic()
        for row, answer in answers:
            seconds = time.monotonic() - asked
            if isinstance(answer, Extracted):
                yield row["id"], answer.metadata.title or "", Answer(answer.text, "", seconds)
            else:
                yield row["id"], "", Answer("", str(answer.reason), seconds)
            asked = time.monotonic()


def compare(page_id: str, url: str, title: str, answers: Mapping[str, Answer]) -> ComparedPage:
    """Compares what the extractors gave for one page."""
    words = {name: Counter(words_of(one.text)) for name, one in answers.items()}
    f1 = {(one, other): _f1(words[one], words[other]) for one, other in combinations(words, 2)}
    return ComparedPage(
        id=page_id,
        url=url,
        title=title,
        answers=answers,
        words={name: one.total() for name, one in words.items()},
        alone={name: _alone(name, words) for name in words},
        f1={pair: value for pair, value in f1.items() if value is not None},
    )


def words_of(text: str) -> list[str]:
    """The runs of letters and digits, in lower case: ``words_of("It's 5.") == ["it", "s", "5"]``."""
    return _WORD.findall(text.lower())


def _f1(one: Counter[str], other: Counter[str]) -> float | None:
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else None


def _alone(name: str, words: Mapping[str, Counter[str]]) -> int:
    others: Counter[str] = Counter()
    for other, of_other in words.items():
        if other != name:
            others |= of_other
    return (words[name] - others).total()


def summarise(run: str, num_pages: int, pages: Sequence[ComparedPage]) -> Audit:
    """Adds up what was found page by page.

    Args:
        run: The run's path, or URI.
        num_pages: That it has in all.
        pages: Of the sample, in the order of their ids.
    """
    return Audit(
        run=run,
        num_pages=num_pages,
        pages=tuple(pages),
        extractors=tuple(_figures(name, pages) for name in EXTRACTORS),
        pairs=tuple(_pair_figures(pair, pages) for pair in combinations(EXTRACTORS, 2)),
    )


def _figures(name: str, pages: Sequence[ComparedPage]) -> ExtractorFigures:
    answers = [page.answers[name] for page in pages]
    lengths = [page.words[name] for page in pages if page.answers[name].text]
    having = [[other for other, one in page.answers.items() if one.text] for page in pages]
    num_others = len(EXTRACTORS) - 1
    seconds = sum(one.seconds for one in answers)
    slowest = max(pages, key=lambda page: page.answers[name].seconds, default=None)
    return ExtractorFigures(
        name=name,
        label=label(name),
        num_texts=len(lengths),
        num_words=sum(lengths),
        median_words=median(lengths) if lengths else 0,
        mean_words=fmean(lengths) if lengths else 0,
        num_only=having.count([name]),
        num_missed=sum(name not in names and len(names) == num_others for names in having),
        alone=sum(page.alone[name] for page in pages) / (sum(lengths) or 1),
        rejected=dict(Counter(one.reason for one in answers if one.reason).most_common()),
        seconds=seconds,
        pages_per_s=len(pages) / seconds if seconds else 0,
        slowest_s=slowest.answers[name].seconds if slowest else 0,
        slowest_url=slowest.url if slowest else "",
    )


def _pair_figures(pair: Pair, pages: Sequence[ComparedPage]) -> PairFigures:
    values = [page.f1[pair] for page in pages if pair in page.f1]
    if not values:
        return PairFigures(pair, 0, None, None)
    num_agree = sum(value >= AGREE for value in values)
    return PairFigures(pair, len(values), fmean(values), num_agree / len(values))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def figure_rows(audit: Audit) -> list[tuple[str, list[str]]]:
    """The extractors' figures as people read them: what it is, and a value for each extractor."""
    every = audit.extractors
    reasons = sorted({reason for one in every for reason in one.rejected})
    return [
        ("pages with text", [f"{one.num_texts:,}" for one in every]),
        ("pages it alone has", [f"{one.num_only:,}" for one in every]),
        ("pages it alone misses", [f"{one.num_missed:,}" for one in every]),
        *(
            (f"rejected: {reason}", [f"{one.rejected.get(reason, 0):,}" for one in every])
            for reason in reasons
        ),
        ("words", [f"{one.num_words:,}" for one in every]),
        ("words a page, median", [f"{one.median_words:,.0f}" for one in every]),
        ("words a page, mean", [f"{one.mean_words:,.0f}" for one in every]),
        ("words no other has", [share(one.alone) for one in every]),
        ("seconds", [f"{one.seconds:,.2f}" for one in every]),
        ("pages a second, one core", [f"{one.pages_per_s:,.1f}" for one in every]),
        ("slowest page, seconds", [f"{one.slowest_s:,.2f}" for one in every]),
    ]


def share(value: float | None) -> str:
    """``12.3 %``; a dash where there is nothing to compare."""
    return "–" if value is None else f"{100 * value:.1f} %"


def fraction(value: float | None) -> str:
    """``0.912``; a dash where there is nothing to compare."""
    return "–" if value is None else f"{value:.3f}"


def tables(audit: Audit) -> "list[RenderableType]":
    """The audit for a terminal: a table of the extractors, one of the pairs, one of the worst pages."""
    names = [one.name for one in audit.extractors]
    extractors = plain_table("", *names, title=f"\n{sample_size(audit)}")
    for what, values in figure_rows(audit):
        extractors.add_row(what, *values)
    pairs = plain_table("", "pages", "mean F1", f"F1 ≥ {AGREE}", title="\nagreement in words")
    for pair in audit.pairs:
        between = " and ".join(pair.names)
        pairs.add_row(between, f"{pair.num_pages:,}", fraction(pair.mean_f1), share(pair.agree))
    worst = [page for page in audit.by_disagreement()[:NUM_WORST] if page.agreement is not None]
    return [extractors, pairs, _worst(worst, names)] if worst else [extractors, pairs]


def _worst(pages: Sequence[ComparedPage], names: Sequence[str]) -> "Text":
    """A line a page, the URL behind its numbers whole, however long: people copy it."""
    from rich.text import Text

    header = ["   F1", *names, "URL"]
    lines = Text("\nmost disagreement, in words\n", "italic")
    lines.append(f"{'  '.join(header)}\n{'─' * (len('  '.join(names)) + 12)}", "not italic bold")
    for page in pages:
        numbers = [f"{page.words[name]:>{len(name)},}" for name in names]
        line = "  ".join([fraction(page.agreement), *numbers, _printable(page.url)])
        lines.append(f"\n{line}", "not italic")
    return lines


def sample_size(audit: Audit) -> str:
    """``100 of 1,234 pages``."""
    return f"{len(audit.pages):,} of {audit.num_pages:,} pages"


def _printable(url: str) -> str:
    """A URL that does nothing to the terminal that shows it."""
    return "".join(char if char.isprintable() else "\ufffd" for char in url)
