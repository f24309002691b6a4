"""``python -m webtext``."""

from webtext.cli import main

main()
