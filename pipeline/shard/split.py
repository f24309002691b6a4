"""The splits of a corpus: train, and what is held out from it.

A cluster of near-duplicates is in one split as a whole, for only what is known of the cluster decides: its
name, its domain, or the time of its first submission.
"""

from collections.abc import Iterator
from datetime import datetime

import pyarrow as pa
import xxhash

from pipeline.config import ShardSettings

TRAIN, VAL, TEST = "train", "val", "test"
SPLITS = (TRAIN, VAL, TEST)

SPLIT_COLUMNS = ["cluster", "cluster_domain", "cluster_created"]


def splits_of(table: pa.Table | pa.RecordBatch, settings: ShardSettings) -> Iterator[str]:
    """The split of each document of a table with SPLIT_COLUMNS, in the order of its rows."""
    if settings.split_by == "date":
        for created in table["cluster_created"].to_pylist():
            yield split_by_date(created, settings)
    else:
        for name in table["cluster" if settings.split_by == "cluster" else "cluster_domain"].to_pylist():
            yield split_by_hash(name, settings)


def split_by_hash(name: str, settings: ShardSettings) -> str:
    """The split of what has this name: the lowest hashes are val, those that follow are test.

    So the validation split stays the same whether there is a test split or not.
    """
    place = xxhash.xxh3_64_intdigest(name.encode())
    if place < settings.val_fraction * 2**64:
        return VAL
    return TEST if place < (settings.val_fraction + settings.test_fraction) * 2**64 else TRAIN


def split_by_date(created: datetime | None, settings: ShardSettings) -> str:
    """The split of what was first submitted then (UTC): the newest is held out; without a time, train."""
    day = None if created is None else created.date()
    if day and settings.test_from and day >= settings.test_from:
        return TEST
    return VAL if day and settings.val_from and day >= settings.val_from else TRAIN
