"""How long a host is left alone: between requests, after failures, and when it asks for it.

A host that fails is asked again after growing pauses, and given up when it has failed too often in a row; one
that says "too many requests" is asked again when it says so. The pause is kept for the whole registrable
domain.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pipeline.config import FetchSettings
from pipeline.fetch.exchange import Failure, Headers, Refusal
from pipeline.fetch.failures import ABSENT_NAME
from pipeline.fetch.robots import Robots
from pipeline.records import Reason

# Failures that may pass: the host gave no usable answer, or one of its own troubles.
PASSING = frozenset(
    [
        Reason.DNS,
        Reason.CONNECT,
        Reason.TIMEOUT,
        Reason.PROTOCOL,
        Reason.CUT_SHORT,
        Reason.HTTP_5XX,
        Reason.ROBOTS_UNREACHABLE,
    ]
)
_OF_NO_ANSWER = frozenset([Reason.DNS, Reason.CONNECT, Reason.TIMEOUT])

_FIRST_PAUSE_S = 30.0  # where a host has too many requests and does not say how long to wait
MAX_THROTTLED = 6  # such answers in a row, after which a host is given up


@dataclass(slots=True)
class Host:
    """What is known of a scheme, host and port: its rules, and how it has answered lately.

    Attributes:
        robots: None until robots.txt has been asked for, and again once it is too old.
        robots_until: When its rules are too old, by the crawl's clock.
        dead: Why it is given up; None while it is not.
    """

    robots: Robots | None = None
    robots_until: float = 0.0
    dead: Refusal | None = None
    num_silent: int = 0
    num_throttled: int = 0

    def answered(self) -> None:
        """It has answered as a host should."""
        self.num_silent = self.num_throttled = 0

    def failed(self, refusal: Refusal, settings: FetchSettings) -> float:
        """Notes that it was of no use; returns the pause in seconds, beyond the usual delay.

        So many failures in a row, and it is given up.
        """
        self.num_silent += 1
        if self.num_silent >= settings.dead_after:
            said = refusal.detail or refusal.reason
            self.dead = Refusal(Reason.DEAD_HOST, f"{self.num_silent} failures in a row: {said}")
        if self.num_silent < 2 or self.dead:
            return 0.0
        return min(settings.retry_wait_s * 2.0 ** (self.num_silent - 2), settings.max_pause_s)

    def throttled(self, asked_s: float | None, settings: FetchSettings) -> float:
        """Notes that it has too many requests; returns the pause in seconds.

        Args:
            asked_s: The pause that it asks for, where it does.
            settings: The stage's; a host that asks for more than they allow is given up.
        """
        self.num_throttled += 1
        pause_s = _FIRST_PAUSE_S * 2.0 ** (self.num_throttled - 1) if asked_s is None else asked_s
        if asked_s is not None and asked_s > settings.max_pause_s:
            self.dead = Refusal(Reason.RATE_LIMITED, f"asks to wait {asked_s:,.0f} s")
        elif self.num_throttled >= MAX_THROTTLED:
            self.dead = Refusal(Reason.RATE_LIMITED, f"{self.num_throttled} times in a row")
        return min(pause_s, settings.max_pause_s)


def may_pass(refusal: Refusal) -> bool:
    """Whether asking again later may bring what this time did not come."""
    return refusal.reason in PASSING and refusal.detail != ABSENT_NAME


def is_silence(failure: Failure) -> bool:
    """Whether nobody answered: not a page's fault, but its host's."""
    return failure.refusal.reason in _OF_NO_ANSWER and failure.timings.first_byte_s is None


def delay_s(domain: str, settings: FetchSettings) -> float:
    """The seconds between requests to a registrable domain, by the settings alone."""
    return settings.domain_delays_s.get(domain, settings.delay_s)


def is_throttled(status: int, headers: Headers) -> bool:
    """Whether a host says that it has too many requests: RFC 6585 and RFC 9110 (15.6.4)."""
    return status == 429 or (status == 503 and headers.get("retry-after") is not None)


def retry_after_s(headers: Headers, now: datetime) -> float | None:
    """The pause that Retry-After asks for, RFC 9110 (10.2.3); None where it asks for none that is clear.

    A date is held against the server's own clock, where it tells that: ours may be wrong.
    """
    value = (headers.get("retry-after") or "").strip()
    if value.isdecimal() and value.isascii():
        return float(min(int(value[:12]), 10**9))
    until = _date(value)
    if until is None:
        return None
    return max(0.0, (until - (_date(headers.get("date") or "") or now)).total_seconds())


def _date(value: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(value)
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
