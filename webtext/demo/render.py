"""Articles as HTML pages: the text in the middle of what else stands on a page of the web."""

from __future__ import annotations

import datetime as dt
import gzip
from collections.abc import Sequence
from functools import cache

import jinja2

from webtext.demo.articles import Article, choose
from webtext.demo.hosts import Host
from webtext.demo.web import Kind, Page, Response

_AUTHORS = ("Ada Lindqvist", "Miguel Ferro", "Priya Raman", "Tomasz Zielny", "Noor Haddad", "June Okafor")
_SECTIONS = ("engineering", "science", "tools", "culture")


def published(article: Article) -> dt.date:
    """Returns the day an article is dated: one of spring 2019."""
    return dt.date(2019, 3, 1) + dt.timedelta(days=choose(article.subject, 90))


def section(article: Article) -> str:
    """Returns the section of a magazine that an article appears in."""
    return _SECTIONS[choose(article.title, len(_SECTIONS))]


def article_page(
    article: Article,
    host: Host,
    path: str,
    kind: Kind,
    *,
    related: Sequence[tuple[str, str]] = (),
    language: str = "en",
    charset: str = "utf-8",
) -> Page:
    """Makes the page that shows an article as its host does, beside links (title, path) to others."""
    html = _render(article, host, related, language, charset)
    body = html.encode(charset, errors="xmlcharrefreplace")
    # Where it is neither of the usual two, readers have to look into the page for its charset.
    content_type = "text/html" if charset == "windows-1252" else f"text/html; charset={charset}"
    headers = [("Content-Type", content_type)]
    if kind is Kind.NO_AI:
        headers.append(("X-Robots-Tag", "noai, noimageai"))
    if host.gzip:
        body = gzip.compress(body, mtime=0)
        headers.append(("Content-Encoding", "gzip"))
    delay_s = host.min_delay_s and host.min_delay_s + choose(path, 500) / 1000
    return Page(host.name, path, kind, Response(200, tuple(headers), body, delay_s), article.title, article)


def _render(
    article: Article, host: Host, related: Sequence[tuple[str, str]], language: str, charset: str
) -> str:
    return (
        _environment()
        .get_template(host.template.value)
        .render(
            article=article,
            host=host,
            related=related,
            language=language,
            charset=charset,
            author=_AUTHORS[choose(article.subject, len(_AUTHORS))],
            date=published(article),
            section=section(article),
            num_shares=choose(article.title, 900),
        )
    )


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("webtext.demo"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
