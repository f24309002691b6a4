"""Damaged tables, named by their file."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa


@contextmanager
def damage_named(path: str) -> Iterator[None]:
    """Has pyarrow's complaints of what is read in the block name the file and what to do."""
    try:
        yield
    except pa.ArrowMemoryError:  # there is nothing wrong with the file
        raise
    except pa.ArrowException as error:
        said = str(error).rstrip(".")
        raise type(error)(
            f"{path} is damaged ({said}). `webtext verify` names all that is; what is removed is made anew."
        ) from error
