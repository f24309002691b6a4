"""A host's robots.txt as RFC 9309 has it: what may be asked, and how long to wait between."""

from dataclasses import dataclass

from protego import Protego

from pipeline.fetch.exchange import Refusal
from pipeline.records import Reason

AGENT = "webtext"  # the product token that robots.txt may name
MAX_BYTES = 512 * 1024  # the RFC asks for 500 KiB at least
MAX_REDIRECTS = 5


@dataclass(frozen=True, slots=True)
class Robots:
    """A host's rules; ``barred`` stands where nothing of it may be asked."""

    rules: Protego | None = None
    barred: Refusal | None = None

    @property
    def crawl_delay_s(self) -> float:
        """The crawl-delay that the host asks of us, 0 where it asks for none."""
        return (self.rules and self.rules.crawl_delay(AGENT)) or 0.0

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


ALLOW_ALL = Robots()

# Failures by which the page itself could not be had either: the ledger tells them as they are.
_OF_THE_HOST = frozenset(
    [Reason.DNS, Reason.CONNECT, Reason.TLS, Reason.NOT_ALLOWED_ADDRESS, Reason.BAD_PORT]
)


def of_response(status: int, body: bytes) -> Robots:
    """The rules of a robots.txt that was answered: 4xx allows all, 5xx nothing."""
    if status == 200:
        return Robots(Protego.parse(body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")))
    if 500 <= status < 600:
        return Robots(barred=Refusal(Reason.ROBOTS, f"robots.txt: HTTP {status}"))
    return ALLOW_ALL


def of_failure(refusal: Refusal) -> Robots:
    """The rules of a host whose robots.txt could not be had: nothing may be asked."""
    detail = f"robots.txt: {refusal.reason}" + (f" ({refusal.detail})" if refusal.detail else "")
    reason = refusal.reason if refusal.reason in _OF_THE_HOST else Reason.ROBOTS
    return Robots(barred=Refusal(reason, detail))
