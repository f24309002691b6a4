"""shard: the corpus as tokens, with an index over its documents and one over their sentences."""
