"""Makes a small web: articles on many hosts, copies of some of them, and what else a crawler meets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice

from webtext.demo import hosts
from webtext.demo.articles import Article, choose, gather_articles
from webtext.demo.hosts import Host, Template
from webtext.demo.oddities import oddities
from webtext.demo.prose import Block, Paragraph
from webtext.demo.render import article_page, published, section
from webtext.demo.web import Kind, Page, Response, Site

MIN_PAGES = 60
_SHARE_OF_NEAR_COPIES = 0.06
_SHARE_OF_EXACT_COPIES = 0.02
# A copy of a shorter article would differ from it too much to be called one.
_MIN_WORDS_TO_COPY = 450
_NUM_RELATED = 6

# How many articles stand apart from the ordinary ones, where, and why.
_APART = (
    (2, hosts.WIKIPEDIA, Kind.WIKIPEDIA),
    (2, hosts.ORDINARY[0], Kind.NO_AI),
    (4, hosts.CLOSED, Kind.FORBIDDEN),
    (6, hosts.MEMBERS, Kind.FORBIDDEN),
    (6, hosts.UNHURRIED, Kind.UNHURRIED),
    (5, hosts.SLOW, Kind.SLOW),
)
_CHARSETS = ("iso-8859-1", "windows-1252")
_CHARSET_NOTE = Paragraph(
    "In a café in São Paulo, Zoë and Jürgen, both naïve about encodings, ordered crème brûlée and piñata "
    "cake, and nothing on the menu could be read: every accent had become a question mark."
)
_CHANGED_SENTENCE = "What follows was checked once more before it was published here."
_ADDED_PARAGRAPH = Paragraph(
    "This text appeared elsewhere first and is shown here with small corrections by our own editors."
)


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where an article is to stand, and why there."""

    host: Host
    path: str
    article: Article
    kind: Kind
    charset: str = "utf-8"


def build_site(num_pages: int) -> Site:
    """Builds a web of about `num_pages` different articles, the same one each time on the same machine.

    Copies, redirects, errors and other oddities come on top. At least `MIN_PAGES` are needed for every
    sort of page to occur.
    """
    if num_pages < MIN_PAGES:
        raise ValueError(f"num_pages is {num_pages}: at least {MIN_PAGES} are needed, one of each sort")
    spots = _place(gather_articles(num_pages))
    pages = [
        article_page(spot.article, spot.host, spot.path, spot.kind, related=related, charset=spot.charset)
        for spot, related in _with_related(spots)
    ]
    ordinary = [page for page in pages if page.kind is Kind.ARTICLE]
    return Site.of(
        [
            *pages,
            *_near_copies(ordinary, round(num_pages * _SHARE_OF_NEAR_COPIES)),
            *_exact_copies(ordinary, round(num_pages * _SHARE_OF_EXACT_COPIES)),
            *oddities(ordinary),
            *_robots(),
        ]
    )


def _place(articles: Sequence[Article]) -> list[_Spot]:
    """Gives each article its host and path: first those that stand apart, then the ordinary ones."""
    # By hash: what stands side by side in a package is spread over the hosts.
    waiting = iter(sorted(articles, key=lambda article: choose(article.subject, 2**64)))
    number = count(1)
    spots: list[_Spot] = []
    for num_articles, host, kind in _APART:
        folder = "/members" if host is hosts.MEMBERS else ""
        spots.extend(
            _Spot(host, folder + _path(article, host, next(number)), article, kind)
            for article in islice(waiting, num_articles)
        )
    for charset, article in zip(_CHARSETS, waiting, strict=False):
        noted = replace(article, blocks=(*article.blocks, _CHARSET_NOTE))
        path = _path(article, hosts.CHARSETS, next(number))
        spots.append(_Spot(hosts.CHARSETS, path, noted, Kind.CHARSET, charset))
    wheel = [host for host in hosts.ORDINARY for _ in range(host.weight)]
    for article in waiting:
        host = wheel[choose(article.title, len(wheel))]
        spots.append(_Spot(host, _path(article, host, next(number)), article, Kind.ARTICLE))
    return spots


