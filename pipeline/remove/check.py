"""Whether what was removed from a run is known, and gone from all of it: for verify."""

import shlex
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.remove.tombstones import (
    PENDING,
    REMEDY,
    REMOVED,
    check_table,
    decode_told,
    manifest_of,
    read_removed,
    read_tombstones,
    table_names,
)
from pipeline.runs import Folder, Manifest
from pipeline.stages import BY_NAME


def find_damage(run: Folder) -> Iterator[tuple[str, str, str]]:
    """Files of removals that are not as they were written: the file, what is wrong with it, what to do."""
    folder = run / REMOVED
    for table in table_names(run):
        name = manifest_of(table)
        try:
            told = decode_told(folder.read(name))
            name = table
            check_table(folder.read(table), told)
        except (OSError, ValueError, KeyError) as error:
            yield f"{folder.uri}/{name}", f"is damaged ({error})", REMEDY


def find_remains(run: Folder, manifests: Mapping[str, Manifest]) -> Iterator[tuple[str, str, str]]:
    """Where something of a removed document is left: the file, what is wrong with it, what to do.

    Args:
        run: The run.
        manifests: Of its finished stages, whose files are whole.
    """
    if (run / REMOVED).size(PENDING) is not None:
        what = "a removal was begun and is not finished"
        remedy = f"run `webtext remove {shlex.quote(run.address)} --resume`"
        yield f"{run.uri}/{REMOVED}/{PENDING}", what, remedy
        return
    removed = read_removed(run)
    if not removed.keys:
        return
    among = {
        "id": read_tombstones(run)["id"].combine_chunks(),
        "key": pa.array(sorted(removed.keys), pa.binary(16)),
    }
    for stage, manifest in manifests.items():
        folder = run / BY_NAME[stage].folder
        names = [file.name for part in manifest.parts for file in part.files]
        for name in (name for name in names if name.endswith((".parquet", ".arrow"))):
            num = sum(
                pc.sum(pc.is_in(column, value_set=among[kind])).as_py() or 0
                for kind, column in _identities(folder, name)
            )
            if num:
                what = f"has {num:,} rows of what was removed"
                yield f"{folder.uri}/{name}", what, f"run `webtext build` again with `--force {stage}`"


def _identities(folder: Folder, name: str) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """A table's ids and keys, if it has any."""
    with folder.open(name) as stream:
        if name.endswith(".arrow"):
            with pa.ipc.open_file(stream) as reader:
                field = reader.schema.get_field_index("key")
            options = pa.ipc.IpcReadOptions(included_fields=[field])
            with pa.ipc.open_file(stream, options=options) as reader:
                yield "key", reader.read_all()["key"]
            return
        names = pq.read_schema(stream).names
    for kind in ("id", "key"):
        # A submission has a key, and an id that is none of a link's.
        if kind in names and not (kind == "id" and "key" in names):
            yield kind, folder.read_table(name, [kind])[kind]
