"""Submissions asked of Reddit's public API with PRAW, and kept as a dump of their own.

A listing (the "top" of a subreddit, say) comes in pages of 100, each naming the next. Every page is written
down as it comes, in a journal beside the dump to be (``reddit.zst.partial``): whatever stops the asking, what
was answered stays, and the next run asks only for the listings that were not read to their end. The dump is
put in place whole, at the end.

Sources: Reddit's API documentation (listings, OAuth2 by client credentials) and its rules for clients (user
agent, rate limits); PRAW's and prawcore's documentation.
"""

import configparser
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple
from urllib.parse import urlsplit

from pipeline.collect.journal import Page, append, appending, pages, write_dump
from pipeline.collect.patience import Clock, PatientSession, RefusedError, Say, Sleep
from pipeline.config import RedditSettings
from pipeline.errors import InputError, RunError
from pipeline.stages import VERSION

if TYPE_CHECKING:
    from praw import Reddit

_CREDENTIALS = ("REDDIT_CLIENT_ID", "REDDIT_CLIENT_SECRET")
_ITEMS_A_PAGE = 100  # the most that the API gives
_DELETED = "[deleted]"
_DUMPS_NEED_NONE = "Dumps (collect.dumps) need no account."

_SUBREDDIT = re.compile(r"[A-Za-z0-9_-]{1,50}")  # "u_…", a user's own page, may have hyphens
_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{3,20}")
_VISIBLE = re.compile(r"[!-~]+")


class _Listing(NamedTuple):
    """One of a subreddit's listings; over which time, where it is "top"."""

    subreddit: str
    name: str
    time: str | None

    @property
    def path(self) -> str:
        return f"r/{self.subreddit}/{self.name}"

    def __str__(self) -> str:
        return self.path if self.time is None else f"{self.path} ({self.time})"


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def ask(
    settings: RedditSettings,
    environ: Mapping[str, str],
    *,
    clock: Clock = time.time,
    sleep: Sleep = time.sleep,
    say: Say = _to_stderr,
) -> int:
    """Asks for every listing of the settings and writes the answers to ``settings.dump``, a line each.

    A line is a submission as the API gives it, without its author, and with ``retrieved_on``. A submission
    of several listings is written once, as it was answered last. If the file is there, nothing is asked.

    Args:
        settings: What to ask for; ``dump`` is an absolute path.
        environ: Where REDDIT_CLIENT_ID and REDDIT_CLIENT_SECRET are.
        clock: Seconds since 1970, UTC.
        sleep: Waits some seconds.
        say: Told what is going on, a line at a time.

    Returns:
        How many submissions were written; 0 where the file was there already.

    Raises:
        InputError: PRAW, a credential or the contact is missing, or settings are impossible; Reddit does not
            know the credentials; subreddits cannot be read (all of them, at the end: the answers of the
            others are kept).
        RunError: Reddit cannot be reached, fails, or asks for too long a pause. What was answered is kept.
    """
    dump = Path(settings.dump)
    if dump.exists():
        return 0
    wanted = _listings(settings)
    _check_places(settings)
    journal = dump.with_name(f"{dump.name}.partial")
    finished = {page.listing for page in pages(journal) if page.last}
    todo = [listing for listing in wanted if str(listing) not in finished]
    if todo:
        with _client(settings, environ, sleep, clock, say) as reddit, appending(journal) as file:
            unreadable = _read_listings(reddit, todo, file, clock, say)
        if unreadable:
            raise InputError(
                "collect.reddit.subreddits: Reddit does not let these be read:\n"
                + "".join(f"  {name}: {why}\n" for name, why in unreadable.items())
                + f"Take them out of the settings and run again: what the others gave is in {journal}."
            )
    num = write_dump(journal, {str(listing) for listing in wanted}, dump)
    journal.unlink()
    say(f"Reddit gave {num:,} submissions; they are in {dump}")
    return num


