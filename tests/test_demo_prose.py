"""Docstrings to prose."""

import doctest
import inspect

import pytest

from webtext.demo import articles, prose, server, submissions
from webtext.demo.prose import Code, Heading, Items, Paragraph, parse_docstring

NUMPYDOC = inspect.cleandoc(
    """
    Return the shortest way between two nodes of a graph.

    The algorithm is :func:`~graphs.dijkstra`, as described in [1]_, with
    one change.

    Parameters
    ----------
    graph : Graph
        The graph that is searched, which is not changed.
    start, end : node
        Where the way begins and where it is to end.

    See Also
    --------
    longest_way : Finds the longest way, which takes much longer.

    Notes
    -----
    The time grows as :math:`O(n^2)` with the number of nodes.

    Use it as in this example, with a small graph::

        way = shortest_way(graph, 1, 5)

        print(way)

    Nodes must be hashable, as they are kept in a dictionary.

    .. versionadded:: 1.2

        This whole section of text is of no interest here.

    - The first thing to know is that it is fast.
    - The second is that it is usually right.

    >>> shortest_way(graph, 1, 2)
    [1, 2]
    """
)


def test_a_docstring_is_read_as_blocks() -> None:
    assert parse_docstring(NUMPYDOC) == (
        Paragraph("Return the shortest way between two nodes of a graph."),
        Paragraph("The algorithm is graphs.dijkstra, as described in, with one change."),
        Heading("Parameters"),
        Items(
            (
                "graph : Graph The graph that is searched, which is not changed.",
                "start, end : node Where the way begins and where it is to end.",
            )
        ),
        Heading("Notes"),
        Paragraph("Use it as in this example, with a small graph:"),
        Code("way = shortest_way(graph, 1, 5)"),
        Code("print(way)"),
        Paragraph("Nodes must be hashable, as they are kept in a dictionary."),
        Items(("The first thing to know is that it is fast.", "The second is that it is usually right.")),
        Code(">>> shortest_way(graph, 1, 2)\n[1, 2]"),
    )


def test_google_sections_become_headings_with_lists() -> None:
    text = "Args:\n    path: The file that is to be read.\n    limit: How many lines are read at most."
    assert parse_docstring(text) == (
        Heading("Args"),
        Items(("path: The file that is to be read.", "limit: How many lines are read at most.")),
    )


def test_words_are_those_to_read() -> None:
    blocks = (Heading("Four words not counted"), Paragraph("Two words"), Items(("three", "more words")))
    assert prose.count_words(blocks) == 5


@pytest.mark.parametrize("module", [articles, prose, server, submissions])
def test_examples_in_docstrings_hold(module: object) -> None:
    results = doctest.testmod(module)  # type: ignore[arg-type]
    assert results.attempted > 0
    assert results.failed == 0
