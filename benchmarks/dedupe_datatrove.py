"""The side of benchmarks/dedupe.py that needs datatrove: its MinHash pipeline, two tasks and two workers.

    python dedupe_datatrove.py DOCUMENTS FOLDER

DOCUMENTS holds Parquet files with the columns id and text, two or more; FOLDER/kept gets, as JSON lines, what
is left. 14 bands of 8 rows, 64 bits, English; all else as datatrove has it by default, but that its output
stays unpacked. Its four steps log to folders of their own: with one folder for all, the tasks that the first
step has done count as done in the others, and nothing is removed. Prints its version as JSON.
"""

import argparse
import json
from importlib.metadata import version
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor  # type: ignore[import-not-found]
from datatrove.pipeline.dedup import MinhashDedupSignature  # type: ignore[import-not-found]
from datatrove.pipeline.dedup.minhash import (  # type: ignore[import-not-found]
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.readers import ParquetReader  # type: ignore[import-not-found]
from datatrove.pipeline.writers.jsonl import JsonlWriter  # type: ignore[import-not-found]
from datatrove.utils.hashing import HashConfig  # type: ignore[import-not-found]
from datatrove.utils.typeshelper import Languages  # type: ignore[import-not-found]

_NUM_TASKS = 2


def main() -> None:
    """Signatures, buckets, clusters, filter."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("documents", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    config = MinhashConfig(hash_config=HashConfig(precision=64), num_buckets=14, hashes_per_bucket=8)
    folder = arguments.folder
    signatures, buckets, removed = (str(folder / name) for name in ("signatures", "buckets", "removed"))
    reader = ParquetReader(str(arguments.documents), read_metadata=False)
    steps = [
        ([reader, MinhashDedupSignature(signatures, config, Languages.english)], _NUM_TASKS),
        ([MinhashDedupBuckets(signatures, buckets, config=config)], config.num_buckets),
        ([MinhashDedupCluster(buckets, removed, config)], 1),
        (
            [reader, MinhashDedupFilter(removed), JsonlWriter(str(folder / "kept"), compression=None)],
            _NUM_TASKS,
        ),
    ]
    for number, (step, num_tasks) in enumerate(steps):
        logs = str(folder / "logs" / str(number))
        LocalPipelineExecutor(step, tasks=num_tasks, workers=_NUM_TASKS, logging_dir=logs).run()
    print(json.dumps({"version": version("datatrove")}))


if __name__ == "__main__":
    main()
