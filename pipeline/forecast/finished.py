"""What a finished run has measured of itself, in the place of constants: the same web, filters, and texts."""

import math
from collections.abc import Mapping
from typing import Any

from pipeline.errors import InputError
from pipeline.forecast.constants import ANOTHER_RUN, CONSTANTS, Constant
from pipeline.forecast.ranges import Range, Z
from pipeline.runs import Counts, Folder, Manifest, read_manifest
from pipeline.stages import STAGES
from pipeline.status import require_run

# What each stage's share is called, and the constant of the bytes that it leaves a kept record.
_SHARES = {"fetch": "fetch.kept", "extract": "extract.kept", "filter": "filter.kept", "dedupe": "dedupe.kept"}
_BYTES = ("fetch", "extract", "filter", "dedupe")  # of collect and link the sample itself tells them
_TEXTS = ("extract", "filter", "dedupe")


def read_constants(run: Folder) -> dict[str, Constant]:
    """The constants, those that the run has measured in the place of ours.

    Raises:
        InputError: There is no run, or it has not fetched a page yet.
    """
    require_run(run)
    manifests = {stage.name: read_manifest(run / stage.folder) for stage in STAGES}
    fetched = manifests["fetch"]
    if fetched is None or not fetched.counts.kept:
        raise InputError(
            f"{run.uri}: nothing is fetched there, so it has measured nothing: name a run whose fetch is "
            "finished, or leave --like out."
        )
    found = dict(CONSTANTS)
    for name, manifest in manifests.items():
        if manifest is not None:
            found |= {
                key: Constant(value, unit, f"measured in {run.uri}")
                for key, (value, unit) in _measured(name, manifest, manifests).items()
            }
    return found


def _measured(
    stage: str, manifest: Manifest, manifests: Mapping[str, Manifest | None]
) -> dict[str, tuple[Range, str]]:
    found: dict[str, tuple[Range, str]] = {}
    counts, facts = manifest.counts, manifest.facts
    if not counts.kept:
        return found
    if stage in _SHARES:
        found[_SHARES[stage]] = _share(counts), "kept of what came in"
    if stage in _BYTES:
        found[f"{stage}.bytes"] = _mean(_num_bytes(manifest), counts.kept), "bytes a record"
    if stage in _TEXTS and facts.get("text_bytes"):
        found[f"{stage}.text"] = _mean(facts["text_bytes"], counts.kept), "bytes of text a document"
    if stage == "shard":
        found |= _of_shards(manifest, manifests["dedupe"])
    return found


def _of_shards(manifest: Manifest, dedupe: Manifest | None) -> dict[str, tuple[Range, str]]:
    tokens = sum(manifest.facts["tokens"].values())
    text_bytes: Any = dedupe and dedupe.facts.get("text_bytes")
    if not tokens or not text_bytes:
        return {}
    # A constant is of GPT-2's size of vocabulary and of two bytes a token: the forecast adapts both.
    a_token = text_bytes / tokens / vocabulary_factor(manifest.facts["vocab_size"])
    wide = 1 if manifest.facts["dtype"] == "uint16" else 2
    return {
        "shard.bytes_a_token": (_another(a_token), "bytes of text a token, were there 50,257 ids"),
        "shard.bytes": (_another(_num_bytes(manifest) / tokens / wide), "bytes a token of 2 bytes"),
    }


def vocabulary_factor(vocab_size: int) -> float:
    """How much longer tokens of a vocabulary of this size are than those of one of 50,257.

    >>> round(vocabulary_factor(4_096), 2)
    0.77
    """
    return math.log(max(vocab_size, 257)) / math.log(50_257)


def _num_bytes(manifest: Manifest) -> int:
    return sum(file.bytes for part in manifest.parts for file in part.files)


def _share(counts: Counts) -> Range:
    return Range.share(counts.kept, counts.num_in).wider(ANOTHER_RUN).at_most(1.0)


def _mean(whole: float, num: int) -> Range:
    """A mean of so many records, which differ among each other about as much as they are large."""
    chance = Z / math.sqrt(num)
    return Range.around(whole / num, math.exp(math.hypot(math.log(ANOTHER_RUN), chance)))


def _another(value: float) -> Range:
    return Range.around(value, ANOTHER_RUN)
