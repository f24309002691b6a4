"""What all commands print on, and the arguments that several of them take."""

import json
import logging
import time
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.markup import escape

from pipeline.plain_table import visible

console = Console(soft_wrap=True, highlight=False)
errors = Console(stderr=True, soft_wrap=True, highlight=False)

_PLAIN_LINE_EVERY_S = 15.0
_WIDEST = 1_000_000  # columns: no table is cut


class _Remarks(logging.Handler):
    """Shows what a package of ours has logged."""

    def emit(self, record: logging.LogRecord) -> None:
        errors.print(f"[yellow]mind:[/] {escape(visible(record.getMessage()))}")


def show_remarks(package: str) -> None:
    """Has the warnings of a package of ours shown, on standard error."""
    logger = logging.getLogger(package)
    logger.setLevel(logging.WARNING)
    logger.handlers = [_Remarks()]


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


def _leave_output_to_json(as_json: bool) -> bool:
    """With --json, standard output is JSON alone: what people are told goes to standard error."""
    console.stderr = as_json
    return as_json


JsonOption = Annotated[
    bool,
    typer.Option(
        "--json", help="Print JSON alone; remarks go to standard error.", callback=_leave_output_to_json
    ),
]


def print_whole(what: Iterable[RenderableType]) -> None:
    """Prints tables; nothing of them is cut in a file or a pipe, which have no width."""
    printer = console if console.is_terminal else Console(width=_WIDEST)
    for one in what:
        printer.print(one)


def print_json(value: object) -> None:
    """Prints what a command has to say as JSON, on standard output."""
    typer.echo(json.dumps(value, indent=1))
