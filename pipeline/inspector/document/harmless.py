"""A page of the web made harmless: what shows a text stays, what could run, load or lead anywhere goes.

The page is read as a stream and written anew from lists of what is known to do nothing, so that no mistake of
the reader's lets anything through. It is shown in a sandbox all the same (web/raw_page.py).
"""

import re
from collections.abc import Iterator, Mapping
from html import escape

from lxml import etree

MOST_CHARACTERS = 1_000_000
"""What follows them is left out."""

_MOST_DEPTH = 300  # elements in each other: what is deeper stands in the last of them, as in browsers


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VOID = frozenset(["br", "col", "hr", "img", "wbr"])
_UNCLOSED = _VOID | {"html", "body"}  # what lies behind the ends of these belongs to them all the same
_KEPT = _UNCLOSED | _names(
    """
    a abbr acronym address article aside b bdi bdo big blockquote caption center cite code colgroup dd del
    details dfn dir div dl dt em fieldset figcaption figure font footer h1 h2 h3 h4 h5 h6 header hgroup i ins
    kbd label legend li main mark menu nav ol p pre q rp rt ruby s samp section small span strike strong style
    sub summary sup table tbody td tfoot th thead time tr tt u ul var
    """
)
_LEFT_OUT = frozenset(["iframe", "noembed", "noframes", "script", "template", "title"])  # with all in them

_ATTRIBUTES = _names(
    """
    align alt bgcolor border cellpadding cellspacing class clear color cols colspan dir face height hidden id
    lang noshade nowrap open rowspan rules size span start style summary title type valign value width
    """
)
_PICTURE = re.compile(r"data:image/(?:png|jpe?g|gif|webp|avif|bmp)[;,]", re.IGNORECASE)
_CSS_ESCAPE = re.compile(r"\\(?:([0-9a-f]{1,6})\s?|([g-z]))", re.IGNORECASE)
_CSS_LOADS = re.compile(r"@import[^;]*;?|(?:url|src|image|image-set)\([^)]*\)?", re.IGNORECASE)

# What neither XML nor HTML has, and what one reader may pass over where another does not.
_NO_TEXT = re.compile("[\0-\x08\x0b\x0e-\x1f\x7f\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]")

# Links lead nowhere, and say where they led.
_BEGINNING = "<!doctype html><style>a[title]{color:#0645ad;text-decoration:underline;cursor:help}</style>"


def harmless(html: str) -> str:
    """A page that shows much of what the given one shows, and does nothing.

    >>> harmless("<body><p onclick=x>a<script>b</script><a href='//c'>d</a>").partition("</style>")[2]
    '<html><body><p>a<a title="leads to //c">d</a></p>'
    """
    parser = etree.HTMLParser(encoding="utf-8", target=_Writer())
    parser.feed(_NO_TEXT.sub("", html[:MOST_CHARACTERS]).encode())
    written: str = parser.close()
    return _BEGINNING + written


class _Writer:
    """Writes what a parser tells it of, as lxml's parsers want to tell."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._ends: list[str] = []  # what each open element is to be closed with
        self._depth = 0
        self._num_left_out = 0  # open elements that are left out with all in them
        self._style: list[str] | None = None  # what a style that is open holds: readers tell it in pieces

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        end = ""
        if self._num_left_out or tag in _LEFT_OUT:
            self._num_left_out += 1
        elif tag in _KEPT and self._depth < _MOST_DEPTH:
            self._pieces.append(f"<{tag}{''.join(_attributes(tag, attributes))}>")
            if tag not in _UNCLOSED:
                end = f"</{tag}>"
                self._depth += 1
        self._ends.append(end)
        self._style = [] if end == "</style>" else None

    def end(self, _tag: str) -> None:
        """The element that began last ends."""
        end = self._ends.pop()
        if self._num_left_out:
            self._num_left_out -= 1
        elif end:
            if self._style is not None:  # nothing is escaped in it, and "</" alone ends it
                self._pieces.append(_css("".join(self._style).replace("</", "< /")))
            self._pieces.append(end)
            self._depth -= 1
        self._style = None

    def data(self, text: str) -> None:
        """Some characters."""
        if self._style is not None:
            self._style.append(text)
        elif not self._num_left_out:
            self._pieces.append(escape(text, quote=False))

    def close(self) -> str:
        """The page."""
        return "".join(self._pieces)


def _attributes(tag: str, attributes: Mapping[str, str]) -> Iterator[str]:
    for name, value in attributes.items():
        if name in _ATTRIBUTES:
            yield f' {name}="{escape(_css(value) if name == "style" else value)}"'
        elif name == "src" and tag == "img" and _PICTURE.match(value):
            yield f' src="{escape(value)}"'
        elif name == "href" and tag == "a" and "title" not in attributes:
            yield f' title="leads to {escape(value)}"'


def _css(style: str) -> str:
    """A style that loads nothing, as its letters tell; where they do not, the sandbox's policy sees to it."""
    return _CSS_LOADS.sub("none", _CSS_ESCAPE.sub(_unescaped, style))


def _unescaped(escape: re.Match[str]) -> str:
    """A letter that is written by its number, or with a needless backslash, as it is; anything else stays."""
    char = escape[2] or chr(min(int(escape[1], 16), 0x10FFFF))
    return char if char.isascii() and char.isalpha() else escape[0]
