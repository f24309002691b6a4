"""Why records are rejected, in words, and the limits that were in force."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.filter.rules import Rule
from pipeline.filter.settings import FilterSettings, rules_in_force
from pipeline.records import Reason

# A document of which this one is a copy, at the head of what was measured.
_OTHER = re.compile(r"([0-9a-f]{32})(?: |$)")

_MEANINGS: Mapping[Reason, str] = {
    Reason.BLANK_LINE: "the line is blank",
    Reason.LINE_TOO_LONG: "the line is longer than any row",
    Reason.NOT_UTF8: "the line is not UTF-8",
    Reason.NOT_JSON: "the line is not JSON",
    Reason.NOT_A_ROW: "JSON, but no object; or a CSV row with too few or too many fields",
    Reason.BAD_FIELD: "a field that matters is of a wrong type",
    Reason.NO_ID: "the post has no id",
    Reason.NO_TIME: "the post has no time",
    Reason.NO_URL: "the post has no URL",
    Reason.NO_SCORE: "the post has no score",
    Reason.SELF_POST: "a post of text, which links nowhere",
    Reason.CROSSPOST_OF_SELF: "a crosspost of a post of text",
    Reason.AD: "an advertisement",
    Reason.REMOVED: "the post was removed or deleted",
    Reason.OVER_18: "marked as not for minors",
    Reason.SUBREDDIT: "not in a subreddit that was asked for",
    Reason.DATE: "outside the dates that were asked for",
    Reason.REDDIT_MEDIA: "a picture or a video that Reddit hosts",
    Reason.REDDIT_INTERNAL: "leads back to Reddit",
    Reason.BAD_URL: "the URL cannot be read, or is not of the web",
    Reason.PRIVATE_HOST: "leads to a host that is not on the public internet",
    Reason.MEDIA_DOMAIN: "leads to a host of pictures, videos or sound",
    Reason.MEDIA_EXTENSION: "the file's name says that it is no text",
    Reason.SHORTENER: "a URL shortener's address, which hides where it leads",
    Reason.SAME_SUBMISSION: "the same submission again, in another dump",
    Reason.SAME_LINK: "another submission of a link that is kept, counted to it",
    Reason.LOW_KARMA: "the link's karma is too low",
    Reason.OPT_OUT: "the owner asked to be left out, or it was removed from this run",
    Reason.ROBOTS: "robots.txt does not allow it",
    Reason.ROBOTS_UNREACHABLE: "robots.txt could not be read, so that the host may not be asked",
    Reason.CRAWL_DELAY: "the host asks for longer pauses than the crawl makes",
    Reason.NOT_ALLOWED_ADDRESS: "the host's address is not on the public internet",
    Reason.BAD_PORT: "a port that is not asked",
    Reason.DNS: "the host's name has no address",
    Reason.CONNECT: "no connection to the host",
    Reason.CERTIFICATE: "the host's certificate does not hold",
    Reason.TLS: "no encrypted connection to the host",
    Reason.TIMEOUT: "no whole answer in time",
    Reason.DEAD_HOST: "the host was given up after others of its links",
    Reason.RATE_LIMITED: "the host asks to be left alone (HTTP 429, or 503 with Retry-After)",
    Reason.HTTP_4XX: "the page is not there, or not for us (HTTP 4xx)",
    Reason.HTTP_5XX: "the server failed (HTTP 5xx)",
    Reason.HTTP_OTHER: "another HTTP status",
    Reason.HTTP_09: "an answer without a header, or that goes on after its end",
    Reason.PROTOCOL: "the answer breaks the rules of HTTP",
    Reason.HEADER_TOO_LARGE: "the answer's header is too large",
    Reason.CUT_SHORT: "the body ends before it should",
    Reason.BAD_ENCODING: "the body is not coded as the header says",
    Reason.REDIRECT_LOOP: "redirects without end",
    Reason.BAD_REDIRECT: "a redirect to what is no page of the web",
    Reason.NOT_IN_WARC: "the WARC files do not have the page",
    Reason.NO_INDEX: "the page asks not to be indexed, or not to be used",
    Reason.WRONG_TYPE: "not a page of text",
    Reason.TOO_LARGE: "too large to be extracted",
    Reason.TOO_SLOW: "its extraction took too long",
    Reason.BAD_RECORD: "the stored page cannot be read",
    Reason.NO_TEXT: "no text was found on the page",
    Reason.ERROR_PAGE: "an error page that came as if it were none",
    Reason.SAME_PAGE: "another link led to the same page",
    Reason.LANGUAGE: "not in a language that is kept",
    Reason.TOO_SHORT: "too few words",
    Reason.WIKIPEDIA: "a page of Wikipedia, from which evaluation sets draw",
    Reason.CONTAMINATED: "too much of it is in the evaluation sets",
    Reason.EXACT_DUPLICATE: "the very same text is kept already",
    Reason.NEAR_DUPLICATE: "nearly the same text is kept already",
    Reason.NOT_SAMPLED: "the vocabulary was learnt from others",
}


@dataclass(frozen=True, slots=True)
class Limit:
    """What was asked for, in words; the number that divides, if any, and what it is of."""

    text: str
    number: float | None = None
    measured: str = ""


def meaning(reason: str) -> str:
    """A reason in words; a quality rule's says less than its limit, and so is empty."""
    return next((text for known, text in _MEANINGS.items() if known == reason), "")


