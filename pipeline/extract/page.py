"""A page on its way to its text: its characters, parsed when somebody asks, once by each parser."""

import re
from functools import cached_property
from typing import Any

import trafilatura
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

_MOST_HEAD = 200_000  # characters of a page whose head does not end
_END_OF_HEAD = re.compile(r"</head\s*>", re.IGNORECASE)

# Numbers of characters that XML has not (https://www.w3.org/TR/xml/#charsets). lxml lets them in by reference
# and then refuses to copy them: trafilatura gives up a page for one.
_NOT_OF_XML = re.compile(
    r"&#(?:0*(?:[1-8]|1[124-9]|2[0-9]|3[01]|6553[45])(?![0-9])"
    r"|[Xx]0*(?:[1-8BCEFbcef]|1[0-9A-Fa-f]|[Ff]{3}[EFef])(?![0-9A-Fa-f]));?"
)
_NAME = re.compile(r"[^\W\d][\w.-]*")  # of an element, as lxml makes it


class Page:
    """A page's characters, and what the parsers make of them: lxml for the text, Lexbor for quick looks."""

    def __init__(self, html: str) -> None:
        self.html = _NOT_OF_XML.sub(" ", html)

    @cached_property
    def tree(self) -> Any:
        """The tree by lxml, as trafilatura wants it; None where the page is no HTML."""
        return trafilatura.load_html(self.html)

    def renamed_tree(self) -> Any:
        """The tree by lxml anew, elements with names that XML has not as <span>; None where there are none.

        lxml reads such (<o:p>, <ahref="/">) and makes none: where trafilatura takes one over into its text
        (in lists and quotations), it gives up the page.
        """
        tree = None if self.tree is None else trafilatura.load_html(self.html)
        odd = [] if tree is None else [one for one in tree.iter("*") if not _NAME.fullmatch(one.tag)]
        for element in odd:
            element.tag = "span"
        return tree if odd else None

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
        head = self.html[: end.end() if end else _MOST_HEAD]
        return trafilatura.load_html(f"{head}<body></body>")  # which takes no head alone for HTML

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
