"""What Google's storage and Hadoop say that fails is told in words; a server on loopback says it."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.errors import InputError, RunError
from pipeline.runs import Folder


@contextlib.contextmanager
def answering(status: int) -> Iterator[Folder]:
    """A folder of a store that answers everything with this HTTP status, as Google's does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"error": {"code": status, "message": "said so.", "errors": []}}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        options = f"endpoint_override=127.0.0.1:{server.server_port}&scheme=http&retry_limit_seconds=1"
        try:
            yield Folder(f"gs://anonymous@bucket/run?{options}")
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, InputError, r"refuses the account \(said so\).*GOOGLE_APPLICATION_CREDENTIALS"),
        (403, InputError, r"refuses the account \(said so\).*may list bucket, and read, write and delete"),
        (400, InputError, r"does not take what it is asked \(said so\)"),
        (503, RunError, r"fails or cannot be reached.*\(said so\).*run the same again later"),
    ],
)
def test_what_googles_storage_refuses_is_told_in_words(
    status: int, kind: type[Exception], words: str
) -> None:
    with answering(status) as folder:
        with pytest.raises(kind, match=words) as said:
            folder.size("webtext.toml")
        assert "google::cloud" not in str(said.value)
        if status == 403:
            for ask in (folder.sizes, lambda: folder.read("a"), lambda: folder.write("a", b"a")):
                with pytest.raises(kind, match=words):
                    ask()


def test_what_is_not_there_is_no_error() -> None:
    with answering(404) as folder:
        assert folder.size("webtext.toml") is None
        assert folder.sizes() == {}
        with pytest.raises(FileNotFoundError):
            folder.read("webtext.toml")


def test_hadoop_without_java_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    with pytest.raises(InputError, match=r"hdfs://.* cannot be opened \(.*\); hdfs:// needs Java") as said:
        Folder("hdfs://127.0.0.1:1/run").sizes()
    assert "\n" not in str(said.value)