def limit(stage: str, reason: str, settings: Mapping[str, Any]) -> Limit | None:
    """The limit by which a stage rejected for a reason.

    Args:
        stage: Its name.
        reason: One of Reason.
        settings: The stage's, as its manifest has them.

    Returns:
        None where there is none, or the settings do not tell.
    """
    if stage == "filter":
        return _filter_limit(reason, FilterSettings.model_validate(settings))
    try:
        return _LIMITS[stage, reason](settings)
    except KeyError:
        return None


def _at_least(number: float, unit: str, measured: str = "") -> Limit:
    return Limit(f"at least {number:,.10g} {unit}", number, measured or unit)


def _at_most(number: float, unit: str, measured: str = "") -> Limit:
    return Limit(f"at most {number:,.10g} {unit}", number, measured or unit)


_LIMITS: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], Limit]] = {
    ("link", "low_karma"): lambda settings: _at_least(settings["min_karma"], "karma"),
    ("fetch", "timeout"): lambda settings: Limit(f"at most {settings['timeout_s']:g} s"),
    ("fetch", "redirect_loop"): lambda settings: Limit(f"at most {settings['max_redirects']} redirects"),
    ("fetch", "crawl_delay"): lambda settings: Limit(f"at most {settings['max_crawl_delay_s']:g} s"),
    ("fetch", "bad_port"): lambda settings: Limit(f"port {_either(map(str, settings['ports']))}"),
    ("fetch", "noindex"): lambda settings: Limit(f"without {_either(settings['robots_tags'])}"),
    ("extract", "too_short"): lambda settings: _at_least(settings["hopeless"]["min_words"], "words"),
    ("extract", "language"): lambda settings: Limit(_either(settings["hopeless"]["languages"])),
    ("extract", "too_large"): lambda settings: Limit(f"at most {settings['max_elements']:,} tags"),
    ("extract", "too_slow"): lambda settings: Limit(f"at most {settings['deadline_s']:g} s"),
    ("dedupe", "near_duplicate"): lambda settings: Limit(
        f"less similar than {settings['threshold']:g}", settings["threshold"], "similarity to the one kept"
    ),
}


def _filter_limit(reason: str, settings: FilterSettings) -> Limit | None:
    if reason == Reason.TOO_SHORT:
        return _at_least(settings.min_words, "words")
    if reason == Reason.LANGUAGE:
        score = settings.min_language_score
        text = f"{_either(settings.languages)}, of which the detector is sure by {score:g} at least"
        return Limit(text, score, "how sure the detector is")
    return next((rule_limit(rule) for rule in rules_in_force(settings) if rule.name == reason), None)


def rule_limit(rule: Rule) -> Limit:
    """What a quality rule asks for."""
    return (_at_least if rule.at_least else _at_most)(rule.threshold, rule.what, rule.measure)


def split_other(value: str) -> tuple[str | None, str]:
    """The id of the document of which a rejected one is a copy, if its value names it, and the rest of that.

    >>> split_other("0123456789abcdef0123456789abcdef 0.914")
    ('0123456789abcdef0123456789abcdef', '0.914')
    >>> split_other("31 words")
    (None, '31 words')
    """
    other = _OTHER.match(value)
    return (None, value) if other is None else (other[1], value[other.end() :])


def _either(names: Iterable[str]) -> str:
    return " or ".join(names)
