"""Which submissions point outward: one row in, a submission or the reason against it out."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, NamedTuple, Self, TypeGuard

from pipeline.canonical import canonical, key_of
from pipeline.collect.rows import Row
from pipeline.config import CollectSettings, UrlSettings
from pipeline.hosts import is_private_host, lies_within
from pipeline.records import Reason
from pipeline.url_lists import read_words
from pipeline.urls import Url, parse
from pipeline.wrappers import is_shortener, unwrap

_INT32 = 1 << 31
_MAX_SECONDS = 1 << 32
_REDDIT = frozenset(("reddit.com", "redd.it", "reddit.app.link"))
_REDDIT_MEDIA_HOSTS = frozenset(("i.redd.it", "v.redd.it", "preview.redd.it", "external-preview.redd.it"))
# Most of what is not a self post leads here: told by its beginning, before anything else is asked.
_REDDIT_MEDIA = ("https://i.redd.it/", "https://v.redd.it/", "https://preview.redd.it/")
_REDDIT_THREADS = ("https://www.reddit.com/", "/r/", "/user/")
# What stands in the place of a post that its author or a moderator took away.
_TAKEN_AWAY = ("[removed]", "[deleted]", "[deleted by user]", "[ Removed by Reddit ]", "[removed by reddit]")


class Submission(NamedTuple):
    """A Reddit submission that links to somewhere else, or a URL of a list."""

    id: str
    score: int
    subreddit: str
    created: int | None  # seconds since 1970, UTC
    retrieved: int | None  # when the score was read, likewise
    url: str  # as submitted, out of its wrapping
    key: bytes  # hash of the canonical URL
    domain: str  # registrable


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings made ready for asking."""

    listed: bool  # rows are of a list, which need not tell times and subreddits
    over_18: bool
    subreddits: frozenset[str]  # in lower case; empty: all
    not_subreddits: frozenset[str]
    since: float  # seconds since 1970, UTC
    before: float
    media_domains: frozenset[str]
    media_extensions: frozenset[str]
    urls: UrlSettings

    @classmethod
    def of(cls, settings: CollectSettings, *, listed: bool = False) -> Self:
        """The rules for dumps, or for lists."""
        return cls(
            listed=listed,
            over_18=settings.over_18,
            subreddits=_names(settings.subreddits),
            not_subreddits=_names(settings.not_subreddits),
            since=_midnight(settings.since, 0),
            before=_midnight(settings.before, float("inf")),
            media_domains=read_words("media_domains.txt") | _names(settings.media_domains),
            media_extensions=read_words("media_extensions.txt") | _names(settings.media_extensions),
            urls=settings.urls,
        )


def judge(row: Row, rules: Rules) -> Submission | Reason:
    """What a row is: a submission that points outward, or why it is left out.

    Any JSON object gives an answer. What most rows fail by is asked first.
    """
    get = row.get
    is_self = get("is_self")
    if is_self:
        return Reason.SELF_POST if is_self is True else Reason.BAD_FIELD
    if get("over_18") and not rules.over_18:
        return Reason.OVER_18
    submitted = get("url_overridden_by_dest") or get("url")
    if type(submitted) is not str:
        return Reason.NO_URL if submitted is None else Reason.BAD_FIELD
    stays = within_reddit(submitted)
    if stays is not None:
        return stays
    created = seconds(get("created_utc"))
    against = _reason_by_flags(row) or _reason_by_place(created, get("subreddit"), rules)
    if against is not None:
        return against
    given = parse(submitted)
    if given is None:
        return Reason.BAD_URL
    url = unwrap(given) if rules.urls.unwrap else given
    against = reason_by_url(url, rules) or _reason_by_identity(row)
    if against is not None:
        return against
    return Submission(
        id=row["id"],
        score=int(row["score"]),
        subreddit=get("subreddit") or "",
        created=created,
        retrieved=seconds(get("retrieved_on")) or seconds(get("retrieved_utc")),
        url=submitted if url is given else url.href,
        key=key_of(canonical(url, rules.urls)),
        domain=url.domain,
    )


