"""The hostile web's log, and what it says of whoever asked: each check returns its complaints.

Times are of the monotonic clock, which all processes of a machine share. The web knows when it wrote the last
byte, which is before it was read; of an answer that the asker broke off, it knows only when it heard of that,
which may be after the asker went on: such ends are taken for ``lag_s`` earlier.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.hostile_pages import ADDRESS, Web

_TOLERANCE_S = 0.005
_LAG_S = 0.25


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the web saw it.

    Attributes:
        host: From its Host field, in lower case and without the port.
        path: With its query.
        began: When its header was read, in seconds.
        ended: When the last byte of the answer was written, or the connection closed.
        complete: Whether the answer was written whole.
        address: That was connected to.
        status: Of the answer; 0 where it has none.
        pause_s: For how long the answer asked for patience.
        private: Names of fields that say more than they should (cookies, credentials).
    """

    host: str
    path: str
    began: float
    ended: float
    complete: bool
    address: str
    status: int
    pause_s: float = 0.0
    private: tuple[str, ...] = ()


def read_log(path: Path) -> list[Asked]:
    """The log of a web that runs as a process; a line that is being written is left out."""
    lines = path.read_bytes().split(b"\n")[:-1]
    return [msgspec.json.decode(line, type=Asked) for line in lines]


def asked_too_often(
    log: Iterable[Asked],
    delay_by_domain: Mapping[str, float],
    *,
    tolerance_s: float = _TOLERANCE_S,
    lag_s: float = _LAG_S,
) -> list[str]:
    """Requests to a domain that overlap, or follow each other closer than the domain's delay.

    Args:
        log: The log.
        delay_by_domain: Seconds by registrable domain (:meth:`Web.delays`); a host belongs to the one that it
            lies under.
        tolerance_s: By how much a gap may be too short.
        lag_s: How late the web may hear that an answer was broken off.
    """
    by_domain: defaultdict[str, list[Asked]] = defaultdict(list)
    for one in log:
        domain = one.host if one.host in delay_by_domain else one.host.partition(".")[2]
        by_domain[domain].append(one)
    found = []
    for domain, requests in by_domain.items():
        delay_s = delay_by_domain.get(domain, 0.0)
        before: Asked | None = None
        for one in sorted(requests, key=lambda one: one.began):
            gap_s = one.began - _end(before, lag_s) if before else delay_s
            if before and gap_s < delay_s - tolerance_s:
                found.append(f"{domain}: {gap_s:.3f} s from {_name(before)} to {_name(one)}, not {delay_s:g}")
            if before is None or _end(one, lag_s) > _end(before, lag_s):
                before = one
    return found


def asked_in_pause(
    log: Iterable[Asked],
    *,
    tolerance_s: float = _TOLERANCE_S,
    kills: Sequence[float] = (),
    in_flight_s: float = 1.0,
) -> list[str]:
    """Requests to a host within the time for which it had asked for patience (Retry-After).

    Args:
        log: The log.
        tolerance_s: By how much a pause may be too short.
        kills: When the crawler was killed, as for :func:`asked_twice`: it may not have heard of the pause.
        in_flight_s: Seconds.
    """
    found = []
    until: dict[str, float] = {}
    for one in sorted(log, key=lambda one: one.began):
        early_s = until.get(one.host, one.began) - one.began
        if early_s > tolerance_s:
            found.append(f"{_name(one)} {early_s:.3f} s too early")
        if one.pause_s and not _lost(one, kills, in_flight_s):
            until[one.host] = max(until.get(one.host, 0.0), one.ended + one.pause_s)
    return found


def forbidden(log: Iterable[Asked], web: Web) -> list[str]:
    """Pages that robots.txt disallows, or that were asked before the host's robots.txt was answered."""
    found = []
    answered: dict[str, float] = {}
    requests = list(log)
    for one in requests:
        if one.path == "/robots.txt":
            answered[one.host] = min(one.ended, answered.get(one.host, one.ended))
    for one in requests:
        if one.host not in web.hosts or one.path == "/robots.txt" or one.path.startswith("/rules/"):
            continue
        if web.forbids(one.host, one.path):
            found.append(f"{_name(one)} is forbidden")
        elif one.host not in answered:
            found.append(f"{_name(one)} without robots.txt")
        elif one.began < answered[one.host] - _LAG_S:
            found.append(f"{_name(one)} before robots.txt")
    return found


def asked_twice(
    log: Iterable[Asked], web: Web, *, kills: Sequence[float] = (), in_flight_s: float = 1.0
) -> list[str]:
    """Pages that were served whole more than once, though nothing suggested to ask again.

    Args:
        log: The log.
        web: Knows which pages' failures may pass.
        kills: When the crawler was killed (monotonic): an answer that ended at most ``in_flight_s`` before
            may have been on its way still, and may be asked for once more.
        in_flight_s: Seconds.
    """
    served: defaultdict[tuple[str, str], list[Asked]] = defaultdict(list)
    for one in log:
        known = (one.host, one.path) in web.pages
        good = one.complete and one.status not in (429, 503)
        if (
            known
            and good
            and not _lost(one, kills, in_flight_s)
            and not web.may_be_asked_again(one.host, one.path)
        ):
            served[one.host, one.path].append(one)
    return [f"{_name(times[0])} {len(times)} times" for times in served.values() if len(times) > 1]


def private(log: Iterable[Asked], web: Web) -> list[str]:
    """Requests to the canary, or to the web by an address or a name that is none of its hosts."""
    return [
        f"{_name(one)} at {one.address}" for one in log if one.address != ADDRESS or one.host not in web.hosts
    ]


def indiscreet(log: Iterable[Asked]) -> list[str]:
    """Requests that carried cookies or credentials."""
    return [f"{_name(one)} with {', '.join(one.private)}" for one in log if one.private]


def _lost(one: Asked, kills: Sequence[float], in_flight_s: float) -> bool:
    """Whether a kill may have come before the crawler had written down what it was answered."""
    return any(one.began <= kill and one.ended > kill - in_flight_s for kill in kills)


def _end(one: Asked, lag_s: float) -> float:
    return one.ended if one.complete else max(one.began, one.ended - lag_s)


def _name(one: Asked) -> str:
    return f"http://{one.host}{one.path}"
