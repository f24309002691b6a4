"""The splits of a corpus."""

import xxhash

TRAIN, VAL = "train", "val"
SPLITS = (TRAIN, VAL)


def split_of(cluster: str, val_fraction: float) -> str:
    """The split of all documents of a cluster, by a hash of its name: near-duplicates never straddle."""
    return VAL if xxhash.xxh3_64_intdigest(cluster.encode()) < val_fraction * 2**64 else TRAIN
