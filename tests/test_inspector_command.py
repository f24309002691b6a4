"""``webtext inspect`` as people and programs start and end it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from pipeline.errors import InputError
from pipeline.inspector.web.security import LOOPBACK, Access
from pipeline.runs import Folder
from tests.command import webtext
from tests.synthetic_run import write_run
from webtext import inspector

SLOW = "select count(*) from range(1000000000) a, range(1000) b where (a.range * b.range) % 7 = 3"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return write_run(tmp_path_factory.mktemp("command") / "run")


@contextmanager
def inspecting(run: Folder, *options: str, name: str = "run") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, begun in the run's parent folder, and the first line that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "webtext", "inspect", name, *options],
        cwd=Path(run.path()).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().rstrip("\n")
    finally:
        process.kill()
        process.communicate()


def told(url: str) -> str:
    """What an address answers."""
    with urlopen(url, timeout=30) as answer:  # noqa: S310 - our own server
        text: str = answer.read().decode()
        return text


def processes_of(run: Folder) -> list[str]:
    """The command lines that name the run, on this machine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:  # it has ended
            continue
        if run.path() in line:
            lines.append(line)
    return lines


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_address_serves_and_ends_cleanly(run: Folder, ending: signal.Signals) -> None:
    with inspecting(run, "--port", "0") as (process, url):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
        assert "<title>Progress · run · webtext</title>" in told(f"{url}progress")
        assert json.loads(told(f"{url}progress.json"))["live"]["at_work"] is False
        process.send_signal(ending)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (0, "", "")
    assert processes_of(run) == []


def test_a_request_that_does_not_end_does_not_hold_it(run: Folder) -> None:
    with inspecting(run, "--port", "0") as (process, url):
        at = urlsplit(url)
        with socket.create_connection((at.hostname, at.port), timeout=30) as connection:
            query = SLOW.replace(" ", "+").replace("%", "%25")
            connection.sendall(f"GET /sql?sql={query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            time.sleep(0.5)  # it is at it by now, most likely
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=15)  # the query would have taken 20 s
            assert (process.returncode, out, err) == (0, "", "")
    assert processes_of(run) == []


def test_a_run_may_be_named_by_its_address(run: Folder) -> None:
    with inspecting(run, "--port", "0", name=f"file://{run.path()}") as (_, url):
        assert "<title>Progress · run · webtext</title>" in told(f"{url}progress")


def test_it_goes_on_while_browsers_keep_their_connections(run: Folder) -> None:
    with inspecting(run, "--port", "0") as (process, url):
        at = urlsplit(url)
        with socket.create_connection((at.hostname, at.port), timeout=30) as connection:
            connection.sendall(b"GET /progress HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0


def test_ports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            InputError, match=rf"--port {port}: cannot listen there \(Address already in use\)"
        ):
            inspector._listen("127.0.0.1", port)
        answer = webtext("inspect", write_run(tmp_path / "run", upto="link").path(), "--port", str(port))
        assert (answer.returncode, answer.stdout) == (2, "")
        assert "--port 0 for any that is free" in " ".join(answer.stderr.split())
        with socket.create_server(("127.0.0.1", 0)) as free:
            next_port = free.getsockname()[1]
        monkeypatch.setattr(inspector, "_PORTS", (port, next_port))
        with inspector._listen("localhost", None) as found:
            assert found.getsockname()[1] == next_port
        monkeypatch.setattr(inspector, "_PORTS", (port,))
        with pytest.raises(InputError, match="are all in use"):
            inspector._listen("127.0.0.1", None)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("no.such.host.invalid", "is no address of this machine"),
        ("203.0.113.7", "cannot listen there"),
        ("a" * 300, "is no address"),
        ("", "is no address"),
    ],
)
def test_addresses_that_are_not_here(host: str, why: str) -> None:
    with pytest.raises(InputError, match=f"--host {host}.*{why}"):
        inspector._listen(host, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.9"])
def test_on_loopback_no_token_is_asked_for(host: str) -> None:
    with inspector._listen(host, 0) as listening:
        access = inspector._access(host, listening.getsockname()[0])
    assert access == Access(LOOPBACK | {host})


def test_elsewhere_a_new_token_is() -> None:
    lan, every, six = (
        inspector._access(host, address)
        for host, address in (("Box.LAN", "192.168.1.7"), ("0.0.0.0", "0.0.0.0"), ("::", "::"))  # noqa: S104
    )
    assert lan.hosts == frozenset({"box.lan"})
    assert every.hosts is six.hosts is None
    tokens = {one.token for one in (lan, every, six)}
    assert len(tokens) == 3
    assert all(token is not None and len(token) > 40 for token in tokens)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "there is no run here"),
        (["run", "--port", "70000"], "--port"),
        (["run", "--host", "no.such.host.invalid"], "is no address of this machine"),
    ],
)
def test_what_is_wrong_is_told(run: Folder, arguments: list[str], message: str) -> None:
    answer = webtext("inspect", *arguments, cwd=Path(run.path()).parent)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert message in " ".join(answer.stderr.split())


def test_a_run_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", upto="link")
    Path(run.path("links/passwd")).symlink_to("/etc/passwd")
    answer = webtext("inspect", "run", cwd=tmp_path)
    assert answer.returncode == 2
    assert "links/passwd is a link to /etc/passwd, out of the run" in " ".join(answer.stderr.split())


def test_missing_packages_are_named(run: Folder) -> None:
    code = (
        "import sys; sys.argv = ['webtext', 'inspect', 'run']\n"
        "sys.modules['tantivy'] = sys.modules['uvicorn'] = None\n"
        "from webtext.cli import main\n"
        "main()"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(run.path()).parent, capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout) == (2, "")
    said = " ".join(answer.stderr.split())
    assert "the inspector needs uvicorn, tantivy, not installed here: pip install uvicorn tantivy" in said


def test_people_are_told_how_to_end_it(run: Folder) -> None:
    """On a terminal: one of its own, that programs can make."""
    main, side = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "webtext", "inspect", "run", "--port", "0"],
        cwd=Path(run.path()).parent,
        stdout=side,
        stderr=side,
        env={**os.environ, "TERM": "dumb"},
    )
    os.close(side)
    said = b""
    while b"ends it)" not in said:
        said += os.read(main, 1000)
    for _ in range(2):  # impatiently
        process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    os.close(main)
    assert re.search(rb"run is shown at http://127\.0\.0\.1:\d+/ \(Ctrl-C ends it\)", said)