def _listings(settings: RedditSettings) -> list[_Listing]:
    """What the settings ask for, in their order, each once."""
    names = [name.strip().removeprefix("/").removeprefix("r/").rstrip("/") for name in settings.subreddits]
    wrong = [name for name in names if not _SUBREDDIT.fullmatch(name)]
    if wrong:
        raise InputError(f"collect.reddit.subreddits: no subreddit is named {', '.join(map(repr, wrong))}.")
    times = {listing: settings.time_filters if listing == "top" else (None,) for listing in settings.listings}
    if not any(times.values()):
        raise InputError(
            'collect.reddit names nothing to ask for: set listings = ["new"], or "top" and time_filters.'
        )
    wanted = (
        _Listing(name.lower(), listing, time)
        for name in names
        for listing in settings.listings
        for time in times[listing]
    )
    return list(dict.fromkeys(wanted))


def _check_places(settings: RedditSettings) -> None:
    """Refuses a dump that would not be read as one, and credentials sent in the clear."""
    if "://" in settings.dump or not settings.dump.endswith(".zst"):
        raise InputError(
            f"collect.reddit.dump: {settings.dump} is not a local file whose name ends with .zst."
        )
    for name in ("url", "oauth_url"):
        address = getattr(settings, name)
        parts = urlsplit(address)
        local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
        if not (local or (parts.scheme == "https" and parts.hostname)):
            raise InputError(f'collect.reddit.{name}: "{address}" is no https:// address.')


def _read_listings(
    reddit: "Reddit", todo: list[_Listing], journal: BinaryIO, clock: Clock, say: Say
) -> dict[str, str]:
    """Reads listings to their end and into the journal; which subreddits cannot be read, and why."""
    unreadable: dict[str, str] = {}
    for number, listing in enumerate(todo, 1):
        if listing.subreddit in unreadable:
            continue
        num = 0
        try:
            for page in _pages(reddit, listing, clock):
                append(journal, page)
                num += len(page.rows)
        except Exception as error:
            cause = getattr(error, "original_exception", error)  # prawcore wraps what its session raises
            if not (isinstance(cause, RefusedError) and not cause.token and cause.status in _UNREADABLE):
                raise _failure(error, journal.name) from None
            unreadable[listing.subreddit] = cause.why or _UNREADABLE[cause.status]
            continue
        say(f"Reddit, {number} of {len(todo)}: {listing}: {num:,} submissions")
    return unreadable


def _pages(reddit: "Reddit", listing: _Listing, clock: Clock) -> Iterator[Page]:
    """A listing's pages. The API's own JSON is asked for: PRAW's objects rebuild it, and fail over a null."""
    params: dict[str, str | int] = {"limit": _ITEMS_A_PAGE}
    if listing.time is not None:
        params["t"] = listing.time
    passed: set[str] = set()
    while True:
        answer = reddit.request(method="GET", path=listing.path, params=params)
        rows, after = _submissions(answer, listing, int(clock()))
        last = after is None or after in passed  # an answer that leads back would be followed for ever
        yield Page(str(listing), last, rows)
        if after is None or last:
            return
        passed.add(after)
        params["after"] = after


def _submissions(answer: Any, listing: _Listing, now: int) -> tuple[list[dict[str, Any]], str | None]:
    """An answer's submissions as a dump has them, and the name that the next page comes after."""
    data = answer.get("data") if isinstance(answer, dict) else None
    things = data.get("children") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(things, list):
        raise RunError(f"Reddit answers {listing} with something that is no listing.")
    # "t3" is a submission; were there comments between them, they would be "t1".
    rows = [thing.get("data") for thing in things if isinstance(thing, dict) and thing.get("kind") == "t3"]
    if not all(isinstance(row, dict) and isinstance(row.get("id"), str) for row in rows):
        raise RunError(f"Reddit answers {listing} with a submission that has no id.")
    after = data.get("after")
    next_page = after if isinstance(after, str) and after else None
    return [{**_without_authors(row), "retrieved_on": now} for row in rows], next_page


