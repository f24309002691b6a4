"""Parts of documents, written by hand as the stages before dedupe and shard write them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from pipeline.extract.metadata import Metadata
from pipeline.records import DOCUMENTS, FILTERED
from pipeline.runs import Counts, Folder, Manifest, PartWriter
from pipeline.stages import BY_NAME, part_name

EARLY = datetime(2019, 1, 1, tzinfo=UTC)
LATE = datetime(2019, 6, 1, tzinfo=UTC)

NOTHING_MEASURED: Mapping[str, Any] = dict.fromkeys(FILTERED.names[len(DOCUMENTS) :], 0)


def document(name: str, text: str, **values: Any) -> dict[str, Any]:
    """A document, filtered or of the corpus: what is not given is plausible and the same for all."""
    row = {
        "id": name,
        "url": f"https://example.com/{name}",
        "final_url": f"https://example.com/{name}",
        "text": text,
        **Metadata()._asdict(),
        "karma": 3,
        "submissions": [f"post-{name}"],
        "subreddits": ["news"],
        "created": EARLY,
        "source": "web",
        "fetched": datetime(2020, 1, 1, tzinfo=UTC),
        "warc": "part-00000.warc.gz",
        "offset": 0,
        "length": 1,
        "extractor": "hand 1",
        **NOTHING_MEASURED,
        "language": "en",
        "language_score": 1.0,
        "num_words": len(text.split()),
        "cluster": name,
        "cluster_domain": "example.com",
        "cluster_created": EARLY,
    }
    return row | values


def table(rows: Sequence[Mapping[str, Any]], schema: pa.Schema = FILTERED) -> pa.Table:
    """Documents as a table."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def write_parts(run: Folder, stage: str, tables: Iterable[pa.Table]) -> Manifest:
    """Writes tables as the finished parts of a stage, and its manifest."""
    folder = run / BY_NAME[stage].folder
    parts = []
    for index, one in enumerate(tables):
        writer = PartWriter(folder, part_name(index), "by hand")
        writer.table("parquet", one)
        texts = one["text"].to_pylist()
        facts = {
            "documents": len(texts),
            "text_bytes": sum(len(text.encode()) for text in texts),
            "words": sum(len(text.split()) for text in texts),
        }
        parts.append(writer.commit(Counts(one.num_rows, one.num_rows), seconds=0, facts=facts))
    counts = Counts.total(part.counts for part in parts if part.counts is not None)
    total = {name: sum(part.facts[name] for part in parts) for name in ("documents", "text_bytes", "words")}
    manifest = Manifest(stage, "0", "by hand", {}, {}, counts, tuple(parts), total)
    folder.write("manifest.json", manifest.encode())
    return manifest
