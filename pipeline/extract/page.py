"""A page on its way to its text: its characters, parsed when somebody asks, once by each parser."""

import re
from functools import cached_property
from typing import Any

import trafilatura
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

_MOST_HEAD = 200_000  # characters of a page whose head does not end
_END_OF_HEAD = re.compile(r"</head\s*>", re.IGNORECASE)


class Page:
    """A page's characters, and what the parsers make of them: lxml for the text, Lexbor for quick looks."""

    def __init__(self, html: str) -> None:
        self.html = html

    @cached_property
    def tree(self) -> Any:
        """The tree by lxml, as trafilatura wants it; None where the page is no HTML."""
        return trafilatura.load_html(self.html)

    @cached_property
    def dom(self) -> HTMLTree:
        """The tree by Lexbor: a tenth of the time of lxml's."""
        return HTMLTree.parse(self.html)

    @property
    def head(self) -> Any:
        """The tree by lxml of the page, where it has been asked for, else of its head alone."""
        if "tree" in self.__dict__:
            return self.tree
        end = _END_OF_HEAD.search(self.html)
        return trafilatura.load_html(self.html[: end.end() if end else _MOST_HEAD])

    @cached_property
    def visible_text(self) -> str:
        """Everything that a reader, or one without scripts, would see: no extractor's text has more words."""
        text: str = extract_plain_text(
            self.dom, main_content=False, alt_texts=False, noscript=True, preserve_formatting=False
        )
        return text

    @cached_property
    def quick_text(self) -> str:
        """The main text as resiliparse sees it."""
        text: str = extract_plain_text(self.dom, main_content=True, alt_texts=False)
        return text
