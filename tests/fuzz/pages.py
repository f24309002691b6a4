"""Pages: from bytes to characters, to what they say of themselves, to their text, and to what is shown."""

import atexit
import re
from datetime import date
from functools import cache

from lxml import etree

from pipeline.config import Extraction, Hopeless
from pipeline.extract.charset import decode
from pipeline.extract.early import reject_early
from pipeline.extract.extractor import Extractor
from pipeline.extract.extractors import EXTRACTORS
from pipeline.extract.metadata import read_metadata
from pipeline.extract.page import Page
from pipeline.extract.wire import Extracted, Request
from pipeline.inspector.document.harmless import harmless
from pipeline.inspector.document.raw_page import in_plain_sight
from pipeline.records import Reason
from tests.fuzz.target import Target

_URL = "https://example.com/page"
_DAY = date(2020, 1, 1)
_HOPELESS = Hopeless(languages=("en",), min_words=5)
_STYLE = re.compile(r"<style[^>]*>.*?</style>", re.DOTALL)
_DOING = ("<script", "<iframe", "<object", "<embed", "<link", "<base", "<meta", "<form", "<svg")
_LOADS = re.compile(r"url\(|@import", re.IGNORECASE)
_OF_PAGES = frozenset(
    [Reason.NO_TEXT, Reason.TOO_SHORT, Reason.ERROR_PAGE, Reason.LANGUAGE, Reason.TOO_LARGE, Reason.TOO_SLOW]
)


def _split(data: bytes) -> tuple[str, bytes]:
    """What comes before the first line's end is the header's value."""
    head, _, body = data.partition(b"\n")
    return head.decode("latin-1"), body


def charsets(data: bytes) -> bool:
    """A page's bytes, and the charsets that it and its header tell."""
    content_type, body = _split(data)
    text = decode(body, content_type)
    in_plain_sight(text)
    return bool(text.encode())


def metadata(data: bytes) -> bool:
    """What a page says of itself, and whether it is hopeless: what is asked before any extractor."""
    page = Page(_split(data)[1].decode("utf-8", "replace"))
    found = read_metadata(page, _URL, _DAY)
    reject_early(page, _HOPELESS)
    assert len(EXTRACTORS["resiliparse"](page).encode()) >= 0
    return found.title is not None


def harmless_pages(data: bytes) -> bool:
    """A page as the inspector shows it: no element or attribute of it may run, load or lead anywhere."""
    shown = harmless(_split(data)[1].decode("utf-8", "replace"))
    lowered = _STYLE.sub("", shown.lower())  # in which a tag is no tag
    assert not any(bad in lowered for bad in _DOING)
    for element in etree.HTML(shown).iter():
        for name, value in element.items():
            assert not name.startswith("on")
            assert name not in ("href", "action", "formaction", "srcset", "background")
            assert name != "src" or value.lower().startswith("data:image/")
            assert name != "style" or not _LOADS.search(value)
    return "<p" in lowered


@cache
def _extractor() -> Extractor:
    extractor = Extractor(Extraction(deadline_s=5, reject_early=True, hopeless=_HOPELESS)).__enter__()
    atexit.register(extractor.__exit__, None, None, None)
    return extractor


def extraction(data: bytes) -> bool:
    """A page through the process that extracts: a text or a reason, and the process lives."""
    content_type, body = _split(data)
    answer = _extractor().extract(Request(_URL, content_type, _DAY), body)
    if isinstance(answer, Extracted):
        assert answer.text.strip()
        assert answer.text.encode()
        return True
    assert answer.reason in _OF_PAGES
    assert "ended by" not in answer.value
    assert answer.value == "" or answer.reason is not Reason.NO_TEXT, "an exception's name"
    return False


_WORDS = b"This is a sentence of the article, which has some more words in it than most others have. "
_HEAD = (
    b"<!DOCTYPE html><html lang=en><head><meta charset=utf-8><base href='/b/'><title>The title</title>"
    b"<meta property='og:url' content='https://example.com/x'><meta name=description content='d'>"
    b"<link rel=canonical href='https://example.com/x'><meta property='article:published_time' "
    b"content='2019-05-06T07:08:09+00:00'><script type='application/ld+json'>{"
    b'"datePublished": "2019-05-06",'
    b' "articleBody": "text"}</script><style>p{background:url(x)}</style></head>'
)


def _pages() -> tuple[bytes, ...]:
    paragraphs = b"".join(b"<p>%s<a href='/a'>link</a></p>" % (_WORDS * 3) for _ in range(4))
    table = b"<table><tr><td>%s</td><td>b</td></tr></table><ul><li>%s</li></ul>" % (_WORDS, _WORDS)
    body = b"<body><article><h1>Head</h1>%s%s<blockquote>%s</blockquote></article></body></html>"
    whole = _HEAD + body % (paragraphs, table, _WORDS)
    text = whole.decode()
    japanese = _HEAD.replace(b"utf-8", b"shift_jis")
    russian = text.replace("sentence", "\u043f\u0440\u0438\u0432\u0435\u0442")
    return (
        b"text/html\n" + whole,
        b"text/html; charset=shift_jis\n" + japanese + body % (paragraphs, b"", b""),
        b"text/html\n" + text.encode("utf-16"),
        b"text/html; charset=koi8-r\n" + russian.encode("koi8-r"),
    )


def _doing_pages() -> tuple[bytes, ...]:
    doing = (
        b"\n<html><body onload=a()><p onclick='a()' style='color:red;background:url(x)'>text"
        b"<a href='javascript:a()' title=b>c</a><img src='//d/e' srcset=f onerror=a()><form action=g></form>"
    )
    return (*_pages(), doing)


_CHARSETS = (
    b"utf-8 utf-16 utf-16le utf-7 shift_jis iso-2022-jp iso-2022-kr hz big5 gb18030 koi8-r windows-1252 "
    b"cp037 mac_arabic idna punycode unicode_escape undefined rot13 no-such-charset"
).split()
_PIECES = (
    *(b"charset=" + name for name in _CHARSETS),
    *b"<p> </p> <div> </div> <table><tr><td> </table> <li> <ul> <form> </form> <b> </i> <script>".split(),
    *b"</script> <style> </style> <textarea> <plaintext> <svg> <math> <template> <select> <frameset>".split(),
    *b"<noscript> <iframe> <article> <html> <body> </body> </html> <title> <o:p> <!-- -->".split(),
    *b"<![CDATA[ ]]> <?xml <!DOCTYPE &#0; &#1; &amp; &#x0c; &#xD800; &#xFFFE; &#x110000; &nosuch;".split(),
    *b"&lt;p&gt;".split(),
    *b"<base\thref='http://[::1'> <a\thref= onclick= style=".split(),
    b"<link rel=canonical href='//['>", b"<meta property=og:url content='http://e.example:x/'>",
    b"\x1b$B", b"~{",
    b"url(", b"@import", b"javascript:", b"expression(", b"\xef\xbf\xbe",
)  # fmt: skip

TARGETS = (
    Target(charsets, _pages, _PIECES),
    Target(metadata, _pages, _PIECES),
    Target(harmless_pages, _doing_pages, _PIECES),
    Target(extraction, _pages, _PIECES),
)
