"""What a request asks for, read with patience; and the tables asked."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import duckdb
from starlette.requests import Request

from pipeline.inspector.catalogue.catalogue import Catalogue, reading


def number_of(request: Request, name: str, default: int, least: int, most: int) -> int:
    """A whole number of the query, brought within its bounds; the default where it is none."""
    text = request.query_params.get(name, "").strip()
    number = int(text) if text.removeprefix("-").isdecimal() and len(text) <= 20 else default
    return max(least, min(most, number))


def pager(address: Callable[[int], str], page: int, last: int) -> dict[str, str | None]:
    """Where the pages before and after one are, and its place, as the templates' pager takes them."""
    return {
        "before": address(page - 1) if page > 1 else None,
        "after": address(page + 1) if page < last else None,
        "place": f"page {page:,} of {last:,}",
    }


@contextmanager
def asking(catalogue: Catalogue) -> Iterator[duckdb.DuckDBPyConnection]:
    """A cursor on the run's tables until the block ends.

    Raises:
        InputError: A file of the run cannot be read.
    """
    with reading(), catalogue.cursor() as cursor:
        yield cursor
