"""Writes a month of submissions that link to a site, as the real dumps are: NDJSON in zstd's long window.

Among them is what makes real dumps a trial: reposts and spellings of one URL, adverts, removed posts,
pictures, private addresses and lines that are no submissions at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.collect.dumps import zstd
from webtext.demo.articles import choose
from webtext.demo.submissions import Row, submission
from webtext.demo.web import Kind, Page, Site

FILE_NAME = "RS_2019-06.zst"
MIN_KARMA = 3

_MONTH_STARTS = 1_559_347_200  # 2019-06-01 00:00 UTC
_MONTH_S = 30 * 86_400
_WINDOW_LOG = 31
_SUBREDDITS = (
    "programming",
    "Python",
    "compsci",
    "math",
    "learnpython",
    "coding",
    "datascience",
    "technology",
)
# Karma of an ordinary link: under the threshold four times in ten, and now and then very much.
_SCORES = (0, 1, 1, 2, 3, 4, 6, 9, 15, 38)

_SELF_POSTS = ("What are you working on?", "How do you name things?", "Rant: tabs", "Weekly thread")
_MEDIA_URLS = (
    "https://i.redd.it/8x1v2k3m4n5.jpg",
    "https://v.redd.it/a9s8d7f6g5h",
    "https://imgur.com/gallery/Ab12Cd3",
    "https://i.imgur.com/Zy98Xw7.gifv",
    "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
    "https://youtu.be/dQw4w9WgXcQ",
    "https://gfycat.com/SlowQuietOtter",
    "http://files.example/holiday.png",
    "http://files.example/paper.pdf",
    "http://files.example/release.zip",
)
_REDDIT_URLS = (
    "https://www.reddit.com/r/Python/comments/bv0abc/a_thread/",
    "https://old.reddit.com/r/programming/wiki/faq",
    "https://redd.it/bv0abc",
    "/r/learnpython/comments/bv0abd/another_thread/",
)
_PRIVATE_URLS = (
    "http://127.0.0.1:8000/",
    "http://localhost/phpmyadmin/",
    "http://10.0.0.7/admin",
    "http://192.168.1.1/status",
    "http://[::1]/",
    "http://0x7f.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://printer.local/",
)
_BAD_URLS = (
    "",
    "http://",
    "not a url",
    "ftp://files.example/pub/readme.txt",
    "mailto:someone@pydocs.example",
    "javascript:alert(1)",
    "http://[half/",
    "http://bad host.example/",
)
_NOT_JSON = (
    b"",
    b'{"id":"bzzzz1","created_utc":1560000000,"url":"http://pydocs.example/cut","score":12,"tit',
    b'["a","list","of","words"]',
    b'{"id":"bzzzz2","title":"caf\xe9","url":"http://pydocs.example/","score":4}',
    b"null",
)


@dataclass(frozen=True, slots=True)
class DumpSummary:
    """What a dump holds."""

    lines: int
    """All lines: submissions, and the malformed ones."""
    submissions: int
    malformed: int
    links: int
    """How many of the site's pages are linked to."""
    links_with_karma: int
    """How many of them have a submission with a karma of at least `MIN_KARMA`."""


@dataclass(slots=True)
class _Post:
    """A submission before it has its place in the month."""

    url: str
    title: str
    score: int
    changes: Row = field(default_factory=dict)
    page: Page | None = None
    later: bool = False


def write_dump(site: Site, path: Path) -> DumpSummary:
    """Writes the submissions that link to a site's pages: always the same bytes for the same site."""
    posts = _in_order([*_links(site), *_reposts(site), *_noise()])
    lines = [_line(number, post, len(posts)) for number, post in enumerate(posts)]
    step = len(lines) // (len(_NOT_JSON) + 1)
    for number, malformed in enumerate(_NOT_JSON, start=1):
        lines.insert(number * step, malformed)
    # With the window of the real dumps, which readers have to allow for.
    with zstd.open(path, "wb", options={zstd.CompressionParameter.window_log: _WINDOW_LOG}) as file:
        file.write(b"\n".join(lines) + b"\n")
    linked = {post.page.url for post in posts if post.page}
    popular = {post.page.url for post in posts if post.page and post.score >= MIN_KARMA}
    return DumpSummary(len(lines), len(posts), len(_NOT_JSON), len(linked), len(popular))


