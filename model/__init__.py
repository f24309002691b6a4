"""GPT-2 and ALBERT, pretrained from a run's token shards: architectures, data, loop, samples."""
