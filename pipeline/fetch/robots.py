"""A host's robots.txt as RFC 9309 has it: what may be asked, and how long to wait between."""

import math
from dataclasses import dataclass

from protego import Protego

from pipeline.fetch.exchange import Refusal
from pipeline.records import Reason

AGENT = "webtext"  # the product token that robots.txt may name
MAX_BYTES = 512 * 1024  # the RFC asks for 500 KiB at least
MAX_REDIRECTS = 5
KEPT_S = 24 * 3600.0  # the RFC's most; a crawl of weeks asks again
FAILED_KEPT_S = 3600.0  # that it could not be had

ALLOWED, DISALLOWED, NONE, UNREACHABLE = "allowed", "disallowed", "none", "unreachable"


@dataclass(frozen=True, slots=True)
class Robots:
    """A host's rules; ``barred`` stands where nothing of it may be asked."""

    rules: Protego | None = None
    barred: Refusal | None = None
    crawl_delay_s: float = 0.0  # the pause between requests that the host asks of us

    @property
    def kept_s(self) -> float:
        """How long they hold, in seconds."""
        return KEPT_S if self.barred is None else FAILED_KEPT_S

    def refusal(self, url: str, max_crawl_delay_s: float) -> Refusal | None:
        """Why a URL of the host may not be asked; None if it may."""
        if self.barred:
            return self.barred
        if self.rules is None:
            return None
        if not self.rules.can_fetch(url, AGENT):
            return Refusal(Reason.ROBOTS, "disallowed")
        if self.crawl_delay_s > max_crawl_delay_s:
            return Refusal(Reason.CRAWL_DELAY, f"{self.crawl_delay_s:g} s")
        return None

    def decision(self, refusal: Refusal | None) -> str:
        """What the ledger says of a URL's refusal (or none) by these rules."""
        if self.barred:
            return UNREACHABLE
        if self.rules is None:
            return NONE
        return DISALLOWED if refusal and refusal.reason is Reason.ROBOTS else ALLOWED


ALLOW_ALL = Robots()

# Failures by which the page itself could not be had either: the ledger tells them as they are.
_OF_THE_HOST = frozenset(
    [
        Reason.DNS,
        Reason.CONNECT,
        Reason.CERTIFICATE,
        Reason.TLS,
        Reason.TIMEOUT,
        Reason.NOT_ALLOWED_ADDRESS,
        Reason.BAD_PORT,
        Reason.RATE_LIMITED,
    ]
)


def is_unreachable(status: int) -> bool:
    """Whether a status leaves open what the rules are: then nothing may be asked.

    429 is among them, unlike in the RFC: a host that has too many requests wants no more of them.
    """
    return 500 <= status < 600 or status == 429


def of_response(status: int, body: bytes) -> Robots:
    """The rules of a robots.txt that was answered: 4xx allows all, 5xx nothing."""
    if is_unreachable(status):
        return of_failure(Refusal(Reason.ROBOTS_UNREACHABLE, f"HTTP {status}", status))
    if status == 200:
        rules = Protego.parse(body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace"))
        return Robots(rules, crawl_delay_s=_crawl_delay_s(rules))
    return ALLOW_ALL


def of_failure(refusal: Refusal) -> Robots:
    """The rules of a host whose robots.txt could not be had: nothing may be asked."""
    detail = f"robots.txt: {refusal.detail or refusal.reason}"
    reason = refusal.reason if refusal.reason in _OF_THE_HOST else Reason.ROBOTS_UNREACHABLE
    return Robots(barred=Refusal(reason, detail))


def _crawl_delay_s(rules: Protego) -> float:
    """The longer of crawl-delay and request-rate, neither of which is the RFC's; both are in wide use."""
    rate = rules.request_rate(AGENT)
    try:
        between_s = rate.seconds / rate.requests if rate and rate.requests else 0.0
    except OverflowError:  # a number of hundreds of digits
        between_s = math.inf
    return max(rules.crawl_delay(AGENT) or 0.0, between_s)