def _in_order(posts: list[_Post]) -> list[_Post]:
    """Shuffles posts by hash, and the reposts to behind what they repeat."""
    return sorted(posts, key=lambda post: (post.later, choose(post.url + post.title, 2**64)))


def _line(number: int, post: _Post, num_posts: int) -> bytes:
    created = _MONTH_STARTS + number * _MONTH_S // num_posts
    subreddit = _SUBREDDITS[choose(f"{number}{post.url}", len(_SUBREDDITS))]
    row = submission(number, created, subreddit, post.url, post.title, post.score) | post.changes
    return json.dumps(row, sort_keys=True, separators=(",", ":")).encode()


def _links(site: Site) -> Iterator[_Post]:
    """Links to every page once; to the odd ones with enough karma to be fetched."""
    for page in site.linked:
        ordinary = page.kind in (Kind.ARTICLE, Kind.NEAR_COPY, Kind.EXACT_COPY)
        score = _SCORES[choose(page.url, len(_SCORES))] if ordinary else MIN_KARMA + choose(page.url, 40)
        yield _Post(page.url, page.title, score, page=page)


def _reposts(site: Site) -> Iterator[_Post]:
    """Links to every fourth article again, in another spelling of its URL."""
    for page in site.linked:
        if page.kind is Kind.ARTICLE and choose(page.title, 4) == 0:
            for number in range(1 + choose(page.path, 3)):
                respell = _SPELLINGS[choose(f"{number}{page.path}", len(_SPELLINGS))]
                score = _SCORES[choose(f"{number}{page.title}", len(_SCORES))]
                title = f"{page.title} (x-post)" if number else page.title
                yield _Post(respell(page), title, score, page=page, later=True)


def _with_query(page: Page, query: str) -> str:
    return f"{page.url}{'&' if '?' in page.path else '?'}{query}"


def _reordered(page: Page) -> str:
    place, mark, query = page.url.partition("?")
    return place + mark + "&".join(reversed(query.split("&")))


_SPELLINGS: tuple[Callable[[Page], str], ...] = (
    lambda page: page.url,
    lambda page: f"https://{page.host}{page.path}",
    lambda page: f"http://{page.host.upper()}{page.path}",
    lambda page: f"http://www.{page.host.removeprefix('www.')}{page.path}",
    lambda page: f"http://{page.host}:80{page.path}",
    lambda page: f"{page.url}#introduction",
    lambda page: _with_query(page, "utm_source=reddit&utm_medium=social"),
    _reordered,
)


def _noise() -> Iterator[_Post]:
    """Makes the submissions that lead to no page: each group has one cause."""
    for title in _SELF_POSTS:
        text = {"is_self": True, "selftext": "Tell us below.", "domain": "self.programming"}
        yield _Post("https://www.reddit.com/r/programming/comments/", title, 25, text)
    for url in (*_MEDIA_URLS, *_REDDIT_URLS, *_PRIVATE_URLS, *_BAD_URLS):
        yield _Post(url, f"Look at this: {url[:40]}", 12)
    for number in range(4):
        url = f"http://pydocs.example/offer/{number}"
        yield _Post(url, "Write better code today", 7, {"promoted": True, "whitelist_status": "promo_all"})
        yield _Post(f"{url}?nsfw", "Not for the office", 30, {"over_18": True, "thumbnail": "nsfw"})
        yield _Post(f"{url}?gone", "[deleted by user]", 11, {"removed_by_category": "deleted"})
        yield _Post(f"{url}?out", "Great deals", 5, {"removed_by_category": "moderator"})
    yield _crosspost()


def _crosspost() -> _Post:
    """Makes a crosspost, which carries a whole other submission inside: one with other values."""
    parent = submission(0, _MONTH_STARTS, "math", "https://www.reddit.com/r/math/", "A puzzle", 900)
    changes = {
        "crosspost_parent": f"t3_{parent['id']}",
        "crosspost_parent_list": [parent | {"is_self": True, "over_18": True}],
    }
    return _Post("http://broken.example/never-was?from=crosspost", "A puzzle", 1, changes)
