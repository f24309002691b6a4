"""Writes a month-like dump of submissions: made rows with the fields, shares and sizes of a real month's.

What is from where:
- Fields, their order (sorted), how often each is there, how often a flag is set, how long strings and lists
  are on average: the statistics of all 42.9 M rows of 2025-12 that Arctic Shift publishes
  (github.com/ArthurHeitmann/arctic_shift, schemas/RS/2025/RS_2025-12.json and .ts). 37 % are self posts, 46 %
  over 18, 34 % on Reddit's media hosts, 12.5 % galleries, 6.7 % crossposts, 7 % embedded players, 0.7 % from
  the advertisers' site (where ``promoted`` is there, and false); 16 % were removed when first seen, 18 % by
  the second time. Rows of these lengths come to 4.8 kB.
- Assumed, as the statistics don't tell: how flags go together, the spread about each average, that two fifths
  have a score of 3 and more, that an eighth of the links elsewhere lead to Reddit or to pictures.
- Text: words made of syllables, drawn by Zipf's law. No one's text.
- Packing: zstd with --long=31, as the monthly dumps are.

Measured: 4.7 kB and 107.6 fields a row, packed 7.3 times (at level 19, as which the monthly dumps may be
packed, 9.0 times, and read as fast; writing would take a hundred times as long), unpacked at 0.8 to 1.2 GB/s
by one core.
"""

import argparse
import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from random import Random

import numpy as np
import zstandard
from numpy.typing import NDArray

from benchmarks.row_templates import WIDTHS, Shape, template
from webtext.demo.submissions import base36

Values = dict[bytes, bytes]

_SEED = 12
_ROWS_AT_ONCE = 4_000
_LEVEL = 3
_WINDOW_LOG = 31
_MONTH_STARTS, _MONTH_S = 1_764_547_200, 31 * 86_400  # 2025-12
_FIRST_ID = int("1pb0000", 36)
_IDS = 43_000_000  # given in that month
_MALFORMED_EVERY = 20_000  # lines, about

# --- what fills the slots -----------------------------------------------------------------------------------

_KINDS = {  # shares, and how many of each are over 18
    "self": (0.372, 0.38),
    "image": (0.289, 0.53),
    "gallery": (0.125, 0.50),
    "video": (0.026, 0.53),
    "redgifs": (0.050, 0.98),
    "youtube": (0.014, 0.01),
    "link": (0.050, 0.10),
    "crosspost": (0.067, 0.50),
    "ad": (0.007, 0.0),
}
_PARENTS = (*["image"] * 5, *["gallery"] * 4, *["self"] * 4, "video", "redgifs", "link")
_GALLERY_SIZES = (2, 2, 2, 3, 4, 5, 6, 10)
_SYLLABLES = (
    *("a", "be", "ca", "de", "el", "er", "fo", "ga", "hi", "in", "ju", "ka", "lo", "me", "no", "or"),
    *("pa", "qui", "re", "sh", "si", "st", "ta", "th", "un", "ve", "wi", "xa", "yo", "ze"),
)
_FLAIRS = (b'"Question"', b'"Discussion"', b'"Help"', b'"News"', b'"Meme"', b'"Art (OC)"', b'"Fan work"')
_NUM_SIZES = (3, 4, 5, 5, 6, 6, 6)  # of a picture: small ones are scaled to fewer
_WITHIN = (b"www.reddit.com/r/%b/comments/%b/", b"i.imgur.com/%b%b.jpg", b"imgur.com/a/%b%b", b"redd.it/%b%b")
_SUFFIXES = (".com", ".com", ".com", ".org", ".net", ".co.uk", ".de", ".io", ".com.au", ".blog")
_REMOVED = (*[b'"reddit"'] * 7, *[b'"moderator"'] * 5, *[b'"automod_filtered"'] * 2, b'"deleted"')
_NOT_AGAIN, _DELETED_LATER, _REMOVED_AT_ONCE = 0.042, 0.185, 0.16  # shares of rows
_REMOVED_LATER = (*[b'"deleted"'] * 7, *[b'"moderator"'] * 2, b'"reddit"')
_HASH_NAMES = [b"h%d" % number for number in range(1, 200)]
_HEIGHTS = [(b"y%d" % width, width) for width in WIDTHS]
_MARKS = [b""] * 44 + [b","] * 3 + [b"."] * 2 + [b" &amp;", b'\\"']
_SYLLABLES_A_WORD = (1, 2, 2, 3, 3, 4)
_DIGITS = b"0123456789abcdefghijklmnopqrstuvwxyz"
_TO_DIGITS = bytes(_DIGITS[value % 36] for value in range(256))
_BROKEN: tuple[Callable[[bytes], bytes], ...] = (
    lambda row: row.partition(b'"is_self"')[0],
    lambda row: b"",  # noqa: ARG005 (a line with nothing on it)
    lambda row: b"[" + row + b"]",
    lambda row: row[:-1],
)


