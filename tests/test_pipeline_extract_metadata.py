"""What a page says of itself: from its head, by lxml and htmldate."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract.metadata import Metadata, read_metadata
from pipeline.extract.page import Page

URL = "https://example.com/news/story.html?id=1"
FETCHED = date(2020, 6, 1)
BODY = "<body><article><p>Something to read, and a little more of it.</p></article></body>"


def read(head: str, *, html: str = "<html>", body: str = BODY) -> Metadata:
    return read_metadata(Page(f"{html}<head>{head}</head>{body}</html>"), URL, FETCHED)


def test_a_page_that_says_all() -> None:
    found = read(
        """
        <title>The story | Example</title>
        <meta property="og:site_name" content="Example">
        <meta name="Description" content="  What is
            told. ">
        <meta property="article:published_time" content="2019-03-04T05:06:07Z">
        <meta property="article:modified_time" content="2020-01-01">
        <meta name="author" content="Somebody">
        <link rel="license" href="/licence">
        <link rel="canonical" href="../news/story.html">
        """,
        html='<html lang="en-GB">',
    )
    assert found == Metadata(
        title="The story | Example",
        published=date(2019, 3, 4),
        site_name="Example",
        description="What is told.",
        license="https://example.com/licence",
        page_language="en-GB",
        canonical_url="https://example.com/news/story.html",
    )
    assert "Somebody" not in str(found)


def test_a_page_that_says_nothing() -> None:
    assert read("") == Metadata()
    assert read_metadata(Page(""), URL, FETCHED) == Metadata()


@pytest.mark.parametrize(
    ("head", "canonical"),
    [
        ('<link rel="canonical" href="https://other.example/a">', "https://other.example/a"),
        ('<link rel="nofollow CANONICAL" href="?id=2">', "https://example.com/news/story.html?id=2"),
        ('<meta property="og:url" content="/b">', "https://example.com/b"),
        ('<meta property="og:url" content="/b"><link rel=canonical href="/c">', "https://example.com/c"),
        ('<link rel=canonical href="/first"><link rel=canonical href="/2">', "https://example.com/first"),
        ('<base href="/deep/er/"><link rel=canonical href="x">', "https://example.com/deep/er/x"),
        ('<base href="http://["><link rel=canonical href="x">', "https://example.com/news/x"),
        ('<link rel=canonical href=""><meta property="og:url" content="/b">', "https://example.com/b"),
        ('<link rel=canonical href="http://[::1">', None),
        ('<link rel=canonical href="mailto:a@example.com">', None),
        ('<link rel=canonical href="javascript:void(0)">', None),
    ],
)
def test_the_canonical_url(head: str, canonical: str | None) -> None:
    assert read(head).canonical_url == canonical


@pytest.mark.parametrize(
    ("head", "published"),
    [
        ('<meta name="date" content="2018-02-03">', date(2018, 2, 3)),
        ('<meta itemprop="datePublished" content="2018-02-03">', date(2018, 2, 3)),
        (
            '<script type="application/ld+json">{"datePublished":"2017-01-02T00:00"}</script>',
            date(2017, 1, 2),
        ),
        ('<meta name="date" content="2021-01-01">', None),  # after it was fetched
        ('<meta name="date" content="1969-07-20">', None),
        ('<meta name="date" content="yesterday">', None),
    ],
)
def test_the_day_of_publication(head: str, published: date | None) -> None:
    assert read(head).published == published


def test_a_date_in_the_body_is_found_where_the_whole_page_has_been_parsed() -> None:
    body = '<body><time datetime="2016-05-06" pubdate>6 May</time><p>Words, and more of them.</p></body>'
    page = Page(f"<html><head><title>x</title></head>{body}</html>")
    assert page.tree is not None
    assert read_metadata(page, URL, FETCHED).published == date(2016, 5, 6)


def test_a_title_far_from_its_place() -> None:
    page = Page(
        f"<html><body><svg><title>Icon</title></svg><title>Page</title>{'<p>word</p>' * 9}</body></html>"
    )
    assert read_metadata(page, URL, FETCHED).title == "Page"


def test_values_have_an_end() -> None:
    assert len(read(f"<title>{'long ' * 1000}</title>").title or "") <= 1000


@given(st.text(alphabet="<>/=\"' metalinkrhfcotbsyg:.[]\0\ud7ff\u202e", max_size=400))
def test_any_head_gets_an_answer(head: str) -> None:
    found = read(head)
    assert all("\0" not in str(value) and "\u202e" not in str(value) for value in found)
