"""Paths as people read them, and as commands take them."""

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import typer

from pipeline.errors import InputError


def near(path: str | Path) -> str:
    """A path relative to the current directory where it lies below it; else, and any URI, as it is."""
    text = str(path)
    here = Path.cwd()
    if "://" in text or not Path(text).is_relative_to(here):
        return text
    return str(Path(text).relative_to(here))


_URI = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.S)


# A store's key may have slashes in it; behind a web site's port there may be an @ that ends none.
_USER = re.compile(
    r"(?i)\b(?:((?!https?:)[a-z][a-z0-9+.-]*:/+)[^\s@]*:\S*@|([a-z][a-z0-9+.-]*:/+)(?!anonymous@)[^\s/@]*@)"
)


def without_credentials(text: str) -> str:
    """A text as it may be shown: ``s3://KEY:SECRET@bucket`` in it as ``s3://…@bucket``."""
    return _USER.sub(r"\1\2…@", text)


def as_uri(path: str | Path) -> str | None:
    """The URI that a path is, of whose two slashes a Path keeps one; None where it is none."""
    found = _URI.fullmatch(str(path))
    return f"{found[1]}://{found[2]}" if found else None


def keep_local(app: typer.Typer) -> None:
    """Has the commands refuse URIs where they take local paths: they would be names of folders here."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = _keeping_local(command.callback)


def _keeping_local(callback: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(callback)
    def checked(*arguments: Any, **options: Any) -> Any:
        for given in options.values():
            for path in given if isinstance(given, list) else [given]:
                if isinstance(path, Path):
                    refuse_uri(path)
        return callback(*arguments, **options)

    return checked


def refuse_uri(path: str | Path) -> None:
    """Raises InputError, telling what to do, for what is no path on a local disk."""
    uri = as_uri(path)
    if uri is not None:
        from pipeline.object_store import refuse_credentials  # some tenths of a second to import

        refuse_credentials(uri)
        raise InputError(
            f"{uri} is a URI, and this command wants a local path. What it is to read, copy here first "
            f"(aws s3 cp --recursive {uri} …); what it writes, copy there afterwards."
        )
