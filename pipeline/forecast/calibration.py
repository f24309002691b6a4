"""How fast this machine is: a few seconds of each stage's own code, on the sample or on made pages.

What is not measured here (fetch, the joining of near-duplicates, the tokenizer, shards) is a constant.
"""

import io
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import DedupeSettings, Extraction, LinkSettings, UrlSettings
from pipeline.filter.settings import FilterSettings, line_rules
from pipeline.forecast.constants import EXTRACT_GUARD, MADE_PAGES, MADE_TEXTS, Constant
from pipeline.forecast.made_pages import made_page, made_text
from pipeline.forecast.ranges import Range
from pipeline.forecast.sample import SourceSample
from pipeline.link.group import group
from pipeline.link.opt_out import OptOuts
from pipeline.link.write import REPEATED
from pipeline.records import SUBMISSIONS

_Thing = TypeVar("_Thing")

_LEAST_ROWS = 20_000
_ROWS = 100_000  # submissions of the sample that link's code is tried on
_PAGES = 16  # made ones, over and over
_IPC = pa.ipc.IpcWriteOptions(compression="zstd")
_WITHIN = 1.1  # how far what was measured on the sample itself may be off: another moment, another part of it


@dataclass(frozen=True, slots=True)
class Sections:
    """The settings that calibration asks for."""

    link: LinkSettings
    urls: UrlSettings
    extract: Extraction
    filter: FilterSettings
    dedupe: DedupeSettings


def calibrate(
    samples: Sequence[SourceSample], opt_outs: OptOuts, sections: Sections, seconds: float
) -> dict[str, Constant]:
    """Core seconds a record, and bytes a record of the first two stages, as this machine shows them.

    Args:
        samples: What was read, and how long it took.
        opt_outs: What link leaves out.
        sections: The settings.
        seconds: About how long each of the slower stages is tried.
    """
    return {
        **_collect(samples),
        **_link(samples, opt_outs, sections),
        "extract.core_s": _extract(sections.extract, seconds),
        "filter.core_s": _filter(sections.filter, seconds),
        "dedupe.core_s": _dedupe(sections.dedupe, seconds),
    }


def _collect(samples: Sequence[SourceSample]) -> dict[str, Constant]:
    num_rows = sum(one.num_rows for one in samples)
    if num_rows < _LEAST_ROWS:  # what is loaded once would be most of it
        return {}
    seconds = sum(one.cpu_s for one in samples) / num_rows
    source = f"measured: {num_rows:,} rows of the sample"
    return {"collect.core_s": Constant(Range.around(seconds, _WITHIN), "seconds a row", source)}


def _link(samples: Sequence[SourceSample], opt_outs: OptOuts, sections: Sections) -> dict[str, Constant]:
    whole = pa.concat_tables([one.kept for one in samples]).select(SUBMISSIONS.names)
    # From all over them: the earliest month tells little of the latest.
    rows = whole.take(np.arange(0, whole.num_rows, -(-whole.num_rows // _ROWS))).combine_chunks()
    started = time.process_time()
    dealt = _arrow_bytes(rows)
    links = group(rows, sections.link, opt_outs, sections.urls).links
    num_parts = -(-rows.num_rows // sections.link.submissions_per_part)
    size = max(1, -(-links.num_rows // num_parts))
    parts = [links.slice(start, size) for start in range(0, links.num_rows, size)]
    num_bytes = sum(_parquet_bytes(part, REPEATED) for part in parts)
    spent_s = time.process_time() - started
    source = f"measured: {rows.num_rows:,} submissions of the sample"
    a_submission = Range.around(_parquet_bytes(rows) / rows.num_rows, _WITHIN)
    a_dealt = Range.around(dealt / rows.num_rows, _WITHIN)
    found = {
        "collect.bytes": Constant(a_submission, "bytes a submission", source),
        "link.dealt_bytes": Constant(a_dealt, "bytes a submission, dealt to its group", source),
    }
    if links.num_rows:
        a_link = Range.around(num_bytes / links.num_rows, _WITHIN)
        found["link.bytes"] = Constant(a_link, "bytes a link", source)
    if rows.num_rows >= _LEAST_ROWS:
        each = Range.around(spent_s / rows.num_rows, _WITHIN)
        found["link.core_s"] = Constant(each, "seconds a submission", source)
    return found


def _parquet_bytes(table: pa.Table, use_dictionary: bool | list[str] = True) -> int:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", use_dictionary=use_dictionary)
    return sink.tell()


def _arrow_bytes(table: pa.Table) -> int:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table.schema, options=_IPC) as file:
        file.write_table(table)
        return sink.tell()


def _extract(settings: Extraction, seconds: float) -> Constant:
    from pipeline.extract.child import extract
    from pipeline.extract.wire import Request

    pages = [made_page(number) for number in range(_PAGES)]
    request = Request("https://news.example/story", "text/html; charset=utf-8", date(2020, 1, 1))
    num, spent_s = _over(pages, lambda page: extract(request, page, settings), seconds)
    return Constant(
        Range.around(spent_s / num * EXTRACT_GUARD, MADE_PAGES),
        "seconds a page",
        f"measured: {num:,} made pages of {len(pages[0]) // 1000} kB by {settings.extractor}",
    )


def _filter(settings: FilterSettings, seconds: float) -> Constant:
    from pipeline.filter.language import load_detector
    from pipeline.filter.measure import Document, Tools, measure

    tools = Tools(load_detector(), line_rules(settings), None, settings.pii.phone_region)
    url = "https://news.example/story"
    documents = [Document(url, url, None, made_text(number)) for number in range(_PAGES)]
    num, spent_s = _over(documents, lambda one: measure(one, tools), seconds)
    return Constant(
        Range.around(spent_s / num, MADE_TEXTS),
        "seconds a document",
        f"measured: {num:,} made texts of 4.7 kB",
    )


def _dedupe(settings: DedupeSettings, seconds: float) -> Constant:
    from pipeline.dedupe.signatures import sign_table

    num = 64
    columns: Mapping[str, list[object]] = {
        "id": ["0" * 32] * num,
        "url": ["https://news.example/story"] * num,
        "final_url": ["https://news.example/story"] * num,
        "text": [made_text(number) for number in range(num)],
        "karma": [3] * num,
        "created": [None] * num,
        "submissions": [["a"]] * num,
        "subreddits": [["news"]] * num,
    }
    table = pa.table(columns)
    turns, spent_s = _over([table], lambda one: sign_table(one, settings), seconds)
    return Constant(
        Range.around(spent_s / (turns * num), MADE_TEXTS),
        "seconds a document for its signature",
        f"measured: signatures of {turns * num:,} made texts of 4.7 kB",
    )


def _over(things: Sequence[_Thing], work: Callable[[_Thing], object], seconds: float) -> tuple[int, float]:
    """Does the same work on things in turn until the time is over; how often, and the core seconds of it."""
    work(things[0])  # what is loaded once is no part of it
    turns: Iterator[_Thing] = itertools.cycle(things)
    started, until, num = time.process_time(), time.monotonic() + seconds, 0
    while not num or time.monotonic() < until:
        work(next(turns))
        num += 1
    return num, time.process_time() - started
