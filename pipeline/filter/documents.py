"""A part's documents to those that are kept."""

from typing import Any

import pyarrow as pa

from pipeline.config import FilterSettings
from pipeline.filter.decide import Document, Measures, decide
from pipeline.filter.language import Detector
from pipeline.records import FILTERED, REJECTED, Rejection


def filter_documents(
    documents: pa.Table, settings: FilterSettings, detector: Detector
) -> tuple[pa.Table, pa.Table]:
    """The kept (rows of FILTERED) and the rejected (of REJECTED), each in the order of the documents."""
    kept: list[int] = []
    measures: list[Measures] = []
    rejected: list[dict[str, Any]] = []
    columns = (documents[name].to_pylist() for name in ("id", "url", "final_url", "text"))
    for index, (document_id, url, final_url, text) in enumerate(zip(*columns, strict=True)):
        answer = decide(Document(final_url, text), settings, detector)
        if isinstance(answer, Rejection):
            rejected.append({"id": document_id, "url": url, **answer._asdict()})
        else:
            kept.append(index)
            measures.append(answer)
    table = documents.take(pa.array(kept, pa.int64()))
    for name in Measures._fields:
        field = FILTERED.field(name)
        values = pa.array([getattr(measure, name) for measure in measures], field.type)
        table = table.append_column(field, values)
    return table.cast(FILTERED), pa.Table.from_pylist(rejected, REJECTED)
