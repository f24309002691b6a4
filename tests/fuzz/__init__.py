"""A target for every parser of foreign bytes: docs/fuzzing.md lists them, and says how they are run."""
