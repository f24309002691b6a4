"""export: a finished run in the forms that other trainers and tools read."""
