"""From Reddit submissions to token shards: one folder a stage, plain functions inside, Beam at the rim."""
