"""collect: dump files to submissions that point outward."""
