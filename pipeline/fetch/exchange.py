"""What passes between the fetcher's parts: a request with its response, and what became of a link."""

from dataclasses import dataclass
from datetime import datetime

from pipeline.records import Reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a link brings no page; ``status`` and ``content_type`` are the last response's, where one came."""

    reason: Reason
    detail: str = ""
    status: int | None = None
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class Headers:
    """A message's header fields in the order of the wire."""

    fields: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """The first field of that name (in lower case)."""
        for key, value in self.fields:
            if len(key) == len(name) and key.lower() == name:
                return value
        return None

    def all(self, name: str) -> list[str]:
        """Every field of that name (in lower case)."""
        return [value for key, value in self.fields if len(key) == len(name) and key.lower() == name]


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response as it is kept: its body without transfer and content coding, cut at a limit."""

    status_line: str  # "HTTP/1.1 200 OK"
    status: int
    headers: Headers
    body: bytes
    truncated: bool


@dataclass(frozen=True, slots=True)
class Timings:
    """How long a request took, in seconds; None for a step that was not needed or not reached."""

    total_s: float
    dns_s: float | None = None
    connect_s: float | None = None
    first_byte_s: float | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request for a URL, with what it was answered."""

    url: str
    date: datetime  # when the request was made
    timings: Timings
    address: str | None  # of the server
    request_line: str  # "GET /path HTTP/1.1"
    request: Headers
    response: Response


@dataclass(frozen=True, slots=True)
class Failure:
    """One request for a URL that brought no response that can be used."""

    url: str
    date: datetime
    timings: Timings
    address: str | None
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a try: the way (redirects, then the page), and a refusal where it brings no page."""

    way: tuple[Exchange, ...]
    refusal: Refusal | None = None
    failure: Failure | None = None  # the last request, where it brought no response
    robots: str | None = None  # as in the ledger
