"""What all commands print on, and the arguments that several of them take."""

import time
from typing import Annotated

import typer
from rich.console import Console

console = Console(soft_wrap=True, highlight=False)
errors = Console(stderr=True, soft_wrap=True, highlight=False)

_PLAIN_LINE_EVERY_S = 15.0


class PlainLines:
    """Says now and then how far something is, where no terminal shows it as a bar.

    Args:
        console: Where to say it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._spoken = time.monotonic()

    def say(self, line: str) -> None:
        """Prints the line, unless there is a terminal or the last line is not old enough."""
        if not self._console.is_terminal and time.monotonic() - self._spoken > _PLAIN_LINE_EVERY_S:
            self._spoken = time.monotonic()
            self._console.print(line, markup=False)


RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run directory: a path, or a URI such as s3://bucket/run.")
]
