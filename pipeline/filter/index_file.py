"""The index of the evaluation sets as a file: made once, read by every worker."""

import io
import json
from typing import Any

import numpy as np

from pipeline.filter.contamination import EvaluationSet, GramTable, Index, SetGrams


def encode(index: Index) -> bytes:
    """An index as the bytes of a .npz file: the same bytes for the same index."""
    arrays: dict[str, Any] = {}
    for table in index.tables:
        arrays |= {f"hashes {table.n}": table.hashes, f"bits {table.n}": table.bits}
    for number, one in enumerate(index.sets):
        for table, grams in zip(index.tables, one.grams, strict=True):
            arrays |= {f"places {table.n} {number}": grams.places, f"ends {table.n} {number}": grams.ends}
    said = {
        "tables": [{"n": table.n, "shift": table.shift} for table in index.tables],
        "sets": [{"name": one.name, "num_examples": one.num_examples} for one in index.sets],
    }
    arrays["index"] = np.frombuffer(json.dumps(said).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def decode(data: bytes) -> Index:
    """The inverse of encode."""
    arrays = np.load(io.BytesIO(data), allow_pickle=False)
    said = json.loads(arrays["index"].tobytes())
    ns = [one["n"] for one in said["tables"]]
    return Index(
        tables=tuple(
            GramTable(one["n"], arrays[f"hashes {one['n']}"], arrays[f"bits {one['n']}"], one["shift"])
            for one in said["tables"]
        ),
        sets=tuple(
            EvaluationSet(
                one["name"],
                one["num_examples"],
                tuple(SetGrams(arrays[f"places {n} {number}"], arrays[f"ends {n} {number}"]) for n in ns),
            )
            for number, one in enumerate(said["sets"])
        ),
    )
