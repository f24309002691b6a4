"""Who is let into the inspector: asked over real sockets, and by a real browser from another site."""

import http.client
import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from pipeline.inspector.catalogue.catalogue import Catalogue
from pipeline.inspector.inspection import Inspection
from pipeline.inspector.judging.labels import Labels
from pipeline.inspector.web.app import create_app
from pipeline.inspector.web.security import HEADERS, LOOPBACK, MAX_BODY_BYTES, Access, Guard
from pipeline.runs import Folder
from tests import browser
from tests.synthetic_run import write_run

TOKEN = "a-token-for-tests"  # noqa: S105


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return write_run(tmp_path_factory.mktemp("security") / "run")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.browsing("--host-resolver-rules=MAP inspector.lan 127.0.0.1") as opened:
        yield opened


@contextmanager
def inspecting(run: Folder, access: Access) -> Iterator[str]:
    """The inspector of a run at an address of loopback."""
    with (
        Catalogue(run) as catalogue,
        browser.serving(create_app(Inspection(run, catalogue, Labels(run)), access)) as url,
    ):
        yield url


@pytest.fixture(scope="module")
def opened(run: Folder) -> Iterator[str]:
    with inspecting(run, Access()) as url:
        yield url


@pytest.fixture(scope="module")
def guarded(run: Folder) -> Iterator[str]:
    with inspecting(run, Access(LOOPBACK, TOKEN)) as url:
        yield url


REACHED: list[tuple[str, str, int]] = []  # what came through to the application that echoes

FORM = '<!doctype html><link rel="icon" href="data:,"><form method="post"><button>go</button></form>'


async def _echo(request: Request) -> Response:
    if request.url.path == "/fails":
        raise RuntimeError("as asked")
    body = await request.body()
    REACHED.append((request.method, request.url.path, len(body)))
    if request.url.path == "/form":
        return HTMLResponse(FORM)
    return PlainTextResponse(f"{request.method} {len(body)}")


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    """An application that says what it was sent, behind the guard."""
    with echoing(Access()) as url:
        yield url


@contextmanager
def echoing(access: Access) -> Iterator[str]:
    app = Starlette(routes=[Route("/{path:path}", _echo, methods=["GET", "POST", "DELETE"])])
    with browser.serving(Guard(app, access)) as url:
        yield url


Answer = tuple[int, dict[str, str], str]


def ask(
    url: str, path: str = "/", method: str = "GET", body: bytes | None = None, **headers: str | None
) -> Answer:
    """A request with these headers (``Sec_Fetch_Site``), as they are; None leaves out one that is usual."""
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=30)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(method, path, skip_host="Host" in given, skip_accept_encoding=True)
    for name, value in given.items():
        if value is not None:
            connection.putheader(name, value)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    text = answer.read().decode("utf-8", "replace")
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text


# --- headers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 200),
        ("/", "HEAD", 200),
        ("/static/inspector.css", "GET", 200),
        ("/static/nothing.css", "GET", 404),
        ("/nothing", "GET", 404),
        ("/progress", "POST", 403),
        ("/progress", "DELETE", 405),
        ("/progress.json", "GET", 200),
    ],
)
def test_every_answer_has_all_headers(opened: str, path: str, method: str, status: int) -> None:
    found, headers, _ = ask(opened, path, method)
    assert found == status
    assert {name: headers.get(name) for name in HEADERS} == HEADERS
    assert "set-cookie" not in headers


def test_so_has_the_answer_of_a_page_that_fails(echo: str) -> None:
    status, headers, text = ask(echo, "/fails")
    assert (status, text) == (500, "Internal Server Error")
    assert {name: headers.get(name) for name in HEADERS} == HEADERS


