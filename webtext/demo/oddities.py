"""What else a crawler meets: redirects, errors, pages without text, other languages, a page without end."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from importlib.resources import files

from webtext.demo import hosts
from webtext.demo.articles import Article
from webtext.demo.prose import Paragraph
from webtext.demo.render import article_page
from webtext.demo.web import HTML, Headers, Kind, Page, Response

_NUM_MOVED = 8
_LANGUAGES = ("de", "es", "fr", "ja", "ru")
_SHELL = b"""<!DOCTYPE html><html><head><title>App</title><script src="/app.js"></script></head>
<body><div id="root"></div><noscript>Please turn JavaScript on.</noscript></body></html>"""


def oddities(articles: Sequence[Page]) -> Iterator[Page]:
    """Makes the odd pages; the redirects among them lead to these articles."""
    yield from _redirects(articles)
    yield from _errors()
    yield from _without_text()
    yield from _not_html()
    yield from _other_languages()
    yield _without_end()


def _redirects(articles: Sequence[Page]) -> Iterator[Page]:
    """Leads from host to host and from path to path, over three stations, in a circle, and inward."""
    moved = articles[:_NUM_MOVED]
    for number, page in enumerate(moved):
        yield _redirect(301, hosts.MOVED, f"/doc/{number}.html", page.url, page)
        yield _redirect(302, hosts.SHORTENER, f"/{zlib.crc32(page.url.encode()):x}", page.url, page)
    for number, page in enumerate(articles[_NUM_MOVED : 2 * _NUM_MOVED]):
        yield _redirect(301, page.host, f"/?p={number}", page.path, page)

    end = moved[0]
    yield _redirect(302, hosts.SHORTENER, "/chain", f"http://{hosts.MOVED}/chain", end)
    yield _redirect(301, hosts.MOVED, "/chain", "/chain/index.html", end)
    yield _redirect(301, hosts.MOVED, "/chain/index.html", end.url, end)

    yield _redirect(302, hosts.SHORTENER, "/tick", "/tock", kind=Kind.LOOP)
    yield _redirect(302, hosts.SHORTENER, "/tock", "/tick", kind=Kind.LOOP)
    yield _redirect(302, hosts.SHORTENER, "/inside", "http://10.0.0.7/admin", kind=Kind.INWARD)


def _redirect(
    status: int, host: str, path: str, location: str, end: Page | None = None, kind: Kind = Kind.REDIRECT
) -> Page:
    headers: Headers = (*HTML, ("Location", location))
    title = end.title if end else f"Look at this: {path}"
    response = Response(status, headers, b"<p>The document has moved.</p>")
    return Page(host, path, kind, response, title, end.article if end else None, end.url if end else "")


def _errors() -> Iterator[Page]:
    for status, path in ((404, "/never-was"), (404, "/lost.html"), (410, "/retired"), (500, "/crash")):
        body = f"<html><body><h1>{status}</h1><p>Sorry about that.</p></body></html>".encode()
        yield Page(hosts.BROKEN, path, Kind.ERROR, Response(status, HTML, body), f"Status {status}")


def _without_text() -> Iterator[Page]:
    yield Page(hosts.BROKEN, "/app", Kind.EMPTY, Response(body=_SHELL), "The new app")
    note = Article("short", "A short note", (Paragraph("Back on Monday, with more to say than today."),))
    yield article_page(note, hosts.SLOW, "/2019/05/note/", Kind.SHORT)


def _not_html() -> Iterator[Page]:
    """Serves a PDF, an image and JSON, and a PDF that calls itself HTML."""
    pdf = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n"
    # Enough of an image for its type to be recognised.
    png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU"
    table = json.dumps({"rows": list(range(100))}).encode()
    for path, content_type, body in (
        ("/report", "application/pdf", pdf),
        ("/diagram", "image/png", png),
        ("/table", "application/json", table),
        ("/disguised", "text/html", pdf),
    ):
        response = Response(200, (("Content-Type", content_type),), body)
        yield Page(hosts.FILES, path, Kind.NOT_HTML, response, f"The file {path[1:]}")


def _other_languages() -> Iterator[Page]:
    for language in _LANGUAGES:
        text = files("webtext.demo").joinpath("texts", f"{language}.txt").read_text(encoding="utf-8")
        title, *paragraphs = text.strip().split("\n\n")
        article = Article(title, title, tuple(Paragraph(paragraph) for paragraph in paragraphs))
        yield article_page(article, hosts.LANGUAGES, f"/{language}/", Kind.LANGUAGE, language=language)


def _without_end() -> Page:
    body = b"<!DOCTYPE html><html><head><title>A long story</title></head><body><p>Once upon a time"
    return Page(
        hosts.BROKEN, "/story-without-end", Kind.ENDLESS, Response(body=body, drips=True), "A long story"
    )