def _without_authors(value: Any) -> Any:
    """The same without what tells an author, also in the posts that crossposts carry inside.

    That an author is deleted is kept: it is nobody's name.
    """
    if isinstance(value, list):
        return [_without_authors(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_authors(one)
        for key, one in value.items()
        if not key.startswith("author") or (key == "author" and one == _DELETED)
    }


# The client.


@contextmanager
def _client(
    settings: RedditSettings, environ: Mapping[str, str], sleep: Sleep, clock: Clock, say: Say
) -> Iterator["Reddit"]:
    """PRAW, reading only, with what it is given here and nothing that it finds elsewhere."""
    if find_spec("praw") is None:
        raise InputError(
            "collect.reddit needs PRAW, which is not installed: pip install 'praw>=8.0', or install this "
            f"project with its extra, '.[reddit]'. {_DUMPS_NEED_NONE}"
        )
    agent = _user_agent(settings.contact)
    client_id, client_secret = _credentials(environ)
    import praw
    import praw.config
    import requests

    # PRAW reads praw.ini in the working directory and the user's home unless its own defaults are there;
    # what stands here in the place of None would be looked for in environment variables.
    defaults = configparser.ConfigParser()
    defaults.read_string(files("praw").joinpath("praw.ini").read_text("utf-8"))
    praw.config.Config.CONFIG = defaults
    with requests.Session() as session:
        session.auth = lambda request: request  # else requests puts what ~/.netrc holds over the token
        yield praw.Reddit(
            "DEFAULT",
            requestor_kwargs={"session": PatientSession(session, sleep, clock, say)},
            client_id=client_id,
            client_secret=client_secret,
            user_agent=agent,
            reddit_url=settings.url.rstrip("/"),
            oauth_url=settings.oauth_url,
            check_for_updates=False,
            check_for_async=False,
            password=None,
            redirect_uri=None,
            refresh_token=None,
            username=None,
        )


def _user_agent(contact: str) -> str:
    """How Reddit's rules want a client to name itself."""
    name = contact.strip().removeprefix("/").removeprefix("u/")
    if not _ACCOUNT.fullmatch(name):
        given = f'"{contact}" is none' if contact else "it is empty"
        raise InputError(
            "collect.reddit.contact: Reddit's rules ask for your account's name in the user agent, and "
            f'{given}: set contact = "your_account".'
        )
    return f"{sys.platform}:webtext:{VERSION} (by /u/{name})"


def _credentials(environ: Mapping[str, str]) -> tuple[str, str]:
    client_id, client_secret = (environ.get(name, "").strip() for name in _CREDENTIALS)
    given = zip(_CREDENTIALS, (client_id, client_secret), strict=True)
    missing = [name for name, value in given if not _VISIBLE.fullmatch(value)]
    if missing:
        raise InputError(
            f"collect.reddit needs a registered app's id and secret: set {' and '.join(missing)} in the "
            f"environment. {_DUMPS_NEED_NONE}"
        )
    return client_id, client_secret


# What a listing's refusal says about its subreddit, where Reddit gives no word of its own.
_UNREADABLE = {
    301: "there is none of this name",
    302: "there is none of this name",
    400: "there is none of this name",
    403: "private, or closed to apps",
    404: "banned, or there is none of this name",
    451: "withheld for legal reasons",
}


def _failure(error: Exception, journal: str) -> Exception:
    """What to tell people; the error itself where it is a defect of ours, or the disk's."""
    from prawcore.exceptions import OAuthException, RequestException, ResponseException

    kept = f"What was answered so far is kept in {journal}; run again to go on from there."
    cause = error.original_exception if isinstance(error, RequestException) else error
    if isinstance(cause, RefusedError):
        return _refusal(cause, kept)
    if isinstance(cause, OAuthException):
        return _unknown_app(cause.error)
    if isinstance(cause, ResponseException):
        status = cause.response.status_code
        how = "with what is not JSON" if status < 300 else f"again and again with HTTP status {status}"
        return RunError(f"Reddit answers a request for a listing {how}. {kept}")
    if isinstance(cause, RunError):
        return RunError(f"{cause} {kept}")
    if isinstance(error, RequestException) and isinstance(cause, OSError):
        return RunError(f"Reddit cannot be reached: {cause}. {kept}")
    return cause


def _refusal(refused: RefusedError, kept: str) -> InputError | RunError:
    if refused.status == 429:
        return RunError(f"Reddit asks for fewer requests: {refused.why}. {kept}")
    if refused.token and refused.status in (400, 401, 403):
        return _unknown_app(f"HTTP status {refused.status}")
    what = "token" if refused.token else "listing"
    how = refused.why or f"HTTP status {refused.status}"
    return RunError(f"Reddit answers a request for a {what} with {how}. {kept}")


def _unknown_app(answer: str) -> InputError:
    return InputError(
        f"Reddit does not accept {' and '.join(_CREDENTIALS)} ({answer}): they must be of an app that is "
        f"registered and not cut off (the public API closes in March 2027). {_DUMPS_NEED_NONE}"
    )
