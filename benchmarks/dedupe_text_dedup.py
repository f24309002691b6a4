"""The side of benchmarks/dedupe.py that needs text-dedup: its MinHash, as many processes as there are cores.

    python dedupe_text_dedup.py DOCUMENTS FOLDER

DOCUMENTS holds Parquet files with the columns id and text; FOLDER/kept gets, as Arrow files, what is left. 14
bands of 8 rows, 5-grams, xxh3 (the faster of its hashes). Runs 0.4.0 (the last one on the package index) by
its command, and 0.4.1 (its repository) by its settings; that one checks candidates for false positives, as
its own example of settings has it. Prints its version as JSON.
"""

import argparse
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

_BANDS, _ROWS = 14, 8
_THRESHOLD = 0.7
_NGRAM = 5


def main() -> None:
    """Runs whichever version is installed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("documents", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    installed = version("text-dedup")
    run = _run_command if installed.startswith("0.4.0") else _run_settings
    files = sorted(str(file) for file in arguments.documents.glob("*.parquet"))
    run(files, arguments.folder)
    print(json.dumps({"version": installed}))


def _run_command(files: list[str], folder: Path) -> None:
    from text_dedup.minhash import main as run  # type: ignore[import-not-found]

    options: dict[str, Any] = {
        "path": "parquet",
        "data_files": str(Path(files[0]).parent / "*.parquet"),
        "split": "train",
        "cache_dir": folder / "cache",
        "output": folder / "kept",
        "column": "text",
        "ngram": _NGRAM,
        "num_perm": _BANDS * _ROWS,
        "b": _BANDS,
        "r": _ROWS,
        "hash_func": "xxh3",
    }
    run(
        [part for name, value in options.items() for part in (f"--{name}", str(value))], standalone_mode=False
    )


def _run_settings(files: list[str], folder: Path) -> None:
    from text_dedup.config.base import load_config_from_toml  # type: ignore[import-not-found]
    from text_dedup.minhash import main as run

    settings = folder / "settings.toml"
    settings.write_text(
        f"""
[input]
input_type = "local_files"
file_type = "parquet"
[input.read_arguments]
path = "parquet"
data_files = {json.dumps(files)}
split = "train"
cache_dir = {json.dumps(str(folder / "cache"))}
[algorithm]
algorithm_name = "minhash"
text_column = "text"
num_perm = {_BANDS * _ROWS}
bands = {_BANDS}
rows = {_ROWS}
threshold = {_THRESHOLD}
ngram_size = {_NGRAM}
check_false_positive = true
[output]
output_dir = {json.dumps(str(folder / "kept"))}
[debug]
enable_profiling = false
""",
        "utf-8",
    )
    run(load_config_from_toml(settings))


if __name__ == "__main__":
    main()