def test_nothing_but_asking_and_forms_is_served(echo: str) -> None:
    for method in ("DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "NONSENSE"):
        status, headers, _ = ask(echo, "/", method)
        assert (method, status, headers["allow"]) == (method, 405, "GET, HEAD, POST")


# --- names: DNS rebinding -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "is_let_in"),
    [
        ("localhost", True),
        ("LOCALHOST:8080", True),
        ("127.0.0.1:1", True),
        ("[::1]:8080", True),
        ("[::1]", True),
        ("evil.example", False),
        ("evil.example:8080", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("127.0.0.2", False),
        ("0.0.0.0", False),  # noqa: S104
        ("[::", False),
        ("", False),
        (None, False),
    ],
)
def test_it_goes_by_its_own_names(opened: str, host: str | None, is_let_in: bool) -> None:
    status, _, text = ask(opened, Host=host)
    if host is None:
        assert status in (400, 403)
    else:
        assert status == (200 if is_let_in else 403), text


def test_two_names_are_none(opened: str) -> None:
    at = urlsplit(opened)
    with socket.create_connection((at.hostname, at.port), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert connection.recv(100).split()[1] in (b"400", b"403")


def test_at_any_address_any_name_will_do_with_the_token(run: Folder) -> None:
    with inspecting(run, Access(None, TOKEN)) as url:
        assert ask(url, "/progress", Host="box.lan:8080")[0] == 403
        assert ask(url, "/progress", Host="box.lan:8080", Authorization=f"Bearer {TOKEN}")[0] == 200


# --- other sites --------------------------------------------------------------------------------------------


def test_forms_come_from_here_only(echo: str) -> None:
    def post(**headers: str) -> int:
        return ask(echo, method="POST", body=b"a=b", **headers)[0]

    host = urlsplit(echo).netloc
    assert post(Origin=echo) == 200
    assert post(Origin="null", Sec_Fetch_Site="same-origin") == 200
    assert post(Sec_Fetch_Site="none") == 200
    assert post() == 403
    assert post(Origin="null") == 403
    assert post(Origin=f"https://{host}") == 403
    assert post(Origin="http://evil.example") == 403
    assert post(Origin="http://127.0.0.1:1") == 403
    for site in ("cross-site", "same-site"):
        assert post(Origin=echo, Sec_Fetch_Site=site) == 403


def test_other_sites_may_lead_here_and_load_nothing(echo: str) -> None:
    def get(site: str, mode: str, dest: str) -> int:
        return ask(echo, Sec_Fetch_Site=site, Sec_Fetch_Mode=mode, Sec_Fetch_Dest=dest)[0]

    for site in ("cross-site", "same-site"):
        assert get(site, "navigate", "document") == 200
        for mode, dest in (
            ("navigate", "iframe"),
            ("no-cors", "image"),
            ("no-cors", "script"),
            ("cors", "empty"),
        ):
            assert get(site, mode, dest) == 403
    assert get("same-origin", "no-cors", "script") == 200
    assert get("same-origin", "navigate", "iframe") == 200


# --- the token ----------------------------------------------------------------------------------------------


def test_without_the_token_nothing_is_shown(guarded: str) -> None:
    for path in (
        "/",
        "/progress.json",
        "/static/keys.js",
        "/nothing",
        "/?token=",
        "/?token=wrong",
        "/?Token=" + TOKEN,
    ):
        status, headers, text = ask(guarded, path)
        assert (path, status) == (path, 403)
        assert "This inspector asks for a token" in text
        assert TOKEN not in text + str(headers)
        assert "set-cookie" not in headers


@pytest.mark.parametrize(
    "value",
    [f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer", "Bearer \xe9\xff"],
)
def test_what_is_not_the_token_is_none(guarded: str, value: str) -> None:
    assert ask(guarded, Authorization=value)[0] == 403


def test_programs_bring_it_in_a_header(guarded: str) -> None:
    for scheme in ("Bearer", "bearer"):
        status, headers, text = ask(guarded, "/progress.json", Authorization=f"{scheme} {TOKEN}")
        assert (status, json.loads(text)["live"]["at_work"]) == (200, False)
        assert "set-cookie" not in headers


def test_the_token_in_an_address_becomes_a_cookie_and_is_gone(guarded: str) -> None:
    status, headers, _ = ask(guarded, f"/sql?q=select+1&token={TOKEN}&x=%26")
    assert (status, headers["location"]) == (303, "/sql?q=select+1&x=%26")
    cookie, *attributes = headers["set-cookie"].split("; ")
    name, _, value = cookie.partition("=")
    assert re.fullmatch(r"webtext-[0-9a-f]{8}", name)
    assert {one.lower() for one in attributes} == {"httponly", "path=/", "samesite=strict"}
    assert ask(guarded, "/progress", Cookie=f'other="a b; {name}={value}')[0] == 200
    assert ask(guarded, "/progress", Cookie=f"{name}={value}x")[0] == 403
    assert ask(guarded, "/progress", Cookie=f"other={value}")[0] == 403


@pytest.mark.parametrize(
    "path", ["//evil.example/", "/\\evil.example/", "/%2F%2Fevil.example/", "///evil.example"]
)
def test_the_token_leads_nowhere_else(guarded: str, path: str) -> None:
    status, headers, _ = ask(guarded, f"{path}?token={TOKEN}")
    assert status == 303
    assert re.match(r"/(?![/\\])", headers["location"])


# --- bodies -------------------------------------------------------------------------------------------------


def test_long_forms_are_refused_and_others_come_whole(echo: str) -> None:
    body = b"x" * MAX_BODY_BYTES
    assert ask(echo, method="POST", body=body, Origin=echo)[::2] == (200, f"POST {MAX_BODY_BYTES}")
    assert ask(echo, method="POST", body=body + b"x", Origin=echo)[0] == 413


def test_so_are_those_that_do_not_say_their_length(echo: str) -> None:
    at = urlsplit(echo)
    head = (
        "POST / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with socket.create_connection((at.hostname, at.port), timeout=30) as connection:
        connection.sendall(head.encode())
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        for _ in range(MAX_BODY_BYTES // 0x10000 + 1):
            connection.sendall(chunk)
        assert connection.recv(100).split()[1] == b"413"


def test_a_form_that_breaks_off_reaches_nobody(echo: str) -> None:
    at = urlsplit(echo)
    with socket.create_connection((at.hostname, at.port), timeout=30) as connection:
        head = "POST /broken HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n"
        connection.sendall(f"{head}Content-Length: 9\r\n\r\na=b".encode())
    assert ask(echo, "/after")[0] == 200
    assert ("GET", "/after", 0) in REACHED
    assert not [one for one in REACHED if one[1] == "/broken"]


# --- paths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static/..%5capp.py",
        "/static/....//app.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/..%00/app.py",
        "/static/" + "../" * 20 + "etc/passwd",
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
    ],
)
def test_no_address_leads_to_other_files(opened: str, path: str) -> None:
    status, _, text = ask(opened, path)
    assert status == 404
    assert "root:" not in text
    assert "Starlette(" not in text


# --- a browser ----------------------------------------------------------------------------------------------


@contextmanager
def another_site(page: str) -> Iterator[int]:
    """A site of somebody else on loopback, which has one page for every address; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_browser_gives_the_token_once(guarded: str, chromium: Browser) -> None:
    with browser.page_of(chromium) as tab:
        tab.goto(f"{guarded}/progress?token={TOKEN}")
        assert tab.url == f"{guarded}/progress"
        assert tab.inner_text("h1") == "Progress"
        assert tab.evaluate("document.cookie") == ""
        tab.get_by_role("link", name="Rejected").click()
        assert tab.inner_text("h1") == "Rejected"
        assert TOKEN not in tab.content()


def test_a_browser_without_it_is_told_what_to_do(guarded: str, chromium: Browser) -> None:
    context = chromium.new_context()
    tab = context.new_page()
    answer = tab.goto(guarded)
    assert answer is not None
    assert answer.status == 403
    assert "open the address that it has printed" in tab.inner_text("p")
    context.close()


def test_who_brings_the_token_from_another_site_gets_in_by_a_click(guarded: str, chromium: Browser) -> None:
    context = chromium.new_context()
    tab = context.new_page()
    with another_site(f'<a href="{guarded}/?token={TOKEN}">the inspector</a>') as port:
        tab.goto(f"http://localhost:{port}/")
        tab.get_by_text("the inspector").click()
        tab.get_by_role("link", name="go on").click()
        tab.wait_for_url(f"{guarded}/")
        assert tab.get_by_role("navigation", name="pages").is_visible()
    context.close()


ATTACK = """<!doctype html><meta charset="utf-8">
<iframe name="seen" src="{url}/form?frame"></iframe>
<img src="{url}/image"><script src="{url}/script"></script><link rel="stylesheet" href="{url}/style">
<form method="post" action="{url}/form-post" target="seen" id="a"><input name="a" value="b"></form>
<form method="post" action="{url}/form-text" target="seen" id="b" enctype="text/plain"><input name="a"></form>
<script>
  const tries = ["cors", "no-cors"].flatMap((mode) => ["GET", "POST"].map((method) =>
    fetch(`{url}/fetch-${{mode}}-${{method}}`, {{ method, mode, credentials: "include" }}).catch(() => 0)));
  navigator.sendBeacon("{url}/beacon", "a=b");
  document.getElementById("a").submit();
  document.getElementById("b").submit();
  Promise.all(tries).then(() => setTimeout(() => {{ document.title = "done"; }}, 300));
</script>
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])  # the same site on another port, and another
@pytest.mark.parametrize("token", [None, TOKEN])
def test_nothing_that_another_site_tries_comes_through(
    chromium: Browser, host: str, token: str | None
) -> None:
    context = chromium.new_context()
    tab = context.new_page()
    with echoing(Access(LOOPBACK, token)) as url, another_site(ATTACK.format(url=url)) as port:
        tab.goto(f"{url}/form?token={TOKEN}")  # our user is known, and has a cookie
        REACHED.clear()
        tab.goto(f"http://{host}:{port}/")
        tab.wait_for_function("document.title === 'done'")
        assert REACHED == []
        tab.goto(f"{url}/form")
        tab.get_by_role("button").click()
        tab.wait_for_load_state()
        assert REACHED == [("GET", "/form", 0), ("POST", "/form", 0)]
    context.close()


def test_forms_work_where_browsers_trust_an_address_less(chromium: Browser) -> None:
    """Of a plain-HTTP address that is not loopback's, browsers do not say from which site a request comes."""
    context = chromium.new_context()
    tab = context.new_page()
    with echoing(Access(frozenset({"inspector.lan"}), TOKEN)) as url:
        address = f"http://inspector.lan:{urlsplit(url).port}"
        tab.goto(f"{address}/form?token={TOKEN}")
        REACHED.clear()
        tab.get_by_role("button").click()
        tab.wait_for_load_state()
        with another_site(ATTACK.format(url=address)) as port:
            tab.goto(f"http://localhost:{port}/")
            tab.wait_for_function("document.title === 'done'")
        assert REACHED == [("POST", "/form", 0)]
    context.close()
