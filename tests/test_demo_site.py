"""The small web: what it holds, that it is always the same, that articles can be found on its pages."""

import gzip
import hashlib
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import trafilatura

from webtext.demo import hosts
from webtext.demo.hosts import Template
from webtext.demo.prose import Code, Heading
from webtext.demo.site import MIN_PAGES, build_site
from webtext.demo.web import Kind, Page, Response, Site

NUM_PAGES = 140
HASH_OF_ALL = """
import hashlib, sys, pathlib
from webtext.demo.dump import write_dump
from webtext.demo.site import build_site
site = build_site(60)
write_dump(site, pathlib.Path(sys.argv[1]))
content = repr(list(site.pages.items())).encode() + pathlib.Path(sys.argv[1]).read_bytes()
print(hashlib.sha256(content).hexdigest())
"""
# Words of the templates, one list each, that are no part of an article.
CHROME = {
    Template.BLOG: ("cookies", "Newsletter", "subscribed!", "Proudly", "Tweet", "Recent posts"),
    Template.DOCS: ("cookies", "Quick search", "Show source", "Created using", "modules"),
    Template.MAGAZINE: ("partners", "Most read", "Advertisement", "Loop Media", "You may also like"),
}


@pytest.fixture(scope="module")
def site() -> Site:
    return build_site(NUM_PAGES)


def html(page: Page) -> bytes:
    zipped = ("Content-Encoding", "gzip") in page.response.headers
    return gzip.decompress(page.response.body) if zipped else page.response.body


@cache
def extracted(page: Page) -> str:
    return trafilatura.extract(html(page), include_comments=False) or ""


def ngrams(text: str, size: int = 5) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}


def jaccard(one: str, other: str) -> float:
    first, second = ngrams(one), ngrams(other)
    return len(first & second) / len(first | second)


def f1(found: str, expected: str) -> float:
    ours, theirs = Counter(found.split()), Counter(expected.split())
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())


def own_text(page: Page) -> str:
    assert page.article is not None
    shown = [block.text for block in page.article.blocks if isinstance(block, Heading | Code)]
    return " ".join([*page.article.texts, *shown])


def of_kind(site: Site, *kinds: Kind) -> list[Page]:
    return [page for page in site.pages.values() if page.kind in kinds]


def test_two_processes_make_the_same_bytes(tmp_path: Path) -> None:
    hashes = {
        subprocess.run(
            [sys.executable, "-c", HASH_OF_ALL, tmp_path / seed],
            cwd=Path(__file__).parents[1],
            env={"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(hashes) == 1


def test_every_sort_of_page_occurs(site: Site) -> None:
    assert {page.kind for page in site.pages.values()} == set(Kind)
    assert len(site.hosts) >= 24
    assert len({page.article.title for page in of_kind(site, Kind.ARTICLE) if page.article}) > 0.7 * NUM_PAGES


def test_too_few_pages_are_refused() -> None:
    with pytest.raises(ValueError, match=f"at least {MIN_PAGES}"):
        build_site(MIN_PAGES - 1)


def test_an_address_is_taken_once() -> None:
    page = Page("a.example", "/", Kind.ARTICLE, Response())
    with pytest.raises(ValueError, match=r"http://a\.example/"):
        Site.of([page, page])


@pytest.mark.parametrize("template", list(Template))
def test_the_article_is_found_and_what_stands_around_it_is_not(site: Site, template: Template) -> None:
    names = {host.name for host in hosts.ORDINARY if host.template is template}
    pages = [page for page in of_kind(site, Kind.ARTICLE) if page.host in names][:8]
    assert len(pages) == 8
    for page in pages:
        text = extracted(page)
        assert f1(text, own_text(page)) > 0.93, page.url
        for words in CHROME[template]:
            assert words.encode() in html(page)
            assert words not in text or words in own_text(page)


def test_near_copies_resemble_their_originals_but_are_not_the_same(site: Site) -> None:
    originals = {page.url: page for page in site.pages.values()}
    copies = of_kind(site, Kind.NEAR_COPY)
    assert len(copies) >= 0.05 * NUM_PAGES
    for copy in copies:
        assert 0.8 <= jaccard(extracted(copy), extracted(originals[copy.target])) < 1


def test_exact_copies_are_the_same_to_the_byte(site: Site) -> None:
    originals = {page.url: page for page in site.pages.values()}
    copies = of_kind(site, Kind.EXACT_COPY)
    assert copies
    assert all(copy.response == originals[copy.target].response for copy in copies)


def test_distinct_articles_do_not_resemble_each_other(site: Site) -> None:
    texts = [own_text(page) for page in of_kind(site, Kind.ARTICLE)]
    known = [ngrams(text) for text in texts]
    assert len(known) > 1
    for number, one in enumerate(known):
        for other in known[:number]:
            assert 2 * len(one & other) < len(one | other)


def test_articles_have_some_hundred_words(site: Site) -> None:
    lengths = [page.article.num_words for page in of_kind(site, Kind.ARTICLE) if page.article]
    assert min(lengths) >= 200
    assert max(lengths) < 6000


def test_pages_in_other_charsets_can_be_read(site: Site) -> None:
    pages = of_kind(site, Kind.CHARSET)
    declared = [dict(page.response.headers)["Content-Type"] for page in pages]
    assert declared == ["text/html; charset=iso-8859-1", "text/html"]
    for page in pages:
        with pytest.raises(UnicodeDecodeError):
            page.response.body.decode()
        assert "crème brûlée" in page.response.body.decode("windows-1252")


def test_redirects_lead_to_pages_that_exist(site: Site) -> None:
    redirects = of_kind(site, Kind.REDIRECT)
    assert redirects
    for page in redirects:
        seen = 0
        current: Page = page
        while 300 <= current.response.status < 400:
            location = dict(current.response.headers)["Location"]
            absolute = location if "://" in location else f"http://{current.host}{location}"
            host, _, path = absolute.removeprefix("http://").partition("/")
            current = site.pages[host, f"/{path}"]
            seen += 1
        assert current.url == page.target
        assert 1 <= seen <= 3


def test_exact_copies_are_found_by_hash(site: Site) -> None:
    articles = of_kind(site, Kind.ARTICLE, Kind.EXACT_COPY)
    hashes = Counter(hashlib.sha256(page.response.body).digest() for page in articles)
    assert max(hashes.values()) == 2
