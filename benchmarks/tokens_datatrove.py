"""The side of benchmarks/tokens.py that needs datatrove: its DocumentTokenizer, two tasks and two workers.

    python tokens_datatrove.py DOCUMENTS TOKENIZER FOLDER

DOCUMENTS holds Parquet files with the columns id and text, two or more; TOKENIZER is a tokenizer.json; FOLDER
gets the tokens. Documents are not shuffled, as ours are not when they are written; all else is as datatrove
has it by default. Prints its version and the number of tokens as JSON.
"""

import argparse
import json
from importlib.metadata import version
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor  # type: ignore[import-not-found]
from datatrove.pipeline.readers import ParquetReader  # type: ignore[import-not-found]
from datatrove.pipeline.tokens import DocumentTokenizer  # type: ignore[import-not-found]

_NUM_TASKS = 2
_BYTES_A_TOKEN = 2


def main() -> None:
    """Reads, encodes, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("documents", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    steps = [
        ParquetReader(str(arguments.documents), read_metadata=False),
        DocumentTokenizer(
            str(arguments.folder / "tokens"),
            str(arguments.tokenizer),
            eos_token="<|endoftext|>",  # noqa: S106
            shuffle_documents=False,
        ),
    ]
    logs = str(arguments.folder / "logs")
    LocalPipelineExecutor(steps, tasks=_NUM_TASKS, workers=_NUM_TASKS, logging_dir=logs).run()
    files = (arguments.folder / "tokens").glob("*.ds")
    num_tokens = sum(file.stat().st_size for file in files) // _BYTES_A_TOKEN
    print(json.dumps({"version": version("datatrove"), "tokens": num_tokens}))


if __name__ == "__main__":
    main()
