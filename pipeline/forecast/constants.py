"""Every constant of the forecast, with where it is from: what a sample of submissions cannot tell.

Figures of benchmarks/RESULTS.md are named by their heading; a judgement says so, and what it leans on. A
finished run replaces those that it has measured (:mod:`pipeline.forecast.finished`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pipeline.forecast.ranges import Range


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, what it is of, and its source."""

    value: Range
    unit: str
    source: str


_ENDS: Final = (
    "a judgement: set so that all stages together keep what others kept: WebText 8 M documents of 45 M links "
    "(Radford et al. 2019), OpenWebText 8.0 M of 23 M (Gokaslan and Cohen 2019), OpenWebText2 17.1 M of "
    "69.5 M scraped (EleutherAI 2020)"
)
_TEXTS: Final = (
    "OpenWebText 39.8 GB in 8.01 M documents (its data card), WebText 40 GB in 8 M, OpenWebText2 65.9 GB in "
    "17.1 M"
)

CONSTANTS: Final[Mapping[str, Constant]] = MappingProxyType(
    {
        # How many records each stage keeps.
        "rot.at_once": Constant(
            Range(0.02, 0.063, 0.085),
            "deaths a link at once, as it were (a hazard)",
            "Pew Research Center 2024, When Online Content Disappears: 8 % of 2023's pages were gone in "
            "October 2023, 38 % of 2013's: a straight line through both; low: Bowers, Zittrain and Stanton "
            "2021, 6 % of the New York Times' deep links of 2018",
        ),
        "rot.a_year": Constant(
            Range(0.035, 0.0415, 0.06),
            "deaths a link and year (a hazard)",
            "Pew Research Center 2024, as above; it gives 25 % for all of 2013 to 2023, as Pew found; high: "
            "Bowers, Zittrain and Stanton 2021, 43 % of 2008's and 72 % of 1998's links",
        ),
        "age.unknown": Constant(
            Range(1, 6, 12),
            "years, of links of lists that tell no time",
            "a judgement: Reddit's links are of 2005 on",
        ),
        "fetch.answered": Constant(
            Range(0.5, 0.7, 0.88),
            "pages a link that is not dead: not robots.txt, a wall, another type, a timeout",
            "a judgement: OpenWebText got about 10 M pages of 23 M URLs, 17 % of them dead by the lines "
            "above, with extraction's losses among the rest",
        ),
        "fetch.archived": Constant(
            Range(0.35, 0.6, 0.9),
            "captures a dead link, where fetch.rescue asks archives",
            "Ainsworth et al. 2011, How Much of the Web Is Archived?: 35 to 90 % of URIs",
        ),
        "fetch.in_warcs": Constant(
            Range(0.3, 0.9, 1.0),
            "pages a link, with fetch.source = warc",
            "a judgement: the files were made for it",
        ),
        "extract.kept": Constant(Range(0.6, 0.78, 0.93), "documents a page", _ENDS),
        "filter.kept": Constant(Range(0.52, 0.72, 0.92), "documents a document", _ENDS),
        "dedupe.kept": Constant(Range(0.68, 0.82, 0.96), "documents a document", _ENDS),
        # Text and tokens.
        "extract.text": Constant(
            Range(2_600, 4_200, 6_000), "bytes of text a document", f"a judgement: {_TEXTS}"
        ),
        "filter.text": Constant(Range(3_800, 4_700, 5_600), "bytes of text a document", _TEXTS),
        "dedupe.text": Constant(Range(3_800, 4_800, 5_600), "bytes of text a document", _TEXTS),
        "shard.bytes_a_token": Constant(
            Range(4.1, 4.4, 4.6),
            "bytes of text a token, of 50,257 ids",
            "OpenWebText: 39.77 GB (its data card) are 9.04 G of GPT-2's tokens (nanoGPT); other sizes of "
            "vocabulary: in proportion to the logarithm",
        ),
        # Bytes on the disk.
        "link.bytes": Constant(
            Range(60, 150, 200),
            "bytes a link; measured where the sample has some",
            "likely: a finished demo, 148 bytes; low: a judgement, many in a part pack better",
        ),
        "fetch.bytes": Constant(
            Range(18_500, 35_000, 60_000),
            "bytes a page: WARC, index and ledger",
            "low: Common Crawl 2016-40, 28.94 TiB of 1.72 G pages; likely: 88 news pages of 2019, 37 kB each "
            "(scrapinghub/article-extraction-benchmark)",
        ),
        "extract.bytes": Constant(
            Range(3_000, 4_500, 6_500),
            "bytes a document, each stored before and after same URLs are joined",
            "tables pack text 2.4 times (a finished demo), and 500 bytes of what else is known",
        ),
        "filter.bytes": Constant(
            Range(2_400, 3_200, 4_200), "bytes a document: text, measures", "as above, 450 bytes of measures"
        ),
        "dedupe.bytes": Constant(
            Range(2_500, 3_400, 4_400), "bytes a document: text, signature", "as above, 610 bytes a signature"
        ),
        "shard.bytes": Constant(
            Range(2.3, 2.5, 2.8),
            "bytes a token of 2 bytes: tokens, sentences, documents",
            "a finished demo: 12.1 bytes a sentence in its index, a sentence in 18 to 40 tokens",
        ),
        # Seconds of a core, where this machine is not asked.
        "collect.core_s": Constant(
            Range(7e-6, 9.2e-6, 14e-6),
            "seconds a row; measured where the sample has some ten thousand",
            "benchmarks/RESULTS.md, collect against the usual script: 108,000 rows a CPU second, as a stage",
        ),
        "link.core_s": Constant(
            Range(2.5e-6, 3.5e-6, 5e-6),
            "seconds a submission; measured where the sample has some ten thousand",
            "benchmarks/RESULTS.md, link against DuckDB: 20 M submissions in 70 CPU seconds",
        ),
        "fetch.core_s": Constant(
            Range(0.0006, 0.0010, 0.0016),
            "seconds a link",
            "benchmarks/RESULTS.md, fetch, no delays: 1,500 pages/s on two cores",
        ),
        "dedupe.joining_core_s": Constant(
            Range(0.00007, 0.0001, 0.00014),
            "seconds a document, besides its signature",
            "benchmarks/RESULTS.md, dedupe, how it grows: 0.25 ms a document, 0.15 ms of them signatures",
        ),
        "tokenizer.core_s": Constant(
            Range(1.8e-7, 2.4e-7, 3.2e-7),
            "seconds a byte of its sample",
            "benchmarks/RESULTS.md, training 50,257 ids",
        ),
        "shard.core_s": Constant(
            Range(0.8e-7, 1.08e-7, 1.5e-7),
            "seconds a byte of text",
            "benchmarks/RESULTS.md, shard: 1,028 MB of text",
        ),
    }
)

EXTRACT_GUARD: Final = 1.056
"""benchmarks/RESULTS.md, extract, what the guard costs: pages go to a child process and back."""

MADE_PAGES: Final = 1.6
"""Judged: how many times as long as made pages real ones may take, or as short; 88 real ones took as long."""

MADE_TEXTS: Final = 1.3
"""Judged: likewise texts."""

BEGINNING: Final = 1.15
"""Judged: how far a dump's beginning may mislead about the rest: first days, a window that fills."""

BLOCKS: Final = 1.02
"""Judged: how far blocks from all over a dump mislead at the least: packed bytes are counted in pieces."""

ANOTHER_RUN: Final = 1.1
"""Judged: how far what one run has measured may be from what the next one will, besides what chance does."""
