"""What a finished run came to, to hold a plan of it against."""

from pathlib import Path

from pipeline.runs import Folder, read_manifest
from pipeline.stages import STAGES


def came_to(run: Path) -> dict[str, dict[str, float]]:
    """What a finished run came to, read from its manifests, by what the plan calls it."""
    found = {stage.name: read_manifest(Folder(str(run)) / stage.folder) for stage in STAGES}
    manifests = {name: manifest for name, manifest in found.items() if manifest is not None}
    kept = {name: manifest.counts.kept for name, manifest in manifests.items()}
    num_bytes = {
        name: sum(file.bytes for part in manifest.parts for file in part.files)
        for name, manifest in manifests.items()
        if name != "tokenizer"
    }
    return {
        "records": {
            "posts": manifests["collect"].counts.num_in,
            "submissions": kept["collect"],
            "links": kept["link"],
            "pages": kept["fetch"],
            "documents": kept["extract"],
            "filtered": kept["filter"],
            "corpus": kept["dedupe"],
        },
        "tokens": {
            "text": manifests["dedupe"].facts["text_bytes"],
            "tokens": sum(manifests["shard"].facts["tokens"].values()),
        },
        "bytes": num_bytes,
    }
