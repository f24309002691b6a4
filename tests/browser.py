"""A real browser for tests: headless Chromium, and the inspector served on loopback for it to look at."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from starlette.types import ASGIApp

# Without these Chromium asks Google's hosts for things at every start.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

_PICTURES = Path(__file__).with_name("pictures")

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


def chromium() -> str:
    """The browser's program; a test that needs it fails without it, since `make test` installs it."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.fail("there is no Chromium: `make test` installs it, or `apt-get install chromium`")
    return found


@contextmanager
def browsing(*arguments: str) -> Iterator[Browser]:
    """A headless Chromium, with these arguments besides, until the block ends."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=[*_ARGUMENTS, *arguments])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def page_of(
    browser: Browser, *, dark: bool = False, phone: bool = False, javascript: bool = True
) -> Iterator[Page]:
    """A new page with no memory of others; whatever its console complains of fails the test."""
    context = browser.new_context(
        viewport=PHONE if phone else DESK,  # type: ignore[arg-type]
        color_scheme="dark" if dark else "light",
        java_script_enabled=javascript,
    )
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    page = context.new_page()
    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    try:
        yield page
    finally:
        context.close()
    assert complaints == []


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """Serves an application on a free port of loopback until the block ends; its address."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.started
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)


def keep_picture(page: Page, name: str) -> None:
    """Leaves a screenshot for a person to look at, in tests/pictures."""
    _PICTURES.mkdir(exist_ok=True)
    page.screenshot(path=_PICTURES / f"{name}.png", full_page=True)


def fits(page: Page) -> bool:
    """Whether nothing of the page reaches past the window's side."""
    fit: bool = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    return fit
