"""From a document of a shard back to its post, its page, and its bytes on the wire.

A shard's document table names the document; the corpus tells the rest.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InputError
from pipeline.records import SHARD_DOCUMENTS
from pipeline.runs import Folder, Manifest, Part, read_manifest
from pipeline.stages import BY_NAME

ORIGIN = (  # columns of the corpus that tell where a document comes from
    "id",
    "url",
    "final_url",
    "title",
    "submissions",
    "subreddits",
    "karma",
    "created",
    "language",
    "source",
    "fetched",
    "warc",
    "offset",
    "length",
)

Row = Mapping[str, Any]


def run_of(path: Path) -> tuple[Folder, Manifest] | None:
    """The run whose shards a file is among, and their manifest; None where it lies in no such folder.

    Raises:
        InputError: The manifest is damaged.
    """
    folder = path.absolute().parent
    if folder.name != BY_NAME["shard"].folder:
        return None
    manifest = read_manifest(Folder(str(folder)))
    return None if manifest is None else (Folder(str(folder.parent)), manifest)


def shard_rows(run: Folder, manifest: Manifest, name: str, sequences: Sequence[int]) -> dict[int, Row]:
    """Some rows of a shard's document table, by sequence; empty where the manifest has no such shard.

    Args:
        run: The run.
        manifest: Its shards'.
        name: The shard's, such as ``train-00000``.
        sequences: Numbers of documents in the shard.

    Raises:
        InputError: The table is missing or damaged.
    """
    wanted = pa.array(sequences, pa.int32())
    for part in manifest.parts:
        if f"{name}.bin" in {file.name for file in part.files}:
            table = _read(run, "shard", part, "documents.parquet", SHARD_DOCUMENTS.names)
            table = table.filter(pc.equal(table["split"], name.rsplit("-", 1)[0]))
            rows = table.filter(pc.is_in(table["sequence"], value_set=wanted)).to_pylist()
            return {row["sequence"]: row for row in rows}
    return {}


def origins(run: Folder, ids: Collection[str]) -> dict[str, Row]:
    """Rows of the corpus by id, with the columns of ORIGIN; without what the corpus does not have.

    One part after another is searched by its ids alone, until all are found.

    Raises:
        InputError: The corpus's manifest, or a table of it, is missing or damaged.
    """
    manifest = read_manifest(run / BY_NAME["dedupe"].folder)
    found: dict[str, Row] = {}
    for part in manifest.counted() if manifest else ():
        missing = pa.array(sorted(set(ids) - found.keys()), pa.string())
        if len(missing) == 0:
            break
        own = _read(run, "dedupe", part, "parquet", ["id"], checked=False)["id"]
        # Not pc.indices_nonzero: pyarrow 25 crashes in it where a part has no documents.
        places = pa.array(np.flatnonzero(pc.is_in(own, value_set=missing).to_numpy()))
        if len(places):
            rows = _read(run, "dedupe", part, "parquet", list(ORIGIN)).take(places).to_pylist()
            found |= {row["id"]: row for row in rows}
    return found


def _read(
    run: Folder, stage: str, part: Part, kind: str, columns: list[str], *, checked: bool = True
) -> pa.Table:
    """Columns of a table of a part, whose checksum is right unless it is not to be ``checked``."""
    folder = run / BY_NAME[stage].folder
    name = f"{part.name}.{kind}"
    try:
        file = part.file(name)
        if checked:
            with folder.open(name) as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
                    raise OSError("its checksum is not the manifest's")
        return folder.read_table(name, columns).select(columns)
    except (OSError, LookupError, pa.ArrowException) as error:
        raise InputError(
            f"{folder.uri}/{name} cannot be read ({error}): `webtext verify {run.uri}` names all "
            "that is damaged."
        ) from error