def within_reddit(submitted: str) -> Reason | None:
    """Why a submitted URL leads nowhere else, if its beginning tells so."""
    if submitted.startswith(_REDDIT_MEDIA):
        return Reason.REDDIT_MEDIA
    return Reason.REDDIT_INTERNAL if submitted.startswith(_REDDIT_THREADS) else None


def seconds(time: Any) -> int | None:
    """Seconds since 1970 from a number, or a string of one as in 2014 and 2015; None for anything else."""
    if type(time) is not int:
        if type(time) is not str and type(time) is not float:
            return None
        try:
            time = int(float(time))
        except (ValueError, OverflowError):
            return None
    return time if 0 < time < _MAX_SECONDS else None


def is_score(value: Any) -> TypeGuard[float]:
    """Whether a value is a number that can be a score."""
    return (type(value) is int or type(value) is float) and -_INT32 <= value < _INT32


def _reason_by_flags(row: Row) -> Reason | None:
    get = row.get
    if get("removed_by_category"):
        return Reason.REMOVED
    if get("title") in _TAKEN_AWAY or get("selftext") in _TAKEN_AWAY or _was_deleted_later(get("_meta")):
        return Reason.REMOVED
    if get("promoted") or get("is_created_from_ads_ui"):  # the first was always false from 2022 on
        return Reason.AD
    parents = get("crosspost_parent_list")
    if isinstance(parents, list) and any(isinstance(one, dict) and one.get("is_self") for one in parents):
        return Reason.CROSSPOST_OF_SELF
    return None


def _was_deleted_later(meta: Any) -> bool:
    return isinstance(meta, dict) and bool(meta.get("was_deleted_later"))


def _reason_by_place(created: int | None, subreddit: Any, rules: Rules) -> Reason | None:
    """By when and where a submission was made; what a list does not tell is not held against it."""
    if created is None:
        if not rules.listed:
            return Reason.NO_TIME
    elif not rules.since <= created < rules.before:
        return Reason.DATE
    if subreddit is not None and not _is_word(subreddit):
        return Reason.BAD_FIELD
    name = (subreddit or "").lower()
    wanted = not rules.subreddits or name in rules.subreddits or (rules.listed and not name)
    return None if wanted and name not in rules.not_subreddits else Reason.SUBREDDIT


def reason_by_url(url: Url, rules: Rules) -> Reason | None:
    """Why a URL is not worth asking for, or must not be; None where nothing is against it."""
    against = _reason_by_host(url.host, rules.media_domains, rules.urls.keep_shorteners)
    if against is not None:
        return against
    _, dot, extension = url.path.rpartition("/")[2].rpartition(".")
    if dot and extension.lower() in rules.media_extensions:
        return Reason.MEDIA_EXTENSION
    return None


@lru_cache(maxsize=100_000)
def _reason_by_host(host: str, media_domains: frozenset[str], keep_shorteners: bool) -> Reason | None:
    if is_private_host(host):
        return Reason.PRIVATE_HOST
    if host in _REDDIT_MEDIA_HOSTS:
        return Reason.REDDIT_MEDIA
    if lies_within(host, media_domains):
        return Reason.MEDIA_DOMAIN
    if lies_within(host, _REDDIT):
        return Reason.REDDIT_INTERNAL
    if not keep_shorteners and is_shortener(host):
        return Reason.SHORTENER
    return None


def _reason_by_identity(row: Row) -> Reason | None:
    ident, score = row.get("id"), row.get("score")
    if score is None:
        return Reason.NO_SCORE
    if not ident:
        return Reason.NO_ID
    return None if _is_word(ident) and is_score(score) else Reason.BAD_FIELD


def _is_word(value: Any) -> bool:
    """Whether a value is a string that has a place in a table: a lone surrogate has none."""
    return type(value) is str and (value.isascii() or value.isprintable())


def _names(values: Iterable[str]) -> frozenset[str]:
    return frozenset(
        value.strip().lower().removeprefix("/").removeprefix("r/").removeprefix(".") for value in values
    )


def _midnight(day: date | None, otherwise: float) -> float:
    return otherwise if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
