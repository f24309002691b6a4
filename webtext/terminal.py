"""What all commands print on, and the arguments that several of them take."""

from typing import Annotated

import typer
from rich.console import Console

console = Console(soft_wrap=True, highlight=False)
errors = Console(stderr=True, soft_wrap=True, highlight=False)

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run directory: a path, or a URI such as s3://bucket/run.")
]
