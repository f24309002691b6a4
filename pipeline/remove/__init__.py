"""remove: documents taken out of a finished run, with what is a copy of them, for good."""
