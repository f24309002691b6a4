"""The program that an engine starts as a worker."""
