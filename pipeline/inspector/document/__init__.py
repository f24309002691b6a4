"""One document, from its post to its tokens."""
