"""A part's documents to their measures, and to those that are kept."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.filter.c4 import LineRules, clean_lines
from pipeline.filter.contamination import Index, cut, find
from pipeline.filter.decide import decide
from pipeline.filter.measure import Document, Tools, measure
from pipeline.filter.pii import mask
from pipeline.filter.settings import DecontaminateSettings, FilterSettings, line_rules
from pipeline.records import FILTERED, MEASURED, MEASURES, REJECTED, Reason, Rejection

_READ = ("url", "final_url", "canonical_url", "text")


class Contamination(NamedTuple):
    """What a part shares with evaluation sets: its hits, and the n-grams that do not count."""

    hits: pa.Table
    frequent: npt.NDArray[np.uint64]


def measure_documents(documents: pa.Table, tools: Tools) -> pa.Table:
    """What is measured of each document: rows of MEASURED."""
    rows = zip(*(documents[name].to_pylist() for name in _READ), strict=True)
    values = [measure(Document(*row), tools) for row in rows]
    columns = (pa.array([row[field.name] for row in values], field.type) for field in MEASURES)
    return pa.table([documents["id"], documents["url"], *columns], schema=MEASURED)


def search_documents(documents: pa.Table, settings: FilterSettings, index: Index) -> pa.Table:
    """The n-grams that each document's text, without the lines that are removed, shares with the index."""
    lines = line_rules(settings)
    if lines is None:
        return find(documents["text"], index)
    return find([clean_lines(text, lines)[0] for text in documents["text"].to_pylist()], index)


def keep_documents(
    documents: pa.Table, measured: pa.Table, contamination: Contamination | None, settings: FilterSettings
) -> tuple[pa.Table, pa.Table]:
    """The kept (rows of FILTERED) and the rejected (of REJECTED), each in the order of the documents."""
    grams = {} if contamination is None else _grams_by_row(contamination, settings.decontaminate.n)
    kept: list[int] = []
    texts: list[str] = []
    rejected: list[dict[str, Any]] = []
    columns = (documents[name].to_pylist() for name in ("id", "url", "text"))
    rows = zip(*columns, decide(measured, settings), strict=True)
    lines = line_rules(settings)
    for row, (document_id, url, text, verdict) in enumerate(rows):
        answer = verdict or _finished(text, lines, grams.get(row), settings)
        if isinstance(answer, Rejection):
            rejected.append({"id": document_id, "url": url, **answer._asdict()})
        else:
            kept.append(row)
            texts.append(answer)
    table = _table(documents, measured, kept, texts, grams)
    return table, pa.Table.from_pylist(rejected, REJECTED)


def _table(
    documents: pa.Table,
    measured: pa.Table,
    kept: list[int],
    texts: list[str],
    grams: Mapping[int, npt.NDArray[np.uint64]],
) -> pa.Table:
    """Rows of FILTERED."""
    rows = pa.array(kept, pa.int64())
    columns: dict[str, Any] = dict(zip(measured.column_names, measured.take(rows).columns, strict=True))
    others = documents.drop_columns("text")
    columns |= dict(zip(others.column_names, others.take(rows).columns, strict=True))
    columns |= {
        "text": pa.array(texts, pa.string()),
        "num_words": pa.array([len(text.split()) for text in texts], pa.int32()),
        "contaminated_grams": pa.array([len(grams.get(row, ())) for row in kept], pa.int32()),
    }
    return pa.table([columns[name] for name in FILTERED.names], schema=FILTERED)


def _grams_by_row(contamination: Contamination, n: int) -> dict[int, npt.NDArray[np.uint64]]:
    """The n-grams that count, of each document that has any."""
    rows, ns, hashes = (contamination.hits[name].to_numpy() for name in ("row", "n", "hash"))
    counts = (ns == n) & ~np.isin(hashes, contamination.frequent)
    rows, hashes = rows[counts], hashes[counts]
    edges = np.flatnonzero(np.diff(rows)) + 1
    firsts = rows[np.concatenate([[0], edges])] if len(rows) else rows
    return dict(zip(firsts.tolist(), np.split(hashes, edges), strict=False))


def _finished(
    text: str, lines: LineRules | None, grams: npt.NDArray[np.uint64] | None, settings: FilterSettings
) -> str | Rejection:
    """A kept document's text as it goes on: lines removed, what is shared cut out, personal data masked."""
    if lines is not None:
        text = clean_lines(text, lines)[0]
    if grams is not None and settings.decontaminate.action != "report":
        answer = _without(text, grams, settings.decontaminate)
        if isinstance(answer, Rejection):
            return answer
        text = answer
    if settings.pii.mask:
        text = mask(text, settings.pii.mask, phone_region=settings.pii.phone_region)[0]
    return text


def _without(text: str, grams: npt.NDArray[np.uint64], settings: DecontaminateSettings) -> str | Rejection:
    """A text without what it shares with evaluation sets, its pieces as paragraphs."""
    what = f"{len(grams)} runs of {settings.n} words"
    if settings.action == "remove":
        return Rejection(Reason.CONTAMINATED, what)
    pieces = cut(
        text,
        grams,
        settings.n,
        window=settings.window,
        min_piece=settings.min_piece,
        max_pieces=settings.max_pieces,
    )
    if pieces is None:
        return Rejection(Reason.CONTAMINATED, f"{what}, more than {settings.max_pieces} pieces")
    if not pieces:
        return Rejection(Reason.CONTAMINATED, f"{what}, no piece of {settings.min_piece} characters is left")
    return "\n\n".join(pieces)
