"""``webtext inspect``: a run looked into in a browser, served by this machine."""

import errno
import ipaddress
import os
import secrets
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipeline.errors import InputError
from webtext.terminal import RunArgument, console

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from pipeline.inspector.web.security import Access

_NEEDED = ("starlette", "uvicorn", "tantivy")

_PORTS = range(8080, 8100)  # of which the first that is free is taken

_LOOK_S = 0.2  # at whether it is to end
_GRACE_S = 1.0  # for requests under way, once the inspector is to end


def inspect(
    run: RunArgument,
    host: Annotated[
        str,
        typer.Option(help="The address to listen at. Any but this machine's own loopback asks for a token."),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            help="The port; 0: any that is free.",
            min=0,
            max=65535,
            show_default="8080, or the next that is free",
        ),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in a browser, too.")] = False,
) -> None:
    """Look into a run in a browser: documents, duplicates, what was rejected, labels, progress.

    It may begin before a build has ended. Ctrl-C ends it. In a pipe, the
    address alone is printed, on one line.

    Example: webtext inspect runs/webtext --open
    """
    _require_packages()
    from pipeline.inspector.boundary import refuse_links_out
    from pipeline.inspector.catalogue.catalogue import Catalogue
    from pipeline.inspector.inspection import Inspection
    from pipeline.inspector.judging.labels import Labels
    from pipeline.inspector.web.app import create_app
    from pipeline.runs import Folder
    from pipeline.status import require_run

    folder = Folder(run)
    if folder.is_local():
        folder = Folder(str(Path(folder.path()).resolve()))
    require_run(folder)
    refuse_links_out(folder)
    listening = _listen(host, port)
    access = _access(host, listening.getsockname()[0])
    with Catalogue(folder) as catalogue:
        catalogue.build()
        app = create_app(Inspection(folder, catalogue, Labels(folder)), access)
        is_ended = _serve(
            app, listening, lambda: _say_where(run, host, listening, access, open_browser=open_browser)
        )
    if not is_ended:
        os._exit(0)  # a query that nobody waits for any more would hold the process


def _require_packages() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(
            f"the inspector needs {', '.join(missing)}, not installed here: pip install "
            f"{' '.join(missing)}, or install this project with its extra, '.[inspect]'."
        )


def _listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens at an address; InputError, telling what to do, where there can be none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host {host}: is no address of this machine ({error}).") from error
    family, _, _, _, (address, *_) = found[0]
    for one in _PORTS if port is None else (port,):
        try:
            return socket.create_server((address, one), family=family)
        except OSError as error:
            if port is None and error.errno == errno.EADDRINUSE:
                continue
            why = f"--host {host} --port {one}: cannot listen there ({os.strerror(error.errno or 0)})"
            raise InputError(f"{why}; give another --port, or --port 0 for any that is free.") from error
    raise InputError(f"ports {_PORTS[0]} to {_PORTS[-1]} are all in use: give --port 0 for any that is free.")


def _access(host: str, address: str) -> "Access":
    """Who may ask at an address: elsewhere than on loopback, who knows a new token."""
    from pipeline.inspector.web.security import LOOPBACK, Access

    listened = ipaddress.ip_address(address)
    if listened.is_loopback:
        return Access(LOOPBACK | {host.lower()})
    return Access(None if listened.is_unspecified else frozenset({host.lower()}), secrets.token_urlsafe())


def _say_where(
    run: str, host: str, listening: socket.socket, access: "Access", *, open_browser: bool
) -> None:
    """Prints the address: for people, or for a program that reads one line."""
    query = "" if access.token is None else f"?token={access.token}"
    is_everywhere = access.hosts is None
    own = "localhost" if is_everywhere else host
    url = _url(own, listening) + query
    if console.is_terminal:
        console.print(f"[bold]{escape(run)}[/] is shown at {url} (Ctrl-C ends it)")
        if is_everywhere:
            console.print(f"from other machines: {_url(socket.gethostname(), listening)}{query}")
    else:
        typer.echo(url)
    if open_browser:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _url(host: str, listening: socket.socket) -> str:
    port = listening.getsockname()[1]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _serve(app: "ASGIApp", listening: socket.socket, say_where: Callable[[], None]) -> bool:
    """Serves until Ctrl-C or SIGTERM; whether all requests that were under way have ended."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(
            app,
            access_log=False,
            date_header=False,
            lifespan="off",
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            ws="none",
        )
    )

    def end(*_: object) -> None:
        server.should_exit = True

    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, end)
    # In a thread of its own, so that a request that does not end holds nobody.
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    say_where()
    while thread.is_alive() and not server.should_exit:
        thread.join(_LOOK_S)
    thread.join(_GRACE_S)
    return not thread.is_alive()
