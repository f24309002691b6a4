"""A run's tables, and the catalogue and index that are made of them."""
