"""Documents found by words, filtered and sorted."""
