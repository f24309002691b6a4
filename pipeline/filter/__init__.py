"""filter: the documents that are worth keeping."""
