"""Which submissions point outward: one dump line in, a submission or the reason against it out."""

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import msgspec

from pipeline.config import CollectSettings
from pipeline.records import Reason
from pipeline.urls import Url, is_private_host, parse

_INT32 = 1 << 31
_DELETED_TEXTS = frozenset(("[removed]", "[deleted]"))


@dataclass(frozen=True, slots=True)
class Submission:
    """A Reddit submission that links to somewhere else."""

    id: str
    score: int
    subreddit: str
    created: int  # seconds since 1970, UTC
    submitted_url: str  # as in the dump
    url: Url


class _Meta(msgspec.Struct):
    was_deleted_later: bool | None = None


class _Row(msgspec.Struct, rename={"meta": "_meta"}):
    """The fields of a dump's row that matter; their types have drifted over the years."""

    id: str
    created_utc: int | float | str | None = None
    url: str | None = None
    url_overridden_by_dest: str | None = None
    score: int | float | None = None
    subreddit: str | None = None
    is_self: bool | None = None
    over_18: bool | None = None
    promoted: Any = None
    removed_by_category: str | None = None
    selftext: str | None = None
    meta: _Meta | None = None


_decoder = msgspec.json.Decoder(_Row)


def judge(line: bytes, settings: CollectSettings) -> Submission | Reason:
    """What a dump's line is: a submission that points outward, or why it is left out.

    Any bytes give an answer; a line that is no submission is ``Reason.MALFORMED``.
    """
    try:
        row = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Reason.MALFORMED
    against = _reason_by_flags(row, settings)
    if against is not None:
        return against
    submitted = row.url_overridden_by_dest or row.url
    if submitted is None:
        return Reason.NO_URL
    if submitted.startswith("/r/"):
        return Reason.REDDIT_INTERNAL
    url = parse(submitted)
    if url is None:
        return Reason.BAD_URL
    against = reason_by_url(url)
    if against is not None:
        return against
    if row.score is None or not -_INT32 <= row.score < _INT32:
        return Reason.NO_SCORE
    created = _seconds(row.created_utc)
    if created is None or not row.id:
        return Reason.MALFORMED
    return Submission(row.id, int(row.score), row.subreddit or "", created, submitted, url)


def _seconds(created_utc: float | str | None) -> int | None:
    """Seconds since 1970 from a number, or a string of one as in 2014 and 2015; None for anything else."""
    try:
        seconds = int(float(created_utc or "nan"))
    except (ValueError, OverflowError):
        return None
    return seconds if 0 < seconds < 2 * _INT32 else None


def _reason_by_flags(row: _Row, settings: CollectSettings) -> Reason | None:
    deleted_later = row.meta is not None and row.meta.was_deleted_later
    if row.removed_by_category or deleted_later or row.selftext in _DELETED_TEXTS:
        return Reason.REMOVED
    if row.promoted:
        return Reason.AD
    if row.is_self:
        return Reason.SELF_POST
    if row.over_18 and not settings.over_18:
        return Reason.OVER_18
    return None


def reason_by_url(url: Url) -> Reason | None:
    """Why a URL is not worth asking for, or must not be; None where nothing is against it."""
    if is_private_host(url.host):
        return Reason.PRIVATE_HOST
    if _within(url.host, _listed("media_domains.txt")):
        return Reason.MEDIA_DOMAIN
    if _within(url.host, frozenset(("reddit.com", "redd.it"))):
        return Reason.REDDIT_INTERNAL
    path = url.canonical.partition("/")[2].partition("?")[0]
    _, dot, extension = path.rpartition("/")[2].rpartition(".")
    if dot and extension.lower() in _listed("media_extensions.txt"):
        return Reason.MEDIA_EXTENSION
    return None


def _within(host: str, domains: frozenset[str]) -> bool:
    """Whether a host is one of the domains or lies under one."""
    labels = host.split(".")
    return any(".".join(labels[start:]) in domains for start in range(len(labels)))


@lru_cache
def _listed(name: str) -> frozenset[str]:
    """The entries of a list that ships with this package: a line each, ``#`` for remarks."""
    text = files("pipeline.collect").joinpath(name).read_text("utf-8")
    return frozenset(line for line in text.split("\n") if line and not line.startswith("#"))
