"""What a run keeps of a link in its parts: where its page is, and the document as each stage left it.

Texts of documents that were rejected are in the part of the stage before, and nowhere else.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InputError
from pipeline.filter.plan import MEASURED as MEASURED_PARTS
from pipeline.inspector.catalogue.catalogue import Catalogue
from pipeline.inspector.catalogue.tables import damage
from pipeline.records import CORPUS, DOCUMENTS, FILTERED, MEASURED
from pipeline.stages import BY_NAME

_SCHEMAS: Mapping[str, pa.Schema] = {"extract": DOCUMENTS, "filter": FILTERED, "dedupe": CORPUS}

_ROWS_AT_ONCE = 500

Row = Mapping[str, Any]


def find_page(catalogue: Catalogue, document_id: str) -> Row | None:
    """The try of the ledger that brought a link's page; None where none did.

    Raises:
        InputError: The ledger cannot be read.
    """
    if "ledger" not in catalogue.contents.tables:
        return None
    rows = catalogue.rows("SELECT * FROM ledger WHERE id = ? AND outcome = 'fetched'", [document_id])
    return last_page(rows)


def last_page(tries: Iterable[Row]) -> Row | None:
    """Of a link's tries the last that brought its page."""
    return max((one for one in tries if one["warc"]), key=lambda one: one["attempt"], default=None)


def part_of(page: Row) -> str:
    """The part that a page is in, from its row of the ledger: its name is the same in all stages."""
    warc: str = page["warc"]
    return warc.partition(".")[0]


def read_document(catalogue: Catalogue, stage: str, part: str, document_id: str) -> Row | None:
    """A document as extract, filter or dedupe left it, with its text; None where it did not keep it.

    Raises:
        InputError: The part is damaged.
    """
    found = _find(catalogue, stage, f"{part}.parquet", _SCHEMAS[stage], document_id)
    return None if found is None else found.to_pylist()[0]


def read_measures(catalogue: Catalogue, part: str, document_id: str) -> pa.Table | None:
    """The row of what filter measured of a document, kept or not; None where it has measured nothing.

    Raises:
        InputError: The part is damaged.
    """
    name = f"{MEASURED_PARTS}-{part.rpartition('-')[2]}.parquet"
    return _find(catalogue, "filter", name, MEASURED, document_id)


def _find(
    catalogue: Catalogue, stage: str, name: str, schema: pa.Schema, document_id: str
) -> pa.Table | None:
    """The row of a table of one part that has an id; read no further than to it."""
    folder = catalogue.run / BY_NAME[stage].folder
    manifest = catalogue.contents.manifests.get(stage)
    if manifest is None or all(name != file.name for part in manifest.parts for file in part.files):
        return None
    try:
        for batch in folder.read_batches(name, schema.names, _ROWS_AT_ONCE):
            row = pc.index(batch["id"], document_id).as_py()
            if row >= 0:
                return pa.Table.from_batches([batch.slice(row, 1)])
    except (OSError, pa.ArrowException) as error:
        raise InputError(damage(f"{BY_NAME[stage].folder}/{name}", error)) from error
    return None
