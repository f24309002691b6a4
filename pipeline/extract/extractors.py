"""The extractors of main text, each a function from a page to its text.

Measured on labelled pages (benchmarks/RESULTS.md): trafilatura is the most exact; its fast mode leaves out
the second opinions of readability and jusText; resiliparse is ten times as fast as either.
"""

from collections.abc import Callable, Mapping

import trafilatura

from pipeline.extract.page import Page


def _trafilatura(page: Page) -> str:
    return _by_trafilatura(page, fast=False)


def _trafilatura_fast(page: Page) -> str:
    return _by_trafilatura(page, fast=True)


def _by_trafilatura(page: Page, *, fast: bool) -> str:
    # Without "deduplicate": it keeps what it has seen for all of a process, and so makes texts depend on
    # the pages before.
    text = trafilatura.extract(page.tree, include_comments=False, fast=fast)
    if text is None and (renamed := page.renamed_tree()) is not None:
        text = trafilatura.extract(renamed, include_comments=False, fast=fast)
    return text or ""


def _resiliparse(page: Page) -> str:
    return page.quick_text


EXTRACTORS: Mapping[str, Callable[[Page], str]] = {
    "trafilatura": _trafilatura,
    "trafilatura-fast": _trafilatura_fast,
    "resiliparse": _resiliparse,
}
