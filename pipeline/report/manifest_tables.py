"""Tables of what a stage says of itself, in its manifest and in its parts' sidecars."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipeline.collect.months import months, out_of_line
from pipeline.runs import Folder, Manifest
from pipeline.stages import BY_NAME
from pipeline.status import read_sidecars

POSTS_BY_MONTH = pa.schema(
    {"month": pa.string(), "posts": pa.int64(), "posts_3": pa.int64(), "out_of_line": pa.bool_()}
)
LINKS_BY_KARMA = pa.schema(dict.fromkeys(("least_karma", "links_by_max", "links_by_sum"), pa.int64()))
EXTRACTION = pa.schema({"part": pa.string(), "extractor": pa.string(), "seconds": pa.float64()})
EVALUATION_SETS = pa.schema(
    {
        "evaluation_set": pa.string(),
        **dict.fromkeys(("n", "grams", "found", "examples", "examples_hit"), pa.int64()),
    }
)


def posts_by_month(_: Folder, manifest: Manifest) -> pa.Table:
    """Each month's submissions, those with a score of 3 or more, and whether it is out of line."""
    table = months(manifest.facts)
    strange = {one.month for one in out_of_line(table)}
    rows = [
        {"month": one.name, "posts": one.num_posts, "posts_3": one.num_at_3, "out_of_line": one in strange}
        for one in table
    ]
    return pa.Table.from_pylist(rows, POSTS_BY_MONTH)


def links_by_karma(_: Folder, manifest: Manifest) -> pa.Table:
    """The links that each least karma would let through."""
    by_max, by_sum = (manifest.facts.get(name, {}) for name in ("links_by_max", "links_by_sum"))
    rows = [
        {"least_karma": int(least), "links_by_max": num, "links_by_sum": by_sum[least]}
        for least, num in by_max.items()
    ]
    return pa.Table.from_pylist(rows, LINKS_BY_KARMA)


def extraction(run: Folder, manifest: Manifest) -> pa.Table:
    """The seconds of work on each of extract's parts; null where the part's sidecar is gone."""
    folder = run / BY_NAME["extract"].folder
    names = [part.name for part in manifest.parts]
    seconds = {part.name: part.seconds for part in read_sidecars(folder, names)}
    extractor = _extractor(manifest)
    rows = [{"part": name, "extractor": extractor, "seconds": seconds.get(name)} for name in names]
    return pa.Table.from_pylist(rows, EXTRACTION)


def _extractor(manifest: Manifest) -> str:
    """The extractor with its library's version, as documents carry it."""
    name = str(manifest.settings.get("extractor", ""))
    return f"{name} {manifest.inputs.get(name.partition('-')[0], '')}".strip()


def evaluation_sets(_: Folder, manifest: Manifest) -> pa.Table:
    """How much of each evaluation set the kept documents had, for each length of runs of words."""
    rows = [_evaluation_set(one) for one in manifest.facts.get("evaluation_sets", ())]
    return pa.Table.from_pylist(rows, EVALUATION_SETS)


def _evaluation_set(fact: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "evaluation_set": fact["name"],
        "n": fact["n"],
        "grams": fact["num_grams"],
        "found": fact["num_found"],
        "examples": fact["num_examples"],
        "examples_hit": fact["num_examples_hit"],
    }
