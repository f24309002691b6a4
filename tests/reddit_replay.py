"""Reddit's API on loopback: recorded answers, or made ones, with faults put in between."""

import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from pipeline.collect.dumps import read_lines
from pipeline.collect.reddit import ask
from pipeline.config import RedditSettings

CLIENT_ID, SECRET = "an-app's-id", "an-app's-secret"
ENVIRON = {"REDDIT_CLIENT_ID": CLIENT_ID, "REDDIT_CLIENT_SECRET": SECRET}
SIGN_IN = "/api/v1/access_token"


class Answer(NamedTuple):
    """What the server says; a status of 0 breaks the connection off."""

    status: int
    body: bytes
    headers: dict[str, str]


class Asked(NamedTuple):
    """A request as the server saw it."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def what(self) -> str:
        """The path, and what the page comes after."""
        return " ".join([self.path, *([self.params["after"]] if "after" in self.params else [])])


NOW = 1_700_000_000.5
DROP = Answer(0, b"", {})


def answer(value: Any, status: int = 200, **headers: str) -> Answer:
    """JSON, or bytes as they are; header names with _ for -."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Answer(status, body, {name.replace("_", "-"): text for name, text in headers.items()})


TOO_MANY = answer({"message": "Too Many Requests", "error": 429}, 429)


def token(name: str = "t0k3n") -> Answer:
    """What Reddit gives for an app's credentials."""
    return answer({"access_token": name, "token_type": "bearer", "expires_in": 86400, "scope": "*"})


def page(rows: Sequence[dict[str, Any]], after: str | None = None) -> Answer:
    """A page of a listing."""
    things = [{"kind": "t3", "data": row} for row in rows]
    return answer({"kind": "Listing", "data": {"children": things, "after": after}})


@dataclass
class Reddit:
    """A server: what it knows by path, time filter and ``after``, and what goes wrong at which request.

    ``faults`` are answers given in the place of the right ones, by the number of the request (from 0), which
    is counted over all requests.
    """

    known: dict[tuple[str, str, str], Answer] = field(default_factory=dict)
    faults: dict[int, Answer] = field(default_factory=dict)
    log: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def asked(self) -> list[str]:
        """What listings were asked for, in order."""
        return [one.what for one in self.log if one.path != SIGN_IN]

    def settings(self, dump: Path, **values: Any) -> RedditSettings:
        """Settings that lead here."""
        given = {"subreddits": ("a",), "listings": ("new",), "contact": "a_name", **values}
        return RedditSettings(dump=str(dump), url=self.url, oauth_url=self.url, **given)

    def publish(self, path: str, pages: Sequence[Sequence[dict[str, Any]]], time: str = "") -> None:
        """Makes a listing of these pages; each is to be asked for after the last row of the one before."""
        after = ""
        for number, rows in enumerate(pages, 1):
            following = f"t3_{rows[-1]['id']}" if number < len(pages) else None
            self.known[path, time, after] = page(rows, following)
            after = following or ""

    def replay(self, recording: Path, path: str = "") -> None:
        """Learns a recording's listings, under another path if one is given."""
        for one in json.loads(recording.read_text("utf-8"))["interactions"]:
            uri = urlsplit(one["request"]["uri"])
            params = dict(parse_qsl(uri.query))
            if one["request"]["method"] == "GET":
                key = (path or uri.path, params.get("t", ""), params.get("after", ""))
                self.known[key] = answer(one["response"]["body"]["string"].encode())

    def rows(self, *paths: str) -> list[dict[str, Any]]:
        """The submissions that listings hold, in order, read without the code under test."""
        answers = [known for (path, _, _), known in self.known.items() if path in paths]
        things = [thing for one in answers for thing in json.loads(one.body)["data"]["children"]]
        return [thing["data"] for thing in things if thing["kind"] == "t3"]

    def respond(self, asked: Asked) -> Answer:
        """Logs a request and answers it."""
        self.log.append(asked)
        fault = self.faults.get(len(self.log) - 1)
        if fault is not None:
            return fault
        if asked.path == SIGN_IN:
            return token()
        key = (asked.path, asked.params.get("t", ""), asked.params.get("after", ""))
        return self.known.get(key) or answer({"message": "Not Found", "error": 404}, 404)


@contextlib.contextmanager
def serving() -> Iterator[Reddit]:
    """A server on a free port of loopback."""
    reddit = Reddit()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            params = dict(parse_qsl(parts.query))
            status, body, fields = reddit.respond(
                Asked(self.command, parts.path, params, headers, self.rfile.read(length))
            )
            if not status:
                return
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **fields}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    reddit.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield reddit
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def quietly(asked: RedditSettings, environ: dict[str, str] = ENVIRON) -> list[float]:
    """Asks, and gives the pauses that were made."""
    pauses: list[float] = []
    ask(asked, environ, clock=lambda: NOW, sleep=pauses.append, say=lambda _: None)
    return pauses


def row(ident: str, **values: Any) -> dict[str, Any]:
    """A submission."""
    return {
        "id": ident,
        "name": f"t3_{ident}",
        "author": "somebody",
        "created_utc": 1_690_000_000.0,
        "score": 5,
        "subreddit": "a",
        "is_self": False,
        "url": f"https://example.org/{ident}",
        **values,
    }


def rows_of(dump: Path) -> list[dict[str, Any]]:
    """What a dump holds."""
    lines = [line for line in read_lines(str(dump)) if isinstance(line, bytes)]
    return [json.loads(line) for line in lines]


def ids_of(dump: Path) -> list[str]:
    """Of its submissions, in order."""
    return [one["id"] for one in rows_of(dump)]


def publish_two(server: Reddit) -> list[str]:
    """Two subreddits of three and two pages; their ids in the order asked for."""
    server.publish("/r/a/new", [[row("a0"), row("a1")], [row("a2"), row("a3")], [row("a4")]])
    server.publish("/r/b/new", [[row("b0")], [row("b1"), row("b2")]])
    return ["a0", "a1", "a2", "a3", "a4", "b0", "b1", "b2"]


def partial(dump: Path) -> Path:
    """The journal beside it."""
    return dump.with_name("reddit.zst.partial")
