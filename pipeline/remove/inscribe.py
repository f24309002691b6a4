"""What is written on tombstones: of each link that goes its id, why, and digests of what it was."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.config import SIGNED_BY
from pipeline.dedupe.signatures import SIGNATURES
from pipeline.remove.present import Present
from pipeline.remove.targets import Targets
from pipeline.remove.tombstones import TOMBSTONES


def inscribe(stages: Mapping[str, Present], targets: Targets, *, near_duplicates: bool) -> pa.Table:
    """The rows of TOMBSTONES of what goes.

    Args:
        stages: The run's, as they were before.
        targets: What goes.
        near_duplicates: Whether what is like it goes too; else only its very text may not come back, and no
            signature is kept.
    """
    signed = _signed(stages, pa.array(targets.links, pa.string()))
    rows = []
    for name, why in targets.links.items():
        made = signed.get(name, {})
        if not near_duplicates:
            made = {key: value for key, value in made.items() if key == "text_hash"}
        told = {"id": name, "why": why.reason, "of": why.of, "url_hashes": targets.url_hashes[name]}
        rows.append({**dict.fromkeys(TOMBSTONES.names), **told, **made})
    return pa.Table.from_pylist(rows, TOMBSTONES)


def _signed(stages: Mapping[str, Present], ids: pa.Array) -> dict[str, dict[str, Any]]:
    """What dedupe knows of the texts of documents, by their ids."""
    if "dedupe" not in stages:
        return {}
    job, done = stages["dedupe"].job, stages["dedupe"].done
    made = {name: getattr(job.settings, name) for name in SIGNED_BY}
    found = {}
    for part in done.values():
        if part.name.startswith(SIGNATURES):
            table = job.folder.read_table(part.files[0].name, ["id", "text_hash", "signature"])
            for row in table.filter(pc.is_in(table["id"], value_set=ids)).to_pylist():
                found[row.pop("id")] = {**row, **made}
    return found