def _path(article: Article, host: Host, number: int) -> str:
    words = "".join(letter if letter.isalnum() and letter.isascii() else " " for letter in article.title)
    slug = "-".join(words.lower().split()[:8])
    if host is hosts.WIKIPEDIA:
        return f"/wiki/{slug.capitalize().replace('-', '_')}"
    match host.template:
        case Template.DOCS:
            return f"/library/{number}-{slug}.html"
        case Template.BLOG:
            return f"/{published(article):%Y/%m}/{number}-{slug}/"
        case Template.MAGAZINE:
            return f"/story?id={4000 + number}&section={section(article)}"


def _with_related(spots: Sequence[_Spot]) -> Iterator[tuple[_Spot, list[tuple[str, str]]]]:
    """Gives each article links to the next ones on its host."""
    by_host: dict[str, list[_Spot]] = {}
    for spot in spots:
        by_host.setdefault(spot.host.name, []).append(spot)
    for neighbours in by_host.values():
        circle = neighbours + neighbours[:_NUM_RELATED]
        for number, spot in enumerate(neighbours):
            following = circle[number + 1 : number + 1 + _NUM_RELATED]
            yield spot, [(other.article.title, other.path) for other in following if other is not spot]


def _near_copies(originals: Sequence[Page], num_copies: int) -> Iterator[Page]:
    """Serves articles again elsewhere: another dress and title, a sentence changed, a paragraph added."""
    templates = {host.name: host.template for host in hosts.ORDINARY}
    for number, (original, article) in enumerate(_worth_copying(originals, num_copies)):
        others = [host for host in hosts.MIRRORS if host.template is not templates[original.host]]
        host = others[choose(original.path, len(others))]
        copy = replace(article, title=f"{article.title} (reprint)", blocks=_altered(article.blocks))
        path = _path(copy, host, 9000 + number)
        yield replace(article_page(copy, host, path, Kind.NEAR_COPY), target=original.url)


def _altered(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """Changes the last sentence of the longest paragraph, and adds a paragraph to the end."""
    paragraphs = [block for block in blocks if isinstance(block, Paragraph)]
    longest = max(paragraphs, key=lambda paragraph: len(paragraph.text))
    kept, _, _ = longest.text.removesuffix(".").rpartition(". ")
    changed = Paragraph(f"{kept}. {_CHANGED_SENTENCE}" if kept else f"{longest.text} {_CHANGED_SENTENCE}")
    return (*(changed if block is longest else block for block in blocks), _ADDED_PARAGRAPH)


def _exact_copies(originals: Sequence[Page], num_copies: int) -> Iterator[Page]:
    """Serves pages again, to the byte, under another path of their host."""
    for original, _ in _worth_copying(originals[::-1], num_copies):
        path = f"/mirror{original.path}"
        yield replace(original, path=path, kind=Kind.EXACT_COPY, target=original.url)


def _worth_copying(pages: Sequence[Page], num_wanted: int) -> Iterator[tuple[Page, Article]]:
    long_enough = (
        (page, page.article)
        for page in pages
        if page.article is not None
        and page.article.num_words >= _MIN_WORDS_TO_COPY
        and any(isinstance(block, Paragraph) for block in page.article.blocks)
    )
    return islice(long_enough, num_wanted)


def _robots() -> Iterator[Page]:
    """Gives the hosts that have one their robots.txt; the others answer 404."""
    for host in (*hosts.ORDINARY, hosts.CLOSED, hosts.UNHURRIED):
        if host.robots:
            response = Response(200, (("Content-Type", "text/plain"),), host.robots.encode())
            yield Page(host.name, "/robots.txt", Kind.ROBOTS, response)
