"""The session under Reddit's client: it waits where it is told to, and then asks the same again.

prawcore tries again by itself after a connection that fails, a 5xx, and a 401 (with a new token). It gives
up at a 429, and fails over header fields that are not as Reddit usually writes them. Because the very same
request is made again here, nothing above notices a pause: no page is lost or comes twice.
"""

import math
import re
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from requests import Response, Session

_MAX_WAIT_S = 900  # Reddit counts requests in windows of 600 s
_FIRST_WAIT_S = 60  # where a 429 does not say how long
_MAX_WAITS = 5  # one after the other, for one request

_LIMITS = {
    "x-ratelimit-remaining": re.compile(r"\d{1,6}(\.\d+)?"),
    "x-ratelimit-used": re.compile(r"\d{1,6}"),
    "x-ratelimit-reset": re.compile(r"\d{1,3}"),  # seconds
}

Say = Callable[[str], None]
Sleep = Callable[[float], None]
Clock = Callable[[], float]


class RefusedError(Exception):
    """An answer that asking again does not better.

    Attributes:
        status: The HTTP status.
        why: Reddit's own word for it, or what else is known; may be empty.
        token: Whether it was the token that was asked for, and not a listing.
    """

    def __init__(self, status: int, why: str, *, token: bool) -> None:
        super().__init__(status, why)
        self.status = status
        self.why = why
        self.token = token


class PatientSession:
    """What prawcore asks with in the place of a session of requests.

    Args:
        inner: That session.
        sleep: Waits some seconds.
        clock: Seconds since 1970, UTC.
        say: Told of each pause.
    """

    def __init__(self, inner: "Session", sleep: Sleep, clock: Clock, say: Say) -> None:
        self.headers = inner.headers
        self._inner = inner
        self._sleep = sleep
        self._clock = clock
        self._say = say

    def request(self, method: str, url: str, **kwargs: Any) -> "Response":
        """An answer that prawcore can read.

        Raises:
            RefusedError: Asking again would not help, or only after a pause of more than 15 minutes.
        """
        token = method.upper() == "POST"
        num_waits = 0
        while (response := self._inner.request(method, url, **kwargs)).status_code == 429:
            wait_s = _wait_s(response.headers.get("retry-after"), num_waits, self._clock())
            if num_waits == _MAX_WAITS or wait_s > _MAX_WAIT_S:
                raise RefusedError(429, f"the next after {wait_s:,.0f} s", token=token)
            self._say(f"Reddit asks for a pause: going on in {wait_s:,.0f} s")
            self._sleep(wait_s)
            num_waits += 1
        _put_headers_right(response)
        status = response.status_code
        if token and status == 200 and not _is_token(response):
            raise RefusedError(status, "something that is none", token=token)
        if status < 300 or (not token and (status in (401, 408) or status >= 500)):
            return response
        raise RefusedError(status, _why(response), token=token)

    def close(self) -> None:
        """Closes the connections."""
        self._inner.close()


def _wait_s(retry_after: str | None, num_waits: int, now: float) -> float:
    """Seconds to wait: by a Retry-After field (RFC 9110, 10.2.3), or longer each time where none is given.

    A second is added to a time of day, whose fractions are not told.
    """
    wait_s = math.nan
    try:
        wait_s = float(retry_after or "nan")
    except ValueError:
        try:
            moment = parsedate_to_datetime(retry_after or "")
            wait_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now + 1
        except (ValueError, OverflowError):
            pass
    return wait_s if wait_s > 0 else min(_FIRST_WAIT_S * 2**num_waits, _MAX_WAIT_S)


def _put_headers_right(response: "Response") -> None:
    """Takes out, or mends, fields that prawcore would fail over."""
    headers = response.headers
    limits = {name: headers.get(name, "") for name in _LIMITS}
    readable = all(form.fullmatch(limits[name]) for name, form in _LIMITS.items())
    if not readable or int(limits["x-ratelimit-reset"]) > _MAX_WAIT_S:
        for name in _LIMITS:
            headers.pop(name, None)
    if response.status_code == 401:
        headers["www-authenticate"] = 'Bearer error="invalid_token"'


def _is_token(response: "Response") -> bool:
    """Whether an answer is a token, or OAuth2's error in the place of one."""
    answer = _json(response)
    return "error" in answer or (
        isinstance(answer.get("access_token"), str)
        and isinstance(answer.get("expires_in"), int)
        and isinstance(answer.get("scope"), str)
    )


def _why(response: "Response") -> str:
    """Reddit's own word for why it refuses ("private", "banned", …); empty where there is none."""
    why = _json(response).get("reason")
    return why if isinstance(why, str) and re.fullmatch(r"[\w ]{1,40}", why) else ""


def _json(response: "Response") -> dict[str, Any]:
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
