"""A submission as the dumps of 2019 have it: about a hundred fields, most of them of no interest."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

Row = dict[str, Any]

_FIRST_ID = int("bv6y00", 36)
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def submission(number: int, created_utc: int, subreddit: str, url: str, title: str, score: int) -> Row:
    """Makes the dump's `number`-th row: somebody links to a URL."""
    identifier = base36(_FIRST_ID + number)
    slug = "_".join("".join(c if c.isalnum() else " " for c in title).lower().split())[:50]
    digest = hashlib.blake2b(subreddit.encode(), digest_size=3).digest()
    return {
        **_usual_fields(),
        "created": created_utc + 28_800,
        "created_utc": created_utc,
        "domain": (urlsplit(url).hostname or "") if "://" in url and "[" not in url else "",
        "id": identifier,
        "name": f"t3_{identifier}",
        "permalink": f"/r/{subreddit}/comments/{identifier}/{slug}/",
        "retrieved_on": created_utc + 7_000_000,
        "score": score,
        "subreddit": subreddit,
        "subreddit_id": f"t5_{base36(int.from_bytes(digest))}",
        "subreddit_name_prefixed": f"r/{subreddit}",
        "subreddit_subscribers": 1000 + 37 * int.from_bytes(digest[:2]),
        "title": title,
        "ups": score,
        "upvote_ratio": 0.93,
        "updated_utc": created_utc + 7_000_100,
        # Reddit's API escapes what it gives, and the dumps kept that.
        "url": url.replace("&", "&amp;"),
    }


@cache
def _usual_fields() -> Row:
    """Reads the fields that are the same in nearly every row."""
    row: Row = json.loads(files("webtext.demo").joinpath("submission.json").read_bytes())
    return row


def base36(number: int) -> str:
    """Writes a number as Reddit writes its ids.

    >>> base36(35), base36(36)
    ('z', '10')
    """
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
