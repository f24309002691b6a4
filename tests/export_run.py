"""A run to export from, and what an export of it should hold, told from the run's own files."""

import contextlib
import random
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from pipeline.config import ShardSettings
from pipeline.export.documents import EXPORTED
from pipeline.records import CORPUS
from pipeline.runs import Folder, Manifest
from pipeline.stages import BY_NAME, Job, execute
from tests.document_parts import document, table, write_parts
from tokenizer.config import TokenizerSettings

SPLITS = ("train", "val", "test")
PARTS = (60, 3, 3, 0, 3, 81)
"""Documents in each part of the corpus."""
TEXTS = (
    "A café – how nice!\n",
    "これは文です。\u2028",
    'He said "no" \\ and \0 nothing.\t',
    "word " * 60,
    "",
)


def build(run: Folder) -> Folder:
    """A run whose shards share large parts of the corpus and span small ones; some documents tell little."""
    generator = random.Random(7)
    rows = []
    for i in range(sum(PARTS)):
        text = "".join(generator.choices(TEXTS, k=generator.randint(0, 4)))
        values: dict[str, Any] = {
            "title": f"Title {i}" if i % 3 else None,
            "license": "https://creativecommons.org/licenses/by/4.0/" if i % 10 == 9 else None,
            "karma": i,
            "created": datetime(2019, 6, 1, 12, i % 60, tzinfo=UTC) if i % 4 else None,
            "fetched": datetime(2020, 1, 2, 3, 4, 5, 678_000 if i % 2 else 0, tzinfo=UTC),
            "subreddits": ["news", "science"] if i % 5 else [],
        }
        rows.append(document(f"{i:032x}", text, cluster=f"{i // 2:032x}", **values))
    parts = iter(rows)
    tables = [table(list(islice(parts, size)), CORPUS) for size in PARTS]
    corpus = write_parts(run, "dedupe", tables)
    tokenizer = stage(run, "tokenizer", TokenizerSettings(vocab_size=300), dedupe=corpus)
    settings = ShardSettings(val_fraction=0.2, test_fraction=0.1, tokens_per_shard=500)
    stage(run, "shard", settings, dedupe=corpus, tokenizer=tokenizer)
    return run


def stage(run: Folder, name: str, settings: Any, **inputs: Manifest) -> Manifest:
    job = Job(BY_NAME[name], run, settings, inputs)
    return execute(job, beam_options=[], watch=lambda *_: contextlib.nullcontext())


def shard_tokens(run: Folder, split: str) -> npt.NDArray[np.uint16]:
    """All tokens of a split, from the shards themselves."""
    files = sorted(Path(run.path("shards")).glob(f"{split}-*.bin"))
    assert len(files) > 1
    return np.concatenate([np.fromfile(file, dtype="<u2") for file in files])


def shard_documents(run: Folder, split: str) -> list[dict[str, Any]]:
    """A split's documents as an export should have them, by DuckDB from the run's tables."""
    columns = ", ".join(f"c.{name}" for name in EXPORTED.names if name in CORPUS.names)
    query = (
        f"select {columns}, s.split, s.num_tokens from read_parquet($shards) s "  # noqa: S608 (our columns)
        "join read_parquet($corpus) c on s.id = c.id where s.split = $split order by s.shard, s.sequence"
    )
    paths = {"shards": run.path("shards/*.documents.parquet"), "corpus": run.path("corpus/part-*.parquet")}
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        found = connection.sql(query, params={**paths, "split": split}).to_arrow_table()
    rows: list[dict[str, Any]] = found.to_pylist()
    assert len(rows) > 1
    return rows


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
