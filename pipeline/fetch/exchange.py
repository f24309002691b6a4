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
        return next(iter(self.all(name)), None)

    def all(self, name: str) -> list[str]:
        """Every field of that name (in lower case)."""
        return [value for key, value in self.fields if key.lower() == name]


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response as it is kept: its body without transfer and content coding, cut at a limit."""

    status_line: str  # "HTTP/1.1 200 OK"
    status: int
    headers: Headers
    body: bytes
    truncated: bool


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request for a URL, with what it was answered."""

    url: str
    date: datetime  # when the request was made
    seconds: float
    address: str | None  # of the server
    request_line: str  # "GET /path HTTP/1.1"
    request: Headers
    response: Response


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a link: the way to its page (redirects, then the page), or a refusal."""

    way: tuple[Exchange, ...]
    refusal: Refusal | None
