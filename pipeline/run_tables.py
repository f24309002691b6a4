"""The tables that a run's stages leave, each under one name: their columns, and the files that hold them."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from pipeline.records import (
    CLUSTERS,
    CORPUS,
    DOCUMENTS,
    FILTERED,
    LEDGER,
    LINKS,
    MEASURED,
    REJECTED,
    SHARD_DOCUMENTS,
)
from pipeline.runs import File, Manifest, Part


@dataclass(frozen=True, slots=True)
class StageTable:
    """A table of one stage.

    Attributes:
        stage: The stage that writes it.
        schema: Its columns.
        kind: What the names of its files have behind their part's name and, after a retry, a number.
        parts: What the names of the parts begin with that have a file of it.
    """

    stage: str
    schema: pa.Schema
    kind: str = "parquet"
    parts: str = "part-"

    def files(self, manifest: Manifest) -> list[tuple[Part, File]]:
        """Its files, each with the part that it belongs to, as the stage's manifest lists them."""
        return [
            (part, file)
            for part in manifest.parts
            if part.name.startswith(self.parts)
            for file in part.files
            if part.kind(file) == self.kind
        ]


DOCUMENT_TABLES: Mapping[str, StageTable] = {
    "dedupe": StageTable("dedupe", CORPUS),
    "filter": StageTable("filter", FILTERED),
    "extract": StageTable("extract", DOCUMENTS),
}
"""By the stage that gives them, the furthest first."""

REJECTED_TABLES: Mapping[str, StageTable] = {
    stage: StageTable(stage, REJECTED, "rejected.parquet") for stage in ("extract", "filter", "dedupe")
}
"""By the stage that keeps a row of each document that it rejects."""

TABLES: Mapping[str, StageTable] = {
    "links": StageTable("link", LINKS),
    "ledger": StageTable("fetch", LEDGER, "ledger.parquet"),
    "measured": StageTable("filter", MEASURED, parts="measured-"),
    "corpus": DOCUMENT_TABLES["dedupe"],
    "clusters": StageTable("dedupe", CLUSTERS, parts="clusters"),
    "shard_documents": StageTable("shard", SHARD_DOCUMENTS, "documents.parquet"),
}
"""By the names that people and SQL call them."""