@dataclass(frozen=True, slots=True)
class _World:
    """What every chunk draws from."""

    words: list[bytes]
    word_bounds: NDArray[np.float64]  # cumulated, to 1
    subreddits: list[tuple[bytes, bytes, bytes]]  # name, id, subscribers
    subreddit_bounds: list[float]
    hosts: list[bytes]


@cache
def _world() -> _World:
    random = Random(_SEED)
    drawn = ("".join(random.choices(_SYLLABLES, k=random.choice(_SYLLABLES_A_WORD))) for _ in range(60_000))
    by_length = sorted(dict.fromkeys(drawn), key=lambda word: len(word) + 4 * random.random())
    encoded = [
        word.encode() if place % 40 else f"{word}é".encode() for place, word in enumerate(by_length, 1)
    ]
    shares = 1 / (np.arange(len(encoded)) + 2.7)
    names = random.sample(by_length, 20_000)
    subreddits = [
        (
            f"{name.title()}{by_length[place % 900]}".encode(),
            b"%x" % (3_000_000 + place),
            b"%d" % (4_000_000 // (1 + place)),
        )
        for place, name in enumerate(names)
    ]
    return _World(
        words=encoded,
        word_bounds=np.cumsum(shares) / shares.sum(),
        subreddits=subreddits,
        subreddit_bounds=list(accumulate(1 / (place + 5) for place in range(len(subreddits)))),
        hosts=[
            f"www.{name}{random.choice(_SUFFIXES)}".encode()
            for name in random.sample(by_length[500:], 20_000)
        ],
    )


class _Draw:
    """Draws what fills a chunk's slots; the same for the same number."""

    def __init__(self, number: int) -> None:
        self.random = Random(f"{_SEED} {number}")
        self._numbers = np.random.default_rng([_SEED, number])
        self._words: list[bytes] = []
        self._bytes = b""
        self._at = 0
        self._scores: list[int] = []

    def words(self, num: int) -> bytes:
        """Words, with a mark after every eighth or so."""
        if len(self._words) < num:
            world = _world()
            drawn = np.searchsorted(world.word_bounds, self._numbers.random(200_000)).tolist()
            marks = self._numbers.integers(0, len(_MARKS), len(drawn)).tolist()
            self._words = [
                world.words[place] + _MARKS[mark] for place, mark in zip(drawn, marks, strict=True)
            ]
        taken = self._words[-num:]
        del self._words[-num:]
        return b" ".join(taken)

    def text(self) -> bytes:
        """Paragraphs: 70 words in the middle, a few thousand at the most."""
        num_words = min(4_000, int(4 + self.random.lognormvariate(4.2, 1.0)))
        return b"\\n\\n".join(self.words(min(45, num_words - at)) for at in range(0, num_words, 45))

    def _take(self, num: int) -> bytes:
        if self._at + num > len(self._bytes):
            self._bytes, self._at = self._numbers.bytes(1 << 18), 0
        self._at += num
        return self._bytes[self._at - num : self._at]

    def hashes(self, num: int) -> list[bytes]:
        """40 hex digits each."""
        taken = self._take(20 * num).hex().encode()
        return [taken[start : start + 40] for start in range(0, 40 * num, 40)]

    def base36(self, num: int) -> bytes:
        """Digits and letters."""
        return self._take(num).translate(_TO_DIGITS)

    def score(self) -> int:
        """Heavy-tailed: two fifths are 3 and more."""
        if not self._scores:
            scores = np.exp(self._numbers.normal(0.49, 2.4, 10_000))
            low = self._numbers.random(10_000) > 0.1  # what comes under 1 is a 1, seldom a 0
            self._scores = np.where(scores < 1, low, scores).astype(int).tolist()
        return self._scores.pop()


def _row(draw: _Draw, kind: str, number: int, created: int, *, parent: bool = False) -> tuple[bytes, Values]:
    """A row of a kind, and what is in its slots; ``parent``: as it stands in a crosspost."""
    random = draw.random
    over_18 = random.random() < _KINDS[kind][1]
    flair = random.random() < 0.466
    values = _values(draw, number, created)
    values[b"over_18"] = b"true" if over_18 else b"false"
    if flair:
        values[b"flair"], values[b"flair_color"] = random.choice(_FLAIRS), b"#0079d3"
        values[b"flair_id"] = b"%b-4bdb-11ee-8f6d-%b" % (values[b"id"], values[b"subreddit_id"])
        values[b"flair_parts"] = (
            b'[{"e":"text","t":%b}]' % values[b"flair"] if random.random() < 0.5 else b"[]"
        )
    _fill_kind(draw, kind, values)
    if kind == "crosspost":
        _fill_parent(draw, number, created, values)
    shape = Shape(kind, over_18, flair, parent, _num_images(kind, random), random.choice(_NUM_SIZES))
    meta = b"" if parent else _removal(draw, kind, values, created)
    form = template(shape)
    values.update(zip(_HASH_NAMES, draw.hashes(form.num_hashes), strict=False))
    return b"{" + meta + (form.text % values)[1:], values


def _fill_parent(draw: _Draw, number: int, created: int, values: Values) -> None:
    """What a crosspost is of: an earlier row, whole."""
    earlier = number - draw.random.randrange(90_000)
    values[b"parent"], inner = _row(draw, draw.random.choice(_PARENTS), earlier, created, parent=True)
    values[b"parent_id"], values[b"domain"] = inner[b"id"], inner[b"domain"]
    within = inner[b"domain"].startswith(b"self.")
    values[b"url"] = inner[b"url"].removeprefix(b"https://www.reddit.com") if within else inner[b"url"]


def _num_images(kind: str, random: Random) -> int:
    if kind == "gallery":
        return random.choice(_GALLERY_SIZES)
    return int(kind == "link" and random.random() < 0.3)


def _values(draw: _Draw, number: int, created: int) -> Values:
    """What every kind of row has."""
    random = draw.random
    (subreddit,) = random.choices(_world().subreddits, cum_weights=_world().subreddit_bounds)
    name, subreddit_id, subscribers = subreddit
    identifier = base36(_FIRST_ID + number).encode()
    title = draw.words(min(40, int(2 + random.expovariate(0.145))))
    score, width, ratio = draw.score(), random.randrange(600, 4000), random.uniform(0.5, 1.9)
    values = {
        b"author": draw.base36(14),
        b"comments": b"%d" % random.choice((0, 0, 0, 1, 2, 4, 9, score)),
        b"created": b"%d" % created,
        b"flair": b"null",
        b"flair_color": b"",
        b"flair_parts": b"[]",
        b"fullname": draw.base36(9),
        b"id": identifier,
        b"image_id": draw.base36(43),
        b"listed": b"true",
        b"media": draw.base36(12),
        b"no_follow": b"true" if random.random() < 0.86 else b"false",
        b"number": b"%d" % random.randrange(10**8, 10**9),
        b"ratio": b"0.%d" % random.randrange(50, 99) if random.random() < 0.36 else b"1",
        b"removed": b"null",
        b"retrieved": b"%d" % (created + random.randrange(9, 30)),
        b"score": b"%d" % score,
        b"seconds": b"%d" % random.randrange(3, 300),
        b"slug": re.sub(rb"[^a-z0-9]+", b"_", title)[:50].strip(b"_"),
        b"subreddit": name,
        b"subreddit_id": subreddit_id,
        b"subscribers": subscribers,
        b"text": b"",
        b"thumbnail": b"default",
        b"title": title,
        b"width": b"%d" % width,
        b"wls": b"null" if random.random() < 0.56 else b"6",
        b"y0": b"%d" % (width * ratio),
    }
    values.update((name, b"%d" % (width * ratio)) for name, width in _HEIGHTS)
    return values


def _fill_kind(draw: _Draw, kind: str, values: Values) -> None:
    """Where a row of the kind points to, and its text."""
    if kind == "self":
        values[b"thumbnail"], values[b"domain"] = b"self", b"self." + values[b"subreddit"]
        values[b"url"] = b"https://www.reddit.com/r/%(subreddit)b/comments/%(id)b/%(slug)b/" % values
        values[b"text"] = draw.text() if draw.random.random() < 0.92 else b""
    elif kind == "image":
        values[b"url"], values[b"domain"] = b"https://i.redd.it/%b.jpeg" % values[b"media"], b"i.redd.it"
    elif kind == "gallery":
        values[b"url"], values[b"domain"] = b"https://www.reddit.com/gallery/" + values[b"id"], b"reddit.com"
    elif kind == "video":
        values[b"url"], values[b"domain"] = b"https://v.redd.it/" + values[b"media"], b"v.redd.it"
    elif kind == "redgifs":
        values[b"url"] = b"https://www.redgifs.com/watch/" + draw.base36(20)
        values[b"domain"] = b"redgifs.com"
    elif kind == "youtube":
        values[b"url"] = b"https://youtu.be/%b?si=%b" % (draw.base36(11), draw.base36(16))
        values[b"domain"] = b"youtu.be"
    else:
        values[b"url"], values[b"domain"] = _address(draw, values)
    if values[b"over_18"] == b"true":
        values[b"thumbnail"] = b"nsfw"
    elif kind in ("image", "gallery", "link"):
        values[b"thumbnail"] = b"https://b.thumbs.redditmedia.com/%b.jpg" % values[b"image_id"]
    if kind in ("image", "gallery", "video", "ad") and draw.random.random() < 0.3:
        values[b"text"] = draw.words(draw.random.randrange(3, 60))


def _address(draw: _Draw, values: Values) -> tuple[bytes, bytes]:
    """A URL and its host: of a page, in one case of eight of Reddit's own or of a picture."""
    random, slug = draw.random, values[b"slug"].replace(b"_", b"-")
    if random.random() < 0.125:
        place = random.choice(_WITHIN) % (draw.base36(3), draw.base36(4))
        return b"https://" + place, place.partition(b"/")[0]
    hosts = _world().hosts
    host = hosts[int(len(hosts) ** random.random()) - 1]
    url = b"https://%b/%b/%b" % (host, random.choice((b"news", b"2025/12", b"p", b"article")), slug)
    if random.random() < 0.2:  # escaped, as the API gives it
        url += b"?id=%b&amp;utm_source=reddit&amp;ref=%b" % (draw.base36(6), draw.base36(3))
    return url, host


def _removal(draw: _Draw, kind: str, values: Values, created: int) -> bytes:
    """What was found 36 hours later, the beginning of a row; marks the row if it was removed at once."""
    chance = draw.random.random()
    if chance < _NOT_AGAIN:
        return b""
    again = b'"retrieved_2nd_on":%d' % (created + 129_600 + draw.random.randrange(99))
    if kind == "ad":
        return b'"_meta":{%b},' % again
    if chance < _NOT_AGAIN + _DELETED_LATER:
        how = draw.random.choice(_REMOVED_LATER)
        return b'"_meta":{"removal_type":%b,%b,"was_deleted_later":true},' % (how, again)
    if chance < _NOT_AGAIN + _DELETED_LATER + _REMOVED_AT_ONCE:
        values[b"removed"], values[b"listed"] = draw.random.choice(_REMOVED), b"false"
        values[b"text"] = b"[removed]" if values[b"text"] else b""
    return b'"_meta":{%b},' % again


# --- the file -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Month:
    """What was written."""

    num_rows: int
    num_malformed: int
    num_bytes: int
    packed_bytes: int


def write_month(path: Path, num_rows: int, *, of: int | None = None) -> Month:
    """Writes a dump of that many lines, always the same; ``of``: the first lines of a dump of so many."""
    _check()
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL, window_log=_WINDOW_LOG, enable_ldm=True
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    num_bytes = num_malformed = 0
    begun = path.with_name(f"{path.name}.open")
    with begun.open("wb") as file, compressor.stream_writer(file) as writer:
        for chunk, malformed in _chunks(num_rows, of or num_rows):
            writer.write(chunk)
            num_bytes += len(chunk)
            num_malformed += malformed
    begun.rename(path)
    return Month(num_rows, num_malformed, num_bytes, path.stat().st_size)


def _chunks(num_rows: int, of: int) -> Iterator[tuple[bytes, int]]:
    """Chunks in their order, made by as many processes as there are cores, a few ahead."""
    ahead: deque[Future[tuple[bytes, int]]] = deque()
    with ProcessPoolExecutor() as pool:
        for start in range(0, num_rows, _ROWS_AT_ONCE):
            ahead.append(pool.submit(_chunk, start, min(num_rows, start + _ROWS_AT_ONCE), of))
            if len(ahead) > 2 * (os.cpu_count() or 1):
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _chunk(start: int, stop: int, of: int) -> tuple[bytes, int]:
    """The lines of these numbers, and how many of them are malformed."""
    draw = _Draw(start)
    kinds, shares = list(_KINDS), list(accumulate(share for share, _ in _KINDS.values()))
    lines = []
    num_malformed = 0
    for place, kind in enumerate(draw.random.choices(kinds, cum_weights=shares, k=stop - start), start):
        row, _ = _row(draw, kind, place * _IDS // of, _MONTH_STARTS + place * _MONTH_S // of)
        if draw.random.randrange(_MALFORMED_EVERY) == 0:
            row = draw.random.choice(_BROKEN)(row)
            num_malformed += 1
        lines.append(row)
    return b"\n".join(lines) + b"\n", num_malformed


def _check() -> None:
    """Every kind of row is JSON with its fields in order."""
    draw = _Draw(1)
    for kind in _KINDS:
        for number in range(1_000, 1_100):
            row, _ = _row(draw, kind, number * 1_000, _MONTH_STARTS)
            fields = json.loads(row)
            assert list(fields) == sorted(fields), kind
            assert fields["id"] == base36(_FIRST_ID + number * 1_000), kind
            assert ("crosspost_parent_list" in fields) == (kind == "crosspost")


def main() -> None:
    """Writes a dump and says what is in it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--rows", type=int, default=2_000_000)
    arguments = parser.parse_args()
    month = write_month(arguments.path, arguments.rows)
    mean, ratio = month.num_bytes / month.num_rows, month.num_bytes / month.packed_bytes
    print(
        f"{month.num_rows:,} rows ({month.num_malformed} malformed) of {mean:,.0f} bytes, packed {ratio:.1f} "
        f"times to {month.packed_bytes / 1e6:,.0f} MB"
    )


if __name__ == "__main__":
    main()
